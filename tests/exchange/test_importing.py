from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from realm.analysis.stats import statistics
from realm.bank.folder import BankFolder
from realm.bank.labelling import label_bank
from realm.bank.store import Bank
from realm.bank.validate import validate
from realm.config import Config
from realm.errors import DataError, ResourceError
from realm.exchange.importing import import_cots
from realm.exchange.run_bank import open_bank
from realm.tasks.base import Question, text_id
from realm.tasks.registry import load_task
from realm.tasks.verify import Verdict
from realm.tasks.workers import Claim, VerifierPool
from tests.holding import another_holds

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
    assert [cot.label for cot in bank.cots("q")] == [1, 0, None, None, 1]
    # A file that calls wrong what we cannot read agrees; one that calls it right does not.
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
        def verify(self, pairs: Sequence[Claim]) -> list[Verdict]:
            assert pairs == [(answer, "18", "Q?", "") for answer in ("1", "2", "18")]
            return [Verdict(False, "timeout"), Verdict(False, "error: the worker died"), Verdict(True)]

    cots = [item("", answer) for answer in ("1", "2", "18", "2")]
    rows = [{"id": "q", "question": "Q?", "answer": "18", "cots": cots}]
    bank, agreement = import_cots(write(rows), GivesUp("number"))
    # Equal answers to one question are judged once.
    assert [cot.label for cot in bank.cots("q")] == [None, None, 1, None]
    assert [cot.reason for cot in bank.cots("q")][:2] == ["timeout", "error: the worker died"]
    assert agreement == {"agree": 1, "disagree": 0, "unreadable": 0, "failed": 3}


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
        ({"answer": "1", "cots": [item("a", ["1", "2"])]}, r"cots\[0\]: expected `answer`"),
        ({"answer": "1", "cots": [item("a", "1", "good")]}, r"cots\[0\]: expected `correct`"),
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
    (tmp_path / "rows.jsonl.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz: .* found \.gz; unpack it first"):
        import_cots(tmp_path / "rows.jsonl.gz", pool, skip=True)


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
    assert statistics(imported.groups())["error_ratio"] == 0
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


def flat(question: str, text: str, answer: str, gold: str = "1", **more: Any) -> dict[str, Any]:
    return {"question": question, "gold": gold, "text": text, "answer": answer, **more}


def test_rows_of_one_question_come_together(write: Write, pool: VerifierPool, tmp_path: Path) -> None:
    rows = [
        flat("One?", "a", "1", source="m"),
        flat("Two?", "b", "3", gold="2", source="m"),
        flat("One?", "c", "2", source="m"),
        flat("  One? ", "d", "1", source="n", extra="kept"),
    ]
    bank, agreement = import_cots(write(rows), pool, bank_dir=tmp_path / "bank")
    assert [question.question for question in bank.questions.values()] == ["One?", "Two?"]
    one, two = bank.questions
    assert [(cot.text, cot.label, cot.sample) for cot in bank.cots(one)] == [("a", 1, 0), ("c", 0, 1), ("d", 1, 2)]
    assert [cot.label for cot in bank.cots(two)] == [0]
    assert agreement == {"agree": 0, "disagree": 0, "unreadable": 0, "failed": 0}
    assert json.loads(bank.cots(one)[2].meta) == {"extra": "kept"}
    again, _ = import_cots(write(list(reversed(rows))), pool)
    assert set(again.questions) == {one, two}, "the id of a question rests on its text alone"


def test_rows_of_one_id_must_be_of_one_question(write: Write, pool: VerifierPool) -> None:
    for other in (flat("Two?", "b", "1", id="q"), flat("One?", "b", "1", gold="2", id="q")):
        with pytest.raises(
            DataError, match=r"jsonl:2: the question 'q' has another text or gold answer than in line 1"
        ):
            import_cots(write([flat("One?", "a", "1", id="q"), other]), pool)
    nested = {"id": "q", "question": "One?", "answer": "1", "cots": [item("x", "1")]}
    with pytest.raises(DataError, match=r"jsonl:2: the id 'q' is in line 1 too; every row needs its own"):
        import_cots(write([nested, nested]), pool)


def test_every_cot_has_an_id_of_its_own(write: Write, pool: VerifierPool) -> None:
    """Ids made of names with slashes can meet; ids of the file that meet are a mistake."""
    fourth = {**item("u", "1"), "sample": 4}
    cots = {
        "a": [item("x", "1", source="b/c")],
        "a/b": [item("y", "1", source="c"), {**item("z", "1"), "sample": 0}],
        "c": [fourth, fourth, item("w", "1")],
    }
    rows = [{"id": name, "question": name, "answer": "1", "cots": found} for name, found in cots.items()]
    bank, _ = import_cots(write(rows), pool)
    assert [cot.id for cot in bank.all()] == ["a/b/c/0", "a/b/c/0#2", "a/b/m/0", "c/m/4", "c/m/4#2", "c/m/5"]
    twice = [flat("One?", "a", "1", cot_id="x"), flat("Two?", "a", "1", cot_id="x")]
    with pytest.raises(DataError, match=r"jsonl:2: the id 'x' of a CoT is in line 1 too"):
        import_cots(write(twice), pool)


def test_bad_rows_are_skipped_by_choice(
    write: Write, pool: VerifierPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        flat("One?", "a", "1"),
        '{"torn": ',
        flat("Two?", "b", "1", gold=""),
        flat("Three?", "c", "1", sample="x"),
        [1],
        "[" * 100_000,
        flat("Four?", "d", "1", cot_id="i"),
        flat("Five?", "e", "1", cot_id="i"),
        {"id": "six", "question": "Six?", "answer": "1", "cots": [item("f", "1"), {"no": "text"}]},
        flat("Seven?", "g", "1"),
    ]
    with pytest.raises(DataError, match=r"rows\.jsonl:2: expected one JSON object, the line is cut off"):
        import_cots(write(rows), pool, bank_dir=tmp_path / "bank")
    with caplog.at_level(logging.WARNING):
        bank, _ = import_cots(write(rows), pool, bank_dir=tmp_path / "bank", skip=True)
    assert [cot.text for cot in bank.all()] == ["a", "d", "g"]
    assert bank.info["skipped_rows"] == 7
    for line in (2, 3, 4, 5, 6, 8, 9):
        assert f"rows.jsonl:{line}: " in caplog.text
    assert "skipped 7 bad rows" in caplog.text


def test_known_questions_lend_what_a_file_does_not_say(write: Write, pool: VerifierPool) -> None:
    known = [Question("q1", "One  is?", "1", "train", "k", 0, ("t",)), Question("q2", "Two?", "2", "test")]
    rows = [
        {"messages": [{"role": "user", "content": "One is?"}, {"role": "assistant", "content": "Final answer: 1"}]},
        {"id": "q2", "text": "x", "prediction": "3"},
        {"question": "One is?", "text": "again", "prediction": "2"},
    ]
    bank, _ = import_cots(write(rows), pool, known=known)
    assert [(cot.question_id, cot.label) for cot in bank.all()] == [("q1", 1), ("q1", 0), ("q2", 0)]
    first, second = bank.questions.values()
    assert (first.answer, first.kind, first.tags, first.split) == ("1", "k", ("t",), "train")
    assert (second.question, second.answer, second.split) == ("Two?", "2", "test")


def test_a_known_question_is_told_by_its_text_first(write: Write, pool: VerifierPool) -> None:
    """Files count their rows from 1 alike: the gold of another question would judge the CoT."""
    known = [Question("1", "One is?", "1"), Question("2", "Two is?", "2")]
    said = {"messages": [{"role": "user", "content": "Six is?"}, {"role": "assistant", "content": "Final answer: 1"}]}
    for row in (
        {"id": 1, "question": "Six is?", "text": "Final answer: 1", "gold": "6"},
        {"id": 1, "gold": "6", **said},
    ):
        path = write([row])
        with pytest.raises(DataError, match=r"jsonl:1: the id '1' is that of another question .*\('One is\?'\)"):
            import_cots(path, pool, known=known)
        bank, _ = import_cots(path, pool, known=known, mapping={"id": "none"})
        assert bank.questions.keys().isdisjoint("12") and [cot.label for cot in bank] == [0]
        bank, _ = import_cots(path, pool, known=known, mapping={"question": "none", "answer": "none"})
        assert [(bank.questions[cot.question_id], cot.label) for cot in bank] == [(known[0], 1)]
    rows = [{"id": name, "question": "Two is?", "text": "Final answer: 1"} for name in (1, "b", 2)]
    bank, _ = import_cots(write(rows), pool, known=known)
    assert [(cot.question_id, cot.label) for cot in bank] == [("2", 0)] * 3
    assert list(bank.questions.values()) == [known[1]]


def test_a_bank_that_knows_a_question_by_another_text_is_refused(write: Write, pool: VerifierPool) -> None:
    rows = [{"id": number, **row} for number, row in enumerate(rows_with_cots())]
    path = write(rows)
    others = write([{**row, "question": f"other {row['id']}?"} for row in rows], "others.jsonl")
    bank, _ = import_cots(others, pool)
    folder = Path(others).with_name("bank")
    bank.save(folder)
    with pytest.raises(DataError, match=r"bank: the question '\d+' is 'other \d+\?' there and 'q\d+\?' in the task"):
        open_bank(config_of(path, str(folder)), load_task(config_of(path, path)), pool)


def kept_bank(rows: list[dict[str, Any]], write: Write, pool: VerifierPool) -> Path:
    """A bank's folder of what rows with ids hold."""
    path = Path(write(rows, "kept.jsonl"))
    import_cots(path, pool, bank_dir=path.with_name("bank"))
    return path.with_name("bank")


def test_a_bank_judged_by_another_gold_is_refused(write: Write, pool: VerifierPool) -> None:
    """The answers of the task's file were mended after the collection."""
    rows = [{"id": number, **row} for number, row in enumerate(rows_with_cots())]
    path = write(rows)
    task = load_task(config_of(path, path))
    one = task.rows("train")[0].id
    folder = kept_bank([{**row, "answer": "#### 99"} if str(row["id"]) == one else row for row in rows], write, pool)
    with pytest.raises(DataError, match=rf"the gold of the question '{one}' is '99' there and '{one}' in the task, so"):
        open_bank(config_of(path, str(folder)), task, pool)
    shutil.rmtree(folder)
    folder = kept_bank([{**row, "answer": f"#### {row['id']}.0"} for row in rows], write, pool)
    assert len(open_bank(config_of(path, str(folder)), task, pool)) == 20, "the same gold in another form"


def test_a_bank_of_other_held_out_questions_is_refused(write: Write, pool: VerifierPool) -> None:
    """Routes of other questions would be shown for those of a test file that counts its rows alike."""
    rows = [{"id": number, **row} for number, row in enumerate(rows_with_cots())]
    path, test = write(rows[:10]), write([{**row, "question": f"new {row['id']}?"} for row in rows[10:]], "test.jsonl")
    folder = kept_bank(rows, write, pool)
    config = config_of(path, str(folder))
    config.task.test_path = test
    with pytest.raises(DataError, match=r"the question '1\d' is 'q1\d\?' there and 'new 1\d\?' in the task"):
        open_bank(config, load_task(config), pool)


def test_labels_of_another_verifier_are_told(
    write: Write, pool: VerifierPool, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(rows_with_cots())
    task = load_task(config_of(path, path))
    with VerifierPool("exact") as exact:
        folder = kept_bank([{"id": text_id(row["question"]), **row} for row in rows_with_cots()], write, exact)
    open_bank(config_of(path, str(folder)), task, pool)
    assert "its labels are those of the verifier exact, and the task's is number:" in caplog.text
    caplog.clear()
    label_bank(BankFolder.open(folder), pool, everything=True)
    open_bank(config_of(path, str(folder)), task, pool)
    assert not caplog.records


def test_a_bank_with_labels_of_two_verifiers_is_refused(
    write: Write, pool: VerifierPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(rows_with_cots())
    folder = kept_bank([{"id": text_id(row["question"]), **row} for row in rows_with_cots()], write, pool)
    monkeypatch.setattr("realm.bank.labelling.BATCH", 10)

    def stop(seen: int, total: int) -> None:
        raise KeyboardInterrupt

    with VerifierPool("exact") as exact, pytest.raises(KeyboardInterrupt):
        label_bank(BankFolder.open(folder), exact, everything=True, progress=stop)
    with pytest.raises(DataError, match=r"labels of two verifiers, number and exact .* are mixed in it"):
        open_bank(config_of(path, str(folder)), load_task(config_of(path, path)), pool)
    assert "half_judged" in {finding.kind for finding in validate(BankFolder.open(folder))}


def test_a_file_without_recognised_cots_shows_its_keys(write: Write, pool: VerifierPool) -> None:
    with pytest.raises(
        DataError, match=r"no row has any: expected a question with `cots`.* found are question, answer, trace\."
    ):
        import_cots(write([{"question": "?", "answer": "1", "trace": "so 1"}]), pool)
    bank, _ = import_cots(
        write([{"question": "?", "answer": "1", "trace": "Answer: 1"}]), pool, mapping={"text": "trace"}
    )
    assert [(cot.text, cot.answer, cot.label) for cot in bank.all()] == [("Answer: 1", "1", 1)]


def test_parquet_is_read_like_json_lines(write: Write, pool: VerifierPool, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    nested = [
        {"id": f"q{number}", "question": f"{number}?\u2028", "answer": "1",
         "cots": [{"text": f"t{sample}\x00", "answer": str(sample), "correct": sample == 1, "source": "m"}
                  for sample in range(number)]}
        for number in range(4)
    ]  # fmt: skip
    rows = [
        flat(f"{number}?", "t", str(number), source="m", score=None if number % 2 else 0.5) for number in range(600)
    ]
    for name, content in (("nested", nested), ("flat", rows)):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), tmp_path / f"{name}.parquet")
        ours, agreement = import_cots(tmp_path / f"{name}.parquet", pool)
        theirs, same = import_cots(write(content), pool)
        assert (ours.all(), agreement) == (theirs.all(), same)
        assert ours.questions == theirs.questions
    (tmp_path / "no.parquet").write_bytes(b"PAR1 rubbish")
    with pytest.raises(DataError, match=r"no\.parquet: expected a Parquet file, cannot read it"):
        import_cots(tmp_path / "no.parquet", pool)


def test_a_byte_order_mark_is_no_trouble(tmp_path: Path, pool: VerifierPool) -> None:
    line = json.dumps(flat("One?", "a\u2028b\u0085c", "1"), ensure_ascii=False)
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\r\n\n  \n" + line.encode())
    bank, _ = import_cots(tmp_path / "rows.jsonl", pool)
    assert [cot.text for cot in bank.all()] == ["a\u2028b\u0085c"] * 2


def test_an_import_in_batches_is_the_same(write: Write, pool: VerifierPool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [flat(f"{number % 7}?", f"t{number}", str(number % 3)) for number in range(50)]
    whole, agreement = import_cots(write(rows), pool)
    monkeypatch.setattr("realm.exchange.importing.BATCH", 4)
    parts, same = import_cots(write(rows), pool)
    assert (whole.all(), whole.questions, agreement) == (parts.all(), parts.questions, same)


IMPORT_UNTIL_KILLED = """
import sys, os, signal
from realm.exchange import importing
from realm.tasks.workers import Claim, VerifierPool

importing.BATCH = 3
done = 0
def judge(pool, pairs, real=importing.judge_all):
    global done
    done += 1
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(pool, pairs)
importing.judge_all = judge
importing.import_cots(sys.argv[1], VerifierPool("number"), bank_dir=sys.argv[2])
"""


def test_a_killed_import_leaves_no_half_bank(write: Write, pool: VerifierPool, tmp_path: Path) -> None:
    path = write([flat(f"{number}?", "t", "1") for number in range(30)])
    out = tmp_path / "bank"
    command = [sys.executable, "-c", IMPORT_UNTIL_KILLED, path, str(out)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    assert 0 < len(Bank.open(f"{out}.partial")) < 30
    bank, _ = import_cots(path, pool, bank_dir=out)
    assert len(bank) == 30
    assert not Path(f"{out}.partial").exists()


def test_a_place_that_is_taken_is_left_alone(write: Write, pool: VerifierPool, tmp_path: Path) -> None:
    path = write([flat("1?", "t", "1")])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for place, message in ((tmp_path / "full", "is there already and not empty"), (Path(path), "is there already")):
        with pytest.raises(ResourceError, match=message):
            import_cots(path, pool, bank_dir=place)
    (tmp_path / "empty").mkdir()
    bank, _ = import_cots(path, pool, bank_dir=tmp_path / "empty")
    with pytest.raises(ResourceError, match="holds a bank already"):
        import_cots(path, pool, bank_dir=tmp_path / "empty")
    assert len(bank) == 1
    with (
        another_holds(BankFolder.create(tmp_path / "busy.partial").path),
        pytest.raises(ResourceError, match="is working in this folder"),
    ):
        import_cots(path, pool, bank_dir=tmp_path / "busy")


def test_what_bank_json_says_of_an_import(write: Write, tmp_path: Path) -> None:
    with VerifierPool("choice", ["yes", "no"]) as pool:
        rows = [flat("Q?", "t", "(Yes)", gold="yes", correct=False)]
        bank, _ = import_cots(write(rows, "theirs.jsonl"), pool, bank_dir=tmp_path / "bank")
    assert bank.info == {
        "format": 2,
        "source": "theirs.jsonl",
        "relabelled": True,
        "agreement": {"agree": 0, "disagree": 1, "unreadable": 0, "failed": 0},
        "verifier": "choice",
        "choices": ["yes", "no"],
    }


@pytest.mark.parametrize("relabel", [True, False])
def test_a_null_label_is_none(write: Write, pool: VerifierPool, relabel: bool) -> None:
    bank, _ = import_cots(write([flat("Q?", "t", "1", correct=None)]), pool, relabel=relabel)
    assert [cot.label for cot in bank.all()] == ([1] if relabel else [None])


def test_a_mapped_file_serves_a_run_as_it_is(write: Write, pool: VerifierPool) -> None:
    """Rows without ids meet the task's questions by their text."""
    task_file = write([{"id": f"n{i}", "question": f"q{i}?", "answer": f"#### {i}"} for i in range(20)])
    bank_file = write([{"q": f"q{i}?", "out": {"text": f"Final answer: {i}"}} for i in range(20)], "theirs.jsonl")
    config = config_of(task_file, bank_file)
    config.bank.mapping = {"question": "q", "text": "out.text"}
    task = load_task(config)
    bank = open_bank(config, task, pool)
    assert all(len(bank.routes(question.id)) == 1 for question in task.rows("train"))
