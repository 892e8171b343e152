"""Collecting from a server of others, `transformers serve`, with a model made here."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm.bank.folder import BankFolder
from realm.config import Config, load_config
from realm.errors import TeacherError
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool
from realm.teacher.collect import bank_info, collect
from realm.teacher.lanes import Tally
from tests.conftest import write_rows
from tests.teacher.foreign import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs transformers[serving]"),
]


@pytest.fixture(scope="module")
def url(student: Path) -> Iterator[str]:
    with serving(student) as found:
        yield found


def gather(folder: Path, url: str, model: str, *overrides: str) -> Tally:
    rows = [{"id": f"q{n}", "question": f"{n} plus 4", "answer": str(n + 4)} for n in range(6)]
    write_rows(folder / "rows.jsonl", rows)
    teacher = {"kind": "openai", "model": model, "base_url": url, "api_key_env": None}
    wording = {"system": "", "prompt": "{question} {comments} {instruction}", "sampling": {"max_tokens": 12}}
    config: Config = load_config(
        None,
        [
            "task.name=jsonl", f"task.path={folder / 'rows.jsonl'}", "task.verifier=number", "task.test_size=2",
            "teachers.scripted-clerk.share=0", f"teachers.foreign={json.dumps(teacher | wording)}",
            "guidance.probability=0", "bank.samples=2", "routes.k=1", "collect.concurrency=3", *overrides,
        ],
    )  # fmt: skip
    task = load_task(config)
    path = folder / "bank"
    there = (path / "bank.json").exists()
    bank = BankFolder.open(path) if there else BankFolder.create(path, bank_info(config, task))
    with VerifierPool("number") as pool:
        return collect(config, task, bank, pool, pause=0.01)


def test_every_sample_is_collected_and_more_are_added(tmp_path: Path, url: str, student: Path) -> None:
    tally = gather(tmp_path, url, str(student))
    assert (tally.owed, tally.done, tally.requests, tally.failures) == (12, 12, 12, {})
    cots = list(BankFolder.open(tmp_path / "bank").scan())
    assert {(cot.question_id, cot.sample) for cot in cots} == {(f"q{n}", k) for n in range(6) for k in range(2)}
    assert all(cot.completion_tokens and cot.completion_tokens <= 12 for cot in cots)
    assert tally.spent.tokens == sum((cot.prompt_tokens or 0) + (cot.completion_tokens or 0) for cot in cots)
    more = gather(tmp_path, url, str(student), "bank.samples=3")
    assert (more.there, more.owed, more.done) == (12, 6, 6)


def test_another_model_s_name_ends_it_with_one_line(tmp_path: Path, url: str, student: Path) -> None:
    with pytest.raises(TeacherError) as caught:
        gather(tmp_path, url, str(student.parent / "nothing"))
    assert str(caught.value).startswith("teachers.foreign (http://127.0.0.1:")
    assert "\n" not in str(caught.value)
    assert not list(BankFolder.open(tmp_path / "bank").scan())
