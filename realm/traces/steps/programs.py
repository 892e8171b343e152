"""`programs`: the traces whose CoT is a program that runs to the gold (program-aided distillation, arXiv 2305.13888).

The paper has a teacher write programs, and keeps those whose result is right; its step-wise beam search and its errors
that are injected and corrected are not here. A program is the CoT's last fenced block, all of its text where a line
begins `answer =`, or `program` in what its source says of it (`CoT.meta`). What is taught is the program alone, with
its result as the answer, whatever the teacher said that it would be: so `right` must not stand before this step.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from realm.bank.cot import CoT
from realm.tasks.execute import program_in
from realm.tasks.workers import verify_once
from realm.traces.base import Given, Trace


def programs(traces: Sequence[Trace], given: Given) -> Iterable[Trace]:
    found = [(trace, program) for trace in traces if (program := program_of(trace.cot)) is not None]
    ran = given.verifier.run([program for _, program in found])
    asked = [trace.question for trace, _ in found]
    claims = [it.claim(one.value) for one, it in zip(ran, asked, strict=True)]
    verdicts = verify_once(given.verifier, claims)
    for (trace, program), one, verdict in zip(found, ran, verdicts, strict=True):
        if verdict.correct and one.value is not None:
            # Told by its `answer =`, or else by a fence, when the student writes the like.
            text = program if program_in(program) == program else f"```python\n{program}\n```"
            yield replace(trace, cot=replace(trace.cot, text=text, answer=one.value, label=1))


def program_of(cot: CoT) -> str | None:
    """The program of a CoT; None where there is none."""
    with suppress(ValueError, RecursionError):
        found = json.loads(cot.meta or "null")
        if isinstance(found, dict) and isinstance(found.get("program"), str):
            return str(found["program"])
    return program_in(cot.text)
