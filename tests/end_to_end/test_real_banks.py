"""The real files become banks: every figure that is known of them comes out exactly, on disk and after each journey."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from realm.analysis.stats import statistics
from realm.bank.compact import compact
from realm.bank.folder import BankFolder
from realm.bank.labelling import label_bank
from realm.bank.scan import groups
from realm.bank.validate import validate
from realm.exchange.exporting import export_bank
from realm.exchange.importing import Source, import_cots, import_file
from realm.tasks.jsonl import read_rows
from realm.tasks.verify import UNREADABLE
from realm.tasks.workers import VerifierPool

pytestmark = pytest.mark.data

#: Verifier, questions with a CoT, CoTs, and by the file's own labels, which call wrong what cannot be read: all right /
#: mixed / all wrong, error ratio, wrong pairs that agree; then CoTs that state no answer, and answers that the verifier
#: cannot read, those among them.
KNOWN = {
    "gsm8k_openai_cots": ("number", 1319, 5276, (156, 731, 432), 0.621, 0.105, 11, 12),
    "gsm8k_zeroeval_cots": ("number", 1318, 20685, (298, 1008, 12), 0.197, 0.252, 0, 0),
    "crux_zeroeval_cots": ("python", 800, 13547, (76, 677, 47), 0.473, 0.168, 0, 116),
    "bigbench_mistake_cots": ("exact", 2182, 2182, (662, 0, 1520), 0.697, None, 50, 50),
}
#: The same by our labels, which what cannot be read does not have: all right / mixed / all wrong, error ratio.
OURS = {
    **{file: (known[3], known[4]) for file, known in KNOWN.items()},
    "gsm8k_openai_cots": ((156, 731, 432), 0.620),
    "crux_zeroeval_cots": ((84, 669, 47), 0.468),
    "bigbench_mistake_cots": ((662, 0, 1470), 0.689),
}


def imported(data_dir: Path, file: str, out: Path) -> BankFolder:
    with VerifierPool(KNOWN[file][0], workers=2) as pool:
        import_file(Source(data_dir / f"{file}.jsonl", {}), out, pool)
    return BankFolder.open(out)


def agreement_of_wrong_pairs(folder: BankFolder) -> float | None:
    """Share of the pairs of CoTs of one question, not known to be right, whose answers are the same, pooled over the
    questions; a CoT that states no answer agrees with none."""
    same = total = 0
    for _, cots in groups(folder):
        for first, second in combinations([cot.answer for cot in cots if not cot.label], 2):
            total += 1
            same += first == second != ""
    return same / total if total else None


@pytest.mark.parametrize("file", KNOWN)
def test_the_known_figures_of_the_real_files(data_dir: Path, tmp_path: Path, file: str) -> None:
    _, questions, cots, theirs, error_ratio, agree, no_answer, unreadable = KNOWN[file]
    folder = imported(data_dir, file, tmp_path / "bank")
    # Our labels are the file's, every one of them, and what we cannot read the file calls wrong.
    assert folder.info["agreement"] == {"agree": cots, "disagree": 0, "unreadable": unreadable, "failed": 0}
    found = statistics(groups(folder))
    assert (found["questions"], found["cots"], found["unlabelled"]) == (questions, cots, unreadable)
    assert (found["all_right"], found["mixed"], found["all_wrong"]) == OURS[file][0]
    assert found["error_ratio"] == pytest.approx(OURS[file][1], abs=5e-4)
    told = found["unreadable"]
    assert (told["whole"], told["answers"], told["golds"]) == (cots - no_answer, unreadable - no_answer, 0)
    flags = [{bool(cot.label) for cot in members} for _, members in groups(folder) if members]
    assert tuple(map(flags.count, ({True}, {True, False}, {False}))) == theirs
    assert (cots - found["right"]) / cots == pytest.approx(error_ratio, abs=5e-4)
    assert found["problems"] == ({"no_answer": no_answer} if no_answer else {})
    assert found["without_cots"] == (1 if file == "gsm8k_zeroeval_cots" else 0)
    pooled = agreement_of_wrong_pairs(folder)
    assert pooled == (None if agree is None else pytest.approx(agree, abs=5e-4))


def test_the_known_right_counts_of_the_four_systems(data_dir: Path, tmp_path: Path) -> None:
    found = statistics(groups(imported(data_dir, "gsm8k_openai_cots", tmp_path / "bank")))
    right = {teacher.rpartition("/")[2]: counts["right"] for teacher, counts in found["by_teacher"].items()}
    # Eleven texts were cut off before an answer; "-1.8 billion" and "10+John's age" are no numbers.
    assert right == {"6b_finetuning": 286, "6b_verification": 515, "175b_finetuning": 458, "175b_verification": 742}


@pytest.mark.parametrize("file", KNOWN)
def test_nothing_of_a_real_file_is_lost(data_dir: Path, tmp_path: Path, file: str) -> None:
    folder = imported(data_dir, file, tmp_path / "bank")
    found = {
        name: (question, cots) for (question, cots) in groups(folder) for name in [question.id if question else ""]
    }
    for row in read_rows(data_dir / f"{file}.jsonl"):
        question, cots = found[row.id]
        assert question is not None
        assert (question.question, question.answer) == (row.content["question"], row.content["answer"])
        extras = {name: row.content[name] for name in row.content.keys() - {"id", "question", "answer", "cots"}}
        for theirs, ours in zip(row.content["cots"], cots, strict=True):
            assert (ours.text, ours.answer, ours.teacher) == (theirs["text"], theirs["answer"] or "", theirs["source"])
            # What we cannot read has no label of ours, and the file calls it wrong.
            assert theirs["correct"] == (ours.label or 0)
            assert (ours.label is None) == (ours.reason == UNREADABLE)
            left = {name: theirs[name] for name in theirs.keys() - {"text", "answer", "correct", "source"}}
            assert json.loads(ours.meta) == {**left, "row": extras}


@pytest.mark.parametrize("file", ["crux_zeroeval_cots", "bigbench_mistake_cots"])
def test_a_journey_through_every_form_changes_nothing(data_dir: Path, tmp_path: Path, file: str) -> None:
    folder = imported(data_dir, file, tmp_path / "bank")
    before = sorted(folder.scan(), key=lambda cot: cot.id)
    with folder.lock():
        compact(folder)
    assert sorted(folder.scan(), key=lambda cot: cot.id) == before
    for shape in ("jsonl", "flat", "parquet"):
        out = tmp_path / f"file.{'parquet' if shape == 'parquet' else 'jsonl'}"
        export_bank(folder, out, shape)  # type: ignore[arg-type]
        back, _ = import_cots(out, None, relabel=False)
        assert sorted(back.all(), key=lambda cot: cot.id) == before, shape
        assert back.questions == folder.questions()
    with VerifierPool(KNOWN[file][0], workers=2) as pool:
        judged = label_bank(folder, pool, everything=True)
        assert judged["judged"] == len(before)
        assert sorted(folder.scan(), key=lambda cot: cot.id) == before
        found = validate(folder, pool=pool)
    # One CoT a question can never be right and wrong; those that cannot be read are few, or state no answer at all.
    assert [finding.kind for finding in found] == [
        "none_mixed" if file == "bigbench_mistake_cots" else "some_unreadable"
    ]


def test_the_mathematical_verifier_agrees_on_plain_numbers(data_dir: Path, write: Callable[..., str]) -> None:
    with (data_dir / "gsm8k_openai_cots.jsonl").open(encoding="utf-8") as file:
        sample = write([next(file).strip() for _ in range(40)])
    with VerifierPool("math") as pool:
        _, agreement = import_cots(sample, pool)
    assert (agreement["agree"], agreement["disagree"], agreement["failed"]) == (160, 0, 0)


def test_answers_are_found_in_the_texts_of_the_file_that_states_them(data_dir: Path, tmp_path: Path) -> None:
    """The texts of this file end in `A: N`; without its `answer` keys they are enough for nearly the same labels."""
    path = tmp_path / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in read_rows(data_dir / "gsm8k_openai_cots.jsonl"):
            cots = [{name: cot[name] for name in ("text", "correct", "source")} for cot in row.content["cots"]]
            file.write(json.dumps({**row.content, "cots": cots}) + "\n")
    with VerifierPool("number") as pool:
        _, agreement = import_cots(path, pool)
    assert agreement["agree"] + agreement["disagree"] == 5276
    assert agreement["disagree"] <= 5
