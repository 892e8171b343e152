"""`realm doctor` says what a run suffers from, and nothing of what it does not suffer from."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from realm.cli.app import app
from realm.config import Config
from realm.pages.data import read_report
from realm.pages.doctor import CHECKS, diagnose
from realm.pages.doctor_case import Finding
from realm.run import RunFolder
from tests.conftest import read_rows
from tests.pages.fake_run import evaluation, jsonl, predictions

Row = dict[str, Any]
STEPS = 60


class Healthy:
    """The files of a run that learned as it should; tests plant one sickness each, then `write` it."""

    def __init__(self) -> None:
        noise = random.Random(0)
        self.rows: list[Row] = [
            {
                "stage": "rl", "round": 0, "step": step, "seconds": 2.0 * step, "tokens": 100 * step, "loss": 0.01,
                "p": 0.5 * (1 + math.cos(math.pi * min(1.0, step / STEPS / 0.9))), "tau": step / STEPS,
                "reward": 1.1 + 0.2 * step / STEPS + noise.gauss(0, 0.03),
                "accuracy": 0.6 + 0.1 * step / STEPS + noise.gauss(0, 0.03),
                "accuracy_without_routes": 0.3 + 0.4 * step / STEPS + noise.gauss(0, 0.03) if step > 15 else None,
                "routes_per_prompt": 2.0, "routes_dropped": 0.0, "zero_spread_groups": 0.2 + noise.gauss(0, 0.03),
                "parse_failures": 0.02, "parse": {"think_missing": 0.02}, "verifier_failures": 0.0,
                "unreadable_answers": 0.01,
                "same_err": 0.4 - 0.2 * step / STEPS, "entropy": 0.4 + noise.gauss(0, 0.02), "kl": 0.05,
                "completion_tokens": 60 + noise.gauss(0, 1), "truncated": 0.01, "clip_ratio": 0.0, "grad_norm": 0.3,
                "learning_rate": 1e-6,
            }
            for step in range(1, STEPS + 1)
        ]  # fmt: skip
        self.alone = {0: 0.3, 20: 0.45, 40: 0.6, 60: 0.68}
        self.shown = {0: 0.8, 20: 0.8, 40: 0.8, 60: 0.8}
        self.final = {0: 0.7, 4: 0.74}
        self.other = (-0.02, -0.1, 0.06)
        self.config: Row = {
            "run": {"name": "run"},
            "routes": {"k": 4},
            "training": {"recipe": "realm-zero", "rl": {"steps": STEPS, "beta": 0.01}},
        }
        self.meta: Row = {"format": 1, "name": "run", "status": "done"}
        self.predictions = predictions(random.Random(0), "realm-zero")
        self.bank: Row = {"questions": 100, "mixed_share": 0.7, "all_right": 20, "all_wrong": 10}

    def every(self, **figures: Any) -> None:
        """Set figures in every row: a value, or a function of (share of the run, row)."""
        for row in self.rows:
            for name, value in figures.items():
                row[name] = value(row["step"] / STEPS, row) if callable(value) else value

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(self.config))
        (folder / "meta.json").write_text(json.dumps(self.meta))
        (folder / "bank_stats.json").write_text(json.dumps(self.bank))
        jsonl(folder / "metrics.jsonl", self.rows)
        jsonl(folder / "completions.jsonl", [])
        jsonl(folder / "predictions.jsonl", self.predictions)
        found = []
        for routes, course in ((0, self.alone), (4, self.shown)):
            for step, accuracy in course.items():
                row = evaluation(random.Random(0), 0.5, n=100, split="validation", routes=routes, step=step)
                found.append({**row, "accuracy": accuracy, "stage": "rl" if step else "base", "round": 0})
        for routes, accuracy in self.final.items():
            row = evaluation(random.Random(0), 0.5, n=400, split="test", routes=routes, step=STEPS)
            gap = self.final[4] - self.final[0]
            more = {"autonomy_gap": gap, "autonomy_gap_low": gap - 0.05, "autonomy_gap_high": gap + 0.05}
            interval = {"accuracy": accuracy, "accuracy_low": accuracy - 0.05, "accuracy_high": accuracy + 0.05}
            found.append({**row, **interval, "stage": "final", **(more if routes else {})})
        row = evaluation(random.Random(0), 0.5, n=50, split="other:test", routes=0, step=STEPS, stage="final")
        told = dict(zip(("change", "change_low", "change_high"), self.other, strict=True))
        found.append({**row, "accuracy": 0.6 + self.other[0], "before": 0.6, **told})
        jsonl(folder / "evaluations.jsonl", found)
        return folder


def sampled(*completions: Row, prompt: str = "…") -> Row:
    """A row of completions.jsonl."""
    plain = {"text": "", "think": "", "answer": "", "scores": [], "correct": False, "reward": 0.0, "format": 0.0}
    plain |= {"scoring": 1.0, "reasons": []}
    row = {"stage": "rl", "step": 1, "question_id": "q", "question": "?", "gold": "7", "p": 0.0, "prompt": prompt}
    return {**row, "routes": [], "completions": [{**plain, **item} for item in completions]}


def findings(run: Healthy, folder: Path, now: float | None = None) -> list[Finding]:
    (diagnosis,) = diagnose(read_report(run.write(folder / "run")), now)
    return diagnosis.findings


def test_a_healthy_run_has_nothing_to_say(tmp_path: Path) -> None:
    assert findings(Healthy(), tmp_path) == []
    result = CliRunner().invoke(app, ["doctor", str(tmp_path / "run")])
    assert result.exit_code == 0
    assert result.output == "realm-zero: nothing stands out.\n"


@pytest.mark.parametrize("rows", [2, STEPS])
def test_a_run_whose_answers_nobody_could_read_is_told_so_first(tmp_path: Path, rows: int) -> None:
    run = Healthy()
    run.every(parse_failures=1.0, zero_spread_groups=1.0, accuracy=0.0, truncated=0.5, parse={"answer_missing": 1.0})
    run.rows = run.rows[:rows]
    first = findings(run, tmp_path)[0]
    assert (first.check, first.weight) == ("nothing_read", "broken")
    assert first.says.startswith(
        "100% of the answers could not be read, and in 100% of the groups all rewards were equal"
    )
    for setting in ("training.recipe realm-r1", "prompt.examples", "training.rl.max_completion_length"):
        assert setting in first.advice


def test_answers_that_were_read_and_wrong_are_no_unread_ones(tmp_path: Path) -> None:
    """Something stands beside each of them, which is a reason too."""
    run = Healthy()
    run.every(parse_failures=1.0, zero_spread_groups=1.0, accuracy=0.0, parse={"text_outside": 1.0})
    named = {one.check for one in findings(run, tmp_path)}
    assert "never_right" in named and "nothing_read" not in named


def test_who_is_shown_examples_is_not_told_to_be(tmp_path: Path) -> None:
    """What is left to do is told: a cold start, and room where completions are cut."""
    example = {"question": "1 plus 1", "think": "is even", "answer": "0"}
    for examples, shown in (([example], True), ([], False), ("none", False)):
        run = Healthy()
        run.config["prompt"] = {"examples": examples}
        run.every(parse_failures=0.6, truncated=0.3, parse={"answer_missing": 0.6})
        for unread in (False, True):
            if unread:
                run.every(
                    parse_failures=1.0,
                    zero_spread_groups=1.0,
                    accuracy=0.0,
                    parse={"answer_missing": 0.4, "answer_empty": 0.6},
                )
            named = {one.check: one for one in findings(run, tmp_path)}
            found = named["nothing_read" if unread else "parse_failures"]
            assert ("show an example" in found.advice) == ("prompt.examples" in found.settings) == (not shown)
            assert ("examples of the form already" in found.advice) == shown
            assert "training.recipe realm-r1" in found.advice
            assert "training.rl.max_completion_length" in found.advice


def _plant(**figures: Any) -> Callable[[Healthy], None]:
    return lambda run: run.every(**figures)


def _fade(run: Healthy) -> None:
    run.alone = {0: 0.3, 20: 0.3, 40: 0.31, 60: 0.33}


def _peak(run: Healthy) -> None:
    run.alone = {0: 0.3, 20: 0.75, 40: 0.6, 60: 0.52}


def _nan(run: Healthy) -> None:
    run.rows[40]["grad_norm"] = float("nan")


def _failed(run: Healthy) -> None:
    run.meta |= {"status": "failed", "reason": "out of memory"}


def _interrupted(run: Healthy) -> None:
    run.meta["status"] = "interrupted"


def _bank(run: Healthy) -> None:
    run.bank |= {"mixed_share": 0.1, "all_right": 80, "all_wrong": 10}


def _unread_bank(run: Healthy) -> None:
    answers = {"whole": 100, "answers": 12, "share": 0.12, "examples": ["“x”"]}
    run.bank["unreadable"] = {**answers, "gold_cots": 0, "golds": 0, "gold_examples": {}}


def _gap(run: Healthy) -> None:
    run.final = {0: 0.5, 4: 0.8}


def _one_answer(run: Healthy) -> None:
    for row in run.predictions:
        row["completions"] = [{**item, "answer": "Yes "} for item in row["completions"]]


def _unlearned(run: Healthy) -> None:
    run.other = (-0.12, -0.2, -0.04)


def _fast(run: Healthy) -> None:
    run.every(p=0.0, reward=lambda part, _: 1.0 + part if part < 0.5 else 1.6 - part, grad_norm=3.0)


#: check -> the sickness, the figure that its sentence must hold, and a setting that it must name
SICK: dict[str, tuple[Callable[[Healthy], None], str, str]] = {
    "failed": (_failed, "out of memory", ""),
    "unfinished": (_interrupted, "RL step 60 of 60", "training.save_every"),
    "not_a_number": (_nan, "RL step 41", "training.rl.learning_rate"),
    "nothing_read": (
        _plant(accuracy=0.0, zero_spread_groups=1.0, parse_failures=1.0, parse={"answer_missing": 1.0}),
        *("100%", "prompt.examples"),
    ),
    "never_right": (_plant(accuracy=0.0, zero_spread_groups=1.0), "60 rows", "task.verifier"),
    "truncated": (_plant(truncated=0.25), "25%", "training.rl.max_completion_length"),
    "parse_failures": (
        _plant(parse_failures=0.4, parse={"answer_missing": 0.3, "think_unclosed": 0.1}),
        "answer_missing 30%",
        "reward.format",
    ),
    "verifier": (_plant(verifier_failures=0.02), "2.00%", "task.verifier_timeout"),
    "unreadable": (_plant(unreadable_answers=0.25), "25.0%", "task.verifier"),
    "fade": (_fade, "30% to 33%", "fade.fade_end"),
    "no_spread": (_plant(zero_spread_groups=lambda part, _: 0.2 + 0.7 * part), "up from", "training.rl.temperature"),
    "idle": (
        _plant(companions={"red": 0.25, "red_clipped": 0.0, "sdft": 0.0}),
        "companions sdft had nothing to learn in any of 60 rows",
        "training.recipe",
    ),
    "entropy": (_plant(entropy=lambda part, _: 0.5 * math.exp(-6 * part)), "went from", "training.rl.temperature"),
    "divergence": (_plant(kl=lambda part, _: 3 * part), "nats a token", "training.rl.beta"),
    "too_fast": (_fast, "100% of the steps had their gradient cut to 1", "training.rl.learning_rate"),
    "early_peak": (_peak, "at step 20 (75%)", "training.rl.steps"),
    "copies": (_plant(same_err=lambda part, _: 0.2 + 0.5 * part), "up from", "routes.selection"),
    "dropped": (_plant(routes_dropped=0.5), "20%", "model.context"),
    "bank_unreadable": (_unread_bank, "12 of 100 whole answers (12.0%)", "task.verifier"),
    "bank": (_bank, "10%", "bank.samples"),
    "one_answer": (_one_answer, "100% of the answers are “Yes”, the answer of 0% of the questions", "task.verifier"),
    "autonomy": (_gap, "30 points", "training.rl.steps"),
    "unlearned": (_unlearned, "60% were right before training and 48% are now (-12.0 points)", "training.average.base"),
    "length": (
        _plant(completion_tokens=lambda part, _: 60 + 80 * part, accuracy=0.6), "131 tokens", "training.rl.loss_type",
    ),
}  # fmt: skip


@pytest.mark.parametrize("check", SICK)
def test_each_sickness_is_found_and_no_other(tmp_path: Path, check: str) -> None:
    plant, figure, setting = SICK[check]
    run = Healthy()
    plant(run)
    (found,) = findings(run, tmp_path)
    assert found.check == check
    assert figure in found.says, found.says
    assert not setting or setting in found.settings
    assert found.advice


def test_every_check_has_its_sickness() -> None:
    assert [check.__name__ for check in CHECKS] == list(SICK)


@pytest.mark.parametrize("check", SICK)
def test_the_settings_that_are_named_exist(tmp_path: Path, check: str) -> None:
    run = Healthy()
    SICK[check][0](run)
    (found,) = findings(run, tmp_path)
    for key in found.settings:
        model: Any = Config
        for part in key.split("."):
            assert part in model.model_fields, key
            model = model.model_fields[part].annotation


def test_a_falling_reward_is_the_fades_own_where_routes_go_away(tmp_path: Path) -> None:
    run = Healthy()
    run.every(reward=lambda part, _: 1.4 - 0.6 * part)
    assert findings(run, tmp_path) == []
    run.every(accuracy_without_routes=lambda part, _: 0.5 if part < 0.5 else 0.8 - 0.7 * part)
    assert [found.check for found in findings(run, tmp_path)] == ["too_fast"]


def test_without_validation_the_training_prompts_tell_of_the_fade(tmp_path: Path) -> None:
    run = Healthy()
    run.alone, run.shown = {}, {}
    assert findings(run, tmp_path) == []
    source = random.Random(2)
    run.every(accuracy_without_routes=lambda part, _: 0.3 + source.gauss(0, 0.03) if part > 0.25 else None)
    assert [found.check for found in findings(run, tmp_path)] == ["fade"]
    (diagnosis,) = diagnose(read_report(tmp_path / "run"))
    assert "no evaluation on validation questions" in diagnosis.notes[0]


@pytest.mark.parametrize(("often", "accuracy", "told"), [(26, 0.69, True), (26, 0.75, False), (7, 0.15, False)])
def test_a_frequent_answer_is_what_accuracy_is_held_against(
    tmp_path: Path, often: int, accuracy: float, told: bool
) -> None:
    run = Healthy()
    run.final = {0: accuracy, 4: accuracy}
    for index, row in enumerate(run.predictions):
        row["gold"] = ("Not due" if index % 2 else "not  due") if index % 40 < often else f"due {index}"
    found = [one for one in findings(run, tmp_path) if one.check == "one_answer"]
    assert [one.weight for one in found] == ["hint"] * told
    if told:
        assert "“not  due” is the answer of 65% of the questions of test" in found[0].says


def test_what_an_edit_of_the_questions_takes_is_not_called_unlearned(tmp_path: Path) -> None:
    run = Healthy()
    _unlearned(run)
    assert [found.check for found in findings(run, tmp_path)] == ["unlearned"]
    file = tmp_path / "run" / "evaluations.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    edited = {"split": "test+clause", "edited": {"n": 0, "changed": None, "stayed": None}}
    jsonl(file, [row | (edited if "before" in row else {}) for row in rows])
    (diagnosis,) = diagnose(read_report(tmp_path / "run"))
    assert [found.check for found in diagnosis.findings] == []


def test_a_kl_without_a_reference_and_a_baseline_without_routes_are_not_blamed(tmp_path: Path) -> None:
    run = Healthy()
    run.config["training"] = {"recipe": "grpo", "rl": {"beta": 0.0}}
    run.every(kl=None, p=0.0, routes_per_prompt=0.0, same_err=None)
    _bank(run)
    _gap(run)
    assert findings(run, tmp_path) == []
    (diagnosis,) = diagnose(read_report(tmp_path / "run"))
    assert any("training.rl.beta is 0" in note and "KL is not measured" in note for note in diagnosis.notes)
    run.config["training"]["rl"]["beta"] = 0.01
    (diagnosis,) = diagnose(read_report(run.write(tmp_path / "run")))
    assert not any("KL" in note for note in diagnosis.notes)


@pytest.mark.parametrize(("shown", "weight"), [(1.0, "harmful"), (0.0, "broken")])
def test_routes_that_hardly_fit_are_no_mere_hint(tmp_path: Path, shown: float, weight: str) -> None:
    run = Healthy()
    run.every(routes_per_prompt=shown, routes_dropped=2.0)
    (found,) = (one for one in findings(run, tmp_path) if one.check == "dropped")
    assert found.weight == weight


def test_noise_is_no_finding(tmp_path: Path) -> None:
    run, source = Healthy(), random.Random(1)
    run.every(
        same_err=lambda *_: source.random(),
        entropy=lambda *_: 0.05 + 0.02 * source.random(),
        reward=lambda *_: 1.0 + source.gauss(0, 0.3),
        accuracy_without_routes=lambda *_: source.random(),
    )
    run.alone = {0: 0.3, 20: 0.55, 40: 0.6, 60: 0.55}
    assert findings(run, tmp_path) == []


def test_the_most_important_comes_first(tmp_path: Path) -> None:
    run = Healthy()
    for check in ("autonomy", "dropped", "truncated", "not_a_number", "copies"):
        SICK[check][0](run)
    found = findings(run, tmp_path)
    assert [one.check for one in found] == ["not_a_number", "truncated", "copies", "dropped", "autonomy"]
    assert [one.weight for one in found] == ["broken", "harmful", "harmful", "hint", "hint"]


def test_a_run_that_is_going_is_left_alone_until_it_is_silent_for_long(tmp_path: Path) -> None:
    run = Healthy()
    run.meta["status"] = "running"
    run.write(tmp_path / "run")
    written = (tmp_path / "run/evaluations.jsonl").stat().st_mtime
    assert findings(run, tmp_path, written + 600) == []
    (found,) = findings(run, tmp_path, written + 4 * 3600)
    assert found.check == "unfinished"
    assert "4.0 h" in found.says and "killed" in found.says
    assert f"realm train {tmp_path / 'run'} --resume" in found.advice


def test_what_is_told_is_launched_as_the_run_was(tmp_path: Path) -> None:
    run = Healthy()
    run.meta |= {"status": "interrupted", "launch": "ddp.yaml --num_processes 2"}
    (found,) = findings(run, tmp_path)
    assert f"realm train {tmp_path / 'run'} --resume --launch 'ddp.yaml --num_processes 2'" in found.advice


def test_the_reason_of_another_process_is_told_where_the_main_one_could_say_none(tmp_path: Path) -> None:
    run = Healthy()
    run.meta["status"] = "running"
    folder = run.write(tmp_path / "run")
    RunFolder(folder).note_failure(1, "RL step 61: out of memory")
    for later in (0, 4 * 3600):
        (diagnosis,) = diagnose(read_report(folder), (folder / "meta.json").stat().st_mtime + later)
        assert [one.check for one in diagnosis.findings] == ["failed"]
        assert "process 1: RL step 61: out of memory" in diagnosis.findings[0].says


def test_a_run_of_few_steps_is_not_judged_by_its_course(tmp_path: Path) -> None:
    run = Healthy()
    run.rows = run.rows[:5]
    run.every(truncated=1.0)
    (diagnosis,) = diagnose(read_report(run.write(tmp_path / "run")))
    assert diagnosis.findings == []
    assert "5 rows of RL are too few" in diagnosis.notes[0]


def test_a_student_that_cannot_be_parsed_is_told_of_where_there_was_no_rl(tmp_path: Path) -> None:
    run = Healthy()
    run.rows = []
    folder = run.write(tmp_path / "run")
    rows = read_rows(folder / "evaluations.jsonl")

    def told(share: float) -> list[Finding]:
        more = {"parse_failures": share, "truncated": share / 3, "samples": 2, "reasons": {"answer_missing": 320}}
        jsonl(folder / "evaluations.jsonl", [{**row, **(more if row["split"] == "test" else {})} for row in rows])
        return diagnose(read_report(folder), None)[0].findings

    assert told(0.09) == []
    (found,) = told(0.6)
    wanted = "60% of the answers in the evaluation on test could not be read in full: answer_missing 40%."
    assert (found.says, found.weight) == (wanted, "harmful")
    assert {"prompt.examples", "training.recipe", "training.rl.max_completion_length"} <= {*found.settings}
    assert (
        found.advice.startswith("First let completions end") and "example of the form (prompt.examples)" in found.advice
    )


@pytest.mark.parametrize("status", ["running", "done"])
def test_nothing_is_awaited_of_a_run_that_has_no_rl(tmp_path: Path, status: str) -> None:
    run = Healthy()
    run.config["training"] = {"recipe": "sft", "sft": {"steps": 9}}
    run.meta["status"] = status
    run.rows = [{**row, "stage": "sft"} for row in run.rows[:9]]
    run.alone = run.shown = {}
    folder = run.write(tmp_path / "run")
    (folder / "completions.jsonl").unlink()
    result = CliRunner().invoke(app, ["doctor", str(folder)])
    told = "Not judged: the course of training, which is judged by that of RL; this recipe has none.\n"
    assert result.output == f"sft: nothing stands out.\n{told}"
    (folder / "evaluations.jsonl").unlink()
    awaited = f"Note: sft: no evaluations (evaluations.jsonl){' yet' if status == 'running' else ''}.\n"
    assert CliRunner().invoke(app, ["doctor", str(folder)]).output.endswith(awaited)


def test_a_checkpoint_that_validation_chose_is_no_early_peak(tmp_path: Path) -> None:
    run = Healthy()
    _peak(run)
    one = {"step": 20, "value": 0.75, "accuracies": {"validation": 0.75}}
    run.meta["chosen"] = {"step": 20, "candidates": [one, {**one, "step": 60, "value": 0.52}]}
    assert findings(run, tmp_path) == []


def test_answers_that_could_not_be_read_are_quoted_harmlessly(tmp_path: Path) -> None:
    run = Healthy()
    run.every(unreadable_answers=0.5)
    folder = run.write(tmp_path / "run")
    answers = [("seven\x1b[31m", "unreadable"), ("8", ""), ("9", "timeout"), (None, "unreadable"), (" ", "unreadable")]
    group = sampled(*({"answer": answer, "verdict": verdict} for answer, verdict in answers))
    jsonl(folder / "completions.jsonl", [group, {"completions": None}, group])
    result = CliRunner().invoke(app, ["doctor", str(folder)])
    assert "could not read 50.0% of the answers towards the end of RL, e.g. “seven" in " ".join(result.output.split())
    assert "“8”" not in result.output and "“9”" not in result.output and "\x1b" not in result.output
    # Where there was no RL the final evaluation tells, with its own examples.
    run.rows = []
    run.write(folder)
    rows = read_rows(folder / "evaluations.jsonl")
    jsonl(folder / "evaluations.jsonl", [{**row, "unreadable_answers": 0.125} for row in rows])
    predicted = predictions(random.Random(0), "grpo", 1)[0]
    judged = [{**predicted["completions"][0], "answer": answer, "verdict": verdict} for answer, verdict in answers]
    jsonl(folder / "predictions.jsonl", [{**predicted, "completions": judged}])
    (diagnosis,) = diagnose(read_report(folder))
    (found,) = [finding for finding in diagnosis.findings if finding.check == "unreadable"]
    assert found.says.startswith(
        "The verifier could not read 12.5% of the answers in the final evaluation, e.g. “seven"
    )


def test_only_the_last_round_is_judged(tmp_path: Path) -> None:
    run = Healthy()
    first = [{**row, "truncated": 1.0, "parse_failures": 1.0} for row in run.rows]
    run.rows = first + [{**row, "round": 1} for row in run.rows]
    (diagnosis,) = diagnose(read_report(run.write(tmp_path / "run")))
    assert diagnosis.findings == []


@pytest.mark.parametrize("junk", [None, "x", -1, 1e300, [], {}, {"a": 1}, True, "\x1b[31m"])
def test_files_of_any_shape_are_read(tmp_path: Path, junk: Any) -> None:
    run = Healthy()
    for row in run.rows[::3]:
        row |= dict.fromkeys(row, junk)
    for name in ("parse", "p", "step", "round", "seconds", "verifier_failures"):
        run.rows[1][name] = junk
    run.bank = dict.fromkeys(run.bank, junk)
    run.meta |= {"reason": junk}
    run.config = {"training": junk, "routes": junk, "fade": {"hold": junk}, "task": {"verifier": junk}}
    run.write(tmp_path / "run")
    for status in ("failed", "running", "interrupted", junk):
        (tmp_path / "run/meta.json").write_text(json.dumps({**run.meta, "status": status}))
        result = CliRunner().invoke(app, ["doctor", str(tmp_path / "run")])
        assert result.exit_code == 0, result.exception
        assert "\x1b" not in result.output


_KEYS = [*Healthy().rows[0], "anything"]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["rl", "sft"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=8) | _VALUES, max_size=12), st.data())
def test_rows_of_any_shape_are_read(tmp_path: Path, rows: list[Any], data: st.DataObject) -> None:
    run = Healthy()
    run.rows += rows
    for row in data.draw(st.lists(st.sampled_from(run.rows[:STEPS]), max_size=20)):
        row[data.draw(st.sampled_from(_KEYS))] = data.draw(_VALUES)
    for diagnosis in diagnose(read_report(run.write(tmp_path / "run"))):
        assert all(finding.says and finding.advice for finding in diagnosis.findings)


def test_json_holds_the_same(tmp_path: Path) -> None:
    run = Healthy()
    SICK["truncated"][0](run)
    run.write(tmp_path / "run")
    loaded = json.loads(CliRunner().invoke(app, ["doctor", str(tmp_path / "run"), "--json"]).output)
    (found,) = loaded["runs"][0]["findings"]
    assert found["check"] == "truncated"
    assert found["figures"]["late"] == pytest.approx(0.25)


def test_every_run_of_an_experiment_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    for name in ("grpo-seed0-1", "grpo-seed1-2"):
        Healthy().write(tmp_path / "cells" / name)
    result = CliRunner().invoke(app, ["doctor", str(tmp_path)])
    assert result.exit_code == 0
    assert "grpo-seed0-1: nothing stands out." in result.output and "grpo-seed1-2: " in result.output


def test_a_folder_that_is_no_run_is_the_users_mistake(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", str(tmp_path)])
    assert result.exit_code == 2
    assert "expected a run folder" in result.stderr
