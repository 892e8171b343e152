"""The lock of a folder (a run, a bank, all experiments): one process at a time may write there, and others are told
which one.

The lock is the kernel's, on the file `.lock` in the folder: it goes with the process, however that ends, so nobody who
was killed leaves one behind. It belongs to the process: taken twice there it is one lock, and a forked child has none.
A file, opened for writing, because NFS locks no folders. Reading needs no lock.
"""

import errno
import fcntl
import json
import logging
import os
import platform
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from realm.errors import ResourceError
from realm.files import writing

_LOG = logging.getLogger(__name__)
#: In the folder that is locked: who holds it. It is there while there is a holder, and after one that was killed.
LOCK = ".lock"
#: Seconds that a holder which is stopping is waited for; less than what processes of one launch wait for each other.
PATIENCE = 300.0
_PAUSE = 0.2
#: Tries until a holder counts as one: whoever only looks whether there is one has the lock for a moment, too.
_TRIES = 3
#: What a file system answers that keeps no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Hold:
    """A folder that no other process writes to while this object lives (or until `release`)."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self._who = {
            "pid": os.getpid(),
            "host": platform.node(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.note()
        self.release = weakref.finalize(self, _release, path / LOCK, handle, os.getpid())

    @property
    def valid(self) -> bool:
        """Whether the folder is still there, not removed and perhaps made anew."""
        return _same(self.path / LOCK, self._handle)

    def note(self, **more: object) -> None:
        """Write down who holds the folder, and `more` of it. May be called in a handler of signals."""
        content = json.dumps({**self._who, **more}).encode() + b"\n"
        with suppress(OSError):  # the lock holds without it
            os.pwrite(self._handle, content, 0)
            os.ftruncate(self._handle, len(content))


_HELD: weakref.WeakValueDictionary[Path, Hold] = weakref.WeakValueDictionary()


def _release(file: Path, handle: int, owner: int) -> None:
    if os.getpid() != owner:
        return
    try:
        with suppress(OSError):
            if _same(file, handle):
                file.unlink()  # before it is let go: who takes it next makes another one
    finally:
        os.close(handle)


def _same(file: Path, handle: int) -> bool:
    """Whether a file is still the one that was opened."""
    try:
        return os.path.samestat(file.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _forget() -> None:
    """In a forked child: it shares the open file, so that it would keep the lock of a parent that was killed."""
    for held in list(_HELD.values()):
        held.release.detach()
        os.close(held._handle)
    _HELD.clear()


os.register_at_fork(after_in_child=_forget)


def note_stopping() -> None:
    """Tell those who wait that this process is about to end. May be called in a handler of signals."""
    for held in list(_HELD.values()):
        held.note(stopping=True)


def hold(folder: Path, *, patience: float = PATIENCE, say: Callable[[str], None] = _LOG.warning) -> Hold:
    """Lock a folder, which is made with its parents where it is missing, for this process.

    A holder that is stopping is waited for, at most `patience` seconds; any other is not.

    Args:
        say: told once that somebody is waited for, or that the file system keeps no locks.

    Raises:
        ResourceError: another process holds it, which is named; or the disk refuses.
    """
    key = folder.resolve()
    found = _HELD.get(key)
    if found is not None and found.release.alive and found.valid:
        return found
    end, waiting, tries = time.monotonic() + patience, False, 0
    while True:
        handle = _try(folder, say)
        if handle is not None:
            found = Hold(folder, handle)
            _HELD[key] = found
            return found
        tries += 1
        who = holder(folder)
        if who.get("stopping") and time.monotonic() < end:
            if not waiting:
                say(f"{folder}: waiting for {_name(who)} to stop")
            waiting = True
        elif tries >= _TRIES:
            raise ResourceError(
                f"{folder}: {_name(who)} is working in this folder{' and does not end' if waiting else ''}; "
                "wait for it or stop it first, or choose another folder (run.name, --out)."
            )
        time.sleep(_PAUSE)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder while the block lasts; errors as of `hold`."""
    held = hold(folder)
    try:
        yield
    finally:
        del held  # not when the frame goes: an error's traceback may keep that


def _try(folder: Path, say: Callable[[str], None]) -> int | None:
    """The locked file of a folder, None where another process has it."""
    file = folder / LOCK
    while True:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                continue  # whoever could not start took the folder away again
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(handle)
                return None
            say(f"{folder}: this file system keeps no locks; see to it that no other process writes there")
        if _same(file, handle):
            return handle
        os.close(handle)  # its last holder has just removed it


def holder(folder: Path) -> dict[str, Any]:
    """What the lock's file says of its holder; it may be that of one that was killed. Empty where nothing is said."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _name(who: dict[str, Any]) -> str:
    if not {"pid", "host", "since"} <= who.keys():
        return "another process"
    return f"process {who['pid']} on {who['host']} (since {who['since']})"
