"""The sentences at the head of the page follow from the figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from realm.config import Config
from realm.pages.data import Report, Result, Run
from realm.pages.svg import MINUS
from realm.pages.tables import measures_table
from realm.pages.verdict import settled, verdict
from realm.rows.evaluation import Edited
from realm.rows.run import Candidate, Chosen, Meta
from realm.rows.training import RlStep

NB = "\u202f"


def result(name: str, accuracy: float, *, half: float = 0.04, split: str = "test", routes: int = 0) -> Result:
    return Result(
        name=name, stage="final", step=9, split=split, routes=routes, n=400,
        accuracy=accuracy, accuracy_low=accuracy - half, accuracy_high=accuracy + half,
    )  # fmt: skip


def test_a_finished_run_is_told_by_its_accuracy_and_its_gap() -> None:
    gap = {"autonomy_gap_low": 0.21, "autonomy_gap_high": 0.29}
    rows = [result("grpo", 0.6), replace(result("grpo", 0.85, routes=4), **gap), result("grpo", 0.32, split="ood")]
    rows.append(result("grpo", 0.5, split="validation"))  # where a threshold was chosen: no course of training
    run = Run("grpo", Path("r"), evaluations=rows)
    lead, more = verdict(Report(Path("r"), [run], rows))
    assert lead == f"Without routes, grpo answers 60.0{NB}% (56.0–64.0) of 400 test questions rightly."
    assert more == [
        f"With 4 routes in the prompt grpo answers 85.0{NB}% rightly: an autonomy gap of +25.0 points (+21.0 to +29.0)."
    ]
    run.evaluations[0] = rows[0] = replace(rows[0], executed=0.9)
    lead, _ = verdict(Report(Path("r"), [run], rows))
    assert lead.startswith(
        f"Without routes, grpo, the programs in 90.0{NB}% of its completions run for it, answers 60."
    )
    rows[0] = replace(rows[0], executed=0.01)
    lead, (said, *_) = verdict(Report(Path("r"), [run], rows))
    assert lead.startswith(f"Without routes, grpo answers 60.0{NB}%")
    assert said == f"Programs are run for their answers, but only 1.0{NB}% of its completions are any."
    table = measures_table(Report(Path("r"), [replace(run, evaluations=rows)], rows))
    assert table is not None and "Programs, run for their answers" in table.columns
    rows[0] = replace(rows[0], executed=None)
    rows[1] = replace(rows[1], routes_per_prompt=0.0, routes_dropped=4.0)
    _, (said,) = verdict(Report(Path("r"), [Run("grpo", Path("r"), evaluations=rows)], rows))
    assert said == "No prompt had room for any of the 4 routes: what they add was not measured."
    rows[1] = replace(rows[1], routes_per_prompt=1.25, routes_dropped=0.0)
    _, (said,) = verdict(Report(Path("r"), [Run("grpo", Path("r"), evaluations=rows)], rows))
    assert said.startswith("With up to 4 routes in the prompt (1.2 on average) grpo answers")


def test_what_was_chosen_and_what_was_unlearned_are_told() -> None:
    change = {"before": 0.6, "change": -0.1, "change_low": -0.17, "change_high": -0.02}
    rows = [result("sft", 0.7), replace(result("sft", 0.5, split="sums:test"), **change)]
    found = [Candidate(step=n, value=n / 10, accuracies={"validation": n / 10}) for n in (5, 3)]
    run = Run("sft", Path("r"), None, Meta(chosen=Chosen(step=5, candidates=tuple(found))), evaluations=rows)
    assert verdict(Report(Path("r"), [run], rows))[1] == [
        f"The model is that of step 5 of the last stage: 50.0{NB}% on the validation questions of training.best, the "
        "best of 2 checkpoints.",
        f"Of sums:test it answers 50.0{NB}%, untrained 60.0{NB}%: {MINUS}10.0 points ({MINUS}17.0 to {MINUS}2.0).",
    ]
    edited = replace(rows[1], split="test+clause", edited=Edited(n=0, changed=None, stayed=None))
    assert verdict(Report(Path("r"), [run], [rows[0], edited]))[1][-1] == (
        f"Of test+clause it answers 50.0{NB}%, of the same questions unedited 60.0{NB}%: {MINUS}10.0 points "
        f"({MINUS}17.0 to {MINUS}2.0)."
    )


def test_weights_that_are_not_the_last_steps_are_told() -> None:
    config = Config().changed({"training.average": {"checkpoints": 2, "base": 0.25}})
    assert settled(config, Meta()) == [
        "Each stage left the mean of its last 2 checkpoints.",
        f"25.0{NB}% of its weights are the untrained student's.",
    ]
    assert settled(Config(), Meta()) == settled(None, Meta()) == []


def test_a_later_round_is_named() -> None:
    run = course(0.4, 0.6)
    run.evaluations[1] = replace(run.evaluations[1], stage="sft", round=1, step=3)
    _, (said,) = verdict(Report(Path("r"), runs=[run]))
    assert "at SFT step 3, round 2 (" in said


def course(*accuracies: float) -> Run:
    rows = [
        replace(result("grpo", value, half=0.05, split="validation"), n=100, stage="rl" if step else "base", step=step)
        for step, value in enumerate(accuracies)
    ]
    metrics = [
        RlStep(stage="rl", step=step, seconds=step, tokens=9, loss=0.1, grad_norm=0.1, learning_rate=0.1)
        for step in range(1, len(accuracies))
    ]
    config = Config.model_validate({"training": {"rl": {"steps": 9}}})
    return Run("grpo", Path("r"), config, Meta(), list(metrics), rows)


def test_a_run_under_way_says_where_it_stands() -> None:
    lead, more = verdict(Report(Path("r"), runs=[course(0.4, 0.6)]))
    assert lead == "grpo has no final evaluation yet: its last row is RL step 1 of 9."
    assert more == [
        f"Validation accuracy without routes went from 40.0{NB}% (35.0–45.0) at the start to 60.0{NB}% (55.0–65.0) at "
        "RL step 1 (+20.0 points, beyond noise)."
    ]


def test_a_collapse_late_in_training_is_pointed_out() -> None:
    _, more = verdict(Report(Path("r"), runs=[course(0.4, 0.8, 0.5)]))
    assert more[-1] == f"It fell late in training: it had been 80.0{NB}% (75.0–85.0) at RL step 1."
    _, more = verdict(Report(Path("r"), runs=[course(0.4, 0.56, 0.5)]))
    assert "It fell" not in " ".join(more)


def test_a_run_without_anything() -> None:
    lead, more = verdict(Report(Path("r"), runs=[Run("grpo", Path("r"))]))
    assert lead == "grpo has not made its first step."
    assert more == ["No evaluation on the validation questions yet."]
