"""`to_program`: CoTs in prose whose sums are true, as programs that do these sums (after PaD, arXiv 2305.13888).

There a teacher writes programs; here no teacher is needed: words become comments, each number among them that a sum
uses a variable, each equation an assignment, and the answer is the variable that has its value. The program must run to
the CoT's own answer. A CoT that this cannot be done with (a false sum, an answer that no sum gives) stays as it is;
`programs` behind this step drops it, `words: true` makes its answer a text in a program.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from string import ascii_lowercase

from realm.analysis.arithmetic import Equation, equations, numbers
from realm.analysis.steps import split_steps
from realm.tasks.workers import verify_once
from realm.traces.base import Given, Trace

_SUM = re.compile(r"(?<![-\d.,$€£%+*/×÷^()\s])[-\d.,$€£%+*/×÷^()\s]*+=[-\d.,$€£%+*/×÷^()\s=]*+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")


def to_program(traces: Sequence[Trace], given: Given, *, words: bool = False) -> Iterable[Trace]:
    made = [as_program(trace.cot.text, trace.cot.answer, words=words) for trace in traces]
    ran = given.verifier.run([text for text in made if text])
    results = iter(ran)
    values = [next(results).value if text else None for text in made]
    claims = [(value, it.cot.answer, it.question.question) for value, it in zip(values, traces, strict=True)]
    for trace, text, verdict in zip(traces, made, verify_once(given.verifier, claims), strict=True):
        yield replace(trace, cot=replace(trace.cot, text=text)) if verdict.correct else trace


def as_program(text: str, answer: str, *, words: bool = False) -> str:
    """The program of a CoT in prose; empty where it is none."""
    steps, known = split_steps(text), dict[str, float]()
    stated = [[(one, _plain(one.left, known)) for one in equations(step, known)] for step in steps]
    used = {operand for found in stated for one, _ in found for operand in one.operands}
    lines: list[str] = []
    facts: list[float] = []
    names: dict[float, list[str]] = {}
    free = iter(ascii_lowercase)

    def assign(value: float, expression: str) -> None:
        name = next(free, "")
        lines.append(f"{name} = {expression}")
        names.setdefault(value, []).append(name)

    for number, (step, found) in enumerate(zip(steps, stated, strict=True), start=1):
        # Of a step that calculates the words alone: a result among them would be a sum done without the program.
        said = _SUM.sub(" ", step) if found else step
        if number == len(steps) and not found and step.rstrip(" .").endswith(answer):
            break  # it only says the answer
        if re.search(r"[a-z]{2}", said):
            before = lines.pop() if lines and lines[-1].startswith("#") else "#"
            lines.append(f"{before} {' '.join(said.split())}")
        if not found:
            facts += [value for value in numbers(said) if value in used and value not in names]
            continue
        for value in facts:
            assign(value, format(value, ".12g"))
        facts = []
        for one, left in found:
            expression = _expression(one, left, names)
            if not one.true or not expression:
                return ""
            assign(one.result if _NUMBER.fullmatch(one.right) else one.value, expression)
    try:
        result = names.get(float(answer.replace(",", "").strip(" $€£.")))
    except ValueError:
        result = None
    if not result and not words:
        return ""
    return "\n".join([*lines, f"answer = {result[-1] if result else repr(answer)}"])


def _plain(left: str, known: dict[str, float]) -> str:
    """The left side of an equation in Python's words, its letters as the numbers that they stand for."""
    text = re.sub(r"[A-Z]", lambda found: format(known[found[0]], ".12g"), left)
    return re.sub(r"([\w.]+)%", r"(\1 / 100)", text).replace(")%", ") / 100").replace("^", "**")


def _expression(one: Equation, left: str, names: dict[float, list[str]]) -> str:
    """With variables in the place of what was stated or calculated before, and rounded as the equation is."""
    unused = {value: list(them) for value, them in names.items()}

    def named(found: re.Match[str]) -> str:
        them = unused.get(float(found[0]))
        return them.pop() if them else found[0]

    text = _NUMBER.sub(named, left)
    if not _NUMBER.fullmatch(one.right) or abs(one.value - one.result) <= 1e-9 * max(1.0, abs(one.value)):
        return text
    digits = len(one.right.partition(".")[2])
    return f"round({text}, {digits})" if abs(round(one.value, digits) - one.result) < 1e-9 else ""
