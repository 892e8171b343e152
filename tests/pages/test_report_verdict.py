"""The sentences at the head of the page follow from the figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from realm.config import Config
from realm.pages.data import Difference, Report, Result, Run
from realm.pages.verdict import verdict
from realm.rows.run import Meta
from realm.rows.training import RlStep

NB = "\u202f"


def result(name: str, accuracy: float, *, half: float = 0.04, split: str = "test", routes: int = 0) -> Result:
    return Result(
        name=name, stage="final", step=9, split=split, routes=routes, n=400,
        accuracy=accuracy, accuracy_low=accuracy - half, accuracy_high=accuracy + half,
    )  # fmt: skip


def quickstart(*results: Result, differences: tuple[Difference, ...] = ()) -> Report:
    return Report(Path("q"), quickstart=True, results=list(results), differences=list(differences))


def test_gains_whose_intervals_do_not_touch_are_beyond_noise() -> None:
    lead, more = verdict(quickstart(result("base", 0.4), result("grpo", 0.5), result("realm-r1", 0.76)))
    assert lead == (
        f"On the test questions, without routes, the base model answers 40.0{NB}% rightly; after training "
        f"realm-r1 76.0{NB}% and grpo 50.0{NB}%. Both gains are beyond noise."
    )
    assert more == ["realm-r1 is ahead of grpo, the next best, beyond noise (+26.0 points)."]


def test_the_paired_interval_decides_where_there_is_one() -> None:
    # The two intervals overlap (36–44 and 41–49), the paired difference leaves out zero.
    rows = result("base", 0.4), result("grpo", 0.45)
    assert "cannot be told from the base" in verdict(quickstart(*rows))[0]
    paired = Difference("grpo", "base", "test", 0, 0.05, 0.01, 0.09)
    assert "The gain is beyond noise." in verdict(quickstart(*rows, differences=(paired,)))[0]
    turned = Difference("base", "grpo", "test", 0, -0.05, -0.09, -0.01)
    assert "The gain is beyond noise." in verdict(quickstart(*rows, differences=(turned,)))[0]


def test_a_paired_interval_around_zero_is_noise_however_far_apart_the_models_own_are() -> None:
    paired = Difference("grpo", "base", "test", 0, 0.2, -0.01, 0.41)
    lead, _ = verdict(quickstart(result("base", 0.4), result("grpo", 0.6), differences=(paired,)))
    assert "grpo cannot be told from the base." in lead


def test_losses_and_ties_are_named() -> None:
    rows = result("base", 0.4), result("grpo", 0.3), result("realm-zero", 0.41), result("realm-r1", 0.7)
    lead, _ = verdict(quickstart(*rows))
    assert "The gain of realm-r1 is beyond noise." in lead
    assert "realm-zero cannot be told from the base." in lead
    assert "grpo is worse than the base, beyond noise." in lead


def test_gap_and_out_of_distribution() -> None:
    rows = [result("base", 0.4), result("base", 0.9, routes=4), result("grpo", 0.6), result("grpo", 0.85, routes=4)]
    rows += [result("base", 0.3, split="ood"), result("grpo", 0.32, split="ood")]
    _, more = verdict(quickstart(*rows))
    assert more[0].startswith(f"Out of distribution, without routes, the base model answers 30.0{NB}% rightly")
    assert more[0].endswith("grpo cannot be told from the base.")
    assert more[1] == (
        f"With 4 routes in the prompt grpo answers 85.0{NB}% rightly: an autonomy gap of +25.0 points; "
        "the base model's is +50.0."
    )


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
    lead, more = verdict(Report(Path("r"), quickstart=False, runs=[course(0.4, 0.6)]))
    assert lead == "grpo has no final evaluation yet: its last row is RL step 1 of 9."
    assert more == [
        f"Validation accuracy without routes went from 40.0{NB}% (35.0–45.0) at the start to 60.0{NB}% (55.0–65.0) at "
        "RL step 1 (+20.0 points, beyond noise)."
    ]


def test_a_collapse_late_in_training_is_pointed_out() -> None:
    _, more = verdict(Report(Path("r"), quickstart=False, runs=[course(0.4, 0.8, 0.5)]))
    assert more[-1] == f"It fell late in training: it had been 80.0{NB}% (75.0–85.0) at RL step 1."
    _, more = verdict(Report(Path("r"), quickstart=False, runs=[course(0.4, 0.56, 0.5)]))
    assert "It fell" not in " ".join(more)


def test_a_run_without_anything() -> None:
    lead, more = verdict(Report(Path("r"), quickstart=False, runs=[Run("grpo", Path("r"))]))
    assert lead == "grpo has not made its first step."
    assert more == ["No evaluation on the validation questions yet."]
