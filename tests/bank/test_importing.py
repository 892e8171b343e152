from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from realm.bank.importing import import_cots, open_bank
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import DataError
from realm.tasks.registry import load_task
from realm.tasks.verify import Verdict
from realm.tasks.workers import VerifierPool

Write = Callable[..., str]


def item(text: str, answer: Any, correct: Any = True, source: str = "m") -> dict[str, Any]:
    return {"text": text, "answer": answer, "correct": correct, "source": source}


@pytest.fixture
def pool() -> Iterator[VerifierPool]:
    with VerifierPool("number") as pool:
        yield pool


def test_labels_are_ours_and_agreement_is_counted(write: Write, pool: VerifierPool) -> None:
    cots = [
        item("so $18", "$18.00", True, "a"),
        item("hm 17", "17", True, "b"),
        item("cut off", None, False),
        item("18 or 19", "18 or 19", True),
        {"text": "no label 18", "answer": "18"},
    ]
    bank, agreement = import_cots(write([{"id": "q", "question": "?", "answer": "18", "cots": cots}]), pool)
    assert [cot.label for cot in bank.cots("q")] == [1, 0, 0, 0, 1]
    assert agreement == {"agree": 2, "disagree": 2, "unreadable": 2, "failed": 0}
    assert bank.info["agreement"] == agreement
    first = bank.cots("q")[0]
    assert (first.id, first.teacher, first.guided, first.sample, first.answer) == ("q/a/0", "a", False, 0, "$18.00")


def test_the_files_labels_are_kept_by_choice(write: Write) -> None:
    rows = [{"id": "q", "answer": "18", "cots": [item("17", "17", True), item("18", "18", False)]}]
    bank, agreement = import_cots(write(rows), None, relabel=False)
    assert [cot.label for cot in bank.cots("q")] == [1, 0]
    assert agreement == {}


def test_a_verifier_that_gives_up_gives_no_label(write: Write) -> None:
    class GivesUp(VerifierPool):
        def verify(self, pairs: Sequence[tuple[str | None, str]]) -> list[Verdict]:
            return [Verdict(False, "timeout"), Verdict(False, "error: the worker died"), Verdict(True)]

    rows = [{"id": "q", "answer": "18", "cots": [item("18", "18")] * 3}]
    bank, agreement = import_cots(write(rows), GivesUp("number"))
    assert [cot.label for cot in bank.cots("q")] == [None, None, 1]
    assert agreement == {"agree": 1, "disagree": 0, "unreadable": 0, "failed": 2}
    assert len(bank.routes("q")) == 1


def test_a_text_is_kept_as_it_was_written(write: Write) -> None:
    """The prompt shows a route's answer beside its text; the bank adds nothing of its own."""
    bank, _ = import_cots(write([{"id": "q", "answer": "1", "cots": [item("We add.\n", "18")]}]), None, relabel=False)
    assert bank.cots("q")[0].text == "We add.\n"


@pytest.mark.parametrize("relabel", [True, False])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "1", "cots": {}}, "expected a list under `cots`, found dict"),
        ({"answer": "1", "cots": ["text"]}, r"cots\[0\]: expected an object with a `text`"),
        ({"answer": "1", "cots": [{"answer": "1"}]}, r"cots\[0\]: expected an object with a `text`"),
        ({"answer": "1", "cots": [item("a", 1)]}, r"cots\[0\]: expected `answer`"),
        ({"answer": "1", "cots": [item("a", "1", "yes")]}, r"cots\[0\]: expected `answer`"),
    ],
)
def test_rows_that_cannot_be_used_are_named(
    write: Write, pool: VerifierPool, row: dict[str, Any], message: str, relabel: bool
) -> None:
    path = write([{"id": "a", "answer": "1", "cots": [item("x", "1")]}, row])
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: {message}"):
        import_cots(path, pool, relabel=relabel)


def test_what_each_way_of_labelling_needs(write: Write, pool: VerifierPool) -> None:
    without_gold = write([{"id": "a", "cots": [item("x", "1")]}])
    with pytest.raises(DataError, match=r"rows\.jsonl:1: no answer to judge the CoTs by"):
        import_cots(without_gold, pool)
    assert len(import_cots(without_gold, None, relabel=False)[0]) == 1
    without_label = write([{"id": "a", "answer": "1", "cots": [{"text": "x", "answer": "1"}]}])
    with pytest.raises(DataError, match=r"rows\.jsonl:1: cots\[0\] has no `correct`"):
        import_cots(without_label, None, relabel=False)


def test_files_without_cots(write: Write, pool: VerifierPool, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row has any"):
        import_cots(write([{"id": "a", "answer": "1"}, {"id": "b", "answer": "1", "cots": []}]), pool)
    with pytest.raises(DataError, match="file is empty"):
        import_cots(write([]), pool)
    with pytest.raises(DataError, match="cannot read it"):
        import_cots(tmp_path / "none.jsonl", pool)


def test_a_bad_file_leaves_no_bank_behind(write: Write, pool: VerifierPool, tmp_path: Path) -> None:
    good = {"id": "a", "answer": "1", "cots": [item("x", "1")]}
    with pytest.raises(DataError):
        import_cots(write([good, '{"id": "b", "ans']), pool, bank_dir=tmp_path / "bank")
    assert not (tmp_path / "bank").exists()
    kept, _ = import_cots(write([good]), pool, bank_dir=tmp_path / "bank")
    assert Bank.open(tmp_path / "bank").all() == kept.all()


def config_of(path: str, bank: str | None) -> Config:
    return Config.model_validate({"task": {"name": "gsm8k", "path": path, "test_size": 5}, "bank": {"path": bank}})


def rows_with_cots() -> list[dict[str, Any]]:
    return [{"question": f"q{i}?", "answer": f"#### {i}", "cots": [item(f"{i}", f"{i}")]} for i in range(20)]


def test_a_run_opens_the_bank_that_its_configuration_names(write: Write, pool: VerifierPool, tmp_path: Path) -> None:
    path = write(rows_with_cots())
    config = config_of(path, path)
    task = load_task(config)
    imported = open_bank(config, task, pool)
    assert imported.stats()["error_ratio"] == 0
    assert all(imported.routes(question.id) for question in task.rows("train"))
    imported.save(tmp_path / "bank")
    assert open_bank(config_of(path, str(tmp_path / "bank")), task, pool).all() == imported.all()


def test_the_default_bank_is_the_runs_own(write: Write, pool: VerifierPool, tmp_path: Path) -> None:
    path = write(rows_with_cots())
    config = config_of(path, None)
    config.run.dir, config.run.name = str(tmp_path), "mine"
    task = load_task(config)
    with pytest.raises(DataError, match=r"mine/bank: there is no bank; fill it first"):
        open_bank(config, task, pool)
    import_cots(path, pool, bank_dir=tmp_path / "mine" / "bank", relabel=False)
    assert len(open_bank(config, task, pool)) == 20


def test_a_bank_of_other_questions_is_refused(write: Write, pool: VerifierPool) -> None:
    path = write(rows_with_cots())
    other = write([{"id": "other", "answer": "1", "cots": [item("1", "1")]}], "other.jsonl")
    with pytest.raises(DataError, match=r"other\.jsonl: holds no labelled CoT for any of the 14 training questions"):
        open_bank(config_of(path, other), load_task(config_of(path, path)), pool)


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "verifier", "questions", "cots", "right_mixed_wrong", "error_ratio"),
    [
        ("gsm8k_openai_cots", "number", 1319, 5276, (156, 731, 432), 0.621),
        ("gsm8k_zeroeval_cots", "number", 1318, 20685, (298, 1008, 12), 0.197),
        ("crux_zeroeval_cots", "python", 800, 13547, (76, 677, 47), 0.473),
        ("bigbench_mistake_cots", "exact", 2182, 2182, (662, 0, 1520), 0.697),
    ],
)
def test_the_known_figures_of_the_real_files(
    data_dir: Path,
    file: str,
    verifier: str,
    questions: int,
    cots: int,
    right_mixed_wrong: tuple[int, ...],
    error_ratio: float,
) -> None:
    with VerifierPool(verifier) as pool:
        bank, agreement = import_cots(data_dir / f"{file}.jsonl", pool)
    found = bank.stats()
    assert (agreement["agree"], agreement["disagree"], agreement["failed"]) == (cots, 0, 0)
    assert (found["questions"], found["cots"], found["unlabelled"]) == (questions, cots, 0)
    assert (found["all_right"], found["mixed"], found["all_wrong"]) == right_mixed_wrong
    assert found["error_ratio"] == pytest.approx(error_ratio, abs=5e-4)


@pytest.mark.data
def test_the_known_right_counts_of_the_four_systems(data_dir: Path) -> None:
    with VerifierPool("number") as pool:
        bank, agreement = import_cots(data_dir / "gsm8k_openai_cots.jsonl", pool)
    right = {teacher.rpartition("/")[2]: counts["right"] for teacher, counts in bank.stats()["by_teacher"].items()}
    assert right == {"6b_finetuning": 286, "6b_verification": 515, "175b_finetuning": 458, "175b_verification": 742}
    # Eleven texts were cut off before an answer; "-1.8 billion" and "10+John's age" are no numbers.
    assert agreement["unreadable"] == 13


@pytest.mark.data
def test_the_mathematical_verifier_agrees_on_plain_numbers(data_dir: Path, write: Write) -> None:
    path = data_dir / "gsm8k_openai_cots.jsonl"
    with path.open(encoding="utf-8") as file:
        sample = write([next(file).strip() for _ in range(40)])
    with VerifierPool("math") as pool:
        _, agreement = import_cots(sample, pool)
    assert (agreement["agree"], agreement["disagree"], agreement["failed"]) == (160, 0, 0)
