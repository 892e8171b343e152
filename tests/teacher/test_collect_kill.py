"""`realm collect` killed at any moment: resumed, it ends with an undisturbed run's bank and pays for nothing twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from realm.bank.folder import BankFolder
from realm.bank.store import Bank
from realm.cli.app import app
from tests.conftest import read_rows, write_rows
from tests.launched import lived
from tests.teacher.forked import Death, start
from tests.teacher.wire import Wire, messages_hash

COUNT = 240
COLLECT = ["collect", "config.yaml", "--out", "bank", "--resume"]


def write_config(
    folder: Path, wire: Wire, samples: int = 1, teacher: dict[str, Any] | None = None, **collect: Any
) -> None:
    rows = [{"id": f"q{n}", "question": f"{n} + 1?", "answer": str(n % 10)} for n in range(COUNT)]
    write_rows(folder / "rows.jsonl", rows)
    config = {
        "task": {"name": "jsonl", "path": "rows.jsonl", "verifier": "number", "test_size": 20},
        "teachers": {
            "wire": {
                **{"kind": "openai", "model": "wire-model", "base_url": wire.base_url, "api_key_env": None},
                **(teacher or {}),
            }
        },
        "guidance": {"probability": 0},
        "bank": {"samples": samples},
        "routes": {"k": 1},
        "collect": {"concurrency": 8, **collect},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def content(folder: Path) -> set[tuple[str, str, str, int | None]]:
    return {(cot.id, cot.text, cot.answer, cot.label) for cot in Bank.open(folder / "bank").all()}


class Collection:
    """One bank that is collected with interruptions, and the server's record of it."""

    def __init__(self, folder: Path, wire: Wire) -> None:
        folder.mkdir()
        self.folder, self.wire = folder, wire
        write_config(folder, wire)
        self.kills = 0
        self._first = self._seen = len(wire.requests)
        self._kept: set[str] = set()
        self._hashes: dict[str, str] = {}

    def live(self, *, seconds: float | None = None, death: Death | None = None) -> bool:
        """Collect until the end, or for `seconds`, or until `death`; whether it came to its end."""
        ended = lived(start(COLLECT, self.folder, death), self.folder, seconds)
        self.kills += not ended
        self._check()
        return ended

    def _check(self) -> None:
        """Nothing was asked for whose answer was on disk when the process started; nothing is there twice."""
        asked = self.wire.requests[self._seen :]
        self._seen += len(asked)
        assert not {self._question(seen.body) for seen in asked} & self._kept
        if (self.folder / "bank" / "bank.json").exists():
            cots = list(BankFolder.open(self.folder / "bank").scan())
            found = {cot.question_id for cot in cots}
            assert len(found) == len(cots)
            assert self._kept <= found
            self._kept = found

    def _question(self, body: dict[str, Any]) -> str:
        text = str(body["messages"][-1]["content"])
        return self._hashes.setdefault(
            messages_hash(body["messages"]), "q" + text.rpartition("Question:\n")[2].split(" ")[0]
        )

    def finish(self, straight: set[tuple[str, str, str, int | None]]) -> None:
        while not self.live():
            raise AssertionError("killed by itself")
        assert content(self.folder) == straight
        events = read_rows(self.folder / "bank" / "ledger.jsonl")
        sent = sum(row["event"] == "sent" for row in events)
        asked = len(self.wire.requests) - self._first
        # Every request that the server saw is in the ledger; a few are that never reached it.
        assert asked <= sent <= asked + 8 * self.kills
        assert sum(row["event"] == "answered" for row in events) <= COUNT
        assert not (self.folder / "bank" / "labels.jsonl").exists()


Start = Callable[[str], Collection]


@pytest.fixture(scope="module")
def wire() -> Any:
    with Wire(latency=0.01) as server:
        yield server


@pytest.fixture(scope="module")
def straight(wire: Wire, tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str, str, int | None]]:
    """The bank of a run that nobody disturbs."""
    collection = Collection(tmp_path_factory.mktemp("straight") / "run", wire)
    assert collection.live()
    found = content(collection.folder)
    assert len(found) == COUNT
    assert {label for *_, label in found} == {0, 1}
    return found


@pytest.mark.slow
def test_killed_at_fifty_random_moments(
    tmp_path: Path, wire: Wire, straight: set[tuple[str, str, str, int | None]]
) -> None:
    source, kills, banks = random.Random(0), 0, 0
    while kills < 50:
        collection = Collection(tmp_path / str(banks), wire)
        banks += 1
        while not collection.live(seconds=source.uniform(0.02, 0.5)):
            pass
        collection.finish(straight)
        kills += collection.kills


@pytest.mark.parametrize("part", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    "writes",
    [["cots", "cots", "cots"], ["ledger", "ledger", "ledger"], ["labels", "labels"], ["replace"] * 6],
    ids=lambda kinds: kinds[0],
)
def test_killed_within_a_write(
    tmp_path: Path, wire: Wire, straight: set[tuple[str, str, str, int | None]], writes: list[str], part: float
) -> None:
    collection = Collection(tmp_path / "run", wire)
    times = {"cots": (1, 2, 5), "ledger": (1, 7, 30), "labels": (1, 3), "replace": (1, 1, 2, 2, 3, 3)}[writes[0]]
    for what, number in zip(writes, times, strict=True):
        collection.live(death=(what, number, part))
    assert collection.kills >= 2
    collection.finish(straight)


@pytest.mark.parametrize("again", ["--resume", "--overwrite"])
def test_two_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str) -> None:
    with Wire(latency=0.2) as wire:
        write_config(tmp_path, wire, concurrency=2)
        process = start(COLLECT, tmp_path)
        try:
            while len(wire.requests) < 2:
                assert process.is_alive(), (tmp_path / "output").read_text()
                time.sleep(0.01)
            monkeypatch.chdir(tmp_path)
            second = CliRunner().invoke(app, ["collect", "config.yaml", "--out", "bank", again])
            assert second.exit_code == 2
            assert "is working in this folder" in second.stderr
            assert second.stderr.count("\n") == 1
            assert process.is_alive()
        finally:
            process.kill()
            process.join()
