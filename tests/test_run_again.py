"""A run folder that is gone on with or made anew: by one command for every start, after a kill, after a failure."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realm.commands.configuring import load_config
from realm.config import Config
from realm.errors import ResourceError
from realm.files import append_jsonl
from realm.processes import LAUNCH
from realm.rows.training import Step
from realm.run import RunFolder


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config()
    made.run.dir, made.run.name = str(tmp_path / "runs"), "mine"
    return made


def test_a_copy_of_a_run_goes_on_by_itself(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the run that it was copied from, and not a new one where that was moved; from whatever folder it is named."""
    config.run.dir = "runs"
    monkeypatch.chdir(tmp_path)
    RunFolder.create(config)
    copy = Path(shutil.copytree(config.run_path, tmp_path / "kept" / "copy"))
    assert load_config("runs/mine").run == config.run, "where it was made"
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    for folder in (copy, Path("../kept/copy")):
        found = load_config(folder)
        assert found.run_path == copy and RunFolder(found.run_path).check_resume(found)
    assert load_config(copy, ["run.name=new"]).run_path == Path("runs/new"), "a name that was given"
    assert RunFolder.create(found, resume=True).meta.name == "copy"


@pytest.mark.parametrize("there", ["nothing", "a folder", "a bank", "half a write"])
def test_resume_starts_what_is_not_there(config: Config, there: str) -> None:
    if there != "nothing":
        config.run_path.mkdir(parents=True)
    if there == "a bank":
        (config.run_path / "bank").mkdir()
    if there == "half a write":
        (config.run_path / ".meta.json.abc.tmp").write_text('{"form')
    assert not RunFolder(config.run_path).check_resume(config)
    run = RunFolder.create(config, resume=True)
    assert (run.meta.status, run.meta.resumed) == ("running", ())
    assert run.check_resume(config)
    assert len(RunFolder.create(config, resume=True).meta.resumed) == 1
    assert (run.path / "bank").exists() is (there == "a bank")


@pytest.mark.parametrize("there", ["a file", "a folder with a file"])
def test_resume_takes_nothing_else_for_a_run(config: Config, there: str) -> None:
    file = config.run_path / "thesis.tex" if there == "a folder with a file" else config.run_path
    file.parent.mkdir(parents=True)
    file.write_text("years of work")
    with pytest.raises(ResourceError, match=r"no run to resume here .* never overwritten"):
        RunFolder.create(config, resume=True)
    assert file.read_text() == "years of work"


class Killed(BaseException):
    """What ends a process in the middle of a deletion."""


class Deletion:
    """Ends the process in its place after so many files and folders have been deleted; `removed`: their names."""

    def __init__(self, left: int) -> None:
        self.left, self.removed = left, list[str]()

    def instead_of(self, original: Any) -> Any:
        """`os.unlink` or `os.rmdir` until then."""

        def remove(name: Any, *args: Any, **kwargs: Any) -> None:
            if Path(name).suffix != ".tmp":  # of `write_atomic`
                if len(self.removed) == self.left:
                    raise Killed
                self.removed.append(Path(name).name)
            original(name, *args, **kwargs)

        return remove


def _old_run(config: Config) -> RunFolder:
    """A finished run with weights and an evaluation of its model, and the bank that it used."""
    run = RunFolder.create(config)
    for file in ("model/model.safetensors", "model/config.json", "checkpoints/rl/round-0/checkpoint-2/seal.json",
                 "checkpoints/rl/round-0/checkpoint-2/model.safetensors", "bank/cots.jsonl", "instructors/errors.json",
                 "instructors/bank/cots.jsonl", "asked/bank/cots.jsonl", "asked/errors-0.json",
                 "failure-1.json"):  # fmt: skip
        (run.path / file).parent.mkdir(parents=True, exist_ok=True)
        (run.path / file).write_text("old")
    append_jsonl(run.path / "metrics.jsonl", {"step": 1})
    run.finish()
    return run


def test_an_overwriting_that_was_killed_leaves_nothing_to_resume(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever file the deletion ends: a resume with the same configuration starts anew."""
    kept = ["asked/bank/cots.jsonl", "bank/cots.jsonl", "instructors/bank/cots.jsonl"]
    for left in range(100):
        shutil.rmtree(config.run_path, ignore_errors=True)
        run, deletion = _old_run(config), Deletion(left)
        with monkeypatch.context() as patch:
            for name in ("unlink", "rmdir"):
                patch.setattr(os, name, deletion.instead_of(getattr(os, name)))
            with suppress(Killed):
                RunFolder.create(config, overwrite=True)
        if len(deletion.removed) < left:
            break
        RunFolder.create(config, resume=True)
        files = sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file())
        assert files == sorted([".lock", *kept, "config.yaml", "meta.json"]), deletion.removed
        assert run.meta.status == "running"
    order = deletion.removed
    assert order[-2:] == ["config.yaml", "meta.json"]
    assert max(order.index("model"), order.index("checkpoints")) < order.index("metrics.jsonl")


def test_a_half_deleted_run_may_also_be_started_without_resume(config: Config) -> None:
    run = _old_run(config)
    run.write_meta(replace(run.meta, status="overwritten"))
    assert RunFolder.create(config).read(Step) == []


def test_what_launched_the_run_is_noted(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RunFolder.create(config).meta.launch is None
    monkeypatch.setenv(LAUNCH, "--num_processes 2")
    assert RunFolder.create(config, resume=True).meta.launch == "--num_processes 2"
    monkeypatch.delenv(LAUNCH)
    assert RunFolder.create(config, resume=True).meta.launch is None, "gone on with by one process"


@pytest.mark.parametrize("status", ["failed", "interrupted", "done"])
def test_the_first_failure_of_another_process_is_the_reason(config: Config, status: Any) -> None:
    run = RunFolder.create(config)
    run.note_failure(2, "connection closed by peer")
    run.note_failure(1, "RL step 3: out of memory")
    for number, moment in ((1, 5.0), (2, 6.0)):
        file = run.path / f"failure-{number}.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "time": moment}))
    (run.path / "failure-3.json").write_text('{"time": ')  # torn by a kill
    run.finish(status, "connection reset by peer" if status == "failed" else "")
    if status == "done":
        assert run.meta.status == "done" and run.meta.reason is None
        return
    assert (run.meta.status, run.meta.reason) == ("failed", "process 1: RL step 3: out of memory")
    again = RunFolder.create(config, resume=True)
    assert not list(again.path.glob("failure-*")) and again.meta.reason is None
    again.finish("failed", "mine")
    assert again.meta.reason == "mine"
