"""The finding of an experiment, composed from its figures by rule, that claims nothing beyond them.

A difference counts as shown where its p-value, corrected over the pairs of its measure, is below `LEVEL`.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean, median_low

from realm.experiments.axis import LEVEL, axes, best_arm
from realm.experiments.grid import FAST_NOTE
from realm.experiments.results import Outcomes, cell_of
from realm.experiments.spec import UNTRAINED
from realm.rows.experiment import Accuracy, BankFacts, Course, Gap, GapPair, Pair, Results, Shown, Took
from realm.text import between, grouped, hundredths, points

#: Difference between the share of wrong routes asked for and that shown from which on the finding speaks of it.
_OFF = 0.03
#: Differences are named one by one and with intervals up to so many; of more that are not shown, the largest `_NAMED`.
_FEW, _NAMED = 5, 3
#: Things besides the headline of which the finding speaks in one paragraph; more are a list.
_TOPICS = 5
#: Routes dropped per prompt from which on the finding speaks of it.
_DROPPED = 0.01

Pairs = Sequence[Pair | GapPair]
NOWHERE: Mapping[str, str] = {}


def compose(results: Results, found: Outcomes, *, tell: str | None = None) -> str:
    """One paragraph; where it would speak of many things, a paragraph on the headline and a list of the others.

    Args:
        results: all of them but the finding.
        found: the outcomes it rests on.
        tell: `curves`: say which arms fall from their best while they train.
    """
    models = results.kind == "models"
    best = best_arm(found, found.arms if models else None)
    head = [FAST_NOTE] if results.fast else []
    spreads = _spreads(results)
    if not spreads or any("model.path" in arm.set_ for arm in results.arms):
        head.append(_best(results, best))
    head += [*spreads, *_differences(results)]
    topics = [*_others(results), *_margins(results), *_true_sums(results)]
    if results.axis:
        topics += axes(results, results.axis, found)
    if tell == "curves":
        topics += _falls(results.training)
    topics += [" ".join(_bound(results, results.banks))] if results.banks else []
    topics += _gap(results, best, found)
    if results.equal_budget is not None:
        topics += _budgets(results, results.equal_budget)
    topics += _really(results, results.shown)
    topics += _dropped(results.shown)
    topics.append("Intervals are over questions." if models else _seeds(results.seeds))
    if len(topics) <= _TOPICS:
        return " ".join([*head, *topics])
    return "\n".join([" ".join(head), "", *(f"- {one}" for one in topics)])


def _percent(row: Accuracy) -> str:
    return f"{hundredths(row.mean)} % ({between(row.low, row.high)})"


def _points(value: float, row: Pair | GapPair | Gap) -> str:
    return f"{points(value)} points ({between(row.low, row.high, points)})"


def _best(results: Results, best: str) -> str:
    headline = results.headline
    label = next(row.label for row in results.measures if row.name == headline)
    names = [row.name for row in results.arms]
    text = f"On {label}, {best} has the highest accuracy, {_percent(cell_of(results, best, headline))}"
    if len(names) == 1 or names == [UNTRAINED, best]:
        text = f"On {label}, {best} reaches {_percent(cell_of(results, best, headline))}"
    if alike := [arm for arm in names if arm not in (best, UNTRAINED) and _as_high(results, arm, best)]:
        text += f"; as high is that of {' and '.join(alike)}"
    if UNTRAINED in names and best != UNTRAINED:
        text += f"; {_untrained(results)} has {_percent(cell_of(results, UNTRAINED, headline))}"
    return f"{text}."


def _as_high(results: Results, arm: str, best: str) -> bool:
    """Whether two arms have the same accuracy, but for rounding."""
    return abs(cell_of(results, arm, results.headline).mean - cell_of(results, best, results.headline).mean) < 1e-9


def _untrained(results: Results) -> str:
    """What the arm `base` is called."""
    return UNTRAINED if results.kind == "models" else "the untrained model"


def _differences(results: Results) -> list[str]:
    """Which of the differences asked for are shown, and which not: in the headline, or where alone they are asked."""
    headline, labels = results.headline, {row.name: row.label for row in results.measures}
    mine = [row for row in results.pairs if row.measure == headline]
    usual = {(row.arm, row.against) for row in mine}
    elsewhere = [row for row in results.pairs if (row.arm, row.against) not in usual]
    return _told([*mine, *elsewhere], {name: f" ({label})" for name, label in labels.items() if name != headline})


def _others(results: Results) -> list[str]:
    """The same of each of the other measures that the finding is to tell."""
    labels = {row.name: row.label for row in results.measures}
    each = {measure: _briefly([row for row in results.pairs if row.measure == measure]) for measure in results.also}
    return [f"On {labels[measure]}: {' '.join(told)}" for measure, told in each.items() if told]


def _margins(results: Results) -> list[str]:
    """Of every measure with a margin: which arms are shown to be equal within it, or no worse by it, and which not."""
    said: dict[str, dict[str, list[str]]] = {}
    labels = {row.name: row.label for row in results.measures}
    for row in results.pairs:
        if row.margin is not None and row.p_no_worse is not None and row.p_same is not None:
            no_worse = "no worse by that" if row.p_no_worse < LEVEL else "not shown to be no worse"
            words = "within it" if row.p_same < LEVEL else no_worse
            of = said.setdefault(f"Against a margin of {100 * row.margin:g} points on {labels[row.measure]}", {})
            of.setdefault(words, []).append(f"{row.arm} − {row.against}")
    each = {where: "; ".join(f"{words}: {_several(of)}" for words, of in one.items()) for where, one in said.items()}
    return [f"{where} (p < {LEVEL} after correction): {words}." for where, words in each.items()]


def _several(names: Sequence[str]) -> str:
    """All of them where they are few, else how many; the table has them."""
    return ", ".join(names) if len(names) <= _FEW else f"{len(names)} differences"


def _true_sums(results: Results) -> list[str]:
    """Of every measure that is asked for: the most, the untrained model's, and which differences are shown."""
    parts = []
    for measure in dict.fromkeys(row.measure for row in results.sums):
        rows = {row.arm: row for row in results.sums if row.measure == measure}
        trained = [row for arm, row in rows.items() if arm != UNTRAINED]
        label = next(row.label for row in results.measures if row.name == measure)
        has = "has the largest share," if len(trained) > 1 else "has"
        each = [f"{row.arm} {has} {_percent(row)}" for row in sorted(trained, key=lambda row: -row.mean)[:1]]
        each += [f"{_untrained(results)} has {_percent(rows[UNTRAINED])}"] if UNTRAINED in rows else []
        told = _briefly([row for row in results.sum_pairs if row.measure == measure])
        parts.append(" ".join([f"True sums, of those stated on {label}: {'; '.join(each)}.", *told]))
    return parts


def _told(rows: Pairs, where: Mapping[str, str] = NOWHERE) -> list[str]:
    """Which of the rows are shown and which not; `where`: what stands behind those of a measure."""
    if not rows:
        return []
    sure = [row for row in rows if row.p_corrected < LEVEL]
    unsure = [row for row in rows if row.p_corrected >= LEVEL]
    parts = []
    if sure:
        which = "The difference asked for is" if len(rows) == 1 else f"Of {len(rows)} differences {len(sure)}"
        verb = "" if len(rows) == 1 else " is" if len(sure) == 1 else " are"
        parts.append(f"{which}{verb} shown (p < {LEVEL} after correction): {_all(sure, where)}.")
    if unsure:
        words = "Not shown" if sure else "No difference is shown" if len(rows) > 1 else "The difference is not shown"
        parts.append(f"{words} (p ≥ {LEVEL} after correction): {_largest(unsure, where)}.")
    return parts


def _briefly(rows: Sequence[Pair]) -> list[str]:
    """The same where it is no headline: of many rows those that are shown, without intervals, which the table has."""
    sure = [row for row in rows if row.p_corrected < LEVEL]
    if len(rows) <= _FEW or not sure:
        return _told(rows)
    each = ", ".join(f"{row.arm} − {row.against} {points(row.difference)}" for row in sure)
    verb = "is" if len(sure) == 1 else "are"
    return [f"Of {len(rows)} differences {len(sure)} {verb} shown (p < {LEVEL} after correction): {each} points."]


def _largest(rows: Pairs, where: Mapping[str, str]) -> str:
    """The rows, or where they are many the largest of them and how many are left to the table."""
    if len(rows) <= _FEW:
        return _list(rows, where)
    first = sorted(rows, key=lambda row: -abs(row.difference))[:_NAMED]
    return f"{_list(first, where)}; and {len(rows) - _NAMED} that are smaller"


def _all(rows: Pairs, where: Mapping[str, str] = NOWHERE) -> str:
    """Every row; where they are many without the intervals, which the table has."""
    if len(rows) <= _FEW:
        return _list(rows, where)
    each = (f"{row.arm} − {row.against}{where.get(row.measure, '')} {points(row.difference)}" for row in rows)
    return f"{', '.join(each)} points"


def _list(rows: Pairs, where: Mapping[str, str]) -> str:
    pairs = ((f"{row.arm} − {row.against}{where.get(row.measure, '')}", row) for row in rows)
    return "; ".join(f"{pair} {_points(row.difference, row)}" for pair, row in pairs)


def _spreads(results: Results) -> list[str]:
    """How far the settings of one model move the headline, beside what chance over the questions does."""
    rows = [row for row in results.spreads if row.measure == results.headline]
    parts = []
    if rows and UNTRAINED in {arm.name for arm in results.arms}:
        label = next(row.label for row in results.measures if row.name == results.headline)
        mine = _percent(cell_of(results, UNTRAINED, results.headline))
        parts.append(f"On {label}, what is to be reported is {UNTRAINED}, the choice made before: {mine}.")
    for row in rows:
        parts.append(
            f"Over {row.arms} settings of one model{f' ({row.group})' if row.group else ''} accuracy moves by "
            f"{hundredths(row.difference)} points ({between(row.low, row.high)}), from {row.lowest} to {row.highest}"
            f"{'' if row.low else ', which is not shown to be more than chance'}."
        )
    if rows:
        parts.append("The best of them, picked by these very questions, claims more than other questions would show.")
    return parts


def _bound(results: Results, facts: Sequence[BankFacts]) -> list[str]:
    """Whether the gain of wrong routes goes with the gap between teacher and student."""
    gains = {(row.arm, row.against): row for row in results.pairs if row.measure == results.headline}
    texts = [
        f"{one.name} (gap {points(one.gap)} points) {_points(gains[one.pair].difference, gains[one.pair])}"
        for one in sorted(facts, key=lambda one: one.gap)
    ]
    return [
        "Gain of wrong routes as they come over as few as the bank allows, by the gap between the teacher's accuracy "
        f"and the untrained student's: {'; '.join(texts)}.",
        _order(facts, [gains[one.pair] for one in facts]),
        f"{len(facts)} banks are too few to establish more than this order.",
    ]


def _order(facts: Sequence[BankFacts], gains: Sequence[Pair]) -> str:
    """How gains go with the gap, by the sign of every pair of banks (Kendall) whose intervals lie apart in both."""
    spans = [((one.low, one.high), (gain.low, gain.high)) for one, gain in zip(facts, gains, strict=True)]
    signs = [
        side * _side(gain, other_gain)
        for (gap, gain), (other_gap, other_gain) in combinations(spans, 2)
        if (side := _side(gap, other_gap))
    ]
    which = "whose gaps' intervals lie apart"
    if not signs:
        return "The intervals of the gaps overlap, so that the banks cannot be ordered."
    if not any(signs):
        return f"In every pair of banks {which} the gains' intervals overlap, so that no order of the gains is shown."
    if len(set(signs)) == 1:
        return f"The gain {'rises' if signs[0] > 0 else 'falls'} with the gap in every pair of banks {which}."
    text = f"the gain rises with the gap in {signs.count(1)} and falls in {signs.count(-1)}"
    unsure = f"; in {signs.count(0)} the gains' intervals overlap" if 0 in signs else ""
    return f"Of {len(signs)} pairs of banks {which}, {text}{unsure}."


def _side(one: tuple[float, float], other: tuple[float, float]) -> int:
    """1 where the first interval lies above the other, −1 where below, 0 where they overlap."""
    return (one[0] > other[1]) - (one[1] < other[0])


def _falls(training: Sequence[Course]) -> list[str]:
    """Which arms fall from their best while they train, and which are not shown to; without routes."""
    rows = [row for row in training if row.measure == "without"]
    if not rows:
        return []
    if all(row.seeds == 1 for row in rows):
        return ["With one seed it cannot be told which arms fall from their best while they train."]
    fallen = [
        f"{row.arm} from step {row.falls.step:g} (there {hundredths(row.falls.difference)} points below "
        f"its best, step {row.best.step:g})"
        for row in rows
        if row.falls
    ]
    kept = ", ".join(row.arm for row in rows if not row.falls)
    start = "While training, on validation without routes,"
    if not fallen:
        return [f"{start} no arm is shown to fall from its best."]
    left = f"; not shown to fall: {kept}" if kept else ""
    return [f"{start} these are shown to fall from their best: {'; '.join(fallen)}{left}."]


def _gap(results: Results, best: str, found: Outcomes) -> list[str]:
    """What routes in the prompt still add, for the best arm and over all arms."""
    split = found.headline[0]
    rows = {row.arm: row for row in results.gaps if row.split == split and row.arm != UNTRAINED}
    if best not in rows:
        return []
    mine = rows[best]
    text = f"Routes in the prompt change {best}'s accuracy on {split} by {_points(mine.mean, mine)}"
    if len(rows) > 1:
        ends = sorted(rows.values(), key=lambda row: row.mean)
        low, high = ends[0], ends[-1]
        if points(low.mean) == points(high.mean):
            text += "; over the arms this gap is the same"
        else:
            text += (
                f"; over the arms this gap goes from {points(low.mean)} ({low.arm}) to {points(high.mean)} "
                f"points ({high.arm})"
            )
    asked = [row for row in results.gap_pairs if row.split == split]
    sure = [row for row in asked if row.p_corrected < LEVEL]
    differ = (
        f"Gaps shown to differ: {_all(sure)}." if sure else "No gap is shown to differ from one it was held against."
    )
    return [f"{text}.", *([differ] if asked else [])]


def _really(results: Results, shown: Sequence[Shown]) -> list[str]:
    """Where a share of wrong routes was asked for that the bank could not give."""
    asked = {row.name: row.set_.get("routes.error_ratio") for row in results.arms}
    off = [one for one in shown if (share := asked[one.arm]) is not None and abs(share - one.wrong) > _OFF]
    if not off:
        return []
    texts = ", ".join(f"{one.arm} {100 * one.wrong:.0f} %" for one in off)
    return [f"Some questions lack CoTs of one label, so that the share of wrong routes really was: {texts}."]


def _budgets(results: Results, within: float) -> list[str]:
    """Where arms that are held against each other did not take equal steps and student tokens."""
    groups: dict[str, dict[str, list[Took]]] = {}
    of = {arm.name: arm.group for arm in results.arms}
    for row in results.cost:
        groups.setdefault(of[row.arm], {}).setdefault(row.arm, []).append(row)
    parts = []
    for name, arms in groups.items():
        where = f" in {name}" if name else ""
        steps = {arm: fmean(row.steps for row in rows) for arm, rows in arms.items()}
        tokens = {arm: fmean(row.trained_tokens for row in rows) for arm, rows in arms.items()}
        parts += _unequal(f"Optimizer steps{where}", steps, 0.0)
        parts += _unequal(f"Student tokens in training{where}", tokens, within)
    each = " of each group" if len(groups) > 1 else ""
    equal = f"All arms{each} take equal steps and, within {100 * within:g} %, equal student tokens in training."
    return parts or [equal]


def _unequal(what: str, values: Mapping[str, float], within: float) -> list[str]:
    """Which arms are farther from the middle one than this share of it."""
    middle = median_low(values.values()) or 1.0
    off = {arm: value / middle - 1 for arm, value in values.items() if abs(value - middle) > within * middle}
    if not off:
        return []
    near = f" within {100 * within:g} %" if within else ""
    each = ", ".join(f"{arm} ({100 * share:+.0f} %)" for arm, share in off.items())
    return [f"{what} are {grouped(middle)}{near}, but for {each}."]


def _dropped(shown: Sequence[Shown]) -> list[str]:
    lost = [one for one in shown if one.dropped >= _DROPPED]
    if not lost:
        return []
    texts = ", ".join(f"{one.arm} {one.dropped:.2f}" for one in lost)
    return [f"Routes did not all fit the student's context; dropped per prompt: {texts}."]


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return "One seed: intervals and p-values say nothing of what another seed would give."
    return f"{len(seeds)} seeds: the part of the seeds in every interval is rough."
