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

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from realm.bank.cot import PROBLEMS, CoT
from realm.errors import ConfigError, DataError
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
from realm.exchange.paths import Path, Place, absent, find, name_of, place_of, pruned, taken
from realm.exchange.values import answer as answer_of
from realm.exchange.values import flag, hashes, identity, integer, meta_text, plain, seconds, texts, unescaped
from realm.tasks.answers import final_answer
from realm.tasks.endings import ending
from realm.tasks.messages import CONTENT_KEYS, THOUGHT_KEYS, Said, read_message
from realm.tasks.spoken import without_run_on

_ROLES = dict.fromkeys(("user", "human", "prompter"), "user") | dict.fromkeys(
    ("assistant", "gpt", "chatgpt", "model", "bot"), "assistant"
)


@dataclass(frozen=True)
class Entry:
    """One CoT as a file states it.

    Attributes:
        cot: without question, label, number and id.
        id: "" where the file gives none.
        flag: the file's own label: 1, 0, or None for null; `flagged` says whether the file has the key at all.
        sample: its number, None where the file does not number the CoTs.
    """

    where: str
    cot: CoT
    id: str
    flag: int | None
    flagged: bool
    sample: int | None


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


@dataclass(frozen=True)
class Layout:
    """Where a row has what: our key -> place. The places of a CoT are alternatives, and may hold a `*`.

    `own`: a row of our own shape, with `cots`, where nothing is guessed.
    """

    question: Mapping[str, Place]
    cot: Mapping[str, tuple[Place, ...]]
    chat: Path | None = None
    whole: bool = False
    own: bool = False


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
        said, entries = _conversation(row, where, layout)
        if layout.question.get("question") in (None, chat):
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
    rest = _rest(row, layout, lists)
    if not lists:
        flat = layout.cot and not any("*" in path for path in paths)
        if flat and _null(row, where, layout, None):
            return [], 1
        return [_entry(row, where, layout.cot, extras=rest, escaped=escaped)] if flat else [], 0
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
        entries.append(_entry(row, place, layout.cot, star=number, extras=extras, escaped=escaped))
    return entries, nulls


def _null(row: Mapping[str, Any], where: str, layout: Layout, star: int | None) -> bool:
    """Whether a CoT is there and null, so that there is none."""
    return any(taken(row, where, place, star) is None for place in layout.cot.get("text", ()))


def _rest(row: Mapping[str, Any], layout: Layout, lists: Mapping[Path, Any]) -> dict[str, Any]:
    """What the row says besides its question and its CoTs."""
    places = [*layout.question.values(), *(place for choices in layout.cot.values() for place in choices)]
    plain_paths = [path for place in places for path in place if "*" not in path]
    used = [*lists, *plain_paths, *([layout.chat] if layout.chat else [])]
    if isinstance(row.get("escaped"), bool):
        used.append(("escaped",))
    return pruned(row, used) or {}


def _entry(
    row: Mapping[str, Any],
    where: str,
    places: Mapping[str, tuple[Place, ...]],
    *,
    text: str | None = None,
    stated: str | None = None,
    thought: bool = False,
    star: int | None = None,
    extras: dict[str, Any],
    escaped: bool = False,
) -> Entry:
    """One CoT; `text`: of a conversation, where it lies at no path, and `stated`: the part that states the answer, with
    `thought` after a thought that is kept apart."""
    values: dict[str, Any] = {"text": text}
    for key, choices in places.items():
        found = next((value for place in choices if (value := taken(row, where, place, star)) is not absent), None)
        others_use = key in ("params", "prompt", "comments") and not hashes(found)
        # Within `cots` it is ours; in a row it may be the question again.
        others_use |= key == "problem" and choices == ((("problem",),),) and found not in ("", *PROBLEMS)
        if others_use and found is not None:
            extras = {**extras, key: found}
        else:
            values[key] = found

    def read(key: str, reader: Callable[..., Any], *told: str) -> Any:
        try:
            return reader(where, *told, values.get(key))
        except DataError as error:
            name = name_of(places[key][0])
            raise DataError(
                f"{error} It was read from `{name}`: name another key (bank.mapping.{key}=…), or none "
                f"(bank.mapping.{key}={NONE})."
            ) from error

    flagged = any(taken(row, where, place, star) is not absent for place in places.get("correct", ()))
    text = unescaped(values["text"], where) if escaped else values["text"]
    if not isinstance(text, str):
        path = name_of(places["text"][0])
        if path == "cots.*.text":
            raise DataError(f"{where}: expected an object with a `text`.")
        found = type(text).__name__ if text is not None else "none"
        advice = ""
        if isinstance(text, list | dict):
            texts_only = isinstance(text, list) and all(isinstance(entry, str | None) for entry in text)
            advice = f" It may be bank.mapping.text={f'{path}.*' if texts_only else inside(path, text)}."
        raise DataError(f"{where}: expected a text under `{path}`, found {found}. {MAP}{advice}")
    text, run_on = without_run_on(text)
    if run_on:
        extras = {**extras, "run_on": True}
    answer = read("cot_answer", answer_of)
    if answer is None:
        said = text if stated is None else unescaped(stated, where) if escaped else stated
        answer = final_answer(said, thought=thought)
    elif escaped:
        answer = unescaped(answer, where)
    problem = read("problem", plain, "problem")
    if problem is None:
        how = ending(_finish_reason(row, extras, star))
        problem = "cut" if how in ("cut", "failed") else how
        problem = problem or ("empty" if not text.strip() else "" if answer.strip() else "no_answer")
    if problem not in ("", *PROBLEMS):
        raise DataError(
            f"{where}: expected `problem` to be empty or one of {', '.join(PROBLEMS)}, found {problem!a:.60}."
        )
    cot = CoT(
        "",
        text,
        answer,
        None,
        teacher=read("source", plain, "source") or "",
        guided=read("guided", flag, "guided") == 1,
        comments=read("comments", texts, "comments"),
        reason=read("reason", plain, "reason") or "",
        problem=problem,
        prompt_tokens=read("prompt_tokens", integer, "prompt_tokens"),
        completion_tokens=read("completion_tokens", integer, "completion_tokens"),
        seconds=read("seconds", seconds),
        params=read("params", plain, "params") or "",
        prompt=read("prompt", plain, "prompt") or "",
        meta=meta_text(values.get("meta"), extras),
    )
    return Entry(
        where,
        cot,
        id=read("cot_id", identity),
        flag=read("correct", flag, "correct"),
        flagged=flagged,
        sample=read("sample", integer, "sample"),
    )


def _finish_reason(row: Mapping[str, Any], extras: Mapping[str, Any], star: int | None) -> Any:
    """Why a CoT ended, where the file says so: beside it, or in a list beside the list of CoTs (OpenR1)."""
    found = extras.get("finish_reason")
    several = row.get("finish_reasons")
    if found is None and isinstance(several, list) and star is not None and star < len(several):
        found = several[star]
    return found


def _conversation(row: Mapping[str, Any], where: str, layout: Layout) -> tuple[str, list[Entry]]:
    """What the user said before the last answer, and that answer as a CoT; all else is kept.

    Several turns before it are refused: which of them is the question, or whether the answer needs all of them, no rule
    can tell. A mapping of the question says it.
    """
    assert layout.chat is not None
    place = ".".join(layout.chat)
    messages = find(row, layout.chat)
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise DataError(f"{where}: expected a list of messages under `{place}`.")
    names = [str(message.get("role", message.get("from"))).lower() for message in messages]
    roles = [_ROLES.get(name, "") for name in names]
    answered = max((number for number, role in enumerate(roles) if role == "assistant"), default=0)
    asked = max((number for number, role in enumerate(roles[:answered]) if role == "user"), default=-1)
    if asked < 0:
        found = ascii(", ".join(names))[1:-1][:100] or "none"
        raise DataError(
            f"{where}: expected messages of a user and then of an assistant under `{place}`, found {found}."
        )
    first = asked
    while first > 0 and roles[first - 1] == "user":
        first -= 1
    own = layout.question.get("question")
    every = [number for number in range(answered) if names[number] not in ("system", "developer")]
    if own is None and "user" in roles[:first]:
        turns = sum(role == "user" for role in roles[:answered])
        raise DataError(
            f"{where}: expected one question before the last answer under `{place}`, found {turns} turns of the user. "
            f"Say what the question is: all that was said before that answer (bank.mapping.question={place}), one turn "
            f"(bank.mapping.question={place}.{asked}.{'content' if 'content' in messages[asked] else 'value'}), or "
            "another key of the row; or leave such rows out (task.bad_rows=skip)."
        )
    used = {answered, *range(first, asked + 1)}
    said = "\n\n".join(_content(where, messages[number]) for number in range(first, asked + 1))
    if own == (layout.chat,):
        used = {answered, *every}
        said = "\n\n".join(f"{names[number].capitalize()}: {_content(where, messages[number])}" for number in every)
    elif own is not None:
        used, said = {answered}, ""
    rest = _rest(row, layout, {})
    reply = _said(where, messages[answered])
    read = {"role", "from", *CONTENT_KEYS}
    others = [
        {
            key: item
            for key, item in message.items()
            if key not in read and not (number == answered and reply.reasoning and key in THOUGHT_KEYS)
        }
        if number in used
        else message
        for number, message in enumerate(messages)
    ]
    if any(others):
        rest[place] = others
    if reply.run_on:
        rest["run_on"] = True
    escaped = row.get("escaped") is True
    asked_text = unescaped(said, where) if escaped else said
    entry = _entry(
        row,
        where,
        layout.cot,
        text=reply.text(),
        stated=reply.stated,
        thought=reply.thought,
        extras=rest,
        escaped=escaped,
    )
    return asked_text, [entry]


def _content(where: str, message: Mapping[str, Any]) -> str:
    return _said(where, message).content or ""


def _said(where: str, message: Mapping[str, Any]) -> Said:
    """A message whose text is read in full: no part of it is an image or the like."""
    try:
        said = read_message(message)
        found = "list" if said.others else "NoneType" if said.content is None and not said.reasoning else ""
    except TypeError as error:
        found = str(error)
    if found:
        raise DataError(f"{where}: expected a text as the content of a message, found {found}.")
    return said
