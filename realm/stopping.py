"""Ctrl-C and SIGTERM: noted while a training step is under way, and what the command that they end says.

SIGTERM is what schedulers send before they kill (Slurm, Kubernetes, `timeout`); it is taken like Ctrl-C.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from realm.locks import note_stopping

_NOTE = "\nstopping: the step under way is finished and a checkpoint is saved. Ctrl-C again stops at once.\n"


class Stopped(KeyboardInterrupt):
    """A signal ended the command; the message says what is saved.

    Attributes:
        number: of the signal; the command exits with 128 + number.
        together: all processes of a distributed run stop here; else the others may know nothing of it.
    """

    def __init__(self, number: int, saved: str = "", *, together: bool = False) -> None:
        super().__init__(saved)
        self.number, self.together = number, together


class Request:
    """Whether a signal asked for the end: `number` is that of the first, None before."""

    def __init__(self) -> None:
        self.number: int | None = None


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle both signals while the block lasts; only the main thread can, and an ignored signal stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, old in before.items():
            if old is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    note_stopping()
    raise Stopped(number)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let both signals raise `Stopped`, so that a command cleans up on SIGTERM as it does on Ctrl-C."""
    with _handled(_stop):
        yield


@contextmanager
def patient(speak: bool = True) -> Iterator[Request]:
    """Note the first signal instead of raising; a second Ctrl-C raises `Stopped`.

    A launcher passes on what the terminal has already sent, so a second SIGTERM is no second wish.

    Args:
        speak: say on stderr that the signal has been heard.
    """
    request = Request()

    def note(number: int, frame: FrameType | None) -> None:
        if request.number is not None and number == signal.SIGINT:
            _stop(number, frame)
        elif request.number is None:
            request.number = number
            note_stopping()
            if speak:
                os.write(2, _NOTE.encode())  # print is not safe in a handler: it may have interrupted a print

    with _handled(note):
        yield request
