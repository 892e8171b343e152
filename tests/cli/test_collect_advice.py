"""What `realm collect` advises: whether the budget is enough, what is likely not meant, what is wrong with answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from realm.bank.store import Bank
from realm.cli.collect_show import CollectionView
from realm.teacher.lanes import Tally
from tests.cli.conftest import Realm, tree
from tests.conftest import write_rows
from tests.teacher.wire import Wire

THERE = ["collect", "config.yaml", "--out", "bank"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def write(folder: Path, wire: Wire | None = None, count: int = 20, **guidance: object) -> None:
    """config.yaml: two samples of each of `count` questions with the tags `sum` and `odd`."""
    rows = [
        {"id": f"q{n}", "question": f"{n} + 1?", "answer": str(n % 10), "tags": ["sum", "odd"]} for n in range(count)
    ]
    write_rows(folder / "rows.jsonl", rows)
    teacher = {
        "kind": "openai",
        "model": "wire-model",
        "base_url": wire.base_url if wire else "http://127.0.0.1:9/v1",
        "api_key_env": None,
        "batch_size": 1,
        "sampling": {"max_tokens": 100},
        "price": {"input": 1000, "output": 1000},
    }
    config = {
        "task": {"name": "jsonl", "path": "rows.jsonl", "verifier": "number", "test_size": 2},
        "teachers": {"big": teacher},
        "guidance": {"probability": 0, **guidance},
        "bank": {"samples": 2},
        "routes": {"k": 1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("requests=10", "collect.budget.requests 10: 0 used, at most 40 to come; it would stop there"),
        ("requests=40", "collect.budget.requests 40: 0 used, at most 40 to come; that is enough"),
        ("tokens=1000", "collect.budget.tokens 1 000: 0 used, at most "),
        ("cost=1", "to come; it may stop there before all is collected"),
        ("cost=900", "to come; that is enough"),
    ],
)
def test_a_dry_run_says_whether_the_budget_is_enough(here: Path, realm: Realm, limit: str, said: str) -> None:
    write(here)
    result = realm(*THERE, "--dry-run", "--set", f"collect.budget.{limit}")
    assert result.exit_code == 0, result.output
    assert said in result.stdout


def test_a_dry_run_counts_what_is_spent_and_judges_by_the_answers_there_are(here: Path, realm: Realm) -> None:
    with Wire() as wire:
        write(here, wire)
        assert realm(*THERE, "--set", "collect.budget.requests=10").exit_code == 3
    spent = sum((cot.prompt_tokens or 0) + (cot.completion_tokens or 0) for cot in Bank.open("bank").all())
    result = realm(*THERE, "--resume", "--dry-run", "--set", f"collect.budget.tokens={spent + 100}")
    shown = f"{spent:,}".replace(",", " ")
    assert f": {shown} used, about " in result.stdout
    assert "it would stop there before all is collected" in result.stdout


def test_a_file_is_no_place_for_a_bank(here: Path, realm: Realm) -> None:
    write(here)
    (here / "bank").write_text("")
    before = tree(here)
    result = realm(*THERE, "--dry-run")
    assert result.exit_code == 2
    assert "bank: cannot write a bank there, it is a file" in result.stderr
    assert tree(here) == before


def test_comments_that_nobody_is_shown_are_told(here: Path, realm: Realm) -> None:
    (here / "rules.md").write_text("# Rules [sums]\n\n- Carry the one.\n")
    write(here, probability=0.5, comments="rules.md")
    result = realm(*THERE, "--dry-run")
    assert result.exit_code == 0
    assert "warning: guidance.probability is 0.5, but no expert comment matches any question" in result.stderr
    assert "warning: tags of questions that no comment has: odd, sum\n" in result.stderr
    assert "warning: tags of comments that no question has: sums\n" in result.stderr
    for quiet in ("guidance.probability=0", "guidance.match=always"):
        assert "warning" not in realm(*THERE, "--dry-run", "--set", quiet).stderr
    tags = ", ".join(f"t{n}" for n in range(9))
    (here / "rules.md").write_text(f"# Rules [sum, odd, {tags}]\n\n- Carry the one.\n")
    result = realm(*THERE, "--dry-run")
    assert result.stderr == "warning: tags of comments that no question has: t0, t1, t2, t3, t4 and 4 more\n"


def test_a_server_that_passes_the_budget_is_told(here: Path, realm: Realm) -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 5000, "total_tokens": 5020}
    with Wire(latency=0.02, overrides={"usage": usage}) as wire:
        write(here, wire)
        result = realm(*THERE, "--set", "collect.budget.tokens=4000")
    assert result.exit_code == 3
    assert "the budget was passed: " in result.stderr
    assert "tokens are used of collect.budget.tokens 4 000" in result.stderr
    assert "big up to 50.0 times" in result.stderr


def test_shares_are_those_of_the_usable_cots(here: Path, realm: Realm) -> None:
    with Wire(script=lambda seen: "cut" if seen.number == 2 else "") as wire:
        write(here, wire)
        result = realm(*THERE)
    assert result.exit_code == 0, result.output
    assert "40 in all for 20 questions\n  0% of the questions have right and wrong CoTs\n" in result.stdout
    right = sum(cot.label or 0 for cot in Bank.open("bank").all() if cot.usable)
    assert f"all: {right} right, {20 - right} wrong" in result.stdout
    assert "20 CoTs have a problem, are never shown to a student" in result.stdout and "cut: 20" in result.stdout


def test_useless_answers_stop_it_and_are_counted(here: Path, realm: Realm) -> None:
    with Wire(script=lambda seen: "cut") as wire:
        write(here, wire, count=80)
        result = realm(*THERE)
        assert len(wire.requests) < 100
    assert result.exit_code == 2
    assert "answers is usable (cut: " in result.stderr
    assert "raise teachers.big.sampling.max_tokens" in result.stderr
    assert f"bank: {len(Bank.open('bank'))} CoTs added" in result.stdout


def test_again_asks_for_what_had_a_problem(here: Path, realm: Realm) -> None:
    with Wire(script=lambda seen: "cut" if len(wire.requests) < 5 else "") as wire:
        write(here, wire)
        assert realm(*THERE).exit_code == 0
        assert "0 are owed" in realm(*THERE, "--resume").stdout
        result = realm(*THERE, "--resume", "--again", "cut")
        assert result.exit_code == 0, result.output
        assert len(Bank.open("bank")) == len(wire.requests) == 45
    for wrong, said in ((["--again", "cut"], "give --resume"), (["--resume", "--again", "x"], "expected one of empty")):
        result = realm(*THERE, *wrong)
        assert (result.exit_code, said in result.stderr) == (2, True)


def test_a_teacher_that_is_left_is_told(here: Path, realm: Realm) -> None:
    with Wire(script=lambda seen: "429" if len(wire.requests) > 4 else "", wait=100_000) as wire:
        write(here, wire)
        result = realm(*THERE, "--set", "collect.concurrency=1")
    assert result.exit_code == 3
    assert "teachers.big is not asked any more: it asks to wait for 27.8 h (the endpoint answered 429" in result.stderr


def test_a_wait_is_no_line_each_half_second_and_is_part_of_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 10.0, *[10.0 + 0.5 * n for n in range(1, 40)], 41.0])
    monkeypatch.setattr("realm.cli.collect_show.time.monotonic", lambda: next(times))
    with CollectionView() as view:
        view.show(Tally(owed=100, done=10))
        for n in range(1, 40):
            view.show(Tally(owed=100, done=10 + n, held=600.0 - 0.5 * n))
        assert capsys.readouterr().err == ""
        view.show(Tally(owed=100, done=49, held=1800.0))
    line = capsys.readouterr().err
    assert "held back for 30 min more" in line
    assert "about 31 min left" in line or "about 30 min left" in line
