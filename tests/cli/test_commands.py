"""The commands doing their work, on a tiny task and student."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.cli.results import print_results
from realm.config import load_config
from realm.errors import ResourceError
from realm.exchange.run_bank import open_run_bank
from realm.rows.evaluation import Evaluation
from realm.run import RunFolder
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool
from tests.cli.conftest import Realm, tree
from tests.conftest import read_rows

#: Room for a CoT, one token a byte.
LONG = ["--set", "training.rl.max_completion_length=120"]


def test_train_leaves_a_whole_run_that_evaluate_and_report_take(work: Path, realm: Realm) -> None:
    result = realm("train", "config.yaml", "--set", "training.recipe=realm-r1", *LONG, "--out", "out/mine")
    assert result.exit_code == 0, result.output
    run = work / "out" / "mine"
    assert {item.name for item in run.iterdir()} >= {
        "config.yaml", "meta.json", "metrics.jsonl", "completions.jsonl", "evaluations.jsonl", "predictions.jsonl",
        "bank", "checkpoints", "model", "report.html",
    }  # fmt: skip
    assert [(row["stage"], row["step"]) for row in read_rows(run / "metrics.jsonl")] == [
        ("sft", 1),
        ("rl", 1),
        ("rl", 2),
    ]
    assert json.loads((run / "meta.json").read_text())["status"] == "done"
    assert load_config(run / "config.yaml").run_path == Path("out/mine")
    final = [
        (row["split"], row["routes"], row["n"])
        for row in read_rows(run / "evaluations.jsonl")
        if row["stage"] == "final"
    ]
    assert final == [("test", 0, 6), ("test", 2, 6)]
    assert len(Bank.open(run / "bank")) == 24 * 4
    for part in ("accuracy", "95 %", str(run.relative_to(work) / "model"), "report.html"):
        assert part in result.stdout

    before = tree(run)
    result = realm("evaluate", "out/mine")
    assert result.exit_code == 0, result.output
    assert tree(run) == before
    again = read_rows(work / "out" / "mine-evaluation" / "evaluations.jsonl")
    assert [row["accuracy"] for row in again] == [
        row["accuracy"] for row in read_rows(run / "evaluations.jsonl") if row["stage"] == "final"
    ]
    assert "out/mine/model" in result.stdout
    evaluation = work / "out" / "mine-evaluation"
    assert load_config(evaluation / "config.yaml").model.path == "out/mine/model"
    meta = json.loads((evaluation / "meta.json").read_text())
    assert meta["evaluated"] == "out/mine/model"
    assert "torch" in meta["versions"]

    assert realm("evaluate", "out/mine").exit_code == 2
    assert realm("evaluate", "out/mine", "--overwrite").exit_code == 0

    result = realm("report", "out/mine", "--out", "page.html")
    assert result.exit_code == 0, result.output
    assert "page.html" in result.stdout
    assert "<html" in (work / "page.html").read_text()


def test_a_used_name_is_refused_resumed_or_overwritten(work: Path, realm: Realm) -> None:
    assert realm("train", "config.yaml").exit_code == 0
    run = work / "runs" / "first"
    metrics = (run / "metrics.jsonl").read_bytes()
    before = tree(run)
    assert realm("train", "config.yaml").exit_code == 2
    assert tree(run) == before

    assert realm("train", "config.yaml", "--resume").exit_code == 0
    assert (run / "metrics.jsonl").read_bytes() == metrics
    assert len([row for row in read_rows(run / "evaluations.jsonl") if row["stage"] == "final"]) == 2

    refused = realm("train", "config.yaml", "--resume", "--set", "training.rl.learning_rate=0.5")
    assert refused.exit_code == 2
    assert "training.rl.learning_rate" in refused.stderr

    questions = (work / "rows.jsonl").read_text()
    (work / "rows.jsonl").write_text(questions.replace('"0 + 1?"', '"0 + 1 is what?"'))
    refused = realm("train", "config.yaml", "--resume")
    assert refused.exit_code == 2 and "the run was begun with other questions" in refused.stderr
    (work / "rows.jsonl").write_text(questions)

    assert realm("train", "config.yaml", "--overwrite", "--set", "training.rl.steps=1").exit_code == 0
    assert len(read_rows(run / "metrics.jsonl")) == 1


def test_one_command_starts_a_run_and_goes_on_with_it(work: Path, realm: Realm) -> None:
    """As a job that is queued again has it."""
    run = work / "runs" / "first"
    assert realm("train", "config.yaml", "--resume", "--show-config").exit_code == 0 and not run.exists()
    named = realm("train", "runs/first", "--resume")
    assert named.exit_code == 2 and "runs/first" in named.stderr, "a run folder that is not there"
    started = realm("train", "config.yaml", "--resume")
    assert started.exit_code == 0, started.output
    assert started.stderr.count("runs/first: no run to resume yet; it is started") == 1
    metrics = (run / "metrics.jsonl").read_bytes()
    again = realm("train", "config.yaml", "--resume")
    assert again.exit_code == 0 and "no run to resume" not in again.stderr
    assert (run / "metrics.jsonl").read_bytes() == metrics


def test_another_process_leaves_its_reason_to_the_main_one(
    work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ResourceError("RL step 3: out of memory")

    run = RunFolder.create(load_config(work / "config.yaml"))
    with monkeypatch.context() as patch:
        patch.setattr("realm.training.recipes.train", fail)
        patch.setenv("RANK", "1")
        assert realm("train", "config.yaml", "--resume").exit_code == 2
    assert run.failure_elsewhere() == "process 1: RL step 3: out of memory"
    assert "process 1: RL step 3: out of memory" in realm("doctor", "runs/first").stdout
    run.finish("failed", "connection closed by peer")
    assert run.meta.reason == "process 1: RL step 3: out of memory"


def test_an_imported_bank_is_the_run_s_own(work: Path, realm: Realm) -> None:
    cots = work / "runs" / "first" / "bank" / "cots.jsonl"
    assert realm("train", "config.yaml").exit_code == 0
    first = cots.read_bytes()
    text = (work / "rows.jsonl").read_text()
    (work / "rows.jsonl").write_text(text.replace("I add.", "I count."))

    assert realm("train", "config.yaml", "--resume").exit_code == 0
    assert cots.read_bytes() == first
    config = load_config(work / "config.yaml")
    task = load_task(config)
    with VerifierPool(task.verifier.name) as pool:
        for resume, word in ((True, "I add."), (False, "I count.")):
            bank = open_run_bank(config, task, pool, resume=resume)
            assert bank is not None
            assert all(cot.text.startswith(word) for cot in bank.all())

    assert realm("train", "config.yaml", "--overwrite").exit_code == 0
    assert cots.read_bytes() == first.replace(b"I add.", b"I count.")
    assert [item.name for item in cots.parent.parent.glob("bank*") if item.is_dir()] == ["bank"]


def test_a_collected_bank_outlives_an_import(work: Path, realm: Realm) -> None:
    collected = Bank.create(work / "runs" / "first" / "bank", {"task": "jsonl"})
    collected.append([CoT("q1", "I add. 2", "2", 1)])
    before = tree(work / "runs" / "first" / "bank")
    for _ in range(2):
        assert realm("train", "config.yaml", "--overwrite").exit_code == 0
        assert tree(work / "runs" / "first" / "bank") == before


def test_evaluate_without_a_bank_shows_no_routes_and_says_so(
    work: Path, realm: Realm, caplog: pytest.LogCaptureFixture
) -> None:
    result = realm("evaluate", "config.yaml", "--set", "bank.path=null", "--out", "done")
    assert result.exit_code == 0, result.output
    assert [row["routes"] for row in read_rows(work / "done" / "evaluations.jsonl")] == [0]
    assert "without routes only: bank.path is not set" in caplog.text


def test_the_table_is_whole_at_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = Evaluation(
        stage="final", step=1, split="uncommented", routes=4, n=1000, accuracy=1.0, accuracy_low=1.0, accuracy_high=1.0,
        same_err=1.0, parse_failures=0.125, completion_tokens=123.4,
    )  # fmt: skip
    print_results("first, grpo", [row])
    title, head, cells, *_ = capsys.readouterr().out.splitlines()
    assert title.strip() == "first, grpo"
    assert head.split() == [
        "split",
        "routes",
        "n",
        "accuracy",
        "[95",
        "%]",
        "same_err",
        "scoring",
        "unparsed",
        "tokens",
    ]
    assert cells.split() == ["uncommented", "4", "1000", "100.0", "[100.0,", "100.0]", "100.0", "–", "12.5", "123"]


def test_the_table_tells_of_answers_not_read_and_routes_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    row = Evaluation(
        stage="final", step=1, split="test", routes=4, n=10, accuracy=1.0, accuracy_low=1.0, accuracy_high=1.0,
        parse_failures=0.0, completion_tokens=9.0,
    )  # fmt: skip
    print_results("old", [row])
    print_results("none", [replace(row, unreadable_answers=0.0)])
    out = capsys.readouterr().out
    assert "could not read" not in out and "no room" not in out and "True sums" not in out
    print_results("also", [replace(row, split="x:y", before=0.5, change=-0.25, change_low=-0.5, change_high=0.0)])
    assert "x:y: 50.0 untrained, 100.0 trained; -25.0 points [-50.0, +0.0]." in capsys.readouterr().out
    print_results("sums", [replace(row, sums=8, true_sums=0.875), replace(row, routes=0, sums=2, true_sums=1.0), row])
    told = " ".join(capsys.readouterr().out.split())
    assert "True sums, of those stated: test, with routes 87.5; test 100.0." in told
    print_results("short", [replace(row, routes_per_prompt=0.0, routes_dropped=4.0)])
    told = " ".join(capsys.readouterr().out.split())
    assert "No route was shown, 4 left out (test, 4 routes): the context has no room" in told
    shown = replace(row, routes_per_prompt=1.25, routes_dropped=0.0)
    print_results("fewer", [replace(shown, routes=0, routes_per_prompt=0.0), shown])
    told = " ".join(capsys.readouterr().out.split())
    assert "The bank has fewer routes than were asked for; shown a prompt: test 1.2 of 4." in told
    print_results("all", [replace(shown, routes_per_prompt=4.0)])
    assert "fewer routes" not in capsys.readouterr().out
    print_results("some", [replace(row, unreadable_answers=0.25, unreadable_examples=("“[b]x”",))])
    told = " ".join(capsys.readouterr().out.split())
    assert "could not read up to 25.0 % of the answers (test, 4 routes), e.g. “[b]x”" in told


def test_the_recipe_without_cots_needs_no_bank(work: Path, realm: Realm) -> None:
    result = realm("train", "config.yaml", "--set", "training.recipe=grpo", "--set", "bank.path=null")
    assert result.exit_code == 0, result.output
    final = [row for row in read_rows(work / "runs" / "first" / "evaluations.jsonl") if row["stage"] == "final"]
    assert [(row["split"], row["routes"]) for row in final] == [("test", 0)]


def test_collect_fills_a_bank_that_train_finds(work: Path, realm: Realm) -> None:
    few = ["--set", "task.max_train=3", "--set", "task.max_test=2", "--set", "bank.samples=4"]
    result = realm("collect", *few, "--set", "guidance.probability=1")
    assert result.exit_code == 0, result.output
    bank = Bank.open(work / "runs" / "desk" / "bank")
    assert len(bank) % 4 == 0
    assert f"{len(bank)} CoTs added" in result.stdout
    assert "guided" in result.stdout

    assert realm("collect", *few).exit_code == 2
    other = realm("collect", *few, "--set", "guidance.probability=0.5", "--resume")
    assert other.exit_code == 2
    assert "collected with another guidance" in other.stderr
    resumed = realm("collect", *few, "--set", "guidance.probability=1", "--resume")
    assert resumed.exit_code == 0
    assert " 0 CoTs added" in resumed.stdout
    assert realm("collect", *few, "--overwrite", "--set", "bank.samples=1", "--set", "routes.k=1").exit_code == 0
    assert len(Bank.open(work / "runs" / "desk" / "bank")) == len(bank) / 4


def test_desk_show_prints_rules_cases_and_cots(realm: Realm) -> None:
    result = realm("desk", "show", "--cases", "2", "--cots", "4", "--split", "ood")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("gold: ") == 2
    assert result.stdout.count("  guided, ") == result.stdout.count("  unguided, ") == 4
    assert realm("desk", "show", "--cases", "2", "--cots", "4", "--split", "ood").stdout == result.stdout


@pytest.mark.slow
def test_ctrl_c_in_training_tells_the_command_that_goes_on(work: Path) -> None:
    command = [sys.executable, "-m", "realm"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = ["train", "config.yaml", "--set", "training.rl.steps=40", "--set", "training.eval_every=40"]
    process = subprocess.Popen(
        [*command, *arguments], cwd=work, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    metrics = work / "runs" / "first" / "metrics.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (metrics.exists() and len(metrics.read_text().splitlines()) > 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    told = stderr.strip().splitlines()[-1].partition(": realm ")[2].split()
    assert told == [*arguments, "--resume"]
    assert json.loads((work / "runs" / "first" / "meta.json").read_text())["status"] == "interrupted"
    # A checkpoint in the making may have been cut; what is told must work all the same.
    done = subprocess.run(
        [*command, *told, "--set", "training.keep_checkpoints=1"],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    steps = [row["step"] for row in read_rows(metrics)]
    assert steps == list(range(1, 41))


def test_a_recipe_of_somebody_else_trains_and_is_reported(
    work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "my_recipes.py").write_text(
        "from realm.recipes import realm_zero\n"
        "from realm.recipes.stage import Recipe\n"
        "BRIEF = Recipe('brief', realm_zero.RECIPE.stages, {'fade.fade_end': 0.25})\n"
    )
    monkeypatch.syspath_prepend(work)
    result = realm("train", "config.yaml", "--set", "training.recipe=my_recipes:BRIEF")
    assert result.exit_code == 0, result.output
    assert load_config(work / "runs" / "first" / "config.yaml").fade.fade_end == 0.25
    assert "my_recipes:BRIEF" in (work / "runs" / "first" / "report.html").read_text(encoding="utf-8")
    assert realm("doctor", "runs/first").exit_code in (0, 1)
    assert realm("train", "config.yaml", "--set", "training.recipe=my_recipes:LONG").exit_code == 2
