"""The student's own errors: which answers are some, and what the draw of questions is a function of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from realm.method.completion import parse
from realm.student.generate import Generation
from realm.student.prompts import Prompt
from realm.tasks.verify import UNREADABLE, UNREADABLE_GOLD, Verdict
from realm.traces import errors
from realm.traces.base import Given
from realm.traces.sampling import Answered
from tests.traces.scripted import given, questions

#: What a verifier says, and whether that is an error of the student's.
SAID = {
    Verdict(True): False,
    Verdict(False): True,
    Verdict(False, UNREADABLE): True,
    Verdict(False, UNREADABLE_GOLD): False,
    Verdict(False, "timeout"): False,
    Verdict(False, "error: it died"): False,
}


def test_an_error_is_what_was_judged_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = questions(30)
    ready, voice = given(rows)
    ready.config.training.rl.temperature = 0.6
    said = {row.id: [*SAID][number % len(SAID)] for number, row in enumerate(rows)}

    def planted(_: Any, prompts: Sequence[Prompt], __: Given, *, temperature: float, seed: int) -> list[Answered]:
        assert temperature == 0.6, "sampled as in RL"
        assert not any(prompt.routes for prompt in prompts)
        read = parse("<think> so </think> <answer> 12 </answer>", 0)
        return [Answered(one, Generation("", 1, False), read, said[one.question.id]) for one in prompts]

    monkeypatch.setattr(errors, "answers", planted)
    found = errors.sampled(ready, voice, 99, 5)  # type: ignore[arg-type]
    assert {row["id"] for row in found} == {id_ for id_, verdict in said.items() if SAID[verdict]}
    assert all((row["response"], row["answer"]) == ("so", "12") for row in found)
    few = [errors.sampled(ready, voice, 12, seed) for seed in (5, 5, 6)]  # type: ignore[arg-type]
    assert few[0] == few[1] != few[2], "by lot"


def test_each_run_round_and_folder_draws_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(errors, "sampled", lambda *given: seeds.append(given[-1]) or [])
    ready, _ = given(questions(3))
    for run, round_, name in product((0, 1), (0, 1), ("asked", "instructors")):
        now = replace(ready, config=ready.config.changed({"run.seed": run}), round=round_)
        for again in ("first", "second"):
            errors.own_errors(now, tmp_path / again / str(run) / name, 3)
    assert seeds[::2] == seeds[1::2] and len(set(seeds)) == 8
