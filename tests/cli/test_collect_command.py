"""`realm collect`: what it says before it spends, while it asks, and when it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from realm.bank.store import Bank
from realm.cli.collect_show import CollectionView, money
from realm.teacher.lanes import Tally
from tests.cli.conftest import Realm, tree
from tests.conftest import write_rows
from tests.teacher.wire import Wire

KEY = "sk-a-secret-of-the-user"


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire(key=KEY) as server:
        yield server


@pytest.fixture
def here(tmp_path: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a user with a paid teacher: 12 questions, two samples each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("WIRE_KEY", KEY)
    rows = [{"id": f"q{n}", "question": f"{n} + 1?", "answer": str(n + 1)} for n in range(12)]
    write_rows(tmp_path / "rows.jsonl", rows)
    (tmp_path / "rules.md").write_text("- Carry the one.\n")
    change(tmp_path, wire=wire)
    return tmp_path


def change(folder: Path, wire: Wire | None = None, **sections: Any) -> None:
    """Write config.yaml, with other sections or another teacher."""
    path = folder / "config.yaml"
    before = yaml.safe_load(path.read_text()) if path.exists() else {}
    if wire is not None:
        before = {
            "task": {"name": "jsonl", "path": "rows.jsonl", "verifier": "number", "test_size": 2},
            "teachers": {
                "big": {
                    "kind": "openai",
                    "model": "wire-model",
                    "base_url": wire.base_url,
                    "api_key_env": "WIRE_KEY",
                    "batch_size": 1,
                    "sampling": {"max_tokens": 100},
                    "price": {"input": 1, "output": 2},
                }
            },
            "guidance": {"comments": "rules.md", "match": "always"},
            "bank": {"samples": 2},
            "routes": {"k": 1},
        }
    path.write_text(yaml.safe_dump(before | sections))


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert KEY not in result.output
    return result.stderr


def test_it_fills_a_bank_and_says_what_it_cost(here: Path, wire: Wire, realm: Realm) -> None:
    result = realm("collect", "config.yaml", "--out", "bank")
    assert result.exit_code == 0, result.output
    assert "bank: 12 questions, 2 CoTs each (bank.samples): 24 are owed" in result.stdout
    assert "big (wire-model): 24 requests" in result.stdout
    assert "answers: at most 2 400, of max_tokens 100 (there are none yet to estimate from)" in result.stdout
    assert "bank: 24 CoTs added, 24 in all for 12 questions" in result.stdout
    spent = sum((cot.prompt_tokens or 0) + (cot.completion_tokens or 0) for cot in Bank.open("bank").all())
    assert f"used in all: 24 requests, {spent // 1000} {spent % 1000:03} tokens, 0.00" in result.stdout
    assert len(wire.requests) == 24
    assert KEY not in result.output + "".join(
        path.read_text() for path in Path("bank").iterdir() if path.suffix != ".parquet"
    )

    more = realm("collect", "config.yaml", "--out", "bank", "--resume", "--set", "bank.samples=3")
    assert "24 are there, 12 are owed" in more.stdout
    assert "as long as those in the bank" in more.stdout
    assert "cost: about 0.00" in more.stdout
    assert "12 CoTs added, 36 in all" in more.stdout
    assert len(wire.requests) == 36


def test_a_dry_run_needs_no_key_and_no_network_and_writes_nothing(
    here: Path, wire: Wire, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WIRE_KEY")
    before = tree(here)
    result = realm("collect", "config.yaml", "--out", "bank", "--dry-run", "--set", "collect.budget.cost=3")
    assert result.exit_code == 0, result.output
    assert "24 are owed" in result.stdout
    assert "cost: at most 0.0" in result.stdout
    assert "budget, over every start: 3.00 USD" in result.stdout
    assert "nothing was sent, nothing was written" in result.stdout
    shown = realm("collect", "config.yaml", "--out", "bank", "--show", "2")
    assert shown.exit_code == 0, shown.output
    assert not wire.requests and not wire.gets
    assert tree(here) == before


def test_a_prompt_that_is_paid_once_and_what_the_endpoint_had_in_its_cache_are_told(here: Path, realm: Realm) -> None:
    with Wire(key=KEY, block=8) as wire:
        change(here, wire=wire)
        several = "--set", "teachers.big.batch_size=8", "--set", "guidance.probability=0"
        result = realm("collect", "config.yaml", "--out", "bank", *several, "--set", "teachers.big.price.cached=0.25")
        billed = wire.billed
    assert "big (wire-model): 24 CoTs in 12 requests, 0 with comments" in result.stdout
    assert "train: 9 questions, 18 CoTs in 9 requests, at most" in result.stdout
    assert billed["cached"] > billed["prompt"] / 4
    cost = Decimal(billed["prompt"] - billed["cached"] + 2 * billed["completion"]) + Decimal(billed["cached"]) / 4
    tokens = f"{billed['prompt'] + billed['completion']:,} tokens ({billed['cached']:,} of them".replace(",", " ")
    told = f"used in all: 12 requests, {tokens} from the endpoint's cache), {money(cost / 10**6, 'USD')}"
    assert told in result.stdout


def test_the_plan_tells_what_each_split_takes(here: Path, realm: Realm) -> None:
    told = realm("collect", "config.yaml", "--out", "bank", "--dry-run").stdout
    lines = {line.strip().partition(":")[0]: line for line in told.splitlines()}
    assert "9 questions, 18 requests, at most 0.0" in lines["train"]
    assert "1 question, 2 requests" in lines["validation"] and "2 questions, 4 requests" in lines["test"]
    assert "without test (--set 'collect.splits=[train, validation]') that is 4 requests, at most 0.0" in told
    fewer = realm("collect", "config.yaml", "--dry-run", "--set", "collect.splits=[train, validation]").stdout
    assert "20 are owed" in fewer and "test: 2 questions, not asked about (collect.splits)" in fewer
    assert "without" not in fewer


def test_no_library_s_debug_line_is_shown(here: Path) -> None:
    """In a process of its own: under pytest the log has other handlers. bm25s sets its own logger to DEBUG."""
    command = [
        sys.executable,
        "-m",
        "realm",
        "collect",
        "config.yaml",
        "--dry-run",
        "--set",
        "guidance.match=retrieval",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "24 are owed" in done.stdout
    assert "bm25s" not in done.stderr


def test_answers_that_cannot_be_read_are_told_before_more_is_paid(here: Path, wire: Wire, realm: Realm) -> None:
    wire.reply = lambda body: "I hesitate.\nFinal answer: 3 or 4 \x1b[1m"
    result = realm("collect", "config.yaml", "--out", "bank")
    assert result.exit_code == 0, result.output
    told = "24 of 24 whole answers (100.0%) cannot be read by the verifier and have no label, e.g. “3 or 4"
    assert told in result.stdout and "teachers.*.prompt" in result.stdout and "\x1b" not in result.output
    assert {cot.label for cot in Bank.open("bank").all()} == {None}
    shown = realm("collect", "config.yaml", "--out", "bank", "--show", "1")
    assert f"bank: {told}" in shown.stdout and "\x1b" not in shown.output
    assert "cannot be read" not in realm("collect", "config.yaml", "--out", "other", "--show", "1").stdout
    assert "more than 20% of all: 24" in realm("bank", "validate", "bank").output


def test_a_dry_run_of_a_bank_says_what_is_still_owed(here: Path, realm: Realm) -> None:
    assert realm("collect", "config.yaml", "--out", "bank", "--set", "collect.budget.requests=10").exit_code == 3
    before = tree(here / "bank")
    result = realm("collect", "config.yaml", "--out", "bank", "--resume", "--dry-run")
    assert "10 are there, 14 are owed" in result.stdout
    assert tree(here / "bank") == before


def test_a_missing_price_is_said(here: Path, realm: Realm) -> None:
    result = realm("collect", "config.yaml", "--dry-run", "--set", "teachers.big.price.output=null")
    assert "cost: no price given (teachers.big.price)" in result.stdout


def test_samples_are_shown_as_they_would_be_sent_and_harmless(here: Path, wire: Wire, realm: Realm) -> None:
    rows = [{"id": f"q{n}\x1b[2J", "question": f"{n} \x1b]0;owned\x07+ 1?\nSecond", "answer": "1"} for n in range(12)]
    write_rows(here / "rows.jsonl", rows)
    result = realm("collect", "config.yaml", "--show", "4", "--set", "bank.samples=8")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(", guided by 1 comment\n") == result.stdout.count(", unguided") == 2
    assert "Carry the one." in result.stdout
    assert "Second" in result.stdout.splitlines()
    assert "\x1b" not in result.output and "\x07" not in result.output
    assert not wire.requests


def test_when_the_budget_is_reached_it_says_how_to_go_on(here: Path, wire: Wire, realm: Realm) -> None:
    result = realm("collect", "config.yaml", "--out", "bank", "--set", "collect.budget.requests=10")
    assert result.exit_code == 3, result.output
    assert len(wire.requests) == 10
    assert "stopped by the budget: collect.budget.requests 10 allows no further request; 14 samples are owed" in (
        result.stderr
    )
    advice = result.stderr.split("To go on: ")[1].strip()
    assert advice == "--resume --set 'collect.budget.requests=28'"
    go_on = ["collect", "config.yaml", "--out", "bank", "--resume", "--set"]
    assert "14 CoTs added, 24 in all" in realm(*go_on, "collect.budget.requests=28").stdout
    tokens = realm(*go_on, "collect.budget.tokens=1500")
    assert "stopped" not in tokens.stderr  # nothing is owed, so nothing is missing


def test_what_was_given_up_is_said(here: Path, realm: Realm) -> None:
    with Wire(key=KEY, script=lambda seen: "400" if "3 + 1" in str(seen.body) else "") as wire:
        change(here, wire=wire)
        result = realm("collect", "config.yaml", "--out", "bank")
    assert result.exit_code == 3, result.output
    assert (
        "2 samples were given up (400: 2), of the question q3 (2); the last: the endpoint answered 400: "
        in result.stderr
    )
    assert "2 of 24 requests failed: 400: 2" in result.stdout
    assert "22 CoTs added" in result.stdout


def test_mistakes_are_told_before_anything_is_spent(here: Path, wire: Wire, realm: Realm) -> None:
    (here / "empty.md").write_text("# Nothing\n")
    (here / "file").write_text("")
    before = tree(here)
    for arguments, parts in {
        ("--set", "guidance.comments=empty.md"): ["empty.md", "found none"],
        ("--set", "guidance.comments=missing.md"): ["missing.md", "cannot read"],
        ("--set", "collect.splits=[exam]"): ["collect.splits", "exam"],
        ("--set", "teachers.big.base_url=ftp://x"): ["teachers.big.base_url", "ftp://x"],
        ("--set", "teachers.big.prompt=Hello"): ["teachers.big.prompt", "{question}"],
        ("--set", "teachers.big.api_key_env=NO_SUCH"): ["NO_SUCH", "not set"],
        ("--out", "file/bank"): ["file/bank", "cannot write"],
    }.items():
        message = refused(realm("collect", "config.yaml", *arguments))
        assert [part for part in parts if part not in message] == [], message
        assert tree(here) == before
    assert not wire.requests


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told_before_anything_is_spent(here: Path, wire: Wire, realm: Realm) -> None:
    (here / "locked").mkdir(mode=0o500)
    assert "locked/bank: cannot write" in refused(realm("collect", "config.yaml", "--out", "locked/bank"))
    assert not wire.requests


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("teachers.big.model=other", ["'other'", "wire-model", "teachers.big.model"]),
        ("teachers.big.base_url=http://127.0.0.1:1/v1", ["http://127.0.0.1:1/v1", "no answer in 3 tries"]),
    ],
)
def test_an_endpoint_that_cannot_be_asked_is_one_clear_line(
    here: Path, realm: Realm, override: str, parts: list[str]
) -> None:
    with Wire(key=KEY, script=lambda seen: "model" if seen.body["model"] != "wire-model" else "") as wire:
        change(here, wire=wire)
        message = refused(realm("collect", "config.yaml", "--out", "bank", "--set", override))
    assert [part for part in parts if part not in message] == [], message
    assert len(wire.requests) <= 1


def test_settings_can_be_mended_before_the_first_answer(here: Path, realm: Realm, wire: Wire) -> None:
    there = ["collect", "config.yaml", "--out", "bank"]
    assert "no answer in 3 tries" in refused(realm(*there, "--set", "teachers.big.base_url=http://127.0.0.1:1/v1"))
    assert "--resume" in refused(realm(*there))
    result = realm(*there, "--resume")
    assert result.exit_code == 0, result.output
    assert wire.base_url in Path("bank/bank.json").read_text()
    other = refused(realm(*there, "--resume", "--set", "teachers.big.sampling.temperature=0.1"))
    assert "collected with another teachers.big.sampling.temperature" in other
    moved = realm(*there, "--resume", "--set", "teachers.big.base_url=http://127.0.0.1:1/v1")
    assert moved.exit_code == 0, moved.output  # the same model at another address: nothing is owed


def test_an_endpoint_and_a_model_of_this_machine_share_the_samples(
    here: Path, realm: Realm, student: Path, wire: Wire
) -> None:
    teachers = yaml.safe_load((here / "config.yaml").read_text())["teachers"]
    small = {"kind": "transformers", "model": str(student), "batch_size": 5, "sampling": {"max_tokens": 4}}
    change(here, teachers=teachers | {"small": small}, guidance={"probability": 0})
    first = ["collect", "config.yaml", "--out", "bank", "--set"]
    result = realm(*first, "bank.samples=1", "--set", "collect.budget.requests=7")
    assert result.exit_code == 3, result.output
    assert "small (" in result.stdout
    result = realm(*first, "bank.samples=2", "--resume")
    assert result.exit_code == 0, result.output
    cots = Bank.open("bank").all()
    assert sorted(Counter(cot.teacher for cot in cots).items()) == [("big", 12), ("small", 12)]
    assert {cot.problem for cot in cots if cot.teacher == "small"} <= {"cut", "empty", "no_answer", "malformed"}
    assert len(wire.requests) == 12


def test_a_wrong_key_is_one_clear_line_without_it(here: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRE_KEY", "sk-something-else-entirely")
    message = refused(realm("collect", "config.yaml", "--out", "bank"))
    assert "401" in message
    assert "something-else" not in message


def test_a_bank_that_cost_something_is_moved_aside(here: Path, realm: Realm, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        assert realm("collect", "config.yaml", "--out", "bank", "--overwrite").exit_code == 0
        before = tree(here / "bank")
        realm("collect", "config.yaml", "--out", "bank", "--overwrite", "--set", "bank.samples=1")
        aside = f"bank.old-{2 * number - 1}"
        assert f"bank: the bank that was there is kept as {aside}" in caplog.text
        assert tree(here / aside) == before
        assert len(Bank.open("bank")) == 12


def test_a_bank_that_cost_nothing_is_replaced(here: Path, realm: Realm) -> None:
    few = ["--set", "task.max_train=3", "--set", "task.max_test=2", "--out", "desk"]
    assert realm("collect", *few).exit_code == 0
    assert realm("collect", *few, "--overwrite").exit_code == 0
    assert [path.name for path in here.glob("desk*")] == ["desk"]


def test_ctrl_c_keeps_what_came_and_says_how_to_go_on(here: Path) -> None:
    with Wire(key=KEY, latency=0.2) as wire:
        change(here, wire=wire)
        arguments = ["collect", "config.yaml", "--out", "bank", "--set", "collect.concurrency=2"]
        process = subprocess.Popen(
            [sys.executable, "-m", "realm", *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        while len(wire.requests) < 6 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        assert process.returncode == 130, error
        assert f"To go on where it was: realm {' '.join(arguments)} --resume" in error
        assert "stopping; " in error
        assert "Traceback" not in error
        assert 5 <= len(Bank.open("bank")) == len(wire.requests) < 24


def test_nothing_heavy_is_loaded_that_is_not_asked_for(here: Path) -> None:
    program = (
        "import sys\nfrom realm.cli.app import app\ntry:\n    app(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'transformers', 'openai', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )

    def loaded(*arguments: str) -> str:
        command = [sys.executable, "-c", program, "collect", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    desk = ["--set", "task.max_train=3", "--set", "task.max_test=2", "--out", "desk"]
    assert loaded(*desk) == loaded("config.yaml", "--dry-run") == loaded("config.yaml", "--show", "1") == "[]"
    assert loaded("config.yaml", "--out", "bank") == "['openai']"


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realm.cli.collect_show.EVERY", 0.0)
    with CollectionView() as view:
        tally = Tally(owed=1000)
        view.show(tally)
        tally.done, tally.requests, tally.retries = 400, 450, 20
        tally.failures.update({"429": 50})
        tally.spent.tokens, tally.spent.unpriced = 12_345, 400
        tally.note = "held \x1b[1m back"
        view.show(tally)
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("collecting: 400 of 1000, ")
    for part in ("requests/s", "12 345 tokens", "no price given for 400 samples", "20 retries", "failures 429: 50"):
        assert part in line
    assert line.endswith("held \\x1b[1m back")


def test_on_a_terminal_it_is_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with CollectionView() as view:
        for done in (10, 400):
            view.show(Tally(owed=1000, done=done, note="[/nothing] [bold]"))
    drawn = capsys.readouterr().err
    assert "400/1000" in drawn
    assert "[/nothing] [bold]" in drawn


@pytest.mark.parametrize(
    ("amount", "text"), [("0", "0.00"), ("12.346", "12.35"), ("0.5", "0.500"), ("0.000123", "0.000123")]
)
def test_small_sums_keep_their_digits(amount: str, text: str) -> None:
    assert money(Decimal(amount), "USD") == f"{text} USD"
