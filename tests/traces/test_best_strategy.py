"""`best_strategy`: who is right most often is taught, the shorter one of two that are as good."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.tasks.verify import UNREADABLE
from realm.traces.base import Given, Trace
from realm.traces.pipeline import run_steps
from realm.traces.steps.best_strategy import best_strategy
from tests.tiny import CONTEXT, TinyTask, tiny_config, tiny_tokenizer

TEACHERS = ("direct", "steps", "recall")


def given(tmp_path: Path, bank: Bank | None = None) -> Given:
    config, task = tiny_config(tmp_path, tmp_path), TinyTask()
    return Given(config, task, bank, Renderer(config, task, bank, tiny_tokenizer(), CONTEXT, k=0))


def written(question: Question, teacher: str, sample: int, right: bool, words: int) -> Trace:
    return Trace(question, CoT(question.id, " ".join(["is"] * words), "1", int(right), teacher, sample=sample))


def test_the_planted_one_is_found(tmp_path: Path) -> None:
    """Of random banks: the most often right one, whatever its length; of two such the shorter one, in any order."""
    source = random.Random(7)
    for trial in range(50):
        traces, planted = [], {}
        for number in range(4):
            question = Question(f"q{number}", "1 plus 1", "0")
            best, tied, poor = source.sample(TEACHERS, 3)
            planted[question.id] = best
            for teacher, right, words in ((best, 3, 9), (tied, 3, 12), (poor, 2, 1)):
                traces += [
                    # Lengths of 9 and 12 on average.
                    written(question, teacher, n, n < right, words + (n % 2) * 2 - (1 if words > 1 else 0))
                    for n in range(4)
                ]
        source.shuffle(traces)
        kept = list(best_strategy(traces, given(tmp_path)))
        assert kept == [trace for trace in traces if trace.cot.teacher == planted[trace.question.id]], trial


def test_a_text_that_no_tokenizer_takes_is_measured(tmp_path: Path) -> None:
    trace = Trace(Question("q", "1 plus 1", "0"), CoT("q", "is \ud800", "0", 1, "direct"))
    assert list(best_strategy([trace], given(tmp_path))) == [trace]


def test_by_kind_the_questions_of_a_kind_count_together(tmp_path: Path) -> None:
    sums = [Question(f"s{n}", "1 plus 1", "0", kind="sum") for n in range(4)]
    other = Question("o", "1 plus 2", "1", kind="other")
    traces = [written(question, "direct", 0, n == 0, 2) for n, question in enumerate(sums)]
    traces += [written(question, "steps", 0, n != 0, 8) for n, question in enumerate(sums)]
    traces += [written(other, "direct", 0, True, 2), written(other, "steps", 0, True, 8)]

    def taught(**options: Any) -> set[tuple[str, str]]:
        kept = best_strategy(traces, given(tmp_path), **options)
        return {(trace.question.id, trace.cot.teacher) for trace in kept}

    assert taught(by="kind") == {("s0", "steps"), ("s1", "steps"), ("s2", "steps"), ("s3", "steps"), ("o", "direct")}
    assert taught() == {("s0", "direct"), ("s1", "steps"), ("s2", "steps"), ("s3", "steps"), ("o", "direct")}


@pytest.mark.parametrize("by", ["question", "kind"])
def test_in_a_list(tmp_path: Path, by: str) -> None:
    bank, task = Bank(), TinyTask()
    for question in task.rows("train"):
        bank.append(written(question, teacher, 0, teacher != "direct", 3).cot for teacher in TEACHERS[:2])
    found = run_steps(["bank", {"best_strategy": {"by": by}}, "right", "fits"], given(tmp_path, bank))
    assert {trace.cot.teacher for trace in found} == {"steps"}
    assert len(found) == len(task.rows("train"))


@pytest.mark.parametrize("by", ["question", "kind"])
@pytest.mark.parametrize("lost", [{"problem": "cut"}, {"label": None, "reason": UNREADABLE}])
def test_answers_that_are_no_traces_are_not_right(tmp_path: Path, by: str, lost: dict[str, Any]) -> None:
    """One that is cut five times of six is not the better for it; what the verifier failed on says nothing."""
    bank, question = Bank(), TinyTask().rows("train")[0]
    for sample in range(6):
        rare = written(question, "direct", sample, sample == 0, 3).cot
        bank.append(
            [rare if sample == 0 else replace(rare, **lost), written(question, "steps", sample, sample > 0, 3).cot]
        )
        bank.append([replace(rare, id=f"failed {sample}", teacher="steps", label=None, reason="timeout")])
    found = run_steps(["bank", {"best_strategy": {"by": by}}, "right", "fits"], given(tmp_path, bank))
    assert [trace.cot.teacher for trace in found] == ["steps"] * 5
