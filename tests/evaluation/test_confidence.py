"""When answers may be trusted: figures against what was worked out by hand or by force, and the path to the table."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from realm.config import Config, load_config
from realm.errors import ConfigError
from realm.evaluation import measures
from realm.evaluation.confidence import Rated, measure, pooled, threshold
from realm.evaluation.evaluate import evaluate_directory, evaluation_questions
from realm.method.completion import stated_confidence
from realm.pages.trust import told
from realm.rows.evaluation import Confidence, Evaluation, Prediction
from realm.run_rows import read_rows
from tests.tiny import TinyTask, pool, save_student, tiny_bank, tiny_config


def found(questions: Sequence[Rated], level: float | None = None) -> Confidence:
    return measure(questions, "likelihood", 200, 0, level)


def judge(n: int, seed: int, right: float = 0.7, says: float = 0.9) -> list[Rated]:
    """A judge that is right so often, to the question, and says what it says."""
    outcomes = [place < round(right * n) for place in range(n)]
    random.Random(seed).shuffle(outcomes)
    return [[(says, outcome)] for outcome in outcomes]


@pytest.mark.parametrize("seed", range(3))
def test_a_judge_of_70_percent_that_says_90_is_off_by_20_points(seed: int) -> None:
    one = found(judge(300, seed))
    assert one.ece is not None and one.brier is not None and one.auroc is not None
    assert one.ece.value == pytest.approx(0.2)
    assert 0.1 < one.ece.low < 0.2 < one.ece.high < 0.3
    assert one.brier.value == pytest.approx(0.7 * 0.01 + 0.3 * 0.81)
    assert one.auroc.value == 0.5
    # Nothing is ordered, so that the surest are wrong as often as all.
    assert one.aurc.value == pytest.approx(0.3)


def test_an_oracle_has_the_least_risk_at_every_coverage() -> None:
    source = random.Random(1)
    outcomes = [source.random() < 0.6 for _ in range(200)]
    one = found([[(0.9 if right else 0.1, right)] for right in outcomes])
    assert one.auroc is not None and one.auroc.value == 1.0
    assert one.aurc.value == pytest.approx(one.aurc_best)
    assert one.curve[0].right is not None and one.curve[0].right.value == 1.0
    assert found([[(0.1 if right else 0.9, right)] for right in outcomes]).aurc.value > 0.6
    # The truth as confidence: what is left of the calibration error is in the interval.
    told_truly = [[(share := source.random(), source.random() < share)] for _ in range(400)]
    calibrated = found(told_truly).ece
    assert calibrated is not None and calibrated.low == 0.0 < calibrated.value


def test_the_area_under_risk_coverage_is_the_mean_over_all_orders_of_ties() -> None:
    source = random.Random(2)
    rows = [(source.choice([0.2, 0.5, 0.9, None]), source.random() < 0.5) for _ in range(7)]
    one = found([[row] for row in rows])

    def area(order: Any) -> float:
        wrong = [not right for _, right in order]
        return fmean(sum(wrong[:k]) / k for k in range(1, len(wrong) + 1))

    ordered = [order for order in permutations(rows) if sorted(order, key=lambda row: -(row[0] or -1)) == list(order)]
    assert one.aurc.value == pytest.approx(fmean(map(area, ordered)))
    assert one.aurc_best == pytest.approx(min(map(area, permutations(rows))))
    assert one.missing == sum(confidence is None for confidence, _ in rows) == 7 - one.n


def test_figures_are_those_of_plain_numbers() -> None:
    source = random.Random(3)
    rows = [(round(source.random(), 2), source.random() < 0.5) for _ in range(150)]
    one = found([[row] for row in rows])
    scores, labels = [score for score, _ in rows], [int(right) for _, right in rows]
    assert one.auroc is not None and one.brier is not None and one.ece is not None
    assert one.auroc.value == pytest.approx(measures.auroc(scores, labels))
    assert one.brier.value == pytest.approx(measures.brier(scores, labels))
    bins: dict[int, list[float]] = {}
    for score, right in rows:
        bins.setdefault(min(9, int(score * 10)), []).append(score - right)
    assert one.ece.value == pytest.approx(sum(abs(sum(each)) for each in bins.values()) / len(rows))
    # Resamples lie above it: what they are above is taken off below too.
    assert one.ece.value - one.ece.low == pytest.approx(one.ece.high - one.ece.value)
    for point in one.curve:
        taken = [right for score, right in rows if score >= point.threshold]
        assert point.coverage.value == pytest.approx(len(taken) / len(rows))
        assert point.right is not None and point.right.value == pytest.approx(fmean(taken))


def test_a_threshold_is_chosen_on_one_split_and_told_on_another() -> None:
    chosen: list[Rated] = [[(0.9, True)]] * 8 + [[(0.7, True)]] * 8 + [[(0.7, False)]] * 2 + [[(0.3, False)]] * 6
    assert threshold(chosen, 0.85) == 0.7
    assert threshold(chosen, 0.95) == 0.9
    often: list[Rated] = [[(0.9, True)]] * 93 + [[(0.9, False)]] * 7
    assert threshold(often, 0.93) == 0.9, "as often as wanted is enough"
    assert threshold([[(0.9, False)], [(None, True)]], 0.5) is None
    other = found([[(0.8, True)]] * 6 + [[(0.8, False)]] * 2 + [[(0.6, True)]] * 2, 0.7).trusted
    assert other is not None and other.right is not None
    assert (other.threshold, other.coverage.value, other.right.value) == (0.7, 0.8, 0.75)
    assert other.right.low < 0.75 < other.right.high
    nowhere = found([[(0.6, True)]] * 4, 0.7).trusted
    assert nowhere is not None and (nowhere.coverage.value, nowhere.right) == (0.0, None)
    assert nowhere.coverage.high == pytest.approx(0.6024, abs=1e-4)  # of 0 of 4, by the tables


def test_all_of_three_answers_is_no_certainty() -> None:
    every = found([[(0.8, True), (0.7, True)]] * 3, 0.7).trusted  # by question, of which there are three
    assert every is not None and every.right is not None
    for one in (every.coverage, every.right):
        assert (one.value, one.high) == (1.0, 1.0) and one.low == pytest.approx(0.2924, abs=1e-4)
    some = found([[(0.8, True)]] * 3 + [[(0.6, False)]] * 3, 0.7).trusted
    assert some is not None and some.right is not None and some.coverage.low < 0.5 < some.coverage.high
    assert some.right.low == pytest.approx(0.2924, abs=1e-4)


def test_intervals_resample_questions() -> None:
    alone = judge(200, 0)
    together = [[(0.9, one[0][1])] * 4 for one in alone]
    narrow, wide = found([[one] for four in together for one in four]).brier, found(together).brier
    assert narrow is not None and wide is not None and narrow.value == pytest.approx(wide.value)
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
    assert found(together) == found(together)


def test_several_runs_are_means_over_them_and_all_that_they_trust() -> None:
    one: list[Rated] = [[(0.9, True)], [(0.9, False)], [(0.4, True)], [(0.4, False)]]
    other: list[Rated] = [[(0.8, True)], [(0.6, True)], [(0.6, True)], [(0.2, False)]]
    both = pooled([one, other], "likelihood", 200, 0, [0.9, 0.5])
    for name in ("ece", "brier", "auroc", "aurc"):
        each = [getattr(found(run), name).value for run in (one, other)]
        estimate = getattr(both, name)
        assert estimate.value == pytest.approx(fmean(each)) and estimate.low < estimate.value < estimate.high
    assert (both.aurc_best, both.n, both.curve) == (fmean(found(run).aurc_best for run in (one, other)), 8, ())
    assert both.trusted is not None and both.trusted.right is not None
    assert (both.trusted.threshold, both.trusted.coverage.value, both.trusted.right.value) == (0.7, 5 / 8, 4 / 5)
    # A run that trusts nothing answers nothing.
    alone = pooled([one, other], "likelihood", 200, 0, [None, 0.5]).trusted
    assert alone is not None and alone.right is not None
    assert (alone.threshold, alone.coverage.value, alone.right.value) == (0.5, 3 / 8, 1.0)
    assert alone.right.low == pytest.approx(0.2924, abs=1e-4)  # of three questions
    assert pooled([one, other], "likelihood", 200, 0, [None, None]).trusted is None
    # Runs that differ are drawn too: of equal ones the questions alone are left to chance.
    equal, apart = (pooled([one * 20, run * 20], "x", 200, 0, [0.0, 0.0]) for run in (one, [[(0.9, True)]] * 4))
    assert equal.trusted is not None and apart.trusted is not None
    for few, many in ((equal.brier, apart.brier), (equal.trusted.right, apart.trusted.right)):
        assert few is not None and many is not None and many.high - many.low > 2 * (few.high - few.low)


@pytest.mark.parametrize(("runs", "times", "most"), [(1, 300, 0.99), (3, 100, 1.0)])
def test_intervals_hold_the_truth(runs: int, times: int, most: float) -> None:
    """Of an answer that says c, even in [½, 1], and is right with c - 0.2; runs that differ by chance alone have wider
    ones than they need."""
    says = np.arange(0.5, 1, 1e-4) + 5e-5
    right = says - 0.2
    above = right[::-1].cumsum()[::-1] - right / 2
    truth = {
        "ece": 0.2, "brier": np.mean(right * (1 - right) + 0.2**2),
        "auroc": ((1 - right) * above).sum() / (right.sum() * (1 - right).sum()),
        "aurc": np.mean((1 - right)[::-1].cumsum() / np.arange(1, len(right) + 1)),
        "coverage": 0.4, "right": 0.7,
    }  # fmt: skip
    held = dict.fromkeys(truth, 0)
    for seed in range(times):
        source = np.random.default_rng(seed)
        level = source.uniform(0.5, 1, 150).tolist()
        answers: list[list[Rated]] = [[[(c, source.random() < c - 0.2)] for c in level] for _ in range(runs)]
        one = pooled(answers, "likelihood", 200, seed, [0.8] * runs)
        assert one.trusted is not None
        for name in truth:
            estimate = getattr(one.trusted if name in ("coverage", "right") else one, name)
            held[name] += estimate.low <= truth[name] <= estimate.high
    assert all(0.91 * times <= count <= most * times for count in held.values()), held


def test_no_confidence_at_all_is_no_figure() -> None:
    one = found([[(None, True)], [(None, False)]], 0.5)
    assert (one.n, one.missing, one.ece, one.brier, one.curve) == (0, 2, None, None, ())
    assert one.aurc.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>x. Confidence: 0.8.</think>", 0.8),
        ("<confidence>90 %</confidence>", 0.9),
        ("confidence is .25, no, confidence 1", 1.0),
        ("confidence: 7", None),
        ("Confidence (0-1): 0.9", 0.9),
        ("Confidence level: 95 percent", 0.95),
        ("Confidence: 0.8. 3 apples", 0.8),
        ("confidence: 1/10", None),
        ("confidence: 1 out of 10", None),
        ("confidence: 0,9", None),
        ("confidence: 0-10", None),
        ("confidently 0.5", None),
        ("no word", None),
    ],
)
def test_what_a_completion_states(text: str, said: float | None) -> None:
    assert stated_confidence(text) == said


def test_votes_need_several_samples() -> None:
    with pytest.raises(ConfigError, match=r"^--set evaluation\.confidence=votes: .*votes needs evaluation\.samples of"):
        load_config(None, ["evaluation.confidence=votes", "evaluation.precision=0.9"])


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("student"))


def asked(student: Path, out: Path, **settings: Any) -> tuple[Config, list[Evaluation]]:
    config = tiny_config(out, student).changed({f"evaluation.{key}": value for key, value in settings.items()})
    task = TinyTask()
    return config, evaluate_directory(student, config, task, tiny_bank(task), pool(), out=out)


def test_an_evaluation_tells_when_to_trust_it_and_is_otherwise_as_without(student: Path, tmp_path: Path) -> None:
    _, plain = asked(student, tmp_path / "plain")
    _, rows = asked(student, tmp_path / "sure", confidence="likelihood", precision=0.5)
    assert [(row.split, row.routes > 0) for row in rows] == [
        ("test", False), ("test", True), ("validation", False), ("validation", True),
    ]  # fmt: skip
    assert [replace(row, confidence=None) for row in rows[:2]] == plain
    without, with_routes, chosen, _ = (row.confidence for row in rows)
    assert without is not None and with_routes is not None and chosen is not None
    assert without.chosen_on == "validation" and without.threshold == chosen.threshold and chosen.trusted is None
    answers: dict[tuple[str, bool], list[Rated]] = {}
    for row in read_rows(tmp_path / "sure", Prediction):
        each = [(item.confidence, item.correct) for item in row.completions]
        answers.setdefault((row.split, row.routes > 0), []).append(each)
    again = measure(answers["test", False], "likelihood", 100, 3, without.threshold)
    assert with_routes.threshold == threshold(answers["validation", True], 0.5)
    assert (again.ece, again.curve, again.trusted) == (without.ece, without.curve, without.trusted)
    assert "AUROC" in told(without) and "right on validation" in told(without) + told(chosen)
    assert "confidence" not in (tmp_path / "plain" / "predictions.jsonl").read_text()


def test_votes_are_of_questions(student: Path, tmp_path: Path) -> None:
    _, rows = asked(student, tmp_path, confidence="votes", samples=3)
    first = rows[0].confidence
    assert first is not None and first.n + first.missing == 8
    assert {round(3 * point.threshold) for point in first.curve} <= {1, 2, 3}
    assert rows[0].maj_at_n == pytest.approx(
        first.curve[-1].right.value * first.curve[-1].coverage.value if first.curve[-1].right else 0
    )


def test_a_split_that_the_task_has_not_is_told_with_the_near_one() -> None:
    def config(split: str) -> Config:
        return Config.model_validate({"evaluation": {"confidence": "likelihood", "precision_on": split}})

    with pytest.raises(ConfigError, match=r"\.precision_on: .* no split validaton; did you mean validation\?$"):
        evaluation_questions(config("validaton"), TinyTask())
    with pytest.raises(ConfigError, match=r"no split dev; it has train, validation, test\.$"):
        evaluation_questions(config("dev"), TinyTask())
    assert "validation" in evaluation_questions(config("validation"), TinyTask())


def test_where_no_completion_states_a_confidence_the_prompt_has_to_ask() -> None:
    nothing = measure([[(None, True)], [(None, False)]], "stated", 100, 0)
    assert told(nothing).startswith("no completion with an answer states a confidence; the prompt has to ask")
    assert "no completion" not in told(measure([[(None, True)], [(0.5, False)]], "stated", 100, 0))
