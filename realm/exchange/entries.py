"""One CoT of a row of somebody else's file, from the keys that a layout names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from realm.bank.cot import PROBLEMS, CoT
from realm.errors import DataError
from realm.exchange.common import MAP, NONE, inside
from realm.exchange.values import answer as answer_of
from realm.exchange.values import flag, hashes, identity, integer, meta_text, seconds, texts, unescaped
from realm.tasks.answers import final_answer
from realm.tasks.endings import ending
from realm.tasks.paths import Path, Place, absent, name_of, plain, pruned, taken
from realm.tasks.spoken import without_run_on


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
class Layout:
    """Where a row has what: our key -> place. The places of a CoT are alternatives, and may hold a `*`.

    `own`: a row of our own shape, with `cots`, where nothing is guessed.
    """

    question: Mapping[str, Place]
    cot: Mapping[str, tuple[Place, ...]]
    chat: Path | None = None
    whole: bool = False
    own: bool = False


def rest_of(row: Mapping[str, Any], layout: Layout, lists: Mapping[Path, Any]) -> dict[str, Any]:
    """What the row says besides its question and its CoTs."""
    places = [*layout.question.values(), *(place for choices in layout.cot.values() for place in choices)]
    plain_paths = [path for place in places for path in place if "*" not in path]
    used = [*lists, *plain_paths, *([layout.chat] if layout.chat else [])]
    if isinstance(row.get("escaped"), bool):
        used.append(("escaped",))
    return pruned(row, used) or {}


def read_entry(
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
    found = next((extras[key] for key in ("finish_reason", "stop_reason") if extras.get(key) is not None), None)
    several = row.get("finish_reasons")
    if found is None and isinstance(several, list) and star is not None and star < len(several):
        found = several[star]
    return found
