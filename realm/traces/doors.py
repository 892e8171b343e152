"""The doors at which plug-ins come in: how they are called there, and what they may give back.

Whatever does not fit is the user's to mend, a `ConfigError` that names the key and the plug-in. What is raised inside a
plug-in keeps its traceback, with a note that names both.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import repeat
from typing import Any, TypeVar, get_type_hints

from realm.bank.cot import CoT
from realm.errors import ConfigError
from realm.plugins import POINTS, entry
from realm.tasks.base import Question
from realm.traces.base import Pair, Soft, Target, Tokenized, Trace

T = TypeVar("T")

#: What a function takes by place; the options stand behind the `*`.
TAKES = {"steps": ("traces", "given"), "weighs": ("rows", "given"), "miners": ("given",)}
#: What a subclass has to be, so that its fields are its options.
DATACLASS = "a @dataclass(frozen=True, kw_only=True), whose fields are its options"


def where(point: str, value: Any) -> str:
    """Key and name of an entry, as messages begin."""
    return f"{POINTS[point].key}: {entry(value)[0]}" if value else POINTS[point].key


@contextmanager
def blamed(at: str) -> Iterator[None]:
    """What is raised within says where it came from; `at`: see `where`."""
    try:
        yield
    except Exception as error:
        error.add_note(f"Raised inside the plug-in of {at}.")
        raise


def given_back(
    at: str, make: Callable[[], Any], what: str, read: Callable[[Any, Any], T], rows: Sequence[Any] | None = None
) -> list[T]:
    """What a plug-in gives, each as `read` takes it.

    Args:
        at: see `where`.
        make: calls it.
        what: is expected, in words.
        read: of one thing and the row that it is for; raises `ValueError`, which says what was found instead.
        rows: for each of which it has to give one; None: it gives as many as it likes.

    Raises:
        ConfigError: it gives something else.
    """
    with blamed(at):
        found = make()
        found = list(found) if several(found) else found
    if not isinstance(found, list):
        hint = "; does it return something?" if found is None else ""
        raise ConfigError(f"{at}: expected {what}, found {told(found)}{hint or '.'}")
    if rows is not None and len(found) != len(rows):
        raise ConfigError(f"{at}: expected {what}, found {len(found)} for {len(rows)}.")
    taken = []
    for index, (one, row) in enumerate(zip(found, repeat(None) if rows is None else rows, strict=False)):
        try:
            taken.append(read(one, row))
        except ValueError as error:
            raise ConfigError(f"{at}: expected {what}, found {error} at index {index}.") from None
    return taken


def several(found: Any) -> bool:
    """Whether it is a list of things, or can become one."""
    return isinstance(found, Iterable) and not isinstance(found, str | bytes | Mapping)


def told(found: Any) -> str:
    """What was found, in a few words."""
    if isinstance(found, str):
        return f"the text {found!r:.40}"
    return f"{found!r:.40}" if found is None or isinstance(found, int | float) else type(found).__name__


def a_number(found: Any, _: Any = None, least: float = -math.inf) -> float:
    """It as a finite number of at least so much, whatever type of number it is; raises `ValueError`."""
    try:
        value = math.nan if isinstance(found, str | bytes) else float(found)
    except (TypeError, ValueError, RuntimeError):  # the last: a tensor of several
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        raise ValueError(told(found) if math.isnan(value) and not isinstance(found, float) else f"{value}")
    return value


def a_trace(found: Any, _: Any) -> Trace:
    """A trace; raises `ValueError`, as all below."""
    if not isinstance(found, Trace):
        raise ValueError(told(found))
    for name, part, kind in (("question", found.question, Question), ("cot", found.cot, CoT)):
        if not isinstance(part, kind):
            raise ValueError(f"a Trace whose {name} is {told(part)}")
    for weight in (found.weight, *(span.weight for span in found.spans)):
        try:
            a_number(weight, least=0)
        except ValueError as error:
            raise ValueError(f"a Trace with the weight {error}") from None
    return found


def a_pair(found: Any, _: Any) -> Pair:
    """A pair of CoTs, of which one may be missing."""
    if not isinstance(found, Pair):
        raise ValueError(told(found))
    parts = (found.question, Question), (found.chosen, CoT | None), (found.rejected, CoT | None)
    for part, kind in parts:
        if not isinstance(part, kind):
            raise ValueError(f"a Pair with {told(part)} for a {'question' if kind is Question else 'CoT'}")
    return found


def a_target(found: Any, row: Tokenized) -> Target:
    """The weights of a row's completion, or distributions for it."""
    behind = f"for the row of question {row.trace.question.id!r:.40}"
    columns: tuple[Any, ...] = (found.weights, found.ids, found.probabilities) if isinstance(found, Soft) else (found,)
    if not all(map(several, columns)):
        raise ValueError(f"{told(found)} {behind}")
    columns = tuple(map(list, columns))
    for column in columns:
        if len(column) != len(row.completion):
            raise ValueError(f"{len(column)} for {len(row.completion)} tokens {behind}")
    try:
        weights = [a_number(weight, least=0) for weight in columns[0]]
    except ValueError as error:
        raise ValueError(f"{error} {behind}") from None
    if not isinstance(found, Soft):
        return weights
    if [*map(len, columns[1])] != [*map(len, columns[2])]:
        raise ValueError(f"a Soft with more ids than probabilities, or fewer, {behind}")
    return Soft(found.ids, found.probabilities, weights)


def options(point: str, name: str, function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """The type and the default of every option of a plug-in, by name.

    Raises:
        ConfigError: it cannot be called as its door does, or an option has no type.
    """
    at, takes = where(point, name), TAKES.get(point, ())
    wanted = f"({', '.join((*takes, '*', 'options'))})" if takes else DATACLASS
    try:
        signature = inspect.signature(function)
        known = get_type_hints(function, include_extras=True) if isinstance(function, type) else {}
    except (TypeError, ValueError, NameError) as error:
        raise ConfigError(f"{at}: expected {wanted}; its signature cannot be read ({error}).") from error
    found = [*signature.parameters.values()]
    placed = [one.name for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    others = [other for other, its in TAKES.items() if its == tuple(placed) != takes]
    few = len(placed) < len(takes) and all(one.kind is not one.VAR_POSITIONAL for one in found)
    own = isinstance(function, type) and hasattr(function, "__dataclass_fields__") and _own_init(function)
    if few or own or (others and takes):
        it_is = f"; that is how a {others[0][:-1]} is called: {POINTS[others[0]].key}" if others else ""
        said = "an __init__ of its own" if own else f"{signature!s:.80}{it_is}"
        raise ConfigError(f"{at}: expected {wanted}, found {said}.")
    for one in placed[len(takes) :]:
        raise ConfigError(f"{at}: {one} stands before the `*`: options stand behind it; expected {wanted}.")
    behind = [one for one in found if one.kind is one.KEYWORD_ONLY]
    for untyped in (one.name for one in behind if one.annotation is one.empty):
        raise ConfigError(f"{at}: option {untyped} needs a type, as in `{untyped}: int = 80`.")
    return {
        one.name: (known.get(one.name, one.annotation), ... if one.default is one.empty else one.default)
        for one in behind
    }


def _own_init(kind: type) -> bool:
    """Whether a class below a dataclass is made by something else than its fields."""
    written = next(one for one in kind.__mro__ if "__init__" in vars(one))
    takes = {one.name for one in fields(kind) if one.init}
    return "__dataclass_params__" not in vars(written) or takes != inspect.signature(kind).parameters.keys()
