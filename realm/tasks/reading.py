"""What all verifiers say of text that is no value: the two errors, and how a gold is read."""

from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


class UnreadableError(ValueError):
    """The answer is not one value of the kind that the verifier compares."""


class UnreadableGoldError(UnreadableError):
    """The gold is not one value of the kind that the verifier compares: no answer can be right or wrong."""


def reading_gold(read: Callable[[str], Value], gold: str) -> Value:
    """`read(gold)`; what it cannot read raises `UnreadableGoldError`."""
    try:
        return read(gold)
    except UnreadableError as error:
        raise UnreadableGoldError(str(error)) from error


def words(text: str) -> str:
    """The text with its white space collapsed; raises `UnreadableError` where nothing is left."""
    found = " ".join(text.split())
    if not found:
        raise UnreadableError("no text")
    return found
