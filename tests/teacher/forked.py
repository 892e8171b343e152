"""`realm` in processes of their own that start at once: forked from a server that has imported everything already."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.launched import forked

#: Where a process kills itself: what it writes to, the how-manieth time, and with how much of it written.
Death = tuple[str, int, float]


def start(arguments: list[str], folder: Path, death: Death | None = None) -> BaseProcess:
    """Run `realm ARGUMENTS` in `folder`; its output goes to `folder/output`."""
    return forked(_run, folder, arguments, str(folder), death)


def _run(arguments: list[str], folder: str, death: Death | None) -> None:
    os.chdir(folder)
    if death is not None:
        _arrange(*death)
    from realm.cli.app import app

    sys.argv = ["realm", *arguments]
    app(arguments)


def _arrange(what: str, number: int, part: float) -> None:
    """Let this process die in its `number`-th write of that kind, with `part` of the bytes in the file."""
    from realm.bank.writer import BankWriter
    from realm.teacher.ledger import Ledger

    left = number

    def due() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    if what == "replace":
        replace = Path.replace

        def dying(self: Path, target: Any) -> Any:
            if due():
                if part > 0.5:
                    replace(self, target)
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(self, target)

        Path.replace = dying  # type: ignore[assignment,method-assign]
        return

    if what == "batches":
        from realm.teacher import batches

        append = batches.append_jsonl

        def cut(path: Path, *records: dict[str, Any]) -> None:
            if due():
                if part == 1:
                    append(path, *records)
                elif part:
                    path.open("ab").write(str(records).encode()[:20])
                os.kill(os.getpid(), signal.SIGKILL)
            append(path, *records)

        batches.append_jsonl = cut
        return

    class Torn:
        """A file that is cut off within a write."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, content: memoryview) -> int:
            if due():
                self._file.write(content[: int(part * len(content))])
                os.kill(os.getpid(), signal.SIGKILL)
            return int(self._file.write(content))

    if what == "ledger":
        enter = Ledger.__enter__

        def entered(self: Ledger) -> Ledger:
            enter(self)
            self._file = Torn(self._file)
            return self

        Ledger.__enter__ = entered  # type: ignore[method-assign]
        return
    init = BankWriter.__init__

    def made(self: BankWriter, path: Path, *others: Any) -> None:
        init(self, path, *others)
        setattr(self, f"_{what}", Torn(getattr(self, f"_{what}")))

    BankWriter.__init__ = made  # type: ignore[method-assign]
