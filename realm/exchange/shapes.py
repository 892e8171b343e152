"""Rows of other people's files, read as questions with their CoTs.

A row is one question with a list of CoTs (`{"id", "question", "answer", "cots": [{"text", "answer", "correct",
"source"}]}`), one CoT with its question (`{"question", "gold", "text", "answer", "correct", "source"}`), or a
conversation (`messages` of {role, content}, `conversations` of {from, value}). Where a file names things otherwise, a
mapping says so: our key -> dotted key of the file. `*` in it stands for every entry of a list, so that
`{"text": "choices.*.message.content"}` finds all CoTs of a row; `{"question": "instruction+input"}` joins two keys with
a blank line, and `none` is no key at all. What no key of ours takes is kept as `meta`.

Shapes of common files are mappings that are recognised (`recognised`); those of the user come first. Where two keys
could be meant, none is taken: the row is refused with the mappings that say which.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from realm.errors import ConfigError, DataError
from realm.exchange.chats import read_chat
from realm.exchange.common import (
    CHAT_NAMES,
    COT_NAMES,
    JOINED,
    KEYS,
    MAP,
    NONE,
    QUESTION_NAMES,
    check_guesses,
    inside,
    recognised,
    unrecognised,
)
from realm.exchange.entries import Entry, Layout, read_entry, rest_of
from realm.exchange.values import identity, texts, unescaped
from realm.tasks.answers import final_answer
from realm.tasks.paths import Path, Place, absent, find, name_of, place_of, plain, pruned, taken


@dataclass(frozen=True)
class Item:
    """One row: its question (`id` and texts are "" where the row has none) and its CoTs.

    `whole`: the row is all there is of its question; rows of a flat file may share theirs. `nulls`: how many CoTs the
    row has that are null, and were left out. `reading`: which of its keys was read as which of ours, our key first.
    """

    where: str
    id: str
    question: str
    gold: str
    kind: str
    tags: tuple[str, ...]
    split: str
    entries: list[Entry]
    whole: bool
    nulls: int = 0
    reading: tuple[tuple[str, str], ...] = ()


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Raise `ConfigError` for a key that is not ours, for more than one `*`, or for a `+` where nothing is joined."""
    for key, text in mapping.items():
        if key not in KEYS:
            raise ConfigError(f"bank.mapping: unknown key {key}; the keys are {', '.join(KEYS)}.")
        parts = text.split("+")
        stars = max(part.split(".").count("*") for part in parts)
        if stars > 1 or (stars and key not in COT_NAMES):
            raise ConfigError(f"bank.mapping.{key}: expected at most one * and only for keys of a CoT, found {text}.")
        if len(parts) > 1 and key not in JOINED:
            joined = " and ".join(JOINED)
            raise ConfigError(f"bank.mapping.{key}: expected one key, found {text}; only {joined} can be joined.")
        if not all(part.strip() for part in parts):
            raise ConfigError(f"bank.mapping.{key}: expected a key of the file, or {NONE}, found {text!a}.")


def read_item(row: Any, where: str, mapping: Mapping[str, str], gold: Callable[[Mapping[str, Any]], str]) -> Item:
    """A row as a question with CoTs; `gold` reads the gold answer of {"answer": …}.

    Raises `DataError` saying where and why for a row that has another shape or holds something of the wrong type.
    """
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, found {type(row).__name__}.")
    full = recognised(row, where, mapping)
    layout = _layout(tuple(row), tuple(sorted(full.items())))
    if layout is None:
        raise DataError(f"{where}: {unrecognised(row)}")
    if not layout.own:
        check_guesses(row, where, full, {*layout.question, *layout.cot})
    found = {key: taken(row, where, place) for key, place in layout.question.items()}
    values = {key: value for key, value in found.items() if value is not absent}
    if row.get("escaped") is True:
        values |= {key: unescaped(values.get(key), where) for key in ("question", "answer")}
    nulls = 0
    chat = (layout.chat,)
    if layout.chat is not None:
        said, entries = read_chat(row, where, layout)
        if layout.question.get("question") in (None, chat) and mapping.get("question") != NONE:
            values["question"] = said
    else:
        entries, nulls = _entries(row, where, layout)
    question = values.get("question")
    if not isinstance(question, str | None):
        advice = f" It may be bank.mapping.question={inside(name_of(layout.question['question']), question)}."
        raise DataError(f"{where}: expected a text as the question, found {type(question).__name__}. {MAP}{advice}")
    answer = values.get("answer")
    if "answer" in layout.question and entries and layout.question["answer"] in (*layout.cot.get("text", ()), chat):
        # The CoT itself states the gold, as solutions of GSM8K and of MetaMathQA do.
        answer = final_answer(entries[0].cot.text)
    try:
        right = gold({"answer": answer})
    except ValueError as error:
        key = name_of(layout.question["answer"])
        advice = f"Say which it is, e.g. bank.mapping.answer={inside(key, answer)}."
        raise DataError(f"{where}: `{key}`, read as the gold: {error}. {advice}") from error
    return Item(
        where=where,
        id=identity(where, values.get("id")),
        question=question or "",
        gold=right,
        kind=plain(where, "kind", values.get("kind")) or "",
        tags=texts(where, "tags", values.get("tags")),
        split=plain(where, "split", values.get("split")) or "",
        entries=entries,
        whole=layout.whole,
        nulls=nulls,
        reading=() if layout.own else _reading(layout),
    )


def _reading(layout: Layout) -> tuple[tuple[str, str], ...]:
    """Which key was read as which, for people: our key and the file's."""
    names = {"answer": "gold", "text": "CoT", "cot_answer": "the CoT's answer"}
    found = {} if layout.chat is None else {"CoT": ".".join(layout.chat)}
    if layout.chat is not None and "question" not in layout.question:
        found["question"] = ".".join(layout.chat)
    for key, place in layout.question.items():
        found[names.get(key, key)] = name_of(place)
    for key in ("text", "cot_answer", "correct", "source"):
        if layout.cot.get(key):
            found.setdefault(names.get(key, key), name_of(layout.cot[key][0]))
    order = ("question", "gold", "CoT")
    return tuple(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


@lru_cache(maxsize=256)
def _layout(keys: tuple[str, ...], mapping: tuple[tuple[str, str], ...]) -> Layout | None:
    """How a row with these keys is to be read; None where it cannot be told."""
    nothing = {key for key, text in mapping if text == NONE and NONE not in keys}
    mapped: dict[str, Place] = {key: place_of(text, keys) for key, text in mapping if key not in nothing}
    claimed = {path[0] for place in mapped.values() for path in place}
    # A CoT that states the gold is still the CoT.
    claimed -= {name for name in COT_NAMES["text"] if mapped.get("answer") == ((name,),) and "text" not in mapped}
    free = [key for key in keys if key not in claimed]
    chat: Path | None = None
    if "messages" in mapped:
        chat = mapped["messages"][0]
    elif "text" not in mapped and "messages" not in nothing:
        # Also where a mapping takes the question from within the conversation.
        chat = next(((name,) for name in CHAT_NAMES if name in keys), None)
    cots = mapped["cots"][0] if "cots" in mapped else None
    if cots is None and "cots" not in nothing and "cots" in free:
        cots = ("cots",)

    def named(names: Mapping[str, Sequence[str]], used: set[str]) -> dict[str, Place]:
        """The places of the keys in `names`; a name that was used is used up."""
        found: dict[str, Place] = {key: mapped[key] for key in names if key in mapped}
        for key, choices in names.items():
            name = next((name for name in choices if name in free and name not in used), None)
            # The question of a conversation is what the user says.
            if name is not None and key not in mapped | dict.fromkeys(nothing) and not (key == "question" and chat):
                found[key] = ((name,),)
                used.add(name)
        return found

    used: set[str] = set()
    question = named(QUESTION_NAMES, used)
    # Where a problem or a conversation has a source, it is the book or the site that the question is from. Our own
    # exports of conversations give the question's id too.
    origin = chat is not None or question.get("question") == (("problem",),)
    if origin and question.get("id") != (("question_id",),):
        used.add("source")
    stars = any("*" in path for place in mapped.values() for path in place)
    if cots is not None or stars:
        found = _of_lists(mapped, cots, nothing)
        if cots is None and "source" not in mapped:
            found |= {key: (place,) for key, place in named({"source": COT_NAMES["source"]}, used).items()}
        return Layout(question, found, whole=cots is not None, own=cots is not None)
    cot = {key: (place,) for key, place in named(COT_NAMES, used).items()}
    if chat is not None:
        return Layout(question, {key: places for key, places in cot.items() if key != "text"}, chat)
    asked = bool(question.keys() & {"question", "id"})
    if asked and "text" in cot:
        return Layout(question, cot)
    return Layout(question, {}, whole=True) if asked and "answer" in question else None


def _of_lists(mapped: Mapping[str, Place], cots: Path | None, nothing: Iterable[str]) -> dict[str, tuple[Place, ...]]:
    """The places of a CoT's keys in a row that has lists of them."""
    found: dict[str, tuple[Place, ...]] = {}
    for key, choices in COT_NAMES.items():
        if key in mapped:
            inside = (*(cots or ()), "*")
            found[key] = (
                tuple((*inside, *path) if cots is not None and "*" not in path else path for path in mapped[key]),
            )
        elif cots is not None and key not in nothing:
            # One name for the text alone: whatever else an entry says is not to be taken for it.
            names = choices[:1] if key == "text" else choices
            found[key] = tuple(((*cots, "*", name),) for name in names)
    return found


def _entries(row: Mapping[str, Any], where: str, layout: Layout) -> tuple[list[Entry], int]:
    """The CoTs of a row that is no conversation, and how many were left out because they are null."""
    paths = [path for places in layout.cot.values() for place in places for path in place]
    texts_at = [path for place in layout.cot.get("text", ()) for path in place]
    lists: dict[Path, list[Any]] = {}
    for prefix in dict.fromkeys(path[: path.index("*")] for path in paths if "*" in path):
        found = find(row, prefix)
        if found is None and any(path[: len(prefix)] == prefix for path in texts_at):
            return [], 0
        if found is not absent and found is not None:
            if not isinstance(found, list):
                raise DataError(f"{where}: expected a list under `{'.'.join(prefix)}`, found {type(found).__name__}.")
            lists[prefix] = found
    if len({len(found) for found in lists.values()}) > 1:
        sizes = ", ".join(f"{'.'.join(prefix)} has {len(found)}" for prefix, found in lists.items())
        raise DataError(f"{where}: expected lists of one length, {sizes}.")
    escaped = row.get("escaped") is True
    rest = rest_of(row, layout, lists)
    if not lists:
        flat = layout.cot and not any("*" in path for path in paths)
        if flat and _null(row, where, layout, None):
            return [], 1
        return [read_entry(row, where, layout.cot, extras=rest, escaped=escaped)] if flat else [], 0
    holding = [members for prefix, members in lists.items() if any(path[: len(prefix)] == prefix for path in texts_at)]
    entries = []
    nulls = 0
    for number in range(len(next(iter(lists.values())))):
        if any(members[number] is None for members in holding) or _null(row, where, layout, number):
            nulls += 1
            continue
        extras: dict[str, Any] = {}
        for prefix, members in lists.items():
            tails = [path[len(prefix) + 1 :] for path in paths if path[: len(prefix) + 1] == (*prefix, "*")]
            left = pruned(members[number], tails)
            if left is not None and left is not absent:
                extras |= left if isinstance(left, dict) and len(lists) == 1 else {".".join(prefix): left}
        if rest:
            extras["row"] = rest
        place = f"{where}: {'.'.join(next(iter(lists)))}[{number}]"
        entries.append(read_entry(row, place, layout.cot, star=number, extras=extras, escaped=escaped))
    return entries, nulls


def _null(row: Mapping[str, Any], where: str, layout: Layout, star: int | None) -> bool:
    """Whether a CoT is there and null, so that there is none."""
    return any(taken(row, where, place, star) is None for place in layout.cot.get("text", ()))
