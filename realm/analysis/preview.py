"""Reading a bank to look at it, and what the strategies of selection would show of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from realm.bank.folder import BankFolder
from realm.bank.scan import Group, groups
from realm.errors import DataError
from realm.exchange.importing import import_cots
from realm.method.distance import mean_distance
from realm.method.routes import STRATEGIES, Route, Selection, draw
from realm.plugins import outside, take


@dataclass(frozen=True)
class Source:
    """A bank to look at: what its `bank.json` says, its number of questions (0: not known), and a pass over it."""

    info: dict[str, Any]
    questions: int
    groups: Callable[[], Iterator[Group]]


def open_source(path: str | Path) -> Source:
    """The bank in a folder, streamed; or a JSONL file with `cots`, imported into memory with the file's own labels.

    Raises `DataError` for what is neither.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such bank; give a bank's folder or a JSONL file with `cots`.")
    if path.is_file():
        bank, _ = import_cots(path, None, relabel=False)
        return Source(bank.info, len(bank.questions), bank.groups)
    folder = BankFolder.open(path)
    return Source(folder.info, len(folder.questions()), lambda: groups(folder))


@dataclass(frozen=True)
class Shown:
    """What one strategy puts into the prompt of a question at step 0, in prompt order, and how far apart it is."""

    strategy: str
    routes: tuple[Route, ...]
    distance: float | None


@dataclass(frozen=True)
class Preview:
    """A question, the number of its CoTs that may be shown, and the choice of each strategy."""

    question_id: str
    question: str
    answer: str
    usable: int
    shown: tuple[Shown, ...]


def preview(
    found: Iterable[Group],
    selection: Selection,
    *,
    seed: int,
    show: int = 2,
    question_id: str | None = None,
    strategies: Sequence[str] = tuple(STRATEGIES),
) -> list[Preview]:
    """The choice of each strategy for the first `show` questions that have a usable CoT, or for the one named.

    These are the very routes that training draws at step 0 with this seed, before any fading. The strategies stand in
    for that of `selection`.

    Raises `DataError` where there is no such question, `ConfigError` where there is no such strategy.
    """
    previews: list[Preview] = []
    for question, cots in found:
        routes = [cot.route() for cot in cots if cot.usable]
        if not routes or question_id not in (None, cots[0].question_id):
            continue
        name = cots[0].question_id
        shown = []
        for strategy in strategies:
            by = replace(selection, strategy=take("selections", strategy, "--strategy"))
            with outside():
                chosen = draw(routes, by, seed=seed, question_id=name, step=0).routes
            shown.append(Shown(strategy, chosen, mean_distance([route.text for route in chosen])))
        text, gold = ("", "") if question is None else (question.question, question.answer)
        previews.append(Preview(name, text, gold, len(routes), tuple(shown)))
        if len(previews) == (show if question_id is None else 1):
            break
    if not previews:
        what = "no question with a usable CoT" if question_id is None else f"no usable CoT for question {question_id!r}"
        raise DataError(f"the bank holds {what}; `realm bank stats` tells what it holds.")
    return previews
