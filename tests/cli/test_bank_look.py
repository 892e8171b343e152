from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.cli import bank_look
from realm.errors import UserError
from realm.tasks.base import Question

EVIL = "\x1b[31mred\u202e [bold]x[/bold] \ud800"

app = typer.Typer(rich_markup_mode=None)
for command in (bank_look.stats, bank_look.errors, bank_look.select):
    app.command(command.__name__)(command)


def realm(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def cots(number: int) -> list[CoT]:
    gold = 20 + number
    rows = [(gold, 1, True), (gold + 5, 0, False), (gold + 5, 0, False), (gold + number % 7 + 1, 0, False)]
    return [
        CoT(f"q{number}", f"We add {EVIL} {i} and get {a}.", str(a), label, f"big{EVIL[:3]}", guided, sample=i)
        for i, (a, label, guided) in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 questions with one right and three wrong CoTs, two of which always agree; their text tries to be markup."""
    path = tmp_path_factory.mktemp("banks") / "bank"
    questions = [Question(f"q{n}", f"How many {EVIL}, in case {n}?", str(20 + n), tags=("[red]",)) for n in range(60)]
    folder = BankFolder.create(path, {"task": "jsonl", "verifier": "number"}, questions)
    with folder.lock(), folder.writer() as writer:
        for number in range(60):
            writer.write(cots(number))
    return path


def harmless(text: str) -> bool:
    return text.isprintable() or all(char == "\n" or char.isprintable() for char in text)


def test_stats_tells_what_is_there(bank: Path) -> None:
    result = realm("stats", bank)
    assert result.exit_code == 0, result.output
    assert "240 CoTs for 60 questions" in result.stdout
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "… that can teach contrast 60 100.0% (94.0% – 100.0%)" in lines
    assert "all 240 60 180 0 75.0% (75.0% – 75.0%)" in lines
    assert any(line.startswith("all teachers 60 +100.0") for line in lines)
    assert harmless(result.stdout)


def test_stats_as_json_is_what_the_library_finds(bank: Path) -> None:
    from realm.analysis.stats import statistics
    from realm.bank.scan import groups

    result = realm("stats", bank, "--json", "--seed", 3)
    assert json.loads(result.stdout) == json.loads(json.dumps(statistics(groups(BankFolder.open(bank)), seed=3)))
    assert result.stdout.isascii()


def test_stats_counts_the_students_tokens(bank: Path, student: Path) -> None:
    # One token a byte: 850 tokens hold the question and the instructions, but not four routes of about 100 as well.
    whole = json.loads(realm("stats", bank, "--model", student, "--context", 100_000, "--json").stdout)["lengths"]
    short = json.loads(realm("stats", bank, "--model", student, "--context", 850, "--json").stdout)["lengths"]
    none = json.loads(realm("stats", bank, "--model", student, "--context", 20, "--json").stdout)["lengths"]
    assert whole["context"]["all_fit"] == 1 and whole["context"]["routes_that_fit"] == 4
    assert short["context"]["all_fit"] == 0 and 0 <= short["context"]["routes_that_fit"] < 4
    assert short["context"]["question_alone_too_long"] == 0 and short["context"]["questions"] == 60
    assert none["context"]["question_alone_too_long"] == 60 and none["context"]["routes_that_fit"] is None
    assert whole["tokens"]["median"] > whole["words"]["median"]
    assert "all 2 routes fit" not in realm("stats", bank, "--model", student).stdout
    assert "1536 tokens holds all 2 routes" in realm("stats", bank, "--model", student, "-k", 2).stdout


def test_errors_tells_habits_from_noise(bank: Path) -> None:
    result = realm("errors", bank, "--permutations", 99, "--show", 2)
    assert result.exit_code == 0, result.output
    # Two of three wrong answers are 5 too many, and by chance some of the third ones too.
    assert result.stdout.startswith("Systematic: 71.1% of 180 wrong numbers miss the gold in the same way (+5)")
    assert "180 wrong CoTs, of 60 questions" in result.stdout
    assert "the same wrong answer" in result.stdout
    assert harmless(result.stdout)
    found = json.loads(realm("errors", bank, "--permutations", 99, "--json").stdout)
    assert found["verdict"] == "systematic"
    assert found["answers"]["overall"]["pairs"] == 180


def test_errors_needs_a_hundred_wrong_cots(write: Callable[..., str]) -> None:
    row = {"id": "a", "question": "?", "answer": "1", "cots": [{"text": "x", "answer": "2", "correct": False}]}
    result = realm("errors", write([row]))
    assert result.stdout.startswith("Too few: 1 wrong CoTs, and an analysis needs 100.")


def test_select_shows_what_training_draws_at_step_0(bank: Path) -> None:
    from realm.bank.store import Bank
    from realm.method.routes import Selection, draw

    found = json.loads(realm("select", bank, "--show", 3, "-k", 2, "--seed", 5, "--json").stdout)
    assert [one["question_id"] for one in found] == ["q0", "q1", "q2"]
    shown: dict[str, Any] = {one["strategy"]: one for one in found[1]["shown"]}
    assert set(shown) == {"random", "balanced", "error_ratio", "diverse", "disagreement"}
    for strategy in shown:
        selection = Selection(2, strategy)  # type: ignore[arg-type]
        drawn = draw(Bank.open(bank).routes("q1"), selection, seed=5, question_id="q1", step=0)
        assert [route["id"] for route in shown[strategy]["routes"]] == [route.id for route in drawn.routes]
    text = realm("select", bank, "--question", "q7", "--strategy", "diverse").stdout
    assert "q7: How many" in text and "gold 27; 4 CoTs to choose from" in text
    assert "diverse: 3 of 4 wrong, mean distance" in text and "random" not in text
    assert harmless(text)


def test_a_file_of_cots_is_a_bank_too(write: Callable[..., str]) -> None:
    texts = [{"text": f"so {n}", "answer": str(n), "correct": n == 1, "source": "big"} for n in (1, 2)]
    file = write([{"id": "a", "question": "1 · 1?", "answer": "1", "cots": texts}])
    assert "2 CoTs for 1 questions" in realm("stats", file).stdout
    assert "a: 1 · 1?" in realm("select", file).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stats", "nowhere"], "there is no such bank"),
        (["select", "{bank}", "--question", "nine"], "no usable CoT for question 'nine'"),
        (["select", "{bank}", "--strategy", "best"], "--strategy: expected random"),
        (["stats", "{bank}", "--model", "./nowhere"], "no such model directory"),
        (["errors", "{folder}"], "expected a bank"),
    ],
)
def test_what_the_user_can_mend_is_said(bank: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    result = realm(*(argument.format(bank=bank, folder=tmp_path) for argument in arguments))
    assert isinstance(result.exception, UserError)
    assert said in str(result.exception)
