"""The finding says what the figures show, what they do not, and nothing else."""

from __future__ import annotations

from typing import Any, cast

import pytest

from realm.experiments.axis import against_best, axes
from realm.experiments.findings import compose
from realm.experiments.results import Outcomes, _pairs
from realm.experiments.spec import Spec
from realm.rows.base import record
from tests.experiments.sample import SKILL, Invented, pair, results


def finding(**more: Any) -> str:
    found = more.pop("found", Invented())
    tell = more.pop("tell", None)
    return compose(results(**more), found, tell=tell)


def test_best_arm_differences_and_gap() -> None:
    text = finding(axis=None)
    assert text.startswith("On test, without routes, mid has the highest accuracy, 62.0 % (58.0 to 66.0); the untr")
    assert "Of 2 differences 1 is shown (p < 0.05 after correction): mid − base +32.0 points (+27.0 to +37.0)." in text
    assert "Not shown (p ≥ 0.05 after correction): mid − low +2.0 points" in text
    assert "Routes in the prompt change mid's accuracy on test by +20.0 points (+10.0 to +30.0)" in text
    assert "Gaps shown to differ: mid − low -12.0 points (-20.0 to -5.0)." in text
    assert text.endswith("3 seeds: the part of the seeds in every interval is rough.")


def test_an_arm_that_is_as_high_is_told() -> None:
    cells = [record(row) for row in results().cells]
    like = [{**row, "mean": SKILL["mid"]} if row["arm"] in ("low", "high") else row for row in cells]
    text = finding(axis=None, cells=like)
    assert "mid has the highest accuracy, 62.0 % (58.0 to 66.0); as high is that of low and high; the untr" in text
    assert "as high" not in finding(axis=None)


def test_of_many_differences_that_are_not_shown_the_largest_are_named() -> None:
    def told(sizes: list[float]) -> str:
        return finding(
            pairs=[pair("mid", f"a{number}", "test/without", size, 0.5) for number, size in enumerate(sizes)]
        )

    many = told([0.01, -0.09, 0.02, 0.05, 0.03, -0.04])
    assert "correction): mid − a1 -9.0 points" in many and "; and 3 that are smaller." in many
    assert many.index("a1") < many.index("a3") < many.index("a5")
    assert not any(name in many for name in ("a0", "a2", "a4"))
    few = told([0.01, -0.09, 0.02, 0.05, 0.03])
    assert few.index("a0") < few.index("a1") and "smaller" not in few


def test_gaps_that_are_not_shown_to_differ() -> None:
    unsure = {"arm": "mid", "against": "low", "split": "test", "difference": -0.1, "low": -0.2, "high": 0.0}
    assert "No gap is shown to differ" in finding(gap_pairs=[unsure | {"p": 0.05, "p_corrected": 0.05}])
    assert "shown to differ" not in finding(gap_pairs=[])


def test_equal_gaps_go_from_nothing_to_nothing() -> None:
    gaps = [gap.__dict__ | {"mean": 0.453} for gap in results().gaps]
    text = finding(gaps=gaps)
    assert "over the arms this gap is the same" in text and "goes from" not in text


@pytest.mark.parametrize(
    ("p", "words"),
    [
        ((0.2, 0.3), "No difference is shown (p ≥ 0.05 after correction): mid − base"),
        ((0.01, 0.02), "Of 2 differences 2 are shown (p < 0.05 after correction): mid − base"),
        ((0.01,), "The difference asked for is shown (p < 0.05 after correction): mid − base"),
        ((0.5,), "The difference is not shown (p ≥ 0.05 after correction): mid − base"),
    ],
)
def test_the_words_for_differences(p: tuple[float, ...], words: str) -> None:
    against = ["base", "low"]
    text = finding(pairs=[pair("mid", other, "test/without", 0.1, one) for other, one in zip(against, p, strict=False)])
    assert words in text
    assert ("Not shown" in text) is False


HOW = "(p < 0.05, corrected over all pairs)"


@pytest.mark.parametrize(
    ("low", "mid", "high", "words"),
    [
        (
            0.6,
            0.61,
            0.2,
            f"0.5; 0 cannot be told from it, and below it {HOW} are 1 by 39.2 points (27.6 to 50.7)",
        ),
        (0.61, 0.61, 0.62, "1, and no other value is shown to be worse."),
        (0.2, 0.9, 0.3, f"0.5; every other value is shown to be worse {HOW}: 0 by"),
        (
            0.6,
            0.2,
            0.61,
            f"1; 0 cannot be told from it, and below it {HOW} are 0.5 by 39.2 points (27.6 to 50.7).",
        ),
    ],
)
def test_where_on_the_axis_it_degrades(low: float, mid: float, high: float, words: str) -> None:
    found = Invented({"base": 0.1, "low": low, "mid": mid, "high": high})
    assert f"Along dose, the best is at {words}" in finding(found=found)


def banked(**gaps_and_gains: tuple[float, float]) -> str:
    """The finding of banks with these gaps and gains, every interval ten points wide."""
    arms = ("low", "mid", "high")
    pairs = [
        pair(arm, "base", "test/without", gain, 0.01)
        for arm, (_, gain) in zip(arms, gaps_and_gains.values(), strict=False)
    ]
    facts = [
        {"name": name, "teacher": 0.3 + gap, "student": 0.3, "gap": gap, "low": gap - 0.05, "high": gap + 0.05}
        | {"distance": 0.5, "pair": [arm, "base"]}
        for arm, (name, (gap, _)) in zip(arms, gaps_and_gains.items(), strict=False)
    ]
    return finding(pairs=pairs, banks=facts)


def test_gains_of_negatives_are_held_against_the_banks() -> None:
    text = banked(A=(0.1, 0.05), B=(0.3, 0.2), C=(0.5, 0.35))
    assert "A (gap +10.0 points) +5.0 points (+0.0 to +10.0); B (gap +30.0" in text
    assert "The gain rises with the gap in every pair of banks whose gaps' intervals lie apart." in text
    assert "distance" not in text
    assert "3 banks are too few" in text
    assert "The gain falls with the gap in every pair" in banked(A=(0.1, 0.35), B=(0.3, 0.2), C=(0.5, 0.05))


def test_gains_that_overlap_are_not_counted() -> None:
    which = "pairs of banks whose gaps' intervals lie apart, the gain rises with the gap in"
    assert f"Of 3 {which} 2 and falls in 1." in banked(A=(0.1, 0.2), B=(0.3, 0.05), C=(0.5, 0.35))
    overlap = "the gains' intervals overlap"
    assert f"Of 3 {which} 2 and falls in 0; in 1 {overlap}." in banked(A=(0.1, 0.05), B=(0.3, 0.1), C=(0.5, 0.35))
    assert f"In every pair of banks whose gaps' intervals lie apart {overlap}" in banked(A=(0.1, 0.05), B=(0.3, 0.1))


def test_banks_whose_gaps_overlap_are_not_ordered() -> None:
    text = banked(A=(0.1, 0.1), B=(0.19, 0.4))
    assert "The intervals of the gaps overlap, so that the banks cannot be ordered." in text
    assert "rises" not in text and "falls" not in text


def test_the_best_arm_is_corrected_for_having_been_chosen() -> None:
    found = Invented({"base": 0.1, "low": 0.6, "mid": 0.9, "high": 0.3})
    tested = against_best(cast(Outcomes, found), "mid")
    assert list(tested) == ["low", "high"]
    for arm, (test, p) in tested.items():
        assert test == found.compare(arm, "mid", found.headline)
        assert p >= 2 * test.p  # of the three pairs two at least are left when it is its turn
    assert max(p / test.p for test, p in tested.values()) == pytest.approx(3)


def test_arms_that_fall_while_they_train_are_told_where_the_file_asks_for_it() -> None:
    text = finding(tell="curves")
    assert (
        "While training, on validation without routes, these are shown to fall from their best: mid from step 60 "
        "(there 12.5 points below its best, step 40); not shown to fall: low." in text
    )
    assert "While training" not in finding()
    rows: Any = record(results())["training"]
    assert "no arm is shown to fall from its best." in finding(tell="curves", training=rows[1:])
    one = [row | {"seeds": 1, "falls": None} for row in rows]
    assert "With one seed it cannot be told which arms fall" in finding(tell="curves", training=one)


def test_other_measures_are_told_where_the_file_asks_for_them() -> None:
    pairs = [
        pair("mid", "base", "test/without", 0.3, 0.01),
        pair("mid", "base", "test/with", 0.1, 0.2),
        pair("mid", "low", "test/with", 0.2, 0.01),  # asked there alone
    ]
    text = finding(pairs=pairs, also=["test/with"])
    assert "Of 2 differences 2 are shown (p < 0.05 after correction): mid − base +30.0 points" in text
    assert "mid − low (test, with routes) +20.0 points" in text
    assert "On test, with routes: Of 2 differences 1 is shown (p < 0.05 after correction): mid − low +20.0" in text
    assert "On test, with routes:" not in finding(pairs=pairs)


def test_of_models_that_were_not_trained_no_seed_is_told() -> None:
    assert finding(kind="models").endswith(" Intervals are over questions.")


def test_margins_are_told_where_the_file_has_some() -> None:
    held = {"margin": 0.02, "p_no_worse": 0.01, "p_same": 0.01}
    pairs = [
        pair("mid", "base", "test/without", 0.0, 0.9) | held,
        pair("mid", "low", "test/without", 0.1, 0.9) | held | {"p_same": 0.5},
        pair("high", "low", "test/without", -0.1, 0.9) | held | {"p_same": 0.5, "p_no_worse": 0.5},
        pair("mid", "low", "test/with", 0.1, 0.9),
    ]
    assert (
        "Against a margin of 2 points on test, without routes (p < 0.05 after correction): within it: mid − base; no "
        "worse by that: mid − low; not shown to be no worse: high − low."
    ) in finding(pairs=pairs)
    assert "margin" not in finding()
    assert "no worse by that: 6 differences;" in finding(pairs=[*pairs, *pairs[1:2] * 5])


def test_margins_are_tested_over_the_pairs_of_their_measure() -> None:
    found = Invented({"base": 0.6, "low": 0.6, "high": 0.8})
    found.measures = [("test", False), ("test", True)]  # type: ignore[attr-defined]
    found.against_margin = lambda *how: Outcomes.against_margin(found, *how)  # type: ignore[attr-defined, arg-type]
    spec = Spec.model_validate(
        {
            "title": "", "question": "", "arms": {"low": {}, "high": {}}, "margins": {"test/without": 5},
            "pairs": [["low", "base"], ["low", "high"]],
        }
    )  # fmt: skip
    same, worse, *others = _pairs(spec, cast(Any, found))
    assert (same.margin, same.p_same, same.p_no_worse) == (0.05, 2 / 201, 2 / 201)  # two pairs, 200 resamples
    assert worse.p_no_worse == 1.0
    assert [row.margin for row in others] == [None, None]


def test_true_sums_have_a_sentence_of_their_own() -> None:
    cells: Any = record(results())["cells"]
    sums = [
        row | {"mean": row["mean"] + 0.2, "low": 0.0, "high": 1.0} for row in cells if row["measure"] == "test/with"
    ]
    pairs = [pair("mid", "low", "test/with", -0.1, 0.01), pair("high", "low", "test/with", 0.01, 0.5)]
    text = finding(sums=[row for row in sums if row["arm"] != "mid"], sum_pairs=pairs)
    assert (
        "True sums, of those stated on test, with routes: low has the largest share, 100.0 % (0.0 to 100.0); the "
        "untrained model has 70.0 % (0.0 to 100.0). Of 2 differences 1 is shown (p < 0.05 after correction): mid − low "
        "-10.0 points (-15.0 to -5.0)."
    ) in text
    assert "True sums" not in finding()


def test_budgets_that_should_be_equal_and_are_not_are_told() -> None:
    def cost(arm: str, steps: int, tokens: int, sampled: int = 0) -> dict[str, Any]:
        counts = {"steps": steps, "completions": 0, "tokens": tokens, "sampled_tokens": sampled, "seconds": 1.0}
        return {"arm": arm, "seed": 0, **counts}

    # What was sampled besides is none of the training's tokens.
    rows = [cost("low", 80, 1000), cost("mid", 80, 9000, 7950), cost("high", 160, 2000)]
    arms = [{"name": name, "group": "long" if name == "high" else "short"} for name in SKILL]
    text = finding(cost=rows, arms=arms, equal_budget=0.05)
    assert "All arms of each group take equal steps and, within 5 %, equal student tokens in training." in text
    text = finding(cost=rows, arms=arms, equal_budget=0.04)
    assert "Student tokens in training in short are 1,000 within 4 %, but for mid (+5 %)." in text
    text = finding(cost=rows, equal_budget=1.0)
    assert "Optimizer steps are 80, but for high (+100 %)." in text and "tokens" not in text
    assert "steps" not in finding(cost=rows)


def test_what_the_prompts_could_not_show_is_told() -> None:
    arms = [{"name": name, "set": {"routes.error_ratio": 0.0} if name == "low" else {}} for name in Invented().arms]
    shown = [
        {"arm": "low", "routes": 4.0, "wrong": 0.12, "dropped": 0.0},
        {"arm": "mid", "routes": 3.5, "wrong": 0.5, "dropped": 0.5},
    ]
    text = finding(arms=arms, shown=shown)
    assert "the share of wrong routes really was: low 12 %." in text
    assert "dropped per prompt: mid 0.50." in text


def test_fast_runs_and_single_seeds_say_so() -> None:
    assert finding(fast=True).startswith("A fast run")
    assert finding(seeds=[0]).endswith("One seed: intervals and p-values say nothing of what another seed would give.")


def test_many_differences_that_are_shown_are_named_without_their_intervals() -> None:
    pairs = [pair("mid", other, "test/without", 0.1, 0.01) for other in ("a", "b", "c", "d", "e")]
    assert "mid − e +10.0 points (+5.0 to +15.0)." in finding(pairs=pairs)
    text = finding(pairs=[*pairs, pair("mid", "f", "test/without", -0.2, 0.01)])
    assert "mid − a +10.0, mid − b +10.0, mid − c +10.0, mid − d +10.0, mid − e +10.0, mid − f -20.0 points." in text


def spread(low: float, group: str = "") -> dict[str, Any]:
    where = {"measure": "test/without", "lowest": "high", "highest": "mid", "arms": 3}
    return {"group": group, **where, "difference": 0.42, "low": low, "high": 0.6}


def test_of_the_settings_of_one_model_the_one_chosen_before_is_reported() -> None:
    text = finding(kind="models", spreads=[spread(0.25, "decoding"), spread(0.0, "wording")])
    assert text.startswith(
        "On test, without routes, what is to be reported is base, the choice made before: 30.0 % (26.0 to 34.0). Over "
        "3 settings of one model (decoding) accuracy moves by 42.0 points (25.0 to 60.0), from high to mid. Over 3 "
        "settings of one model (wording) accuracy moves by 42.0 points (0.0 to 60.0), from high to mid, which is not "
        "shown to be more than chance. The best of them, picked by these very questions, claims more than"
    )
    assert "highest accuracy" not in text and "untrained" not in text
    arms = [{"name": name, "set": {"model.path": name} if name == "mid" else {}} for name in SKILL]
    text = finding(kind="models", spreads=[spread(0.25)], arms=arms)
    assert "mid has the highest accuracy, 62.0 % (58.0 to 66.0); base has 30.0 % (26.0 to 34.0)." in text
    assert "of one model accuracy moves" in text


def test_a_model_that_is_asked_as_before_may_be_the_best_of_models() -> None:
    found = Invented({"base": 0.9, "low": 0.6, "mid": 0.62, "high": 0.2})
    text = finding(kind="models", found=found, axis=None)
    assert text.startswith("On test, without routes, base has the highest accuracy, 30.0 % (26.0 to 34.0). ")


def test_measured_places_on_an_axis_are_told_with_their_arms_and_group_by_group() -> None:
    values = {"low": 0.25, "mid": 1234.5, "high": 1e7}
    axis = {"label": "cost", "by": "teacher_cost", "values": values}
    assert "Along cost, the best is at mid (1,234); low (0.25) cannot be told" in finding(axis=axis)
    arms = [{"name": name, "group": "few" if name == "high" else "many"} for name in SKILL]
    text = finding(axis=axis, arms=arms)
    assert "Along cost (many), the best is at mid (1,234), and no other value is shown to be worse." in text
    assert "Along cost (few), the best is at high (10,000,000), the only value." in text


def test_what_is_best_is_not_held_against_itself() -> None:
    def told(**skill: float) -> str:
        axis = {"label": "dose", "by": None, "values": {arm: number for number, arm in enumerate(skill, 1)}}
        made = results(axis=axis, arms=[{"name": arm} for arm in skill])
        assert made.axis is not None
        found = Invented(skill)
        found.resamples = 500  # of fewer no p would be below the level, corrected over six pairs
        [text] = axes(made, made.axis, cast(Outcomes, found))
        return text

    first = "Along dose, the best is at 3; "
    text = told(a=0.2, b=0.6, c=0.61, d=0.6)
    assert text.startswith(f"{first}no value from 2 to 4 is shown to be worse, and below it {HOW} are 1 by ")
    assert told(a=0.6, b=0.2, c=0.61, d=0.6).startswith(f"{first}1 and 4 cannot be told from it, and below it")


def test_what_would_be_long_is_a_list() -> None:
    """A point for each measure and each group, without the intervals that the table has."""
    many = [pair("mid", other, "test/with", 0.1, p) for other, p in zip("abcdef", [0.01] * 2 + [0.5] * 4, strict=True)]
    assert "\n" not in finding(also=["test/with"], pairs=many)
    arms = [{"name": name, "group": name} for name in SKILL]
    text = finding(also=["test/with"], pairs=many, sums=record(results())["cells"], sum_pairs=many, arms=arms)
    head, empty, *points = text.split("\n")
    assert head.startswith("On test, without routes, mid has") and not empty and len(points) > 5
    assert all(point.startswith("- ") for point in points) and "Along dose (mid)" in text
    brief = "Of 6 differences 2 are shown (p < 0.05 after correction): mid − a +10.0, mid − b +10.0 points."
    assert f"- On test, with routes: {brief}" in points
    assert [
        point.endswith(brief) for point in points if "True sums, of those stated on test, with routes:" in point
    ] == [True]
    arms = [{"name": name, "group": "" if name == "base" else "few" if name == "low" else "many"} for name in SKILL]
    text = finding(arms=arms, found=Invented({"base": 0.1, "low": 0.6, "mid": 0.9, "high": 0.3}))
    assert (
        f"Along dose (many), the best is at 0.5; every other value is shown to be worse {HOW}: 1 by 54.8 points. "
        in text
    )
