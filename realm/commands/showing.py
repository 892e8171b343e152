"""How a command shows how far it is: nothing by default."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

T = TypeVar("T")
#: Called with the name of what goes on; within the context it is told how far that is.
Showing = Callable[[str], AbstractContextManager[T]]


def silent(name: str) -> AbstractContextManager[None]:
    """Shows nothing."""
    return nullcontext()
