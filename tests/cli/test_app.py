"""The command as a whole: help, version, lazy imports, and what becomes of errors."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import realm
from realm.cli.app import Commands, app
from realm.processes import LAUNCH
from realm.stopping import Stopped

COMMANDS = ("quickstart", "collect", "train", "evaluate", "experiment", "report", "view", "desk")
#: Libraries that take seconds to import; no help text needs them.
HEAVY = {"torch", "transformers", "trl", "datasets", "numpy", "pandas", "yaml", "math_verify", "jinja2"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "realm", *arguments], capture_output=True, text=True, timeout=60)


def test_help_names_every_command_in_the_order_of_use() -> None:
    done = run("--help")
    places = [done.stdout.index(f" {name} ") for name in COMMANDS]
    assert done.returncode == 0
    assert places == sorted(places)


@pytest.mark.parametrize("command", [*COMMANDS, "desk show"])
def test_every_command_has_a_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"realm {command.split()[0]}" in result.output
    assert "Example: realm" in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["desk", "--help"], ["--version"]])
def test_no_heavy_library_is_imported_for_help(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom realm.cli.app import main\nsys.argv[0] = 'realm'\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('loaded:', sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "loaded: []"


def test_a_missing_bank_is_told_before_the_libraries(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom realm.cli.app import main\nsys.argv[0] = 'realm'\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, "train", "--set", "bank.path=none", "--out", str(tmp_path / "r")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr.startswith("error: none: there is no bank; fill it first")
    assert done.stdout.split() == ["2", "False"]


def test_version() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout == f"realm {realm.__version__}\n"


def test_unknown_command_and_option_are_usage_errors() -> None:
    assert run("trian").returncode == 2
    assert "Did you mean" in run("trian").stderr
    assert run("train", "--frobnicate").returncode == 2


def failing_app(error: BaseException) -> typer.Typer:
    """An app with one command, `train`, that ends with `error`."""
    failing = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @failing.callback()
    def root() -> None:
        """Only there so that `train` is a sub-command."""

    @failing.command()
    def train(name: str, overwrite: bool = False) -> None:
        raise error

    return failing


def test_a_stopped_training_says_how_to_go_on() -> None:
    result = CliRunner().invoke(failing_app(KeyboardInterrupt()), ["train", "a b.yaml", "--overwrite"])
    assert result.exit_code == 130
    assert "To go on where it was: realm train 'a b.yaml' --resume" in result.stderr


def test_it_says_so_once_and_with_what_launched_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAUNCH, "ddp.yaml --num_processes 2")
    stopped = failing_app(Stopped(signal.SIGTERM, "RL step 3 is saved."))
    result = CliRunner().invoke(stopped, ["train", "x.yaml"])
    assert result.exit_code == 143
    assert result.stderr == (
        "\nstopped. RL step 3 is saved. To go on where it was: realm train x.yaml --resume "
        "--launch 'ddp.yaml --num_processes 2'\n"
    )
    monkeypatch.setenv("RANK", "1")
    other = CliRunner().invoke(stopped, ["train", "x.yaml"])
    assert (other.exit_code, other.stderr) == (143, "")


def test_a_full_disk_is_told_from_any_error_that_it_caused() -> None:
    error = RuntimeError("cannot save")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/disk/file")
    result = CliRunner().invoke(failing_app(error), ["train", "x"])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "error: the disk is full: /disk/file."
    assert "--resume" in result.stderr


@pytest.mark.parametrize(
    "error", [RuntimeError("ours"), OSError(errno.EPIPE, "Broken pipe"), FileNotFoundError(errno.ENOENT, "gone", "x")]
)
def test_other_errors_are_ours_and_keep_their_traceback(error: Exception) -> None:
    result = CliRunner().invoke(failing_app(error), ["train", "x"])
    assert result.exit_code == 1


def test_our_errors_print_a_traceback_and_exit_with_1() -> None:
    program = (
        "import realm.cli.show\nfrom realm.cli.app import main\n"
        "def broken(*_, **__): raise RuntimeError('ours')\n"
        "realm.cli.show.annotate = broken\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "train", "--show-config"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.strip().endswith("RuntimeError: ours")


def test_ctrl_c_at_the_real_command() -> None:
    """A SIGINT in the middle of a command: one line, 130, no traceback."""
    program = (
        "import realm.cli.show, time\nfrom realm.cli.app import main\n"
        "def slow(*_, **__):\n    print('at work', flush=True)\n    time.sleep(60)\n"
        "realm.cli.show.annotate = slow\nmain()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "train", "--show-config"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "--resume" in stderr
