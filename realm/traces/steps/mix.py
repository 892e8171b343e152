"""`mix`: hard CoTs for a share of the questions, easy ones for the others (Mix Distillation, arXiv 2502.12143).

A small model learns badly from long CoTs alone, or from those of a strong teacher alone; the paper mixes a fifth of
them into short ones, or into those of a smaller teacher. Questions take turns in training, so here the share is one of
questions, exact and by lot: of such a question the hard CoTs stay, of any other the easy ones.

    by: tokens      hard are the longer half of a question's CoTs (the one in the middle is in both halves)
    by: teacher     hard are those of the teacher `large`

Where a question has but one sort, that one stays, and counts; the share is met as nearly as the others allow.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from realm.errors import ConfigError
from realm.sections import Probability
from realm.traces.base import Given, Trace
from realm.traces.examples import by_question, lengths


def mix(
    traces: Sequence[Trace],
    given: Given,
    *,
    share: Probability = 0.2,
    by: Literal["tokens", "teacher"] = "tokens",
    large: str = "",
) -> Iterable[Trace]:
    teachers = sorted({trace.cot.teacher for trace in traces})
    if by == "teacher" and traces and large not in teachers:
        raise ConfigError(f"mix: large: expected a teacher of these CoTs ({', '.join(teachers)}), found {large!r}.")
    tokens = dict(zip(map(id, traces), lengths(traces, given), strict=True)) if by == "tokens" else {}
    hard, easy = {}, {}
    for name, found in by_question(traces).items():
        if by == "tokens":
            found = sorted(found, key=lambda trace: tokens[id(trace)])
            easy[name], hard[name] = found[: (len(found) + 1) // 2], found[len(found) // 2 :]
        else:
            easy[name] = [trace for trace in found if trace.cot.teacher != large]
            hard[name] = [trace for trace in found if trace.cot.teacher == large]
    sure = [name for name in hard if not easy[name]]
    either = [name for name in hard if hard[name] and easy[name]]
    wanted = min(max(round(share * len(hard)) - len(sure), 0), len(either))
    chosen = {*sure, *given.rng("mix").sample(either, wanted)}
    for name in hard:
        yield from hard[name] if name in chosen else easy[name]
