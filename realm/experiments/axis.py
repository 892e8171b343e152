"""What a finding says of an axis on which arms lie: where the best is, and which values are shown to be worse."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from realm.experiments.comparison import Compared, holm
from realm.experiments.results import Outcomes
from realm.experiments.spec import UNTRAINED
from realm.rows.experiment import Results, Scale
from realm.text import amount, between, hundredths

#: A difference counts as shown where its corrected p-value is below.
LEVEL = 0.05


def best_arm(found: Outcomes, arms: Sequence[str] | None = None) -> str:
    """The best trained arm of the headline measure, or the best of these."""
    return max(arms or _trained(found), key=lambda arm: sum(sum(run.values()) for run in found.of(arm, found.headline)))


def _trained(found: Outcomes) -> list[str]:
    return [arm for arm in found.arms if arm != UNTRAINED]


def against_best(found: Outcomes, best: str, arms: Sequence[str] | None = None) -> dict[str, tuple[Compared, float]]:
    """The difference of every other trained arm (of `arms`) from the best one in the headline, with corrected p.

    Corrected over all pairs of arms: the best one is chosen from the same figures, and might have been any other.
    """
    pairs = [  # the best arm's pairs are arm − best
        (one, other) if other == best else (other, one) for one, other in combinations(arms or _trained(found), 2)
    ]
    tests = [found.compare(*pair, found.headline) for pair in pairs]
    corrected = holm([test.p for test in tests])
    rows = zip(pairs, tests, corrected, strict=True)
    return {arm: (test, p) for (arm, against), test, p in rows if against == best}


def axes(results: Results, axis: Scale, found: Outcomes) -> list[str]:
    """What is to be said of the axis, of each group of arms by itself."""
    groups: dict[str, list[str]] = {}
    for arm in results.arms:
        if arm.name in axis.values:
            groups.setdefault(arm.group, []).append(arm.name)
    parts = []
    for name, arms in groups.items():
        best = best_arm(found, arms)
        scale = Scale(
            label=f"{axis.label} ({name})" if len(groups) > 1 else axis.label,
            values={arm: axis.values[arm] for arm in arms},
            by=axis.by,
        )
        parts.append(_axis(scale, best, against_best(found, best, arms), briefly=len(groups) > 1))
    return parts


def _axis(axis: Scale, best: str, others: Mapping[str, tuple[Compared, float]], *, briefly: bool) -> str:
    """Over which part of the axis nothing is shown to be lost, and where accuracy is below the best.

    Args:
        briefly: without the intervals of what is below.
    """
    values = {arm: _place(axis, arm) for arm in axis.values}
    below = {arm for arm, (test, p) in others.items() if p < LEVEL and test.difference < 0}
    order = sorted(values, key=lambda arm: axis.values[arm])
    kept = [arm for arm in order if arm not in below]
    start = f"Along {axis.label}, the best is at {values[best]}"
    if not below:
        return f"{start}, and no other value is shown to be worse." if others else f"{start}, the only value."
    how = f"p < {LEVEL}, corrected over all pairs"
    tests = [(values[arm], others[arm][0]) for arm in order if arm in below]
    each = [f"{value} by {hundredths(-test.difference)}" for value, test in tests]
    spans = [f" points ({between(-test.high, -test.low)})" for _, test in tests]
    told = f"{', '.join(each)} points" if briefly else "; ".join(map("".join, zip(each, spans, strict=True)))
    if kept == [best]:
        return f"{start}; every other value is shown to be worse ({how}): {told}."
    alike = [values[arm] for arm in kept if arm != best]
    left = f"{' and '.join(alike)} cannot be told from it"
    if len(alike) > 1 and kept == order[order.index(kept[0]) : order.index(kept[-1]) + 1]:
        left = f"no value from {values[kept[0]]} to {values[kept[-1]]} is shown to be worse"
    return f"{start}; {left}, and below it ({how}) are {told}."


def _place(axis: Scale, arm: str) -> str:
    """Where an arm lies; a measured place, which is no round number, beside its name."""
    value = axis.values[arm]
    if axis.by is None:
        return f"{value:g}"
    return f"{arm} ({amount(value)})"
