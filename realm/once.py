"""Something large that is handed out once."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Something large that is handed out once, so that nobody else holds it while it is used, or after."""

    def __init__(self, held: T | None) -> None:
        self._held = held

    def take(self) -> T | None:
        """It; None where there was none, or where it has been taken."""
        held, self._held = self._held, None
        return held
