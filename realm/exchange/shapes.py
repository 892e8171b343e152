"""Rows of other people's files, read as questions with their CoTs.

A row is one question with a list of CoTs (`{"id", "question", "answer", "cots": [{"text", "answer", "correct",
"source"}]}`), one CoT with its question (`{"question", "gold", "text", "answer", "correct", "source"}`), or a
conversation (`messages` of {role, content}, `conversations` of {from, value}). Where a file names things otherwise, a
mapping says so: our key -> dotted key of the file. `*` in it stands for every entry of a list, so that
`{"text": "choices.*.message.content"}` finds all CoTs of a row. What no key of ours takes is kept as `meta`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from realm.bank.cot import PROBLEMS, CoT
from realm.errors import ConfigError, DataError
from realm.exchange.paths import Path, absent, find, pruned
from realm.exchange.values import flag, hashes, identity, integer, meta_text, plain, seconds, texts, unescaped
from realm.tasks.answers import final_answer
from realm.tasks.messages import CONTENT_KEYS, THOUGHT_KEYS, Said, read_message

#: Names under which a key of ours is recognised in a row; the first one that is there counts.
QUESTION_NAMES: dict[str, tuple[str, ...]] = {
    "id": ("question_id", "id", "problem_id"),
    "question": ("question", "problem", "instruction", "query", "prompt"),
    "answer": ("gold", "gold_answer", "ground_truth", "reference_answer", "expected_answer", "answer"),
    "kind": ("kind",),
    "tags": ("tags",),
    "split": ("split",),
}
#: The same for the keys of a CoT, in an entry of `cots` or in the row of a flat file.
COT_NAMES: dict[str, tuple[str, ...]] = {
    "cot_id": ("cot_id", "id"),
    "text": ("text", "cot", "rationale", "reasoning", "response", "generation", "completion", "generated_solution"),
    "cot_answer": ("cot_answer", "predicted_answer", "prediction", "model_answer", "answer"),
    "correct": ("correct", "is_correct", "label"),
    "source": ("source", "teacher", "model"),
} | {
    name: (name,)
    for name in (
        *("sample", "guided", "comments", "reason", "problem", "prompt_tokens", "completion_tokens", "seconds"),
        *("params", "prompt", "meta"),
    )
}
CHAT_NAMES = ("messages", "conversations")
#: Every key that a mapping may have.
KEYS = (*QUESTION_NAMES, "cots", "messages", *COT_NAMES)
MAP = "Say which key is which, e.g. bank.mapping: {question: prompt, text: response.content, answer: gold}."
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

    `whole`: the row is all there is of its question; rows of a flat file may share theirs.
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


@dataclass(frozen=True)
class Layout:
    """Where a row has what: our key -> path. The paths of a CoT are alternatives, and may hold a `*`."""

    question: Mapping[str, Path]
    cot: Mapping[str, tuple[Path, ...]]
    chat: Path | None = None
    whole: bool = False


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Raise `ConfigError` for a key that is not ours, or for more than one `*`."""
    for key, path in mapping.items():
        if key not in KEYS:
            raise ConfigError(f"bank.mapping: unknown key {key}; the keys are {', '.join(KEYS)}.")
        stars = path.split(".").count("*")
        if stars > 1 or (stars and key not in COT_NAMES):
            raise ConfigError(f"bank.mapping.{key}: expected at most one * and only for keys of a CoT, found {path}.")


def read_item(row: Any, where: str, mapping: Mapping[str, str], gold: Callable[[Mapping[str, Any]], str]) -> Item:
    """A row as a question with CoTs; `gold` reads the gold answer of {"answer": …}.

    Raises `DataError` saying where and why for a row that has another shape or holds something of the wrong type.
    """
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, found {type(row).__name__}.")
    layout = _layout(tuple(row), tuple(sorted(mapping.items())))
    if layout is None:
        raise DataError(f"{where}: {unrecognised(row)}")
    found = {key: find(row, path) for key, path in layout.question.items()}
    values = {key: value for key, value in found.items() if value is not absent}
    if row.get("escaped") is True:
        values |= {key: unescaped(values.get(key), where) for key in ("question", "answer")}
    if layout.chat is not None:
        said, entries = _conversation(row, where, layout)
        values.setdefault("question", said)
    else:
        entries = _entries(row, where, layout)
    question = values.get("question")
    if not isinstance(question, str | None):
        raise DataError(f"{where}: expected a text as the question, found {type(question).__name__}.")
    return Item(
        where=where,
        id=identity(where, values.get("id")),
        question=question or "",
        gold=gold({"answer": values.get("answer")}),
        kind=plain(where, "kind", values.get("kind")) or "",
        tags=texts(where, "tags", values.get("tags")),
        split=plain(where, "split", values.get("split")) or "",
        entries=entries,
        whole=layout.whole,
    )


def unrecognised(row: Mapping[str, Any]) -> str:
    """What to say of a row in which no CoT was found."""
    keys = ascii(", ".join(map(str, row)))[1:-1]
    return (
        "expected a question with `cots`, a `question` with a `text`, or `messages`; the keys found are "
        f"{keys[:300] or 'none'}. {MAP}"
    )


@lru_cache(maxsize=256)
def _layout(keys: tuple[str, ...], mapping: tuple[tuple[str, str], ...]) -> Layout | None:
    """How a row with these keys is to be read; None where it cannot be told."""
    # A key of the file may itself have dots.
    mapped: dict[str, Path] = {key: (path,) if path in keys else tuple(path.split(".")) for key, path in mapping}
    taken = {path[0] for path in mapped.values()}
    free = [key for key in keys if key not in taken]
    chat = mapped.get("messages") or next(((name,) for name in CHAT_NAMES if name in free), None)
    if "text" in mapped:
        chat = None
    cots = mapped.get("cots") or (("cots",) if "cots" in free else None)

    def named(names: Mapping[str, Sequence[str]], used: set[str]) -> dict[str, Path]:
        """The paths of the keys in `names`; a name that was used is used up."""
        found: dict[str, Path] = {key: mapped[key] for key in names if key in mapped}
        for key, choices in names.items():
            name = next((name for name in choices if name in free and name not in used), None)
            # The question of a conversation is what the user says.
            if name is not None and key not in mapped and not (key == "question" and chat is not None):
                found[key] = (name,)
                used.add(name)
        return found

    used: set[str] = set()
    question = named(QUESTION_NAMES, used)
    if cots is not None or any("*" in path for path in mapped.values()):
        return Layout(question, _of_lists(mapped, cots), whole=True)
    cot = {key: (path,) for key, path in named(COT_NAMES, used).items()}
    if chat is not None:
        return Layout(question, {key: paths for key, paths in cot.items() if key != "text"}, chat)
    asked = bool(question.keys() & {"question", "id"})
    if asked and "text" in cot:
        return Layout(question, cot)
    return Layout(question, {}, whole=True) if asked and "answer" in question else None


def _of_lists(mapped: Mapping[str, Path], cots: Path | None) -> dict[str, tuple[Path, ...]]:
    """The paths of a CoT's keys in a row that has lists of them."""
    found: dict[str, tuple[Path, ...]] = {}
    for key, choices in COT_NAMES.items():
        if key in mapped:
            inside = cots is not None and "*" not in mapped[key]
            found[key] = ((*(cots or ()), "*", *mapped[key]) if inside else mapped[key],)
        elif cots is not None:
            # One name for the text alone: whatever else an entry says is not to be taken for it.
            found[key] = tuple((*cots, "*", name) for name in (choices[:1] if key == "text" else choices))
    return found


def _entries(row: Mapping[str, Any], where: str, layout: Layout) -> list[Entry]:
    """The CoTs of a row that is no conversation."""
    paths = [path for choices in layout.cot.values() for path in choices]
    lists: dict[Path, list[Any]] = {}
    for prefix in dict.fromkeys(path[: path.index("*")] for path in paths if "*" in path):
        found = find(row, prefix)
        if found is not absent:
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
        return [_entry(row, where, layout.cot, extras=rest, escaped=escaped)] if flat else []
    entries = []
    for number in range(len(next(iter(lists.values())))):
        extras: dict[str, Any] = {}
        for prefix, members in lists.items():
            tails = [path[len(prefix) + 1 :] for path in paths if path[: len(prefix) + 1] == (*prefix, "*")]
            left = pruned(members[number], tails)
            if left is not None and left is not absent:
                extras |= left if isinstance(left, dict) and len(lists) == 1 else {".".join(prefix): left}
        if rest:
            extras["row"] = rest
        place = f"{where}: {'.'.join(next(iter(lists)))}[{number}]"
        entries.append(_entry(row, place, layout.cot, star=number, extras=extras))
    return entries


def _rest(row: Mapping[str, Any], layout: Layout, lists: Mapping[Path, Any]) -> dict[str, Any]:
    """What the row says besides its question and its CoTs."""
    plain_paths = [path for choices in layout.cot.values() for path in choices if "*" not in path]
    used = [*layout.question.values(), *lists, *plain_paths, *([layout.chat] if layout.chat else [])]
    if isinstance(row.get("escaped"), bool):
        used.append(("escaped",))
    return pruned(row, used) or {}


def _entry(
    row: Mapping[str, Any],
    where: str,
    paths: Mapping[str, tuple[Path, ...]],
    *,
    text: str | None = None,
    stated: str | None = None,
    star: int | None = None,
    extras: dict[str, Any],
    escaped: bool = False,
) -> Entry:
    """One CoT; `text`: of a conversation, where it lies at no path, and `stated`: the part that states the answer."""
    values: dict[str, Any] = {"text": text}
    for key, choices in paths.items():
        found = next((value for path in choices if (value := find(row, path, star)) is not absent), None)
        if key in ("params", "prompt", "comments") and found is not None and not hashes(found):
            extras = {**extras, key: found}
        else:
            values[key] = found
    flagged = any(find(row, path, star) is not absent for path in paths.get("correct", ()))
    text = unescaped(values["text"], where) if escaped else values["text"]
    if not isinstance(text, str):
        path = paths["text"][0]
        if path == ("cots", "*", "text"):
            raise DataError(f"{where}: expected an object with a `text`.")
        found = type(text).__name__ if text is not None else "none"
        raise DataError(f"{where}: expected a text under `{'.'.join(path)}`, found {found}. {MAP}")
    answer = plain(where, "answer", values.get("cot_answer"))
    if answer is None:
        answer = final_answer(text if stated is None else stated)
    elif escaped:
        answer = unescaped(answer, where)
    problem = plain(where, "problem", values.get("problem"))
    if problem is None:
        problem = "empty" if not text.strip() else "" if answer.strip() else "no_answer"
    if problem not in ("", *PROBLEMS):
        raise DataError(
            f"{where}: expected `problem` to be empty or one of {', '.join(PROBLEMS)}, found {problem!a:.60}."
        )
    cot = CoT(
        "",
        text,
        answer,
        None,
        teacher=plain(where, "source", values.get("source")) or "",
        guided=flag(where, "guided", values.get("guided")) == 1,
        comments=texts(where, "comments", values.get("comments")),
        reason=plain(where, "reason", values.get("reason")) or "",
        problem=problem,
        prompt_tokens=integer(where, "prompt_tokens", values.get("prompt_tokens")),
        completion_tokens=integer(where, "completion_tokens", values.get("completion_tokens")),
        seconds=seconds(where, values.get("seconds")),
        params=plain(where, "params", values.get("params")) or "",
        prompt=plain(where, "prompt", values.get("prompt")) or "",
        meta=meta_text(values.get("meta"), extras),
    )
    return Entry(
        where,
        cot,
        id=identity(where, values.get("cot_id")),
        flag=flag(where, "correct", values.get("correct")),
        flagged=flagged,
        sample=integer(where, "sample", values.get("sample")),
    )


def _conversation(row: Mapping[str, Any], where: str, layout: Layout) -> tuple[str, list[Entry]]:
    """What the user said last before the last answer, and that answer as a CoT; all else is kept."""
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
    rest = _rest(row, layout, {})
    question, said = _said(where, messages[asked]), _said(where, messages[answered])
    taken = {"role", "from", *CONTENT_KEYS}
    others = [
        {
            key: item
            for key, item in message.items()
            if key not in taken and not (number == answered and said.reasoning and key in THOUGHT_KEYS)
        }
        if number in (asked, answered)
        else message
        for number, message in enumerate(messages)
    ]
    if any(others):
        rest[place] = others
    entry = _entry(row, where, layout.cot, text=said.text(), stated=said.stated, extras=rest)
    return question.content or "", [entry]


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
