"""`realm bank import`, `export`, `label`, `validate` and `compact` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from realm.bank.store import Bank
from realm.cli import bank as bank_commands
from realm.cli.app import Commands
from tests.cli.conftest import Realm, question_rows, write_rows
from tests.conftest import read_rows
from tests.holding import another_holds


@pytest.fixture
def realm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Realm:
    """Runs `realm bank …` in this process, in a folder with rows.jsonl, flat.jsonl and config.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_rows(tmp_path / "rows.jsonl", question_rows())
    flat = [
        {"prompt": row["question"], "response": {"content": cot["text"], "final": cot["answer"]}, "model": "m", "n": 1}
        for row in question_rows()
        for cot in row["cots"]  # type: ignore[attr-defined]
    ]
    write_rows(tmp_path / "flat.jsonl", flat)
    config = {
        "task": {"name": "jsonl", "path": "rows.jsonl", "verifier": "number", "test_size": 6},
        "bank": {"mapping": {"question": "prompt", "text": "response.content", "cot_answer": "response.final"}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    app = typer.Typer(cls=Commands, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    app.add_typer(bank_commands.app, name="bank")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["bank", *arguments])

    return run


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stderr.splitlines()[-1].startswith("error: ")
    return result.stderr


def test_a_file_becomes_a_bank_that_a_run_can_use(realm: Realm) -> None:
    told = done(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    assert told.splitlines() == [
        "bank: 96 CoTs of 24 questions",
        "  judged by the verifier number: agrees with 96 of the file's 96 labels; 0 answers unreadable, 0 not finished",
    ]
    *splits, told = done(realm("validate", "bank", "--config", "config.yaml", "--verify")).splitlines()
    assert (splits[0], told) == ("train: 17 questions of the task, 68 CoTs", "bank: training can use it")
    assert not Path("bank.partial").exists()


def test_the_files_labels_are_kept_by_choice(realm: Realm) -> None:
    rows = [{"id": "q", "question": "?", "answer": "1", "cots": [{"text": "t", "answer": "2", "correct": True}]}]
    write_rows(Path("theirs.jsonl"), rows)  # type: ignore[arg-type]
    assert "labels are the file's own" in done(realm("import", "theirs.jsonl", "kept", "--keep-labels"))
    assert Bank.open("kept").all()[0].label == 1
    done(realm("import", "theirs.jsonl", "set", "--set", "bank.relabel=false"))
    assert Bank.open("set").all()[0].label == 1
    assert "agrees with 0 of the file's 1 labels" in done(realm("import", "theirs.jsonl", "ours", "--relabel"))


def test_keys_are_mapped_by_the_configuration_and_questions_met_by_their_text(realm: Realm) -> None:
    done(realm("import", "flat.jsonl", "bank", "--config", "config.yaml"))
    bank = Bank.open("bank")
    assert len(bank) == 96
    assert bank.info["verifier"] == "number"
    assert {question.id for question in bank.questions.values()} == {f"q{number}" for number in range(24)}
    assert {question.split for question in bank.questions.values()} == {"train", "validation", "test"}
    assert [cot.label for cot in bank.cots("q0")] == [1, 0, 1, 0]
    assert json.loads(bank.all()[0].meta) == {"n": 1}
    assert "training can use it" in done(realm("validate", "bank", "--config", "config.yaml"))


def test_a_common_file_is_read_and_what_was_read_is_told(realm: Realm) -> None:
    rows = [
        {
            "problem": f"What is {number} + 1?",
            "answer": str(number + 1),
            "generations": [f"So \\boxed{{{number + 1}}}", None],
            "correctness_math_verify": [True, None],
            "uuid": str(number),
        }
        for number in range(3)
    ]
    Path("theirs.json").write_text(json.dumps(rows, indent=1))
    assert done(realm("import", "theirs.json", "bank", "--verifier", "number")).splitlines() == [
        "bank: 3 CoTs of 3 questions; 3 CoTs left out, they are null",
        "  read: question from problem, gold from answer, CoT from generations.*, "
        "correct from correctness_math_verify.*",
        "    kept in meta, unless bank.mapping takes it: uuid",
        "  judged by the verifier number: agrees with 3 of the file's 3 labels; 0 answers unreadable, 0 not finished",
    ]
    joined = [{"instruction": "Add.", "input": "2 and 2", "reply": "Final answer: 4", "label": "algebra", "gold": [4]}]
    write_rows(Path("joined.jsonl"), joined)  # type: ignore[arg-type]
    message = refused(realm("import", "joined.jsonl", "joined", "--verifier", "number"))
    assert "the keys found are instruction, input, reply, label, gold" in message
    settings = ["question=input+instruction", "text=reply", "correct=none"]
    done(realm("import", "joined.jsonl", "joined", *(f"--set=bank.mapping.{text}" for text in settings)))
    (question,) = Bank.open("joined").questions.values()
    assert (question.question, question.answer) == ("2 and 2\n\nAdd.", "4")


def test_a_file_of_unknown_shape_is_refused_with_its_keys(realm: Realm) -> None:
    message = refused(realm("import", "flat.jsonl", "bank"))
    assert "flat.jsonl:1: expected a text under `response`, found dict. " in message and "bank.mapping: {" in message
    message = refused(realm("import", "flat.jsonl", "bank", "--set", "bank.mapping.text=no.where"))
    assert "expected a text under `no.where`, found none" in message
    write_rows(Path("odd.jsonl"), [{"frage": "?", "antwort": "1"}])
    assert "the keys found are frage, antwort" in refused(realm("import", "odd.jsonl", "bank"))
    message = refused(realm("import", "flat.jsonl", "bank", "--set", "bank.mapping.txt=response"))
    assert "bank.mapping: unknown key txt" in message
    assert "did you mean number?), found 'nubmer'" in refused(
        realm("import", "rows.jsonl", "bank", "--verifier", "nubmer")
    )
    assert "no.jsonl" in refused(realm("import", "no.jsonl", "bank"))
    assert not Path("bank").exists() and not Path("bank.partial").exists()


def test_bad_rows_are_refused_or_skipped(realm: Realm) -> None:
    with Path("rows.jsonl").open("a") as file:
        file.write('{"torn\n')
    assert "rows.jsonl:25: " in refused(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    told = done(realm("import", "rows.jsonl", "bank", "--verifier", "number", "--set", "task.bad_rows=skip"))
    assert "96 CoTs of 24 questions; 1 bad rows skipped" in told


def test_answers_and_golds_that_cannot_be_read_are_told_and_refuse_nothing(realm: Realm) -> None:
    """The rows are sound: another verifier may read what this one cannot."""
    rows = question_rows()
    rows[2]["answer"] = "V\x1b[31m"
    rows[3] |= {"answer": "a lot", "cots": []}
    rows[4]["cots"][0]["answer"] = "per\x1b[1mhaps"  # type: ignore[index]
    write_rows(Path("odd.jsonl"), rows)
    for more in ([], ["--set", "task.bad_rows=skip"]):
        told = done(realm("import", "odd.jsonl", f"bank{len(more)}", "--verifier", "number", *more))
        assert "bad rows" not in told and "\x1b" not in told
        assert "agrees with 87 of the file's 88 labels; 1 answers unreadable" in told
        assert (
            "1 of 92 whole answers (1.1%) cannot be read by the verifier and have no label, e.g. “per\\x1b[1mh" in told
        )
        assert "2 golds cannot be read by the verifier" in told
        assert "e.g. odd.jsonl:3: “V\\x1b[31m”, odd.jsonl:4: “a lot”: mend" in told
    told = done(realm("stats", "bank0"))
    assert "1 of 92 whole answers (1.1%) cannot be read" in told and "1 gold cannot be read" in told
    assert json.loads(done(realm("stats", "bank0", "--json")))["unreadable"]["gold_cots"] == 4
    told = done(realm("validate", "bank0"))
    assert "questions whose gold the verifier cannot read" in told and "q2: gold 'V\\x1b[31m'" in told
    done(realm("label", "bank0", "--all", "--verifier", "exact"))
    assert "cannot be read" not in done(realm("stats", "bank0"))
    # Most of a bank: verifier and answers do not fit each other.
    for row in rows:
        row["cots"] = [{**cot, "answer": f"{cot['answer']} or 99"} for cot in row["cots"]]  # type: ignore[attr-defined]
    write_rows(Path("odd.jsonl"), rows)
    done(realm("import", "odd.jsonl", "useless", "--verifier", "number"))
    message = realm("validate", "useless")
    assert message.exit_code == 2 and "more than 20% of all: 92" in message.output


@pytest.mark.parametrize("shape", ["jsonl", "flat", "parquet", "messages"])
def test_a_bank_goes_out_and_comes_back(realm: Realm, shape: str) -> None:
    done(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    file = "out.parquet" if shape == "parquet" else "out.jsonl"
    told = done(realm("export", "bank", file, "--to", shape))
    number = 48 if shape == "messages" else 96
    assert f"{file}: {number} CoTs of 24 questions in {24 if shape == 'jsonl' else number} rows" in told
    assert ("48 CoTs left out" in told) == (shape == "messages")
    assert f"{file}: is there already" in refused(realm("export", "bank", file, "--to", shape))
    done(realm("export", "bank", file, "--to", shape, "--all", "--overwrite"))
    done(realm("import", file, "back", "--keep-labels"))
    assert Bank.open("back").all() == Bank.open("bank").all()


def test_labels_are_made_and_made_anew(realm: Realm) -> None:
    done(realm("import", "rows.jsonl", "bank", "--keep-labels"))
    assert "bank.json names no verifier" in refused(realm("label", "bank", "--all"))
    told = done(realm("label", "bank", "--all", "--verifier", "number"))
    assert told.splitlines()[:2] == [
        "bank: 96 CoTs judged by the verifier number",
        "  48 right, 48 wrong, 0 unreadable, 0 unreadable gold, 0 timeout, 0 error, 0 no gold",
    ]
    assert "bank: 0 CoTs judged by the verifier number" in done(realm("label", "bank"))
    assert "would be mixed" in refused(realm("label", "bank", "--verifier", "exact"))
    assert "96 CoTs judged" in done(realm("label", "bank", "--all", "--config", "config.yaml", "--workers", "1"))


def test_reasons_are_counted_and_shown_harmlessly(realm: Realm) -> None:
    done(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    path = Path("bank/cots.jsonl")
    rows = read_rows(path)
    for row in rows[:3]:
        row.update(label=None, answer="1 or 2")
    write_rows(path, rows)
    told = done(realm("label", "bank"))
    assert "0 right, 0 wrong, 3 unreadable" in told
    assert "  3 of 3 whole answers (100.0%) cannot be read by the verifier and have no label, e.g. “1 or 2”: " in told
    assert "task.verifier" in told and "teachers.*.prompt" in told
    assert "3 × unreadable" in told


def test_a_bank_that_training_cannot_use_is_refused_row_by_row(realm: Realm) -> None:
    done(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    path = Path("bank/cots.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], '{"\x1b[31mevil": 1}', *lines]) + "\n")
    result = realm("validate", "bank")
    assert "training cannot use it for 2 reasons" in refused(result)
    assert "error: rows that are no CoT: 1. What to do: mend or remove the lines." in result.stdout
    assert "cots.jsonl:2: " in result.stdout and "\x1b" not in result.output
    assert "cots.jsonl:3: q0/m/0 is CoT number 1 too" in result.stdout


def test_a_bank_of_other_questions_is_refused_with_the_task(realm: Realm) -> None:
    write_rows(Path("other.jsonl"), [{**row, "id": f"x{row['id']}"} for row in question_rows()])
    done(realm("import", "other.jsonl", "bank", "--verifier", "number"))
    assert "training can use it" in done(realm("validate", "bank"))
    result = realm("validate", "bank", "--config", "config.yaml")
    assert "no training question of the task has a usable CoT" in result.stdout
    assert "import with the task's CONFIG" in result.stdout
    refused(result)


def test_compaction_says_what_it_saves(realm: Realm) -> None:
    done(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    before = Bank.open("bank").all()
    told = done(realm("compact", "bank"))
    assert "bank: 96 CoTs in cots-1.parquet; 0.0 MB before, 0.0 MB after" in told
    assert Bank.open("bank").all() == before
    assert "cots-2.parquet" in done(realm("compact", "bank"))
    assert "expected a bank" in refused(realm("compact", "rows.jsonl"))
    assert "expected a bank" in refused(realm("compact", "nowhere"))


@pytest.mark.parametrize("command", ["label", "compact"])
def test_two_processes_never_write_together(realm: Realm, command: str) -> None:
    done(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    with another_holds(Path("bank")):
        assert "is working in this folder" in refused(realm(command, "bank"))


@pytest.mark.parametrize("broken", ["missing", "damaged"])
def test_a_broken_table_is_named_by_every_command(realm: Realm, broken: str) -> None:
    done(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    done(realm("compact", "bank"))
    table = Path("bank/cots-1.parquet")
    if broken == "missing":
        table.unlink()
    else:
        table.write_bytes(b"PAR1" + table.read_bytes()[20:-20])
    for command in (["validate", "bank"], ["label", "bank"], ["export", "bank", "out.jsonl"], ["compact", "bank"]):
        result = realm(*command)
        assert "cots-1.parquet" in refused(result) + result.stdout


def test_label_all_keeps_what_it_cannot_judge(realm: Realm) -> None:
    rows = [{"question": f"{n} + 0?", "text": "so", "cot_answer": str(n), "correct": n > 1} for n in range(4)]
    write_rows(Path("bare.jsonl"), rows)
    done(realm("import", "bare.jsonl", "bank", "--keep-labels"))
    told = done(realm("label", "bank", "--all", "--verifier", "number"))
    assert "4 keep the label they have: their questions have no gold" in told
    assert sorted(cot.label for cot in Bank.open("bank").all() if cot.label is not None) == [0, 0, 1, 1]
    Path("bank/questions.jsonl").unlink()
    assert "questions.jsonl: is not there" in refused(realm("label", "bank", "--all", "--verifier", "number"))
    result = realm("validate", "bank")
    assert "questions.jsonl is not there" in refused(result) + result.stdout


def test_validate_holds_the_questions_against_the_tasks(realm: Realm) -> None:
    done(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    path = Path("bank/questions.jsonl")
    first, *others = path.read_text().splitlines()
    changed = {**json.loads(first), "question": "Something else?"}
    path.write_text("\n".join([json.dumps(changed), *others]) + "\n")
    done(realm("validate", "bank"))
    result = realm("validate", "bank", "--config", "config.yaml")
    assert "training cannot use it" in refused(result)
    assert "questions that ask something else than the task's of the same id: 1." in result.stdout


def test_a_bank_is_not_exported_onto_itself(realm: Realm) -> None:
    done(realm("import", "rows.jsonl", "bank", "--verifier", "number"))
    before = Path("bank/cots.jsonl").read_bytes()
    assert "a file of the bank itself" in refused(realm("export", "bank", "bank/cots.jsonl", "--overwrite"))
    assert Path("bank/cots.jsonl").read_bytes() == before


def test_a_table_of_another_kind_is_refused(realm: Realm) -> None:
    Path("questions.csv").write_text("question,answer\n1 + 1?,2\n")
    told = refused(realm("import", "questions.csv", "bank", "--verifier", "number"))
    assert "questions.csv: expected a JSONL or Parquet file, found .csv; convert it" in told
