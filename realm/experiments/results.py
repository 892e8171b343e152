"""What the finished cells of an experiment say, as one row: `results.json`, from which page and plot are made.

Accuracies, intervals and differences are shares in [0, 1]. The keys are described in docs/howto/experiments.md.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import comb
from pathlib import Path
from statistics import fmean
from typing import Any

from realm.errors import DataError
from realm.evaluation.sums import ALL, Tally, together
from realm.experiments.comparison import (
    Compared,
    Key,
    Outcome,
    Runs,
    Sums,
    accuracies,
    against_margin,
    by_seed,
    farthest,
    holm,
    paired,
    paired_sums,
    pooled_mean,
    stated,
    subtract,
    tested,
)
from realm.experiments.confidence import over_seeds, told_by
from realm.experiments.courses import courses
from realm.experiments.grid import Cell, Grid
from realm.experiments.runner import tiny
from realm.experiments.spec import UNTRAINED, Axis, Spec
from realm.experiments.spec import Measure as Wanted
from realm.recipes import plan
from realm.rows.evaluation import Evaluation
from realm.rows.experiment import (
    Accuracy,
    Arm,
    Curve,
    Gap,
    GapPair,
    Judging,
    Measure,
    Memory,
    OfKind,
    OfOperator,
    Pair,
    Results,
    Scale,
    Spread,
    Sure,
    Took,
)
from realm.rows.training import Step
from realm.run import RunFolder, position
from realm.statistics.equivalence import Equivalence

#: The fewest resamples, and how many more for every test that p-values are corrected over: the p of a bootstrap is at
#: least 2 / (resamples + 1), and times the number of tests that must stay below any level of use.
RESAMPLES, _EACH = 2000, 100


class Outcomes:
    """The outcome of every question, by arm and measure; one mapping a seed."""

    def __init__(self, spec: Spec, grid: Grid) -> None:
        along = comb(len(spec.arms), 2) if spec.axis else 0
        self.resamples = max(
            RESAMPLES, grid.common.evaluation.bootstrap, _EACH * max(len(spec.pairs), len(spec.arms), along)
        )
        self.seed = grid.common.run.seed
        self.arms = list(dict.fromkeys(cell.arm for cell in grid.cells))
        self._found = {arm: [accuracies(cell.evaluated) for cell in grid.of(arm)] for arm in self.arms}
        self.seeds = list(dict.fromkeys(cell.seed for cell in grid.cells))
        first, *others = (seed for seeds in self._found.values() for seed in seeds)
        self.measures = [key for key in first if all(key in other for other in others)]
        self.besides = [key for key in self.measures if ":" in key[0]]  # of `evaluation.also`
        if spec.measures:
            self.measures = self._known(spec.measures)
        (self.headline,) = self._known([spec.headline])
        self.also, self.true_sums = self._known(spec.also), self._known(spec.true_sums)
        self._known(spec.asked)
        self._stated = {arm: [stated(cell.evaluated, self.true_sums) for cell in grid.of(arm)] for arm in self.arms}

    def _known(self, wanted: Iterable[Wanted]) -> list[Key]:
        keys = [(split, ways == "with") for split, ways in wanted]
        for key in keys:
            if key not in self.measures:
                names = ", ".join(map(measure_name, self.measures))
                raise DataError(f"measure {measure_name(key)}: not every cell has it; all have {names}.")
        return keys

    def of(self, arm: str, key: Key) -> list[Outcome]:
        """The outcomes of an arm, one mapping a seed."""
        return [seed[key] for seed in self._found[arm]]

    def sums(self, arm: str, key: Key) -> list[Sums] | None:
        """The equations of an arm, one mapping a seed; None where a seed states none, which then has no share."""
        each: list[Sums] = [{name: one[ALL] for name, one in seed[key].items()} for seed in self._stated[arm]]
        return each if all(any(stated for _, stated in seed.values()) for seed in each) else None

    def operators(self, arm: str, key: Key) -> Tally:
        """The equations of all seeds together, by operator."""
        found = together(one for seed in self._stated[arm] for one in seed[key].values())
        return {name: counts for name, counts in sorted(found.items()) if name != ALL}

    def compare(self, arm: str, against: str, key: Key) -> Compared:
        """The difference of two arms, paired by seed and question."""
        return paired(self.of(arm, key), self.of(against, key), self.resamples, self.seed)

    def against_margin(self, arm: str, against: str, key: Key, margin: float) -> Equivalence:
        """Whether the difference of two arms is shown to be smaller than a margin."""
        return against_margin(self.of(arm, key), self.of(against, key), margin, self.resamples, self.seed)

    def with_gap(self) -> list[str]:
        """The splits that were measured both without and with routes."""
        splits = dict.fromkeys(split for split, _ in self.measures)
        return [split for split in splits if {(split, False), (split, True)} <= set(self.measures)]

    def gap(self, arm: str, split: str) -> list[Outcome]:
        """What routes change at every question, with − without; one mapping a seed."""
        return [
            subtract(*sides) for sides in zip(self.of(arm, (split, True)), self.of(arm, (split, False)), strict=True)
        ]

    def test(self, differences: Sequence[Outcome], most: float = 1.0) -> Compared:
        """Their mean, with interval and p-value; none is beyond `most`."""
        return tested(differences, self.resamples, self.seed, most)


def measure_name(key: Key) -> str:
    """`test/without`, for example."""
    return f"{key[0]}/{'with' if key[1] else 'without'}"


def make_results(spec: Spec, grid: Grid, found: Outcomes, **more: Any) -> Results:
    """Everything of results.json that rests on the cells, and `more`: name, command, time, prompts and banks.

    Raises:
        DataError: a measure that the file asks for was not taken, or a file of a cell cannot be read.
    """
    metas = [RunFolder(cell.evaluated).meta for cell in grid.cells]
    curves = [curve for cell in grid.cells if cell.trained for curve in curves_of(cell, cell.trained)]
    return Results(
        **more,
        title=spec.title,
        question=spec.question,
        kind=spec.kind,
        seeds=tuple(found.seeds),
        threads=1 if tiny(grid.common) else None,
        machine="; ".join(dict.fromkeys(meta.machine for meta in metas)),
        versions=_versions([meta.versions for meta in metas]),
        budget=_budget(spec, grid),
        equal_budget=spec.equal_budget,
        arms=tuple(_arm(spec, arm) for arm in found.arms),
        measures=tuple(_measure(key) for key in found.measures),
        headline=measure_name(found.headline),
        also=tuple(measure_name(key) for key in found.also),
        cells=tuple(_cell(found, arm, key, found.of(arm, key)) for arm in found.arms for key in found.measures),
        gaps=tuple(_gaps(found)),
        gap_pairs=tuple(_gap_pairs(spec, found)),
        pairs=tuple(_pairs(spec, found)),
        sums=tuple(
            _cell(found, arm, key, runs)
            for arm in found.arms
            for key in found.true_sums
            if (runs := found.sums(arm, key))
        ),
        sum_pairs=tuple(_sum_pairs(spec, found)),
        operators=tuple(_operators(found)),
        unlearned=tuple(_unlearned(found)),
        axis=_scale(spec.axis, grid) if spec.axis else None,
        spreads=tuple(_spreads(spec, grid, found)),
        kinds=tuple(_kinds(grid, found)),
        judging=tuple(_judging(grid, found)),
        confidence=tuple(_sure(grid, found)),
        memory=tuple(_memory(grid, found)),
        cost=tuple(_costs(grid)),
        curves=tuple(curves),
        training=tuple(courses(curves)),
    )


def _versions(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Package -> version; all of them where cells were made with different ones."""
    packages = dict.fromkeys(package for one in each for package in one)
    found = {name: dict.fromkeys(one[name] for one in each if name in one) for name in packages}
    return {name: " and ".join(versions) for name, versions in found.items()}


#: What a step of a stage takes.
_PER_STEP = {"rl": "completions_per_step", "sft": "examples_per_step", "pairs": "pairs_per_step"}


def _budget(spec: Spec, grid: Grid) -> dict[str, int | str]:
    """What a step is, and the optimizer steps of an arm: a number where they are all equal, else words.

    Arms of a group that take equal steps are named by their group.
    """
    steps = {row.arm: row.steps for row in _costs(grid)}
    if not steps:
        return {}
    groups: dict[str, set[int]] = {}
    for arm, n in steps.items():
        groups.setdefault(spec.arms[arm].group, set()).add(n)
    one = {name for name, found in groups.items() if name and len(found) == 1}
    steps = {group if (group := spec.arms[arm].group) in one else arm: n for arm, n in steps.items()}
    equal = len(set(steps.values())) == 1
    sizes: dict[str, set[int]] = {}
    for config in (cell.config for cell in grid.cells if cell.trained):
        for kind in {stage.kind for stage in plan(config)} & _PER_STEP.keys():
            sizes.setdefault(_PER_STEP[kind], set()).add(config.get(f"training.{kind}.batch_size"))
    return {
        "steps": next(iter(steps.values())) if equal else ", ".join(f"{arm} {n}" for arm, n in steps.items()),
        **{
            name: max(found) if len(found) == 1 else " or ".join(map(str, sorted(found)))
            for name, found in sizes.items()
        },
    }


def _arm(spec: Spec, arm: str) -> Arm:
    if arm == UNTRAINED:
        return Arm(name=arm)
    settings = spec.arms[arm]
    bank = spec.banks[settings.bank] if settings.bank else {}
    return Arm(name=arm, set_={**bank, **settings.set}, group=settings.group)


def _measure(key: Key) -> Measure:
    split, routes = key
    label = f"{split}, {'with' if routes else 'without'} routes"
    return Measure(name=measure_name(key), split=split, routes=routes, label=label)


def _cell(found: Outcomes, arm: str, key: Key, runs: Runs) -> Accuracy:
    mean, low, high = pooled_mean(runs, found.resamples, found.seed)
    each = {str(seed): mean for seed, mean in zip(found.seeds, by_seed(runs), strict=True)}
    return Accuracy(arm=arm, measure=measure_name(key), mean=mean, low=low, high=high, seeds=each)


def _gaps(found: Outcomes) -> list[Gap]:
    """`autonomy_gap`: accuracy with − without routes, paired by seed and question."""
    rows = []
    for split in found.with_gap():
        for arm in found.arms:
            gap = found.test(found.gap(arm, split))
            rows.append(Gap(arm=arm, split=split, mean=gap.difference, low=gap.low, high=gap.high))
    return rows


def _gap_pairs(spec: Spec, found: Outcomes) -> list[GapPair]:
    """How much smaller or larger one arm's gap is than another's, of the pairs that are asked in every measure."""
    pairs = [(pair.arm, pair.against) for pair in spec.pairs if pair.measure is None]
    rows = []
    for split in found.with_gap():
        tests = [
            found.test(
                [subtract(*gaps) for gaps in zip(found.gap(arm, split), found.gap(other, split), strict=True)], 2
            )
            for arm, other in pairs
        ]
        corrected = holm([test.p for test in tests])
        for (arm, against), test, p in zip(pairs, tests, corrected, strict=True):
            rows.append(GapPair(arm=arm, against=against, split=split, **test._asdict(), p_corrected=p))
    return rows


def _pairs(spec: Spec, found: Outcomes) -> list[Pair]:
    """The differences asked for, p-values corrected over the pairs of one measure."""
    rows = []
    for key in found.measures:
        pairs = [(pair.arm, pair.against) for pair in spec.pairs if pair.of(key)]
        made = _corrected(key, pairs, [found.compare(*pair, key) for pair in pairs])
        if margin := spec.margins.get(measure_name(key)):
            tests = [found.against_margin(*pair, key, margin / 100) for pair in pairs]
            no_worse, same = holm([one.no_worse for one in tests]), holm([one.same for one in tests])
            made = [
                replace(row, margin=margin / 100, p_no_worse=one, p_same=other)
                for row, one, other in zip(made, no_worse, same, strict=True)
            ]
        rows += made
    return rows


def _sum_pairs(spec: Spec, found: Outcomes) -> list[Pair]:
    """The same of shares of true sums, where both arms have one."""
    rows = []
    for key in found.true_sums:
        sides = {
            (pair.arm, pair.against): (one, other)
            for pair in spec.pairs
            if pair.of(key) and (one := found.sums(pair.arm, key)) and (other := found.sums(pair.against, key))
        }
        tests = [paired_sums(*both, found.resamples, found.seed) for both in sides.values()]
        rows += _corrected(key, list(sides), tests)
    return rows


def _corrected(key: Key, pairs: Sequence[tuple[str, str]], tests: Sequence[Compared]) -> list[Pair]:
    corrected = holm([test.p for test in tests])
    return [
        Pair(arm=arm, against=against, measure=measure_name(key), **test._asdict(), p_corrected=p)
        for (arm, against), test, p in zip(pairs, tests, corrected, strict=True)
    ]


def _unlearned(found: Outcomes) -> list[Pair]:
    """Every arm minus the untrained model on another task's questions (`evaluation.also`), where that was asked."""
    pairs = [(arm, UNTRAINED) for arm in found.arms if arm != UNTRAINED]
    asked = found.besides if UNTRAINED in found.arms else []
    return [row for key in asked for row in _corrected(key, pairs, [found.compare(*pair, key) for pair in pairs])]


def _operators(found: Outcomes) -> list[OfOperator]:
    """True sums by operator."""
    return [
        OfOperator(arm=arm, measure=measure_name(key), operator=name, n=n, true=true / n)
        for arm in found.arms
        for key in found.true_sums
        for name, (true, n) in found.operators(arm, key).items()
    ]


#: What evaluations hold of how routes were read, besides the accuracy.
JUDGING = ("same_err", "same_err_all", "scoring_accuracy", "auroc")


def _finals(grid: Grid, arm: str) -> Iterator[Evaluation]:
    """What every cell of an arm was found to do in the end, a row for each split and way."""
    for cell in grid.of(arm):
        yield from (row for row in RunFolder(cell.evaluated).read(Evaluation) if row.stage == "final")


def _headline(grid: Grid, found: Outcomes, arm: str) -> list[Evaluation]:
    return [row for row in _finals(grid, arm) if (row.split, row.routes > 0) == found.headline]


def _judging(grid: Grid, found: Outcomes) -> list[Judging]:
    """How every arm reads the routes it is shown, by split: means over the seeds; None where a seed has no figure."""
    rows = []
    for arm in found.arms:
        for split in (split for split, routes in found.measures if routes):
            taken = [row for row in _finals(grid, arm) if row.split == split and row.routes]
            means = {name: _mean([getattr(row, name) for row in taken]) for name in JUDGING}
            rows.append(Judging(arm=arm, split=split, **means))
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) > 0 else None


def _kinds(grid: Grid, found: Outcomes) -> list[OfKind]:
    """The headline measure by kind of question, the mean over the seeds."""
    rows = []
    for arm in found.arms:
        values: dict[str, list[float]] = {}
        for row in _headline(grid, found, arm):
            for kind, part in row.by_kind.items():
                values.setdefault(kind, []).append(part.accuracy)
        rows += [OfKind(arm=arm, kind=kind, mean=fmean(each)) for kind, each in values.items()]
    return rows


def _sure(grid: Grid, found: Outcomes) -> list[Sure]:
    """When the answers of every arm may be trusted, in the measures whose evaluations tell it."""
    resamples = grid.common.evaluation.bootstrap
    rows = []
    for arm in found.arms:
        cells = [told_by(cell.evaluated) for cell in grid.of(arm)]
        each = over_seeds(cells, found.measures, resamples, found.seed)
        rows += [Sure(arm=arm, measure=measure_name(key), confidence=one) for key, one in each.items()]
    return rows


def _memory(grid: Grid, found: Outcomes) -> list[Memory]:
    """Bytes of every arm in the headline, means over the seeds; those that their evaluations tell."""
    rows = []
    for arm in found.arms:
        taken = _headline(grid, found, arm)
        weights, cache = (_mean([getattr(row, name) for row in taken]) for name in ("weights", "cache"))
        if weights is not None and cache is not None:
            rows.append(Memory(arm=arm, weights=weights, cache=cache))
    return rows


_COST = (
    "steps", "completions", "tokens", "teacher_tokens", "teacher_cots", "teacher_cost", "currency", "seconds"
)  # fmt: skip


def _costs(grid: Grid) -> list[Took]:
    """What every training took; seconds without evaluation, over all resumes."""
    rows = []
    for cell in grid.cells:
        if cell.trained is not None:
            cost = RunFolder(cell.trained).meta.cost
            if cost is None:
                raise DataError(f"{cell.trained}: meta.json holds no cost; the run has not come to its end.")
            figures = {name: getattr(cost, name) for name in _COST}
            if cost.stages:
                figures["sampled"] = cost.completions - sum(stage.completions for stage in cost.stages)
                figures["sampled_tokens"] = cost.tokens - sum(stage.tokens for stage in cost.stages)
            rows.append(Took(arm=cell.arm, seed=cell.seed, **figures))
    return rows


def _scale(axis: Axis, grid: Grid) -> Scale:
    """The axis, its places measured where they are not given: means over the seeds."""
    if axis.by is None:
        return Scale(label=axis.label, values=axis.values)
    each: dict[str, list[float | None]] = {}
    for row in _costs(grid):
        each.setdefault(row.arm, []).append(getattr(row, axis.by))
    means = {arm: _mean(values) for arm, values in each.items()}
    if unknown := [arm for arm, mean in means.items() if mean is None]:
        raise DataError(
            f"axis.by: {axis.by} is not known of {', '.join(unknown)}: a run that an earlier version trained has none, "
            "and a cost needs the teachers' prices (teachers.NAME.price) and tokens that they counted."
        )
    return Scale(label=axis.label, values={arm: mean for arm, mean in means.items() if mean is not None}, by=axis.by)


def _spreads(spec: Spec, grid: Grid, found: Outcomes) -> list[Spread]:
    """How far each measure moves over the arms that leave the model of `base` as it is, group by group."""
    if spec.kind != "models":
        return []
    same = [cell.arm for cell in grid.cells if cell.config.model.path == grid.common.model.path]
    groups: dict[str, list[str]] = {}
    for arm in same:
        if arm != UNTRAINED:
            groups.setdefault(spec.arms[arm].group, [UNTRAINED] if UNTRAINED in same else []).append(arm)
    return [
        Spread(
            group=group,
            measure=measure_name(key),
            arms=len(arms),
            **farthest({arm: found.of(arm, key) for arm in arms}, found.resamples, found.seed)._asdict(),
        )
        for group, arms in groups.items()
        if len(arms) > 1
        for key in found.measures
    ]


def curves_of(cell: Cell, trained: Path) -> list[Curve]:
    """Validation accuracy while training, steps counted on over the stages; with routes means those of the arm."""
    run = RunFolder(trained)
    starts = _stage_starts(run.read(Step))
    points: dict[str, list[tuple[int, float]]] = {}
    rows = [row for row in run.read(Evaluation) if row.split == "validation" and row.stage != "final"]
    for row in sorted(rows, key=position):
        step = starts.get((row.round, row.stage), 0) + row.step
        points.setdefault("with" if row.routes else "without", []).append((step, row.accuracy))
    return [
        Curve(arm=cell.arm, seed=cell.seed, measure=measure, points=tuple(found)) for measure, found in points.items()
    ]


def _stage_starts(rows: Sequence[Step]) -> dict[tuple[int, str], int]:
    """Steps before each stage of a run, by (round, stage)."""
    lengths: dict[tuple[int, str], int] = {}
    for row in rows:
        where = row.round, row.stage
        lengths[where] = max(lengths.get(where, 0), row.step)
    starts: dict[tuple[int, str], int] = {}
    before = 0
    for key, length in lengths.items():
        starts[key] = before
        before += length
    return starts


def cell_of(results: Results, arm: str, measure: str) -> Accuracy:
    """The accuracy of an arm in a measure."""
    return next(row for row in results.cells if row.arm == arm and row.measure == measure)
