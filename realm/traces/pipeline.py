"""Running the lists of the configuration: entries found, their options checked, traces made and kept.

Traces that a model writes or a teacher is asked for are made as their stage begins, by the main process, and left in a
file that a resumed run and the other processes read. All others are a function of the bank, and made anew.
"""

import functools
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, PydanticUserError, ValidationError, create_model

from realm.bank.cot import from_record, to_record
from realm.errors import ConfigError, DataError
from realm.files import write_atomic, writing
from realm.plugins import entry, take
from realm.processes import main_process
from realm.tasks.base import Question
from realm.traces.base import Given, LaterError, Pair, Span, Spent, Trace
from realm.traces.doors import DATACLASS, a_pair, a_trace, blamed, given_back, options, where
from realm.traces.examples import fitting

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


def bound(point: str, value: Any) -> Callable[..., Any]:
    """The function of an entry, or the class, with its options.

    Raises:
        ConfigError: it cannot be had or called, or has no such option; or a value is of another type.
    """
    name, given = entry(value)
    function: Callable[..., Any] = take(point, name)
    takes: dict[str, Any] = dict(options(point, name, function))
    at = where(point, name)
    try:
        shape: Any = create_model(
            "Options", __config__=ConfigDict(extra="forbid"), __module__=function.__module__, **takes
        )
        return functools.partial(function, **dict(shape.model_validate(given)))
    except ValidationError as error:
        wrong = error.errors()[0]
        option = ".".join(map(str, wrong["loc"]))
        if wrong["type"] == "extra_forbidden":
            bare = isinstance(function, type) and "__dataclass_params__" not in vars(function)
            said = f"has no option {option}; it has {', '.join(takes) or 'none'}"
            said += f"; is it {DATACLASS}?" if bare else ""
        else:
            said = f"{option}: {wrong['msg'].removeprefix('Value error, ')}"
        raise ConfigError(f"{at}: {said}.") from error
    except (PydanticUserError, NameError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{at}: expected options whose types pydantic can check ({reason}).") from error


def instance(point: str, value: Any, kind: type[T]) -> T:
    """What the class of an entry makes of its options.

    Raises:
        ConfigError: see `bound`; or it is no `kind`.
    """
    name, _ = entry(value)
    found = take(point, name)
    if not (isinstance(found, type) and issubclass(found, kind)):
        wanted = f"{kind.__module__}.{kind.__name__}"
        raise ConfigError(f"{where(point, name)}: expected a subclass of {wanted}, found {found!r:.80}.")
    make = bound(point, value)
    with blamed(where(point, name)):
        made: T = make()
    return made


def run_steps(entries: Sequence[Any], given: Given) -> list[Trace]:
    """What the steps make, one after the other, as far as a completion has room for it.

    Raises:
        ConfigError: see `bound`; or a step gives something else than traces.
        DataError: nothing is left.
        LaterError: a step needs what is there only when the stage begins.
    """
    steps = [bound("steps", one) for one in entries]
    traces: list[Trace] = []
    counts = []
    for one, step in zip(entries, steps, strict=True):
        make = functools.partial(step, traces, given)
        traces = given_back(where("steps", one), make, "traces (realm.traces.base.Trace)", a_trace)
        counts.append((entry(one)[0], len(traces)))
    traces = fitting(traces, given)
    if not traces:
        names = ", ".join(name for name, _ in map(entry, entries))
        raise DataError(
            f"SFT has nothing to teach: the steps of training.sft.traces ({names}) leave no CoT of at most "
            f"training.rl.max_completion_length = {given.room} tokens for any training question; raise that length, "
            "set training.sft.steps to 0, or collect other CoTs."
        )
    given.left[:] = [*counts, ("short enough", len(traces))]
    _LOG.info(
        "traces after each step: %s; short enough %d", ", ".join(f"{name} {n}" for name, n in counts), len(traces)
    )
    return traces


def made(entries: Sequence[Any], given: Given, kept: Path) -> list[Trace]:
    """`run_steps` as a stage begins, kept in a file; raises as that does, but for `LaterError`."""
    return once(functools.partial(run_steps, entries), given, kept, "traces", _row, _trace)


def mine(entry: Any, given: Given) -> list[Pair]:
    """What a miner finds.

    Raises:
        ConfigError: see `bound`; or it gives something else than pairs.
        LaterError: it needs what is there only when the stage begins.
    """
    make = functools.partial(bound("miners", entry), given)
    return given_back(where("miners", entry), make, "pairs (realm.traces.base.Pair) of CoTs", a_pair)


def mined(entry: Any, given: Given, kept: Path) -> list[Pair]:
    """`mine` as a stage begins, kept in a file; raises as that does, but for `LaterError`."""
    return once(functools.partial(mine, entry), given, kept, "pairs", _pair_row, _pair)


def once(
    make: Callable[[Given], Iterable[T]],
    given: Given,
    kept: Path,
    what: str,
    row: Callable[[T], Any],
    read: Callable[[Any], T],
) -> list[T]:
    """What `make` gives; where it needs a student or a teacher, made by the main process and read from `kept` by all.

    What was spent is in that file (see `spent_in`).

    Args:
        what: key of the file; `spent` is the other one.
        row, read: to JSON and back.
    """

    def keep(**found: Any) -> None:
        with writing(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, json.dumps({"spent": asdict(given.spent), **found}) + "\n")

    with suppress(LaterError):
        found = list(make(replace(given, students=Given.students, pool=None, place=None)))
        if any(vars(given.spent).values()) and main_process():  # by another model, that is made anew each time
            keep()
        return found
    if main_process() and not kept.is_file():
        keep(**{what: [*map(row, make(given))]})
    while not kept.is_file():  # a teacher may take longer than any process waits at a barrier (half an hour)
        time.sleep(1)
    return [read(one) for one in json.loads(kept.read_text(encoding="utf-8"))[what]]


def spent_in(folder: Path) -> Spent:
    """What all stages of a run spent on their traces."""
    total = Spent()
    for path in sorted(folder.glob("*.json")):
        add_spent(total, path)
    return total


def add_spent(total: Spent, kept: Path) -> None:
    """Add what is noted in a file of `once`."""
    for name, value in json.loads(kept.read_text(encoding="utf-8"))["spent"].items():
        setattr(total, name, getattr(total, name) + value)


def _row(trace: Trace) -> dict[str, Any]:
    return {**asdict(trace), "cot": to_record(trace.cot)}


def _trace(row: dict[str, Any]) -> Trace:
    spans = tuple(Span(**span) for span in row["spans"])
    return Trace(**{**row, "question": _question(row), "cot": from_record(row["cot"]), "spans": spans})


def _question(row: dict[str, Any]) -> Question:
    return Question(**{**row["question"], "tags": tuple(row["question"]["tags"])})


def _pair_row(pair: Pair) -> dict[str, Any]:
    sides = {"chosen": pair.chosen, "rejected": pair.rejected}
    return {"question": asdict(pair.question), **{name: cot and to_record(cot) for name, cot in sides.items()}}


def _pair(row: dict[str, Any]) -> Pair:
    chosen, rejected = (cot and from_record(cot) for cot in (row["chosen"], row["rejected"]))
    return Pair(_question(row), chosen, rejected)
