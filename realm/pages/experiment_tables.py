"""The tables of an experiment, for its page and for its document: what the one says the other says."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from realm.display import printable
from realm.pages import trust
from realm.pages.experiment_data import Experiment, shown
from realm.pages.experiment_figures import own_style
from realm.pages.svg import percent
from realm.pages.table import Cell, Count, Heat, Noted, Table, TableRow, Value
from realm.pages.tables import MISSING
from realm.rows.evaluation import Confidence
from realm.rows.experiment import Accuracy, Course, GapPair, Judging, Pair, Took
from realm.text import amount, between, decimals, duration, hundredths, p_value, points

#: Characters of one setting.
_MOST_VALUE = 200


def _table(found: Experiment, columns: Iterable[str], rows: Mapping[str, Sequence[Cell]]) -> Table | None:
    """A row for every arm, by its name; None without any, or without columns."""
    made: list[tuple[str, TableRow]] = [
        (arm, (own_style(found, arm), shown(arm), cells)) for arm, cells in rows.items()
    ]
    head = ["", *columns]
    return Table(head, _grouped(found, made)) if made and len(head) > 1 else None


def _grouped(found: Experiment, rows: Iterable[tuple[str, TableRow]]) -> list[tuple[str, list[TableRow]]]:
    """Rows, each with its arm, below the names of the arms' groups."""
    groups = {arm.name: shown(arm.group) for arm in found.results.arms}
    bodies: dict[str, list[TableRow]] = {}
    for arm, row in rows:
        bodies.setdefault(groups.get(arm, ""), []).append(row)
    return list(bodies.items())


def accuracy_table(found: Experiment) -> Table | None:
    """Every arm on every measure: mean, interval, and each seed's own."""
    rows = {arm: [_outcome(found.cells.get((arm, one.name))) for one in found.measures] for arm in found.arms}
    columns = [one.label for one in found.measures]
    if columns and found.results.axis is not None and found.results.axis.by:  # what it cost stands beside it
        rows = {arm: [amount(found.axis[arm]) if arm in found.axis else "", *cells] for arm, cells in rows.items()}
        columns = [found.axis_label, *columns]
    return _table(found, columns, rows)


def _outcome(cell: Accuracy | None) -> Cell:
    if cell is None:
        return MISSING
    each = f" [{', '.join(map(hundredths, cell.seeds.values()))}]" if len(cell.seeds) > 1 else ""
    return Value(cell.mean, cell.low, cell.high, bold=True, after=each)


def pair_table(found: Experiment) -> Table | None:
    """The differences asked for, a column for every measure."""
    return _differences(found, found.results.pairs, {one.name: one.label for one in found.measures})


def unlearned_table(found: Experiment) -> Table | None:
    """What every arm is worth on another task beside the untrained model, a column for every split of it."""
    columns = {pair.measure: shown(pair.measure.rpartition("/")[0]) for pair in found.results.unlearned}
    return _differences(found, found.results.unlearned, columns)


def gap_pair_table(found: Experiment) -> Table | None:
    """The differences between the autonomy gaps of arms, a column for every split."""
    return _differences(
        found, found.results.gap_pairs, {pair.measure: shown(pair.measure) for pair in found.results.gap_pairs}
    )


def _differences(found: Experiment, pairs: Sequence[Pair | GapPair], columns: Mapping[str, str]) -> Table | None:
    by_pair: dict[tuple[str, str], dict[str, Cell]] = {}
    for pair in pairs:
        by_pair.setdefault((pair.arm, pair.against), {})[pair.measure] = _difference(pair)
    rows: list[tuple[str, TableRow]] = [
        (arm, (own_style(found, arm), f"{shown(arm)} − {shown(against)}", [cells.get(key, "") for key in columns]))
        for (arm, against), cells in by_pair.items()
    ]
    return Table(["", *columns.values()], _grouped(found, rows)) if rows else None


def _difference(pair: Pair | GapPair) -> Value:
    """Bold where it is shown, with its corrected p."""
    after, before = f", p {p_value(pair.p_corrected)}", f"before correction {p_value(pair.p)}"
    sure = pair.p_corrected < 0.05
    return Value(pair.difference, pair.low, pair.high, signed=True, bold=sure, after=after, aside=before)


def spread_table(found: Experiment) -> Table | None:
    """How far each measure moves over the settings of one model."""
    labels = {one.name: one.label for one in found.measures}
    rows: list[TableRow] = [
        (
            None,
            ", ".join(filter(None, (labels.get(row.measure, shown(row.measure)), shown(row.group)))),
            [
                str(row.arms),
                shown(row.lowest),
                shown(row.highest),
                Value(row.difference, row.low, row.high, bold=row.low > 0),
                _halved(found.cells.get(("base", row.measure))),
            ],
        )
        for row in found.results.spreads
    ]
    columns = ["", "settings", "lowest", "highest", "moves by", "base, up and down"]
    return Table(columns, [("", rows)]) if rows else None


def _halved(cell: Accuracy | None) -> Cell:
    """Half of an interval."""
    return "" if cell is None else Value((cell.high - cell.low) / 2)


def gap_table(found: Experiment) -> Table | None:
    """The autonomy gap of every arm, bold where its interval leaves out zero."""
    rows: dict[str, dict[str, Cell]] = {}
    for gap in found.results.gaps:
        apart = gap.low > 0 or gap.high < 0
        rows.setdefault(gap.arm, {})[gap.split] = Value(gap.mean, gap.low, gap.high, signed=True, bold=apart)
    return _by_column(found, rows, dict.fromkeys(gap.split for gap in found.results.gaps))


def _by_column(found: Experiment, rows: Mapping[str, Mapping[str, Cell]], columns: Iterable[str]) -> Table | None:
    columns = list(columns)
    cells = {arm: [each.get(column, "") for column in columns] for arm, each in rows.items()}
    return _table(found, map(shown, columns), cells)


def kind_table(found: Experiment, most: int | None = None) -> Table | None:
    """The headline by kind of question, of at most so many kinds."""
    kinds = sorted({kind for _, kind in found.kinds})[:most]
    rows: dict[str, list[Cell]] = {}
    for arm in dict.fromkeys(arm for arm, _ in found.kinds):
        means = [found.kinds.get((arm, kind)) for kind in kinds]
        rows[arm] = ["" if mean is None else Heat(mean) for mean in means]
    return _table(found, [shown(kind) or "no kind" for kind in kinds], rows)


def operator_table(found: Experiment) -> Table | None:
    """True sums by operator, of all seeds, and how many are stated."""
    labels = {one.name: one.label for one in found.measures}
    columns = dict.fromkeys((row.measure, row.operator) for row in found.results.operators if row.measure in labels)
    rows: dict[str, dict[tuple[str, str], Cell]] = {}
    for row in found.results.operators:
        rows.setdefault(row.arm, {})[row.measure, row.operator] = Value(row.true, after=f" of {row.n}")
    cells = {arm: [each.get(column, "") for column in columns] for arm, each in rows.items()}
    return _table(found, [f"{shown(operator)}, {labels[measure]}" for measure, operator in columns], cells)


def judging_table(found: Experiment) -> Table | None:
    """How every arm reads the routes it is shown."""
    splits = dict.fromkeys(row.split for row in found.results.judging)
    names: dict[str, Callable[[Judging], Cell]] = {
        "same_err": _same_err,
        "scoring accuracy": lambda row: _share(row.scoring_accuracy),
        "AUROC": lambda row: decimals(row.auroc),
    }
    rows: dict[str, dict[str, Judging]] = {}
    for row in found.results.judging:
        rows.setdefault(row.arm, {})[row.split] = row
    columns = [f"{title}, {shown(split)}" for title in names for split in splits]
    cells = {
        arm: [cell(each[split]) if split in each else "" for cell in names.values() for split in splits]
        for arm, each in rows.items()
    }
    return _table(found, columns, cells)


def _share(found: float | None) -> Cell:
    return "" if found is None else Value(found)


def _same_err(row: Judging) -> Cell:
    found, of_all = row.same_err, row.same_err_all
    return "" if found is None else Value(found, aside="" if of_all is None else f"{percent(of_all)} of all")


def training_table(found: Experiment) -> Table | None:
    """Validation accuracy at the start, at its best and at the end, and the step at which it is shown to be below."""
    rows: dict[str, dict[str, Course]] = {}
    for row in found.results.training:
        rows.setdefault(row.arm, {})[row.measure] = row
    ways = dict.fromkeys(row.measure for row in found.results.training)
    columns = [f"{part}, {shown(way)}" for way in ways for part in ("start", "best", "end", "falls from")]
    cells = {arm: [cell for way in ways for cell in _course(each.get(way))] for arm, each in rows.items()}
    return _table(found, columns, cells)


def _course(row: Course | None) -> list[Cell]:
    """Four cells: start, best, end, falls from."""
    if row is None:
        return [""] * 4
    fall = row.falls
    falls = Noted(f"step {fall.step}", between(-fall.high, -fall.low, points)) if fall is not None else ""
    return [Value(row.start.mean), Value(row.best.mean, after=f" (step {row.best.step})"), Value(row.end.mean), falls]


def shown_table(found: Experiment) -> Table | None:
    """What the RL prompts of every arm showed."""
    rows: dict[str, list[Cell]] = {
        row.arm: [decimals(row.routes), Value(row.wrong), decimals(row.dropped)] for row in found.results.shown
    }
    return _table(found, ["routes", "wrong", "dropped"], rows)


def banks_table(found: Experiment) -> Table | None:
    """The banks of an experiment of the kind `bound`, each with the gain of its wrong routes."""
    gains = {(pair.arm, pair.against): pair for pair in found.results.pairs if pair.measure == found.headline.name}
    rows: list[TableRow] = []
    for row in found.results.banks:
        gain = gains.get(row.pair)
        cells: list[Cell] = [
            Value(row.teacher),
            Value(row.student),
            Value(row.gap, row.low, row.high, signed=True),
            decimals(row.distance),
            " − ".join(map(shown, row.pair)),
            Value(gain.difference, gain.low, gain.high, signed=True) if gain else MISSING,
        ]
        rows.append((None, shown(row.name), cells))
    columns = ["", "teacher", "student", "gap", "distance", "pair", "gain of wrong routes"]
    return Table(columns, [("", rows)]) if rows else None


def confidence_table(found: Experiment) -> Table | None:
    """When the answers of every arm may be trusted, by measure."""
    bodies: dict[str, list[tuple[int | None, str, Confidence]]] = {}
    labels = {one.name: one.label for one in found.measures}
    for row in found.results.confidence:
        label = labels.get(row.measure, shown(row.measure))
        bodies.setdefault(label, []).append((own_style(found, row.arm), shown(row.arm), row.confidence))
    return trust.confidence_table(bodies)


def memory_table(found: Experiment) -> Table | None:
    """Megabytes that an answer takes, and points of accuracy for each."""
    rows: dict[str, list[Cell]] = {}
    for row in found.results.memory:
        cell = found.cells.get((row.arm, found.headline.name))
        each = 1e-6 * row.weights, 1e-6 * row.cache, 1e-6 * (row.weights + row.cache)
        per = f"{100 * cell.mean / each[2]:.3g}" if cell is not None and each[2] else MISSING
        accuracy = MISSING if cell is None else Value(cell.mean, cell.low, cell.high)
        rows[row.arm] = [*(f"{one:.3g}" for one in each), accuracy, per]
    return _table(found, ["weights", "keys and values", "both", "accuracy", "points for each"], rows)


#: What stands in the tables of costs; what was sampled for traces only where something was.
_COSTS = {
    "steps": "steps",
    "rl_completions": "completions in RL",
    "trained_tokens": "student tokens in training",
    "sampled": "completions for traces",
    "sampled_tokens": "student tokens for traces",
    "teacher_tokens": "teacher tokens",
    "teacher_cots": "teacher CoTs",
    "teacher_cost": "teacher cost",
}
#: Of these, what has a column only where some training has one.
_RARE = ("sampled", "sampled_tokens", "teacher_cots", "teacher_cost")


def _costs(found: Experiment) -> dict[str, str]:
    rows = found.results.cost
    sampled = any(row.sampled or row.sampled_tokens for row in rows)
    there = {key: sampled if "sampled" in key else any(getattr(row, key) for row in rows) for key in _RARE}
    currency = next((f", {shown(row.currency)}" for row in rows if row.currency), "")
    titles = {**_COSTS, "teacher_cost": f"{_COSTS['teacher_cost']}{currency}"}
    return {key: title for key, title in titles.items() if there.get(key, True)}


def cost_table(found: Experiment) -> Table | None:
    """What each arm used, as the mean over its seeds."""
    rows: dict[str, list[Cell]] = {}
    for arm in found.arms:
        costs = [row for row in found.results.cost if row.arm == arm]
        if costs:
            seconds = _mean(costs, "seconds")
            time = "" if seconds is None else duration(seconds)
            rows[arm] = [*(_count(_mean(costs, key), key) for key in _costs(found)), time]
    return _table(found, [*_costs(found).values(), "time"], rows)


def _mean(rows: Sequence[Took], key: str) -> float | None:
    values = [value for row in rows if (value := getattr(row, key)) is not None]
    return sum(values) / len(values) if values else None


def _count(value: float | None, key: str) -> Cell:
    return "" if value is None else amount(value) if key == "teacher_cost" else Count(value)


def cost_by_seed(found: Experiment) -> Table | None:
    """What each training used."""
    keys = {**_costs(found), "seconds": "seconds"}
    rows: list[TableRow] = [
        (None, shown(row.arm), [str(row.seed), *(_count(getattr(row, key), key) for key in keys)])
        for row in found.results.cost
    ]
    return Table(["", "seed", *keys.values()], [("", rows)]) if rows else None


def settings_table(found: Experiment) -> Table | None:
    """What each arm sets; the columns are the settings in which arms differ."""
    keys = dict.fromkeys(key for chosen in found.arms.values() for key in chosen)
    texts = {
        arm: {key: v if isinstance(v, str) else repr(v) for key, v in found.arms[arm].items()} for arm in found.arms
    }
    rows = {arm: [printable(each.get(key, ""), _MOST_VALUE) for key in keys] for arm, each in texts.items()}
    return _table(found, map(shown, keys), rows) if keys else None
