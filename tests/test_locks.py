"""A run's folder belongs to one process at a time, and to nobody whose process has ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from realm.errors import ResourceError
from realm.locks import LOCK, hold, holder
from tests.holding import another_holds


def test_a_folder_that_another_process_holds_is_refused_and_the_holder_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mine"
    with another_holds(folder) as process:
        with pytest.raises(ResourceError, match=rf"mine: process {process.pid} on .* \(since 20.*wait for it or stop"):
            hold(folder)
        assert holder(folder)["pid"] == process.pid, "untouched"


@pytest.mark.parametrize("how", ["", "with-a-child"])
def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path, how: str) -> None:
    with another_holds(tmp_path, how) as process:
        process.kill()
        process.wait()
        held = hold(tmp_path)
        assert holder(tmp_path)["pid"] == os.getpid()
        del held
    assert not (tmp_path / LOCK).exists()


def test_a_holder_that_is_stopping_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    with another_holds(tmp_path, "stopping", 2.0) as process:
        while not holder(tmp_path).get("stopping"):
            time.sleep(0.05)
        held = hold(tmp_path, say=said.append)
        assert process.wait() == 0
    assert held.valid and len(said) == 1 and f"waiting for process {process.pid} on" in said[0]


def test_the_wait_is_bounded(tmp_path: Path) -> None:
    with another_holds(tmp_path, "stopping"), pytest.raises(ResourceError, match="does not end"):
        hold(tmp_path, patience=0.5, say=lambda _: None)


def test_within_a_process_it_is_one_lock_until_all_have_let_go(tmp_path: Path) -> None:
    first, second = hold(tmp_path), hold(tmp_path / ".." / tmp_path.name)
    assert first is second
    del first
    assert _of_another_process(tmp_path) == 2
    del second
    assert _of_another_process(tmp_path) == 0
    assert not (tmp_path / LOCK).exists()


def _of_another_process(folder: Path) -> int:
    program = "import sys\nfrom pathlib import Path\nfrom realm.locks import hold\ntry:\n    hold(Path(sys.argv[1]))\n"
    program += "except Exception as error:\n    sys.exit(2)\n"
    return subprocess.run([sys.executable, "-c", program, str(folder)], check=False).returncode


def test_a_folder_made_anew_is_locked_anew(tmp_path: Path) -> None:
    old = hold(tmp_path / "run")
    (tmp_path / "run" / LOCK).unlink()
    new = hold(tmp_path / "run")
    assert new is not old and new.valid and not old.valid
    del old
    assert new.valid, "letting go of the old one takes nothing away"


def test_what_a_killed_holder_wrote_is_no_holder(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(
        '{"pid": 1, "host": "h", "since": "s", "stopping": true, "more": "and longer than ours"}'
    )
    held = hold(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid() and held.valid


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said: list[str] = []
    assert hold(tmp_path, say=said.append).valid
    assert said == [f"{tmp_path}: this file system keeps no locks; see to it that no other process writes there"]
