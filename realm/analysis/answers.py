"""Answers as the verifier reads them: which of them are the same, and which cannot be read at all."""

from collections.abc import Mapping
from typing import Any

from realm.bank.cot import CoT
from realm.errors import ConfigError
from realm.tasks.verify import UNREADABLE, UnreadableError, Verifier, verifier


def verifier_of(info: Mapping[str, Any]) -> Verifier:
    """The verifier that a bank's `bank.json` names; `exact` where it names none that can be made."""
    name, choices = info.get("verifier"), info.get("choices")
    try:
        return verifier(str(name), choices if isinstance(choices, list) else ())
    except ConfigError:
        return verifier("exact")


def read(verifier: Verifier, answer: str) -> str | None:
    """A text that is the same for answers that read alike; None for one that cannot be read."""
    try:
        return verifier.key(answer)
    except UnreadableError:
        return None


def answer_of(verifier: Verifier, cot: CoT) -> str | None:
    """As `read`, of a CoT; None too where its judge could not read the answer (`key` is cheaper and may)."""
    return None if cot.reason == UNREADABLE else read(verifier, cot.answer)
