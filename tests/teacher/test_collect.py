"""Collecting: N labelled samples a question, guided with probability ρ, the same for a seed, never asked for twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from realm.bank.store import Bank
from realm.config import Config, load_config
from realm.desk.task import DeskTask
from realm.errors import ConfigError
from realm.tasks.registry import load_task
from realm.tasks.verify import Verdict
from realm.tasks.workers import VerifierPool
from realm.teacher.collect import collect, make_teacher


@pytest.fixture(scope="module")
def task() -> DeskTask:
    return DeskTask(max_train=40, max_test=10)


def gather(task: DeskTask, *overrides: str, bank: Bank | None = None) -> Bank:
    config = load_config(None, ["bank.samples=4", *overrides])
    found = Bank() if bank is None else bank
    with VerifierPool("desk") as pool:
        collect(config, task, found, pool)
    return found


def test_n_labelled_samples_of_every_question(task: DeskTask) -> None:
    bank = gather(task)
    questions = {row.id: row for split in task.splits() for row in task.rows(split)}
    assert Counter(cot.question_id for cot in bank.all()) == dict.fromkeys(questions, 4)
    for cot in bank.all():
        assert cot.label == int(task.verifier(cot.answer, questions[cot.question_id].answer))
        assert cot.text.endswith(f"So {cot.answer}.")
        assert cot.guided == bool(cot.comments)
        assert set(cot.comments) <= set(questions[cot.question_id].tags)


def test_guidance_probability_decides_who_is_right(task: DeskTask) -> None:
    never, always = gather(task, "guidance.probability=0"), gather(task, "guidance.probability=1")
    assert not any(cot.guided for cot in never.all())
    assert never.stats()["error_ratio"] > 0.5 > 0.3 > always.stats()["error_ratio"]


def test_same_seed_same_bank(task: DeskTask) -> None:
    assert list(gather(task).all()) == list(gather(task).all())
    assert list(gather(task).all()) != list(gather(task, "run.seed=1").all())


def test_a_stopped_collection_goes_on_with_what_is_owed(task: DeskTask, tmp_path: Path) -> None:
    straight = gather(task)
    whole = gather(task, bank=Bank.create(tmp_path / "bank"))
    path = tmp_path / "bank" / "cots.jsonl"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # killed in the middle of a line
    torn = Bank.open(tmp_path / "bank")
    assert 0 < len(torn) < len(whole)
    gather(task, bank=torn)
    assert {cot.id: cot for cot in Bank.open(tmp_path / "bank").all()} == {cot.id: cot for cot in straight.all()}
    assert len(Bank.open(tmp_path / "bank")) == len(straight)


def test_more_samples_keep_those_there_are(task: DeskTask) -> None:
    bank = gather(task)
    before = list(bank.all())
    gather(task, "bank.samples=6", bank=bank)
    assert len(bank) == len(before) * 6 // 4
    assert {cot.id for cot in before} < {cot.id for cot in bank.all()}


def test_the_scripted_teacher_knows_the_desk_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": "{n}", "question": "{n}?", "answer": "{n}"}}\n' for n in range(40)))
    config: Config = load_config(None, ["task.name=jsonl", f"task.path={path}", "task.test_size=5"])
    with pytest.raises(ConfigError, match=r"the scripted teacher only knows the task desk, found task\.name jsonl"):
        make_teacher(config, load_task(config))


def test_a_cot_that_the_verifier_failed_on_has_no_label(task: DeskTask, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = {
        0: Verdict(True),
        1: Verdict(False, "timeout"),
        2: Verdict(False, "error: x"),
        3: Verdict(False, "unreadable"),
    }

    def verify(self: VerifierPool, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        return [verdicts[number % 4] for number in range(len(pairs))]

    monkeypatch.setattr(VerifierPool, "verify", verify)
    assert {(cot.sample, cot.label) for cot in gather(task).all()} == {(0, 1), (1, None), (2, None), (3, 0)}
