"""`to_program`: CoTs in prose whose sums are true, as programs that do these sums (after PaD, arXiv 2305.13888).

There a teacher writes programs; here no teacher is needed: each equation of a step becomes an assignment, results that
are used again become variables, words become comments, and the answer is the variable that has its value.
The program must run to the CoT's own answer. A CoT that this cannot be done with (a false sum, an answer that no sum
gives) stays as it is; `programs` behind this step drops it, `words: true` makes its answer a text in a program.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from string import ascii_lowercase

from realm.analysis.arithmetic import Equation, equations
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
    claims = [it.question.claim(value, it.cot.answer) for value, it in zip(values, traces, strict=True)]
    for trace, text, verdict in zip(traces, made, verify_once(given.verifier, claims), strict=True):
        yield replace(trace, cot=replace(trace.cot, text=text)) if verdict.correct else trace


def as_program(text: str, answer: str, *, words: bool = False) -> str:
    """The program of a CoT in prose; empty where it is none."""
    lines: list[str] = []
    names: dict[float, str] = {}
    known: dict[str, float] = {}
    free = iter(ascii_lowercase)
    steps = split_steps(text)
    for number, step in enumerate(steps, start=1):
        found = equations(step, known)
        # Of a step that calculates the words alone: a result among them would be a sum done without the program.
        said = _SUM.sub(" ", step) if found else step
        concludes = number == len(steps) and not found and step.rstrip(" .").endswith(answer)
        if re.search(r"[a-z]{2}", said) and not concludes:
            before = lines.pop() if lines and lines[-1].startswith("#") else "#"
            lines.append(f"{before} {' '.join(said.split())}")
        for one in found:
            name, expression = next(free, None), _expression(one, names, known)
            if not one.true or name is None or expression is None:
                return ""
            lines.append(f"{name} = {expression}")
            names[one.result if _NUMBER.fullmatch(one.right) else one.value] = name
    try:
        result = names.get(float(answer.replace(",", "").strip(" $€£.")))
    except ValueError:
        result = None
    if result is None and not words:
        return ""
    return "\n".join([*lines, f"answer = {result or repr(answer)}"])


def _expression(one: Equation, names: dict[float, str], known: dict[str, float]) -> str | None:
    """The left side as the program has it: a variable in the place of each result that it uses, rounded as stated."""
    unused = dict(names)
    text = re.sub(r"[A-Z]", lambda found: format(known[found[0]], ".12g"), one.left)
    text = _NUMBER.sub(lambda found: unused.pop(float(found[0]), found[0]), text)
    text = re.sub(r"([\w.]+)%", r"(\1 / 100)", text).replace(")%", ") / 100").replace("^", "**")
    if not _NUMBER.fullmatch(one.right) or abs(one.value - one.result) <= 1e-9 * max(1.0, abs(one.value)):
        return text
    digits = len(one.right.partition(".")[2])
    rounded = abs(round(one.value, digits) - one.result) < 1e-9
    return f"round({text}, {digits})" if rounded else None
