"""`realm train --launch`: the command runs again as several processes, and one of them writes the run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from torch.distributed.launcher.api import LaunchConfig
from typer.testing import Result

from realm.cli.launch import SHUTDOWN, launch_command, launch_here
from realm.processes import LAUNCH
from tests.conftest import read_rows

ROOT = Path(__file__).resolve().parents[2]
READY = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))
KINDS = {"ddp": "MULTI_GPU", "multi-node": "MULTI_GPU", "fsdp2": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}
ARGUMENTS = ["train", "my.yaml", "--set", "run.seed=1", "--launch", "X", "--resume"]


def options(launch: str, arguments: list[str] | None = None) -> list[str]:
    command = launch_command(launch, arguments or ARGUMENTS)
    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    return command[3:]


def test_arguments_go_to_accelerate_and_the_rest_to_realm() -> None:
    tail = ["-m", "realm", "train", "my.yaml", "--set", "run.seed=1", "--resume"]
    assert options("--multi_gpu --num_processes 2") == ["--multi_gpu", "--num_processes", "2", *tail]
    file = str(READY[0])
    assert options(f"{file} --num_processes 2") == ["--config_file", file, "--num_processes", "2", *tail]
    assert options("--main_process_ip 'a b'")[:2] == ["--main_process_ip", "a b"]
    assert options("", ["train", "--launch=", "--out", "x"]) == ["-m", "realm", "train", "--out", "x"]


@pytest.mark.parametrize("file", READY, ids=lambda file: file.stem)
def test_accelerate_reads_the_ready_files(file: Path) -> None:
    found = load_config_from_file(str(file))
    named = yaml.safe_load(file.read_text())
    assert found.num_processes == named["num_processes"] >= 2 and str(found.mixed_precision) == "no"
    assert str(found.distributed_type).rpartition(".")[2] == KINDS[file.stem]
    known = vars(launch_command_parser().parse_args(["x"]))
    for section in ("deepspeed_config", "fsdp_config"):
        for key in named.get(section, {}):
            assert key in known, f"{section}.{key} is none of accelerate's"
    assert f'--launch "configs/accelerate/{file.name}' in file.read_text()


def test_there_is_a_file_for_each_way() -> None:
    assert [file.stem for file in READY] == ["ddp", "fsdp2", "multi-node", "zero2", "zero3"]


def test_mistakes(work: Path, realm: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    for launch, message in (("no/such.yaml", "there is no file no/such.yaml"), ("'open", "cannot be split")):
        result = realm("train", "config.yaml", "--launch", launch)
        assert result.exit_code == 2 and message in result.output
    result = realm("train", "config.yaml", "--set", "no.key=1", "--launch", "--multi_gpu")
    assert result.exit_code == 2 and "unknown key" in result.output, "told before anything is launched"
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = realm("train", "config.yaml", "--launch", "--multi_gpu")
    assert result.exit_code == 2 and "leave --launch away" in result.output
    assert not (work / "runs").exists()


def test_the_launcher_waits_for_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun kills what has not ended so many seconds after a SIGTERM; the user's own choice stays."""
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: became.append(command))
    monkeypatch.setenv(SHUTDOWN[0], "60")
    monkeypatch.setenv(LAUNCH, "")
    launch_here("--multi_gpu", ["train"])
    assert os.environ[SHUTDOWN[0]] == "60"
    monkeypatch.delenv(SHUTDOWN[0])
    launch_here("--multi_gpu", ["train"])
    assert len(became) == 2 and os.environ[SHUTDOWN[0]] == "600"
    seam = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2)
    assert seam.shutdown_timeout == 600, "torchrun reads it"
    monkeypatch.delenv(SHUTDOWN[0])  # set above by what is tested
    assert os.environ[LAUNCH] == "--multi_gpu", "for what its processes tell the user to type"
    monkeypatch.delenv(LAUNCH)


def environment(folder: Path) -> dict[str, str]:
    """Of the launched processes; a sitecustomize.py in `folder` is theirs."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "OMP_NUM_THREADS": "1"}


def launched(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "realm", "train", "config.yaml", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.slow
def test_two_processes_make_one_run(work: Path, realm: Callable[..., Result]) -> None:
    """A whole run: trained by two, written by one, evaluated, reported; started anew in the same place, and resumed."""
    two = ("--set", "training.rl.micro_batch_size=2", "--out", "runs/two", "--launch", f"{READY[0]} --num_processes 2")
    # As the one command of a job that may be queued again.
    first = launched(work, *two, "--resume")
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("no run to resume yet") == 1
    assert (work / "runs/two/model/model.safetensors").is_file() and (work / "runs/two/report.html").is_file()
    assert json.loads((work / "runs/two/meta.json").read_text())["status"] == "done"
    assert json.loads((work / "runs/two/meta.json").read_text())["launch"] == two[-1]
    assert realm("train", "config.yaml", "--out", "runs/one").exit_code == 0
    # The main process saves the groups that it has: half of them.
    alone = {(row["step"], row["question_id"]): row for row in read_rows(work / "runs/one" / "completions.jsonl")}
    for row in read_rows(work / "runs/two" / "completions.jsonl"):
        same = alone[row["step"], row["question_id"]]
        assert (row["prompt"], row["p"], row["routes"]) == (same["prompt"], same["p"], same["routes"])
    assert len(read_rows(work / "runs/two" / "metrics.jsonl")) == 2

    used = launched(work, *two)
    assert used.returncode == 1 and "already used" in used.stderr
    # What the run before left must not make one process think that it is done.
    again = launched(work, *two, "--overwrite")
    assert again.returncode == 0, again.stderr
    assert len(read_rows(work / "runs/two" / "metrics.jsonl")) == 2
    finished = launched(work, *two, "--resume")
    assert finished.returncode == 0, finished.stderr


#: Python runs it as it starts: the wrapped models that are alive when a process closes its group, a line each time.
WATCH = """
import gc, os
import torch.distributed as distributed
from torch.nn.parallel import DistributedDataParallel as Wrapped
close = distributed.destroy_process_group
def noted():
    with open(os.environ["WRAPPED_LEFT"], "a") as file:
        file.write(f"{sum(type(one) is Wrapped for one in gc.get_objects())}\\n")
    close()
distributed.destroy_process_group = noted
"""


@pytest.mark.slow
def test_a_signal_to_the_launcher_saves_and_the_run_goes_on(
    work: Path, realm: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a scheduler does: SIGTERM to the one process that it knows, while two are training.

    A wrapped model that outlives the closing of the group hangs now and then, in one run of dozens.
    """
    (work / "sitecustomize.py").write_text(WATCH)
    monkeypatch.setenv("WRAPPED_LEFT", str(work / "left.txt"))
    long = ("--set", "training.rl.steps=40", "--set", "training.save_every=100", "--set", "training.eval_every=100")
    two = (*long, "--set", "training.rl.micro_batch_size=2", "--launch", f"{READY[0]} --num_processes 2")
    with subprocess.Popen(
        [sys.executable, "-m", "realm", "train", "config.yaml", *two],
        env=environment(work),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as launcher:
        metrics = work / "runs/first/metrics.jsonl"
        end = time.monotonic() + 180
        while not (metrics.is_file() and len(metrics.read_text().splitlines()) >= 3):
            assert launcher.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        launcher.send_signal(signal.SIGTERM)
        said = launcher.communicate(timeout=120)[1]
    done = len(read_rows(work / "runs/first" / "metrics.jsonl"))
    assert 3 <= done < 40 and said.count(f"RL step {done} is saved") == 1
    assert f"--resume --launch '{READY[0]} --num_processes 2'" in said
    assert (work / f"runs/first/checkpoints/rl/round-0/checkpoint-{done}/seal.json").is_file()
    assert json.loads((work / "runs/first/meta.json").read_text())["status"] == "interrupted"
    again = launched(work, *two, "--resume")
    assert again.returncode == 0, again.stderr
    assert [row["step"] for row in read_rows(work / "runs/first" / "metrics.jsonl")] == list(range(1, 41))
    assert (work / "left.txt").read_text().split() == ["0"] * 4, "two processes, stopped and at the end"
