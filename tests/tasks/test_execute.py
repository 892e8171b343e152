"""Programs of models: the language, its bounds, and the worker that is left where these would fail."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.tasks import workers
from realm.tasks.execute import FUNCTIONS, Ran, program_in, run
from realm.tasks.workers import VerifierPool

HOSTILE = {
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "fork without import": "while True:\n    __import__('os').fork()",
    "system": "answer = system('true')",
    "10 GB": "answer = 'a' * 10 * 10**9",
    "10 GB in a list": "answer = [0] * 10**10",
    "10 GB by doubling": "x = 'a'\nwhile True:\n    x = x + x",
    "10 GB of lists": "x = [0] * 9000\ny = []\nwhile True:\n    y = y + [x]",
    "10 GB by sharing": "x = [1]\n" + "x = [x, x]\n" * 60 + "answer = x == x",
    "open": "answer = open('/etc/passwd')",
    "sleep": "import time\ntime.sleep(1000)",
    "sleep without import": "sleep(1000)",
    "endless loop": "while True:\n    pass",
    "endless loop that goes on": "while True:\n    continue",
    "endless in an expression": "answer = sum(range(10**12))",
    "long texts again and again": "x = 'a' * 9000\nfor i in range(200):\n    y = x + ''\nanswer = 1",
    "a keyword": "answer = sorted([1, 2], reverse=True)",
    "long keys": "k = 'a' * 6000\nanswer = len({k + 'b': 1, k + 'c': 2})",
    "long loop of nothing": "for i in range(10**9):\n    pass",
    "deep brackets": "answer = " + "(" * 4000 + "1" + ")" * 4000,
    "deep signs": "answer = " + "-" * 9000 + "1",
    "deep sum": "answer = 1" + "+1" * 4000,
    "recursion": "def f():\n    f()\nf()",
    "anonymous recursion": "f = lambda: f()\nf()",
    "classes": "answer = ().__class__.__bases__[0].__subclasses__()",
    "class of a text": "answer = ''.__class__",
    "attributes by name": "answer = getattr((), '__class__')",
    "format": "answer = '{0.__class__}'.format(1)",
    "format by %": "answer = '%1000000000d' % 1",
    "f-string": "answer = f'{1:1000000000}'",
    "tower": "answer = 10**10**10",
    "tower in steps": "x = 7\nwhile True:\n    x = x * x",
    "tower of rounding": "answer = round(5, -10**10)",
    "shift": "answer = 1 << 10**10",
    "print flood": "while True:\n    print('a' * 9999)",
    "printed at length": "print('a' * 9999)",
    "exec": "exec('answer = 1')",
    "eval": "answer = eval('1')",
    "compile": "compile('1', '', 'eval')",
    "import as": "import os as math\nanswer = math.getpid()",
    "import from": "from os import getpid\nanswer = getpid()",
    "import all": "from math import *",
    "import a part": "import os.path",
    "full-width letters": "answer = ｏｐｅｎ('/etc/passwd')",
    "full-width dunder": "answer = ().＿＿class＿＿",
    "null": "answer = 1\0",
    "lone surrogate": "answer = '\ud800' + \ud800",
    "bidirectional": "answer = 1 # \u202e\nanswer\u202e = open",
    "comprehension": "answer = [x for x in range(10**9)]",
    "walrus": "(answer := 1)",
    "star": "answer = max(*range(10**9))",
    "bytes": "answer = b'a' * 10**9",
    "complex": "answer = (-8) ** 0.5",
    "infinite": "answer = 1e308 * 10",
    "unbound": "answer = answer",
    "divided by nothing": "answer = 1 / 0",
    "syntax": "answer = = 1",
    "break outside": "break",
    "nothing": "",
    "nested lists": "answer = 1 if [[[1]]] else 0",
    "a part of a date": "answer = date(2024, 1, 1).max",
    "rounding at length": "answer = round(1.5, 101)",
    "endless text": "answer = 1" + " " * 20_000,
}


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool("number", timeout=60.0) as made:
        yield made


def test_hostile_programs_end_without_a_result_and_leave_the_worker_alive(pool: VerifierPool) -> None:
    """They end by themselves, by counting: not one needs the worker's end."""
    mixed = [one for program in HOSTILE.values() for one in (program, "answer = 1 + 1")]
    found = pool.run(mixed)
    (worker,) = pool._programs._workers
    assert {name: ran.value for name, ran in zip(HOSTILE, found[::2], strict=True)} == dict.fromkeys(HOSTILE)
    assert all(ran.reason.startswith("line ") for ran in found[::2])
    eaten = [ran.reason for name, ran in zip(HOSTILE, found[::2], strict=True) if "GB" in name or "tower" in name]
    assert not [reason for reason in eaten if "Error" in reason], "refused before any memory is asked for"
    assert set(found[1::2]) == {Ran("2")}
    assert worker is not None
    for _ in range(2):
        pool.run(["answer = 3"])
    assert pool._programs._workers == [worker]


def test_reasons_hold_nothing_of_the_program() -> None:
    for program in HOSTILE.values():
        assert run(program).reason.isascii()
    assert run("answer = {1: 2}['\x1b[31m']").reason == "line 1: KeyError"


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab=+-*/%<>()[]{},:.#'\"\\\n 019e") | st.characters(), max_size=60))
def test_any_text_has_a_result_or_a_reason(text: str) -> None:
    found = run(text)
    assert (found.value is None) == bool(found.reason)


@pytest.mark.parametrize(
    "program, what",
    [
        ("import time\ntime.sleep(1000)", "timeout"),
        ("while True: pass", "timeout"),
        ("answer = 10**10**9", "timeout"),
        ("answer = len(bytes(10 << 30))", "MemoryError"),
        ("answer = open('/etc/passwd').read()", "OSError"),
        ("open('/tmp/realm-was-here', 'w').write('x')", "OSError"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "OSError"),
        ("import os\nos._exit(0)", "error: the worker died"),
    ],
)
def test_the_worker_stops_what_the_interpreter_would_let_through(
    monkeypatch: pytest.MonkeyPatch, program: str, what: str
) -> None:
    monkeypatch.setattr(workers, "_PROGRAM", (str(Path(__file__).with_name("exec_worker.py")),))
    with VerifierPool("number", timeout=1.0) as pool:
        failed, *others = pool.run([program, *(f"answer = {i}" for i in range(3))])
        assert failed == Ran(None, what)
        assert [ran.value for ran in others] == ["0", "1", "2"]


def expression(source: random.Random, names: list[str], depth: int) -> str:
    """A random expression that Python can work out or fail at."""
    if depth == 0 or source.random() < 0.2:
        number = source.choice([source.randint(0, 30), source.randint(0, 10**12), round(source.uniform(0, 9), 3)])
        return source.choice([*names, str(number), str(number)])
    one, other = (expression(source, names, depth - 1) for _ in range(2))
    match source.randrange(10):
        case 0:
            return f"-({one})"
        case 1:
            return f"{source.choice(['min', 'max'])}({one}, {other})"
        case 2:
            return f"({one} if {condition(source, [one, other], 2)} else {other})"
        case 3:
            return f"{source.choice(['abs', 'int', 'round', 'float', 'floor', 'ceil'])}({one})"
        case 4:
            return f"sum([{one}, {other}])"
        case 5:
            return f"({one}) ** {source.randint(-2, 3)}"
        case 6:
            return f"(({one}) {source.choice(['and', 'or'])} ({other}))"
        case _:
            return f"({one}) {source.choice(['+', '-', '*', '/', '//', '%'])} ({other})"


def condition(source: random.Random, parts: list[str], depth: int) -> str:
    """A random truth about expressions."""
    parts = [*parts, str(source.randint(0, 9))]
    one, other, third = (f"({source.choice(parts)})" for _ in range(3))
    signs = ["<", "<=", "==", "!=", ">", ">="]
    match source.randrange(5 if depth else 3):
        case 0:
            return f"{one} {source.choice(signs)} {other}"
        case 1:
            return f"{one} {source.choice(signs)} {other} {source.choice(signs)} {third}"
        case 2:
            return f"{one} {source.choice(['in', 'not in'])} [{other}, {third}]"
        case 3:
            return f"not ({condition(source, parts, depth - 1)})"
        case _:
            both = (f"({condition(source, parts, depth - 1)})" for _ in range(2))
            return source.choice([" and ", " or "]).join(both)


def program(source: random.Random) -> str:
    names: list[str] = []
    lines = []
    for name in "abcd":
        lines.append(f"{name} = {expression(source, names, 2)}")
        names.append(name)
        match source.randrange(4):
            case 0:
                lines += [f"if {name} > {source.randint(0, 9)}:", f"    {name} -= {expression(source, names, 1)}"]
            case 1:
                lines += [f"for i in range({source.randint(0, 5)}):", f"    {name} = {name} / 2 + i"]
                lines += [
                    f"    if {condition(source, ['i', name], 1)}:",
                    f"        {source.choice(['continue', 'break'])}",
                ]
                lines += [f"    {name} = {name} + 7"]
            case 2:
                lines += [f"while {name} > 1000:", f"    {name} = {name} // 3", "    if a == 5:", "        break"]
    return "\n".join([*lines, f"answer = {expression(source, names, 2)}"])


def test_random_programs_have_pythons_own_value() -> None:
    source, checked = random.Random(0), 0
    for _ in range(500):
        text = program(source)
        known = {"floor": math.floor, "ceil": math.ceil}
        try:
            exec(text, known)
        except (ArithmeticError, ValueError, TypeError):
            continue
        found, wanted = run(text), known["answer"]
        if isinstance(wanted, complex) or abs(wanted) > 1e290:  # refused, or a result too long to be read
            continue
        checked += 1
        assert found.value is not None, (text, found)
        assert float(found.value) == pytest.approx(wanted, rel=1e-11), (text, found)
        assert isinstance(wanted, float) or int(found.value) == wanted, (text, found)
    assert checked > 250


@pytest.mark.parametrize(
    "program, value",
    [
        ("answer = 50 - 9", "41"),
        ("a = 14 + 10\n# A comment.\nanswer = a - 3\nb = 7", "21"),
        ("a = 2\na * 3", "6"),
        ("print(2, 'and', 3)", "2 and 3"),
        ("answer = 0.1 + 0.2", "0.3"),
        ("answer = 10 / 4 * 2", "5"),
        ("answer = round(10 / 3, 2)", "3.33"),
        ("answer = 'yes' if 3 <= 4 <= 5 and not 2 in [1, 3] else 'no'", "yes"),
        ("answer = 'coral ' + str(23)", "coral 23"),
        (
            "answer = 0\nfor price, n in [(3, 2), (4, 5)]:\n    if n == 7: continue\n    answer += price * n",
            "26",
        ),
        ("fees = {'worn': 9, 'opened': 4}\nanswer = 60 - fees['worn']", "51"),
        ("import math\nanswer = math.ceil(7 / 2) + math.sqrt(16)", "8"),
        ("from datetime import date, timedelta\nanswer = date(2024, 2, 28) + timedelta(days=2)", "2024-03-01"),
        ("answer = (date(2024, 3, 1) - date(2023, 3, 1)).days", "366"),
        ("answer = date(2024, 3, 1) - date(2023, 3, 1)", "366"),
        ("answer = [1, 2.5, 'x']", "[1, 2.5, 'x']"),
        ("answer: int = 3", "3"),
    ],
)
def test_the_language(program: str, value: str) -> None:
    assert run(program) == Ran(value)


def test_functions_are_values_of_nothing() -> None:
    """A name that is called cannot be had otherwise: no function is ever in a variable."""
    for name in FUNCTIONS:
        assert run(f"answer = {name}").reason == "line 1: NameError"


@pytest.mark.parametrize(
    "text, found",
    [
        ("So 5.", None),
        ("The answer == 5", None),
        ("a = 1\nanswer = a", "a = 1\nanswer = a"),
        ("Let us see.\n```python\na = 1\n```\nThen:\n```\n  answer = 2\n  ```\nSo 2.", "answer = 2"),
        ("```python\na = 1\na + 1", "a = 1\na + 1"),
    ],
)
def test_where_a_program_is(text: str, found: str | None) -> None:
    assert program_in(text) == found
