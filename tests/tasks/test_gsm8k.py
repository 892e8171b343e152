from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from realm.config import Config
from realm.errors import DataError
from realm.sections import TaskConfig
from realm.tasks.gsm8k import final_answer, load_gsm8k
from realm.tasks.registry import load_task

SOLUTION = "She sells 16 - 7 = <<16-7=9>>9 eggs.\nThat makes 9 * 2 = $18.\n#### 1,018"


@pytest.mark.parametrize(
    ("answer", "gold"), [(SOLUTION, "1,018"), ("18", "18"), (18, "18"), ("#### 1\n#### 2", "2"), ("text ####", "")]
)
def test_the_gold_of_both_formats(answer: object, gold: str) -> None:
    assert final_answer({"answer": answer}) == gold


def test_the_official_format_is_read(write: Callable[..., str]) -> None:
    path = write([{"question": f"Question {i}?", "answer": SOLUTION} for i in range(20)])
    task = load_task(Config(task=TaskConfig(name="gsm8k", path=path, test_size=5)))
    assert (task.name, task.verifier.name, task.labels) == ("gsm8k", "number", ())
    assert {question.answer for question in task.rows("train")} == {"1,018"}
    assert task.verifier("$1018", task.rows("train")[0].answer)


def test_a_verifier_that_judges_nothing_is_told(write: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    path = write([{"question": f"Question {i}?", "answer": SOLUTION} for i in range(20)])
    for verifier in ("exact", "number", "math"):  # what is not set, what it has, and another one
        assert load_task(Config(task=TaskConfig(name="gsm8k", path=path, verifier=verifier))).verifier.name == "number"
        assert [record.args for record in caplog.records] == [("math", "gsm8k", "number")] * (verifier == "math")


def test_a_solution_without_a_final_number_is_refused(write: Callable[..., str]) -> None:
    path = write([{"question": "a", "answer": "It is 18 or 19, they say."}])
    with pytest.raises(DataError, match=r"rows\.jsonl:1: the gold 'It is 18 or.*verifier number"):
        load_gsm8k(TaskConfig(name="gsm8k", path=path), seed=0)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "n"),
    [("gsm8k", "gsm8k_train", 7473), ("gsm8k", "gsm8k_zeroeval_cots", 1319), ("jsonl", "svamp", 1000)],
)
def test_every_gold_of_the_real_files_verifies(data_dir: Path, name: str, file: str, n: int) -> None:
    settings = TaskConfig(name=name, path=str(data_dir / f"{file}.jsonl"), verifier="number", test_size=200)
    task = load_task(Config(task=settings))
    sizes = {split: len(task.rows(split)) for split in task.splits()}
    assert sizes["test"] == 200
    assert sizes["validation"] == min(100, (n - 200) // 10)
    # SVAMP asks a few questions twice; copies of test questions are left out of training.
    assert n - 10 <= sum(sizes.values()) <= n


@pytest.mark.data
def test_the_real_test_questions_are_none_of_the_training_questions(data_dir: Path) -> None:
    settings = TaskConfig(
        name="gsm8k", path=str(data_dir / "gsm8k_train.jsonl"), test_path=str(data_dir / "gsm8k_openai_cots.jsonl")
    )
    task = load_task(Config(task=settings))
    assert [len(task.rows(split)) for split in task.splits()] == [7373, 100, 1319]


@pytest.mark.data
def test_every_gold_of_the_code_questions_is_a_literal(data_dir: Path) -> None:
    settings = TaskConfig(name="jsonl", path=str(data_dir / "crux_zeroeval_cots.jsonl"), verifier="python")
    task = load_task(Config(task=settings))
    assert sum(len(task.rows(split)) for split in task.splits()) == 800
