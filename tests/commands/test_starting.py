"""`realm init`: what is proposed for a file of questions, and that what is written is read as it was meant."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from realm.cli.app import app
from realm.commands.configuring import load_config
from realm.commands.starting import _FORMULA, _LITERAL, Started, init
from realm.config import Config
from realm.errors import DataError, ResourceError, UserError
from realm.tasks.registry import load_task
from realm.teacher.comments import read_comments

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def table(rows: list[Row], path: str = "q.csv") -> str:
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def lines(rows: list[Row], path: str = "q.jsonl") -> str:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(rows: list[Row]) -> str:
    datasets.Dataset.from_list(rows).to_parquet("q.parquet")
    return "q.parquet"


def made(question: str, answer: str, golds: Callable[[int], Any], count: int = 40, **more: Any) -> list[Row]:
    return [
        {question: f"What is the case number {n} about?", answer: golds(n)}
        | {key: value(n) for key, value in more.items()}
        for n in range(count)
    ]


def realm(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


#: The file, the columns that are said, the verifier, its choices.
PROPOSED: list[Any] = [
    (lambda: table(made("question", "answer", lambda n: ["yes", "no"][n % 2], 12)), {}, "choice", ["no", "yes"]),
    (
        lambda: lines(made("problem", "solution", lambda n: f"So\n#### {n},000")),
        {"question": "problem", "answer": "solution"},
        "number",
        [],
    ),
    (
        lambda: parquet(made("Frage", "Antwort", lambda n: ["refund", "keep", "ask"][n % 3], nr=int)),
        {"question": "Frage", "answer": "Antwort"},
        "choice",
        ["ask", "keep", "refund"],
    ),
    (lambda: table(made("question", "answer", lambda n: f"['a', {n}]")), {}, "python", []),
    (lambda: table(made("question", "answer", lambda n: f"and/or (a) [b] {chr(97 + n % 26)}{n}")), {}, "exact", []),
    pytest.param(
        lambda: table(made("question", "answer", lambda n: f"\\frac{{{n}}}{{7}}")),
        {},
        "math",
        [],
        marks=pytest.mark.slow,
    ),
    (lambda: lines(made("question", "answer", lambda n: f"the town of {chr(97 + n % 26) * 3}{n}")), {}, "exact", []),
    (lambda: lines(made("question", "answer", lambda n: n % 2)), {}, "number", []),
    (
        lambda: lines(made("question", "answer", lambda n: n, id=lambda n: n % 3, difficulty=str)),
        {"id": "none", "difficulty": "none"},
        "number",
        [],
    ),
    (
        lambda: lines(made("question", "answerKey", lambda n: "AB"[n % 2], choices=lambda n: ["cat", "dog"])),
        {"question": "question+choices", "answer": "answerKey"},
        "choice",
        ["A", "B"],
    ),
]


@pytest.mark.parametrize(("file", "columns", "verifier", "choices"), PROPOSED)
def test_what_is_proposed_loads(file: Callable[[], str], columns: Row, verifier: str, choices: list[str]) -> None:
    source = file()
    found = init("domain", source)
    config = load_config(found.config)
    assert (config.task.path, config.task.columns) == (source, columns)
    assert (config.task.verifier, config.task.choices) == (verifier, choices)
    assert found.read == found.rows
    task = load_task(config)
    assert sum(len(task.rows(split)) for split in task.splits()) == found.rows
    assert f"it reads {found.rows} of {found.rows} golds" in found.config.read_text()


def filled(started: Started) -> str:
    """The configuration with its block of the teacher and its line of the guidance in place."""
    text = started.config.read_text().replace("guidance: {probability: 0}", "#")
    text = text.replace("# guidance:", "guidance:")
    before, block = text.split("# teachers:", 1)
    teacher, rest = block.split("# collect:", 1)
    return f"{before}teachers:{teacher.replace(chr(10) + '# ', chr(10))}# collect:{rest}"


def test_the_next_command_runs_once_the_teacher_is_named() -> None:
    table(made("question", "answer", lambda n: ["yes", "no"][n % 2]))
    told = realm("init", "shop", "--from", "q.csv")
    assert told.exit_code == 0, told.output
    assert "reads 40 of 40 golds" in told.stdout and "splits: train 29, validation 3, test 8" in told.stdout
    assert told.stdout.endswith("realm collect shop/shop.yaml --dry-run\n")
    untouched = realm("collect", "shop/shop.yaml", "--dry-run")
    assert untouched.exit_code == 2 and untouched.stderr.count("\n") == 1
    assert "fill in the section `teachers`" in untouched.stderr
    (example,) = read_comments("shop/rules.md")
    assert example.tags == ("hours",) and example.text.startswith("Replace this")
    path = Path("shop/shop.yaml")
    path.write_text(filled(Started(path, path, load_task(load_config(path)), {}, 0, 0)))
    done = realm("collect", "shop/shop.yaml", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "big (deepseek-chat): 320 CoTs in 80 requests" in done.stdout
    assert load_config(path).guidance.comments == "shop/rules.md"


def test_nothing_is_overwritten_and_a_mistake_leaves_nothing() -> None:
    source = table(made("question", "answer", str))
    Path("one").mkdir()
    Path("one/rules.md").write_text("mine")
    with pytest.raises(ResourceError, match=r"one/rules\.md: is there already"):
        init("one", source)
    assert [item.name for item in Path("one").iterdir()] == ["rules.md"]
    assert Path("one/rules.md").read_text() == "mine"
    with pytest.raises(DataError):
        init("two", "none.csv")
    assert not Path("two").exists()


def written(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (lambda: "none.csv", r"none\.csv: cannot read it"),
        (lambda: written("q.csv", ""), "found nothing"),
        (lambda: written("q.csv", "question,answer,answer\na b c?,1,2\n"), "the header has 'answer' twice"),
        (lambda: written("q.jsonl", ""), "expected rows with columns, found none"),
        (lambda: written("q.jsonl", "[1, 2]\n"), "another kind of rows"),
        (lambda: written("q.jsonl", "{"), "cut off or not JSON"),
        (lambda: written("q.parquet", "PAR"), "expected a Parquet file"),
        (lambda: table(made("question", "gold", str, target=str)), r"is the answer\? .*`gold`, `target`.*--answer"),
        (lambda: table(made("prompt", "answer", str, query=lambda n: "and what else, if any?")), r"--question COLUMN"),
        (lambda: lines(made("question", "answer", lambda n: None)), "no column could be it"),
        (lambda: table(made("question", "answer", str, 2)), "too few"),
        (lambda: table(made("question", "${HOME}", str)), r"holds \$\{"),
        (lambda: lines(made("question", "answer", lambda n: n % 2, choices=lambda n: ["cat", "dog"])), "write letters"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line(file: Callable[[], str], message: str) -> None:
    with pytest.raises(UserError, match=message) as found:
        init("domain", file())
    assert "\n" not in str(found.value) and not Path("domain").exists()


def test_a_data_set_is_looked_at_by_its_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(here / "cache"))
    (here / "set").mkdir()
    parquet(made("question", "answer", str))
    Path("q.parquet").rename("set/test.parquet")
    with pytest.raises(DataError, match=r"Unknown split \"train\""):
        init("domain", "hf:set")
    assert load_config(init("domain", "hf:set:test").config).task.path == "hf:set:test"


def test_columns_may_be_named() -> None:
    source = lines(made("prompt", "gold", lambda n: {"value": n}, query=lambda n: "?"))
    found = init("domain", source, question="prompt", answer="gold.value")
    assert load_config(found.config).task.columns == {"question": "prompt", "answer": "gold.value"}
    with pytest.raises(DataError, match=r"no column 'promt' \(--question\); the columns are `prompt`, `gold`, `query`"):
        init("other", source, question="promt")


def test_answers_that_are_missing_or_unreadable_are_told_and_left_out() -> None:
    rows = made("question", "answer", lambda n: {3: "", 5: "many\n# dogs"}.get(n, str(n)))
    found = init("domain", table(rows))
    config = load_config(found.config)
    assert (config.task.verifier, config.task.bad_rows, found.read) == ("number", "skip", 38)
    assert "2 of 40 rows have no answer that it reads" in found.config.read_text()
    assert sum(len(load_task(config).rows(split)) for split in ("train", "validation", "test")) == 38


def test_numbers_that_are_not_all_written_as_such_are_told() -> None:
    told = realm(
        "init", "domain", "--from", table(made("question", "answer", lambda n: f"{n},00" if n % 5 else str(n)))
    )
    assert "verifier exact: reads 40 of 40 golds; neither numbers" in told.stdout
    told = realm("init", "other", "--from", table(made("question", "answer", lambda n: f"{n}" if n % 5 else f"{n},00")))
    assert "`number` reads only 32 of 40, not e.g. '0,00': write all as numbers" in told.stdout


def test_a_column_with_gaps_is_not_the_answer_where_another_has_none() -> None:
    rows = made("question", "verdict?", lambda n: ["yes", "no"][n % 2], remark=lambda n: ["", "seen", "late"][n % 3])
    assert load_config(init("domain", table(rows)).config).task.columns == {"answer": "verdict?"}
    gaps = made("question", "remark", lambda n: ["", "a", "b"][n % 3])
    assert load_config(init("other", table(gaps)).config).task.columns == {"answer": "remark"}


def test_rows_that_repeat_a_question_are_told() -> None:
    rows = made("question", "answer", str)
    assert "repeat" not in realm("init", "once", "--from", table(rows)).stdout
    told = realm("init", "twice", "--from", table([*rows, rows[3], {**rows[4], "answer": "77"}])).stdout
    assert "  2 rows repeat the question of another, 1 of them with another answer: take them out" in told


def test_a_line_break_in_the_name_of_the_folder_leaves_yaml() -> None:
    found = init("a\nb", table(made("question", "answer", str)))
    assert load_config(found.config).run.name == "a\nb"
    guided = next(line for line in found.config.read_text().splitlines() if line.startswith("# guidance"))
    assert yaml.safe_load(guided[2:])["guidance"]["comments"] == "a\nb/rules.md"


def test_a_name_too_long_for_the_disk_is_one_line() -> None:
    told = realm("init", "x" * 300, "--from", table(made("question", "answer", str)))
    assert told.exit_code == 2 and "the name is too long" in told.stderr and told.stderr.count("\n") == 1


def test_odd_columns_are_only_columns() -> None:
    table([row | {"none": "a;b"} for row in made("question", "answer", str)])
    assert load_task(load_config(init("one", "q.csv").config)).rows("train")[0].tags == ()
    source = parquet([row | {"day": "x"} for row in made("question", "answer", Decimal)])
    assert load_config(init("two", source).config).task.columns == {}
    for beside in ({"text": None}, {"text": 5}):
        init(f"three{beside['text']}", lines(made("question", "answer", str, choices=lambda n, beside=beside: beside)))


NASTY = [
    *("yes", "null", "~", "1.50", ": a", "a: b # c", "- x", "\"'", "'", "{[", "*", "&x", "!!str", "%", "@", "`"),
    *("\x07\x1b[31m", "a\nb", "\u2028", "\u202e", "none", "a+b", "a.b", "\ud800"),
]


@pytest.mark.parametrize("text", NASTY)
def test_names_and_answers_come_back_as_they_were(text: str) -> None:
    check_round_trip(text, [f"{text}0", f"1{text}"], Path())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=8), ends=st.lists(st.text(max_size=6), min_size=2, max_size=2))
def test_any_names_and_answers_come_back(name: str, ends: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    golds = [f"a{ends[0]}", f"b{ends[1]}"]
    assume(
        not any(map(_FORMULA.search, golds)) and not any(map(_LITERAL.match, golds))
    )  # whose verifier takes a process
    check_round_trip(name, golds, tmp_path_factory.mktemp("any"))


def check_round_trip(name: str, golds: list[str], folder: Path) -> None:
    """A column of that name and such answers are found again through the configuration that was written."""
    if "${" in name + "".join(golds):
        return
    rows = [{"question": f"What is the case {n} about?", f"{name} ": golds[n % 2]} for n in range(40)]
    source = lines(rows, str(folder / "rows.jsonl"))
    found = init(folder / "domain", source, answer=f"{name} ")
    config: Config = load_config(found.config)
    task = load_task(config)
    kept = {question.answer for split in task.splits() for question in task.rows(split)}
    assert kept == {gold.strip() for gold in golds} or found.read < 40
    assert config.task.columns == {"answer": f"{name} "}
    if config.task.verifier == "choice":
        assert set(config.task.choices) == {gold.strip() for gold in golds}
    assert found.config.read_text().replace("\n", "").isprintable()
