"""Programs in processes of their own, which find realm and the tests as this one does."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.conftest import ROOT

#: Starts processes at once: they are forked from a server that has imported everything already. All tests of a session
#: have the same server, so that what it imports is named here and nowhere else.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    [
        *("realm.cli.app", "realm.evaluation.evaluate", "realm.teacher.client", "realm.teacher.collect"),
        *("realm.training.recipes", "rich.console", "tests.tiny"),
    ]
)


def forked(target: Callable[..., None], folder: Path, *arguments: object) -> BaseProcess:
    """A process that runs `target(*arguments)`, a function of a module, at once; its output goes to `folder/output`."""
    folder.mkdir(exist_ok=True)
    process = FORKED.Process(target=_run, args=(f"{folder}/output", target, arguments))
    process.start()
    return process


def _run(output: str, target: Callable[..., None], arguments: tuple[object, ...]) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    import torch

    torch.set_num_threads(1)
    target(*arguments)


def lived(process: BaseProcess, folder: Path, seconds: float | None = None) -> bool:
    """Whether a forked process came to its end, be it that it is killed after so many seconds or kills itself."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
    process.join()
    assert process.exitcode in (0, -9), (process.exitcode, (folder / "output").read_text())
    return process.exitcode == 0


def launch(program: str, folder: Path, *arguments: object, **environment: str) -> str:
    """What the text of a program, run with these arguments, prints; its file lies in `folder`, which it may make."""
    return subprocess.run(
        [sys.executable, str(_program(program, folder)), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        check=True,
        timeout=300,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def launch_two(program: str, folder: Path, *arguments: object, **environment: str) -> str:
    """What `launch` returns, of two processes that are launched as torchrun does it but need not import anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    environment = {**environment, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    line = [str(_program(program, folder)), *map(str, arguments)]
    processes = [
        FORKED.Process(target=_one_of_two, args=(f"{folder}/rank{rank}", line, environment, str(rank)))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    connection.wait([process.sentinel for process in processes], timeout=300)
    # Where one has failed, the other waits for it until it is killed.
    failed = any(process.exitcode not in (None, 0) for process in processes)
    for process in processes:
        process.join(1 if failed else 300)
        process.kill()
    codes = [process.exitcode for process in processes]
    assert codes == [0, 0], (codes, *(Path(f"{folder}/rank{rank}.stderr").read_text() for rank in range(2)))
    return "".join(Path(f"{folder}/rank{rank}.stdout").read_text() for rank in range(2))


def _program(text: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "program.py"
    file.write_text(text)
    return file


def _one_of_two(output: str, line: list[str], environment: dict[str, str], rank: str) -> None:
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{output}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    import torch

    torch.set_num_threads(1)
    os.environ.update(environment, RANK=rank, LOCAL_RANK=rank)
    sys.argv = line
    runpy.run_path(line[0], run_name="__main__")
