"""A conversation as a question with one CoT: what the user said, and the last answer."""

from collections.abc import Mapping
from typing import Any

from realm.errors import DataError
from realm.exchange.entries import Entry, Layout, read_entry, rest_of
from realm.exchange.values import unescaped
from realm.tasks.messages import CONTENT_KEYS, THOUGHT_KEYS, Said, read_message
from realm.tasks.paths import find

_ROLES = dict.fromkeys(("user", "human", "prompter"), "user") | dict.fromkeys(
    ("assistant", "gpt", "chatgpt", "model", "bot"), "assistant"
)


def read_chat(row: Mapping[str, Any], where: str, layout: Layout) -> tuple[str, list[Entry]]:
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
    rest = rest_of(row, layout, {})
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
    entry = read_entry(
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
