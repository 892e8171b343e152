"""Pooling over seeds: means by hand, intervals that know of both sources of chance, and the page they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.experiments.comparison import accuracies, pooled_mean, subtract
from tests.conftest import write_rows


def test_all_right_is_as_sure_as_its_questions_are_many() -> None:
    found = pooled_mean([{"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}])
    assert tuple(found) == pytest.approx((1.0, 0.025**0.5, 1.0))
    assert tuple(pooled_mean([{"a": (2, 2), "b": (0, 0)}] * 2)) == pytest.approx((1.0, 0.025, 1.0))


def test_disagreeing_seeds_widen_the_interval() -> None:
    """The same questions, once with seeds that agree and once with seeds that differ by twenty points."""
    agree = [{str(n): float(n % 2) for n in range(400)}] * 3
    differ = [{str(n): float(n % 10 < limit) for n in range(400)} for limit in (4, 5, 6)]
    narrow, wide = pooled_mean(agree), pooled_mean(differ)
    assert narrow.difference == wide.difference == 0.5
    assert 0.08 < narrow.high - narrow.low < 0.12  # 2 * 1.96 * sqrt(0.25 / 400) = 0.098
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_pairing_removes_what_both_sides_share() -> None:
    hard = {str(n): float(n % 2) for n in range(400)}
    better = {key: 1.0 if key.endswith("0") else value for key, value in hard.items()}  # 40 of 400 more
    found = pooled_mean([subtract(better, hard)] * 3)
    assert found.difference == pytest.approx(0.1)
    assert found.low > 0.06


def test_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="same questions"):
        pooled_mean([{"a": 1.0}, {"b": 1.0}])


def write_run(folder: Path, right: dict[str, bool]) -> None:
    folder.mkdir(parents=True)
    rows = [
        {"stage": "final", "split": "test", "routes": 0, "question_id": key, "completions": [{"correct": value}]}
        for key, value in right.items()
    ]
    rows.append({**rows[0], "stage": "rl", "question_id": "elsewhere"})
    write_rows(folder / "predictions.jsonl", rows)


def test_only_the_final_evaluation_counts(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {f"q{n}": n < 50 for n in range(100)})
    assert accuracies(tmp_path / "run") == {("test", 0): {f"q{n}": float(n < 50) for n in range(100)}}
