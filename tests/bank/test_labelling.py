"""Labels for a bank: every CoT judged, none twice, whatever is interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from realm.analysis.patterns import analyse
from realm.analysis.stats import statistics
from realm.bank.compact import compact
from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.bank.labelling import UNDER_WAY, label_bank
from realm.bank.scan import groups
from realm.bank.store import Bank
from realm.errors import ConfigError, DataError
from realm.tasks.base import Question
from realm.tasks.verify import UNREADABLE, UNREADABLE_GOLD, Verdict
from realm.tasks.workers import Claim, VerifierPool
from realm.teacher.collect import check_same

QUESTIONS = [Question("q1", "Q1?", "1"), Question("q2", "Q2?", "2"), Question("bare", "?", "")]


class Counting(VerifierPool):
    """Keeps every pair it judged; `stop_after` calls it is interrupted."""

    def __init__(self, stop_after: int = 10**9) -> None:
        super().__init__("number")
        self.pairs: list[Claim] = []
        self.calls, self.stop_after = 0, stop_after

    def verify(self, pairs: Sequence[Claim]) -> list[Verdict]:
        if self.calls >= self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        self.pairs += pairs
        gives_up = {"-9": Verdict(False, "timeout"), "-8": Verdict(False, "error: died")}
        return [gives_up.get(a or "", v) for (a, *_), v in zip(pairs, super().verify(pairs), strict=True)]


@pytest.fixture
def pool() -> Iterator[Counting]:
    with Counting() as pool:
        yield pool


def bank(path: Path, cots: Sequence[CoT]) -> BankFolder:
    folder = BankFolder.create(path, {}, QUESTIONS)
    with folder.lock(), folder.writer() as writer:
        writer.write(cots)
    return folder


def cot(question: str, sample: int, answer: str, label: int | None = None) -> CoT:
    return CoT(question, f"t{sample}", answer, label, sample=sample)


MIXED = [
    cot("q1", 0, "1"),
    cot("q1", 1, "2"),
    cot("q1", 2, "1 or 2"),
    cot("q1", 3, ""),
    cot("q2", 0, "-9"),
    cot("q2", 1, "-8"),
    cot("q2", 2, "1", label=1),
    cot("bare", 0, "1"),
    cot("unknown", 0, "1"),
]


def labels(folder: BankFolder) -> dict[str, tuple[int | None, str]]:
    return {cot.id: (cot.label, cot.reason) for cot in Bank.open(folder.path).all()}


@pytest.mark.parametrize("compacted", [False, True])
def test_what_has_no_label_is_judged_and_the_reason_kept(tmp_path: Path, pool: Counting, compacted: bool) -> None:
    folder = bank(tmp_path / "bank", MIXED)
    if compacted:
        with folder.lock():
            compact(folder)
    told: list[tuple[int, int]] = []
    found = label_bank(folder, pool, progress=lambda *numbers: told.append(numbers))
    assert labels(folder) == {
        "q1//0": (1, ""),
        "q1//1": (0, ""),
        "q1//2": (None, "unreadable"),
        "q1//3": (None, "unreadable"),
        "q2//0": (None, "timeout"),
        "q2//1": (None, "error: died"),
        "q2//2": (1, ""),
        "bare//0": (None, "no gold"),
        "unknown//0": (None, "no gold"),
    }
    assert found == {
        "judged": 8,
        "before": 0,
        "kept": 0,
        "outcomes": {"right": 1, "wrong": 1, "unreadable": 2, "timeout": 1, "error": 1, "no gold": 2},
        "reasons": {"unreadable": 2, "no gold": 2, "timeout": 1, "error: died": 1},
        "unreadable": {
            "whole": 8, "answers": 2, "gold_cots": 0, "share": 0.25, "examples": ["“1 or 2”", "“”"], "golds": 0,
            "gold_examples": {},
        },
    }  # fmt: skip
    assert told[-1] == (9, 9)
    assert not (folder.path / "labels.jsonl").exists()
    again = BankFolder.open(folder.path)
    assert again.info["verifier"] == "number" and UNDER_WAY not in again.info
    assert {found.label for found in again.scan()} == {0, 1, None}, "the labels are in the rows"


def test_what_could_not_be_judged_is_tried_again(tmp_path: Path, pool: Counting) -> None:
    folder = bank(tmp_path / "bank", MIXED)
    label_bank(folder, pool)
    pool.pairs.clear()
    folder.add_questions([Question("unknown", "?", "1")])
    assert label_bank(folder, pool)["judged"] == 6
    assert {pair[0] for pair in pool.pairs} == {"-8", "-9", "1", "1 or 2", ""}
    assert labels(folder)["unknown//0"] == (1, "")


def test_what_cannot_be_read_is_not_wrong(tmp_path: Path) -> None:
    """One bank for every reason, with the gold as the reason wherever it cannot be read."""
    questions = [Question("good", "?", "5"), Question("bad", "?", "V"), Question("broken", "?", "[1")]
    cases = [
        ("good", "5", 1, "", "it is read and equal"),
        ("good", "6", 0, "", "it is read and differs"),
        ("good", "about five", None, UNREADABLE, "nobody knows what it says"),
        ("bad", "5", None, UNREADABLE_GOLD, "the answer may be right"),
        ("bad", "about five", None, UNREADABLE_GOLD, "mending the answer would not help"),
        ("broken", "", None, UNREADABLE_GOLD, "nor would giving one"),
    ]
    folder = BankFolder.create(tmp_path / "bank", {}, questions)
    with folder.lock(), folder.writer() as writer:
        writer.write(cot(question, number, answer) for number, (question, answer, *_) in enumerate(cases))
    with VerifierPool("python") as pool:
        found = label_bank(folder, pool)
    assert [labels(folder)[f"{name}//{number}"] for number, (name, *_) in enumerate(cases)] == [
        (label, reason) for _, _, label, reason, _ in cases
    ]
    assert found["outcomes"] == {"right": 1, "wrong": 1, "unreadable": 1, "unreadable gold": 3}
    told = found["unreadable"]
    assert (told["answers"], told["gold_cots"], told["golds"], told["share"]) == (1, 3, 2, 4 / 6)
    assert told["examples"] == ["“about five”"] and told["gold_examples"] == {"bad": "“V”", "broken": "“[1”"}
    bank = Bank.open(folder.path)
    assert [route.id for name in ("good", "bad", "broken") for route in bank.routes(name)] == ["good//0", "good//1"]
    patterns = analyse(bank.groups())
    assert (patterns.wrong, patterns.left_out) == (1, 0), "no error to analyse"
    figures = statistics(bank.groups())
    assert (figures["error_ratio"], figures["usable"], figures["unlabelled"]) == (0.5, 2, 4)
    assert figures["unreadable"] == told


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("where", ["row", "labels.jsonl"])
def test_banks_that_called_the_unreadable_wrong_need_no_new_labels(tmp_path: Path, compacted: bool, where: str) -> None:
    old = CoT("q1", "t", "one or two", 0, reason="unreadable")
    folder = bank(tmp_path / "bank", [old if where == "row" else replace(old, label=None, reason="")])
    with folder.lock(), folder.writer() as writer:
        if where != "row":
            writer.write_labels([(old, 0, "unreadable")])
        if compacted:
            compact(folder)
    assert labels(folder) == {"q1//0": (None, "unreadable")}
    assert [found.label for _, cots in groups(folder) for found in cots] == [None]


def test_equal_pairs_of_a_batch_are_judged_once(tmp_path: Path, pool: Counting) -> None:
    folder = bank(tmp_path / "bank", [cot("q1", number, str(number % 3)) for number in range(300)])
    assert label_bank(folder, pool)["judged"] == 300
    assert len(pool.pairs) == 3
    assert [label for label, _ in labels(folder).values()] == [int(number % 3 == 1) for number in range(300)]


def test_all_are_judged_by_choice(tmp_path: Path, pool: Counting) -> None:
    folder = bank(tmp_path / "bank", [cot("q1", 0, "1", label=0), cot("q1", 1, "2", label=1)])
    assert label_bank(folder, pool)["judged"] == 0
    assert label_bank(folder, pool, everything=True)["judged"] == 2
    assert [label for label, _ in labels(folder).values()] == [1, 0]


@pytest.mark.parametrize("everything", [False, True])
def test_a_stopped_labelling_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    monkeypatch.setattr("realm.bank.labelling.BATCH", 10)
    folder = bank(tmp_path / "bank", [cot("q1", n, str(n), label=0 if everything else None) for n in range(50)])
    with Counting(stop_after=3) as pool, pytest.raises(KeyboardInterrupt):
        label_bank(folder, pool, everything=everything)
    assert sum(found.label == 1 for found in Bank.open(folder.path).all()) == 1, "what was judged counts already"
    with Counting() as pool:
        found = label_bank(BankFolder.open(folder.path), pool, everything=everything)
    assert (found["judged"], found["before"], len(pool.pairs)) == (20, 30, 20)
    assert [label for label, _ in labels(folder).values()] == [int(number == 1) for number in range(50)]


def test_a_stopped_labelling_of_another_kind_is_folded_in_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm.bank.labelling.BATCH", 10)
    folder = bank(tmp_path / "bank", [cot("q1", number, str(number), label=1) for number in range(20)])
    with Counting(stop_after=1) as pool, pytest.raises(KeyboardInterrupt):
        label_bank(folder, pool, everything=True)
    with Counting() as pool:
        assert label_bank(BankFolder.open(folder.path), pool)["judged"] == 0
    assert [label for label, _ in labels(folder).values()] == [0, 1, *[0] * 8, *[1] * 10]


KILLED = """
import os, signal, sys
from realm.bank import labelling
from realm.bank.folder import BankFolder
from realm.tasks.workers import Claim, VerifierPool

labelling.BATCH = 10
done = 0
def judge(pool, pairs, real=labelling.judge_all):
    global done
    done += 1
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(pool, pairs)
labelling.judge_all = judge
labelling.label_bank(BankFolder.open(sys.argv[1]), VerifierPool("number"))
"""


def test_a_killed_labelling_goes_on_where_it_was(tmp_path: Path, pool: Counting) -> None:
    folder = bank(tmp_path / "bank", [cot("q1", number, str(number)) for number in range(50)])
    command = [sys.executable, "-c", KILLED, str(folder.path)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2]).returncode == -signal.SIGKILL
    found = label_bank(BankFolder.open(folder.path), pool)
    assert (found["before"], found["judged"]) == (30, 20)
    assert [label for label, _ in labels(folder).values()] == [int(number == 1) for number in range(50)]


def test_labels_of_two_verifiers_are_not_mixed(tmp_path: Path, pool: Counting) -> None:
    folder = bank(tmp_path / "bank", MIXED)
    label_bank(folder, pool)
    with VerifierPool("exact") as other:
        with pytest.raises(ConfigError, match=r"its labels are those of the verifier number.*--all"):
            label_bank(folder, other)
        label_bank(folder, other, everything=True)
    assert json.loads((folder.path / "bank.json").read_text())["verifier"] == "exact"


def test_a_stopped_labelling_by_another_verifier_is_not_taken_for_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm.bank.labelling.BATCH", 10)
    folder = bank(tmp_path / "bank", [cot("q1", number, "1.0") for number in range(20)])
    with Counting() as pool:
        label_bank(folder, pool)

    def stop(seen: int, total: int) -> None:
        raise KeyboardInterrupt

    with VerifierPool("exact") as other, pytest.raises(KeyboardInterrupt):
        label_bank(BankFolder.open(folder.path), other, everything=True, progress=stop)
    with Counting() as pool:
        with pytest.raises(ConfigError, match=r"labels of two verifiers, number and exact .*, are mixed in it"):
            label_bank(BankFolder.open(folder.path), pool)
        with pytest.raises(ConfigError, match="labels of two verifiers"):
            check_same(BankFolder.open(folder.path), {"verifier": "number"})
        label_bank(BankFolder.open(folder.path), pool, everything=True)
    assert {label for label, _ in labels(folder).values()} == {1}
    check_same(BankFolder.open(folder.path), {"verifier": "number"})


def test_a_labelling_leaves_what_the_bank_was_collected_with(tmp_path: Path, pool: Counting) -> None:
    """`realm collect --resume` compares it with its configuration."""
    info = {"verifier": "number", "choices": [], "task": "jsonl"}
    folder = bank(tmp_path / "bank", MIXED)
    folder.update(info)
    label_bank(folder, pool, everything=True)
    label_bank(folder, pool, choices=["1"])  # which are nothing to it
    assert BankFolder.open(folder.path).info == {**info, "format": 2}


def test_other_choices_are_another_verifier(tmp_path: Path) -> None:
    folder = bank(tmp_path / "bank", [cot("q1", 0, "(1)")])
    with VerifierPool("choice", ["1", "2"]) as pool:
        label_bank(folder, pool, choices=["1", "2"])
    with VerifierPool("choice", ["1", "3"]) as pool, pytest.raises(ConfigError, match="other choices"):
        label_bank(folder, pool, choices=["1", "3"])
    assert folder.info["choices"] == ["1", "2"]


def test_slow_verifiers_work_side_by_side(tmp_path: Path) -> None:
    folder = bank(tmp_path / "bank", [cot("q1", number, str(number / 10)) for number in range(30)])
    with VerifierPool("python", workers=2) as pool:
        assert label_bank(folder, pool)["outcomes"] == {"right": 1, "wrong": 29}


def test_a_label_without_a_gold_to_judge_by_is_kept(tmp_path: Path, pool: Counting) -> None:
    folder = bank(tmp_path / "bank", [cot("bare", 0, "1", 1), cot("bare", 1, "1"), cot("q1", 2, "1", 0)])
    found = label_bank(folder, pool, everything=True)
    assert [one.label for one in folder.scan()] == [1, None, 1]
    assert (found["kept"], found["outcomes"]) == (1, {"no gold": 1, "right": 1})


def test_without_the_questions_nothing_is_judged(tmp_path: Path, pool: Counting) -> None:
    folder = bank(tmp_path / "bank", [cot("q1", 0, "1", 1)])
    (folder.path / "questions.jsonl").unlink()
    with pytest.raises(DataError, match=r"questions\.jsonl: is not there"):
        label_bank(folder, pool, everything=True)
    assert [one.label for one in folder.scan()] == [1]
