"""The run folder: used names, torn lines, resuming, and a disk that refuses."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from realm.config import Config, load_config
from realm.errors import ConfigError, DataError, ResourceError
from realm.files import append_jsonl, read_jsonl, to_line, write_atomic, writing
from realm.rows.training import Step
from realm.run import RunFolder, versions
from realm.sections import TaskConfig


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config()
    made.run.dir, made.run.name = str(tmp_path / "runs"), "mine"
    return made


def test_create_writes_a_configuration_that_runs_again(config: Config) -> None:
    config.training.rl.steps = 7
    run = RunFolder.create(config, template_hash="abc")
    assert run.path == config.run_path
    assert load_config(run.path / "config.yaml") == config
    meta = run.meta
    assert (meta.status, meta.template_hash, meta.seed) == ("running", "abc", config.run.seed)
    assert meta.versions == versions()
    assert {"python", "torch", "transformers", "trl"} <= versions().keys()
    assert sorted(item.name for item in run.path.iterdir()) == [".lock", "config.yaml", "meta.json"]
    run.finish()
    assert run.meta.status == "done"
    assert run.meta.finished >= run.meta.started


def test_used_name_is_refused_and_untouched(config: Config) -> None:
    run = RunFolder.create(config)
    append_jsonl(run.path / "metrics.jsonl", {"step": 1})
    before = {item.name: item.read_bytes() for item in run.path.iterdir()}
    with pytest.raises(ResourceError, match=r"already used.*--out, or give --overwrite \(or --resume, where"):
        RunFolder.create(config)
    assert {item.name: item.read_bytes() for item in run.path.iterdir()} == before


def test_overwrite_takes_all_but_the_bank(config: Config) -> None:
    run = RunFolder.create(config)
    append_jsonl(run.path / "metrics.jsonl", {"step": 1})
    (run.path / "checkpoints" / "rl").mkdir(parents=True)
    (run.path / "bank").mkdir()
    (run.path / "bank" / "cots.jsonl").write_text("{}\n")
    (run.path / "bank.old-1").mkdir()  # put aside by `realm collect --overwrite`
    RunFolder.create(config, overwrite=True)
    assert sorted(item.name for item in run.path.iterdir()) == [
        ".lock", "bank", "bank.old-1", "config.yaml", "meta.json",
    ]  # fmt: skip
    assert (run.path / "bank" / "cots.jsonl").read_text() == "{}\n"


def test_overwrite_keeps_what_instructors_wrote(config: Config, tmp_path: Path) -> None:
    run = RunFolder.create(config)
    replies = run.path / "instructors" / "bank" / "cots.jsonl"
    replies.parent.mkdir(parents=True)
    replies.write_text("{}\n")
    (run.path / "instructors" / "errors-0.json").write_text("{}\n")
    RunFolder.create(config, overwrite=True)
    assert [item.name for item in (run.path / "instructors").iterdir()] == ["bank"]
    assert replies.read_text() == "{}\n"
    # Killed after the deletion: the name is free.
    (run.path / "meta.json").unlink()
    (run.path / "config.yaml").unlink()
    RunFolder.create(config)
    shutil.rmtree(replies.parent)
    RunFolder.create(config, overwrite=True)
    assert not (run.path / "instructors").exists()


def test_a_folder_with_only_a_bank_is_free(config: Config) -> None:
    (config.run_path / "bank").mkdir(parents=True)
    RunFolder.create(config)


def test_overwrite_never_deletes_what_is_no_run(config: Config) -> None:
    config.run_path.mkdir(parents=True)
    (config.run_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ResourceError, match="not a run folder") as refusal:
            RunFolder.create(config, overwrite=overwrite)
        assert "--overwrite" not in str(refusal.value)
    assert (config.run_path / "thesis.tex").exists()


def test_overwrite_does_not_follow_links(config: Config, tmp_path: Path) -> None:
    run = RunFolder.create(config)
    (tmp_path / "precious").mkdir()
    (run.path / "model").symlink_to(tmp_path / "precious")
    RunFolder.create(config, overwrite=True)
    assert (tmp_path / "precious").is_dir()
    assert not (run.path / "model").exists()


def test_a_file_of_the_name_is_refused(config: Config) -> None:
    config.run_path.parent.mkdir()
    config.run_path.write_text("a file")
    for overwrite in (False, True):
        with pytest.raises(ResourceError):
            RunFolder.create(config, overwrite=overwrite)
    assert config.run_path.read_text() == "a file"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "/etc"])
def test_name_must_be_one_folder(config: Config, name: str) -> None:
    config.run.name = name
    with pytest.raises(ConfigError, match=r"run\.name"):
        RunFolder.create(config)


def test_resume_goes_on(config: Config) -> None:
    started = RunFolder.create(config, template_hash="abc").meta.started
    config.training.save_every = 3
    run = RunFolder.create(config, resume=True)
    assert (run.meta.started, run.meta.template_hash, run.meta.status) == (started, "abc", "running")
    assert len(run.meta.resumed) == 1
    assert load_config(run.path / "config.yaml").training.save_every == 3


def test_resume_refuses_other_questions_than_the_run_began_with(config: Config) -> None:
    RunFolder.create(config, questions_hash="one")
    RunFolder.create(config, questions_hash="one", resume=True)
    with pytest.raises(ConfigError, match=r"the run was begun with other questions, what task\.path names has changed"):
        RunFolder.create(config, questions_hash="two", resume=True)
    config.run.name = "of-before"
    RunFolder.create(config)
    RunFolder.create(config, questions_hash="two", resume=True)


def test_a_run_that_noted_the_size_of_its_test_keeps_it(config: Config) -> None:
    config.task = TaskConfig(name="jsonl", path="rows.jsonl", test_size=200)
    run = RunFolder.create(config)
    assert load_config(run.path / "config.yaml").task.test_size == 200
    RunFolder.create(config, resume=True)
    config.task = TaskConfig(name="jsonl", path="rows.jsonl")
    with pytest.raises(ConfigError, match=r"another task\.test_size\. To go on as it began"):
        RunFolder.create(config, resume=True)


def test_resume_refuses_another_configuration(config: Config) -> None:
    run = RunFolder.create(config)
    config.training.rl.steps += 1
    config.routes.k += 1
    with pytest.raises(ConfigError, match=r"another routes\.k, training\.rl\.steps"):
        RunFolder.create(config, resume=True)
    assert load_config(run.path / "config.yaml") != config


def test_a_run_goes_on_with_the_example_that_it_began_with(config: Config) -> None:
    given = [{"question": "1 + 1?", "think": "1 + 1 = 2", "answer": "2"}]
    run = RunFolder.create(config.changed({"prompt.examples": given}))
    assert config.prompt.examples == "auto" and run.check_resume(config)
    assert run.as_begun(config).prompt.examples == given
    file = run.path / "config.yaml"
    before = yaml.safe_load(file.read_text())
    del before["prompt"]["examples"]
    for early in (before, {key: value for key, value in before.items() if key != "prompt"}):
        file.write_text(yaml.safe_dump(early))  # of before there were any
        assert load_config(run.path).prompt.examples == load_config(file).prompt.examples == "none"
        assert run.check_resume(config) and run.as_begun(config).prompt.examples == "none"
    other = config.changed({"prompt.examples": given})
    assert run.as_begun(other) == other
    with pytest.raises(ConfigError, match=r"begun with another prompt\.examples"):
        run.check_resume(other)
    (run.path / "meta.json").unlink()
    assert load_config(file).prompt.examples == "auto", "a file of the user's own"


def test_a_run_of_before_pads_as_it_did(config: Config) -> None:
    run = RunFolder.create(config.changed({"training.sft.padding": "batch"}))
    file = run.path / "config.yaml"
    before = yaml.safe_load(file.read_text())
    del before["training"]["sft"]["padding"]
    file.write_text(yaml.safe_dump(before))
    assert load_config(run.path).training.sft.padding == "batch" and run.check_resume(load_config(run.path))
    with pytest.raises(ConfigError, match=r"begun with another training\.sft\.padding"):
        run.check_resume(config.changed({"training.sft.padding": "length"}))
    (run.path / "meta.json").unlink()
    assert load_config(file).training.sft.padding == "length", "a file of the user's own"


def test_what_an_evaluation_rests_on_is_noted(config: Config, tmp_path: Path) -> None:
    config.model.path = "models/mine"
    run = RunFolder(tmp_path)
    run.record_evaluation(config)
    assert load_config(tmp_path / "config.yaml") == config
    assert (run.meta.evaluated, run.meta.versions) == ("models/mine", versions())
    assert run.meta.machine and run.meta.command


def test_records_come_back(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    records: list[dict[str, Any]] = [{"text": "line\nbreak\u2028 ‹ü", "x": [1, 2.5, None, True]}, {"y": {"z": ""}}]
    append_jsonl(file, *records)
    append_jsonl(file, {"more": 1})
    assert read_jsonl(file) == [*records, {"more": 1}]


def test_what_json_does_not_have_becomes_what_it_has() -> None:
    record: dict[Any, Any] = {
        "nan": float("nan"),
        "inf": [float("inf")],
        "tensor": torch.tensor(1.5),
        "numbers": (torch.tensor(2), torch.tensor(float("nan"))),
        3: "key",
    }
    assert json.loads(to_line(record)) == {"nan": None, "inf": [None], "tensor": 1.5, "numbers": [2, None], "3": "key"}


def test_half_a_surrogate_pair_does_not_stop_a_run(tmp_path: Path) -> None:
    append_jsonl(tmp_path / "a.jsonl", {"text": "\ud83d"})
    assert read_jsonl(tmp_path / "a.jsonl") == [{"text": "?"}]


def test_torn_last_line_is_owed_again_wherever_it_is_torn(tmp_path: Path) -> None:
    lines = [to_line({"step": i, "text": "ü"}) for i in range(3)]
    content = "".join(lines).encode()
    whole = len("".join(lines[:2]).encode())
    for cut in range(whole, len(content)):
        file = tmp_path / "torn.jsonl"
        file.write_bytes(content[:cut])
        # Without its newline the last record is whole all the same.
        known = 3 if cut == len(content) - 1 else 2
        assert len(read_jsonl(file)) == known, cut
        append_jsonl(file, {"step": "next"})
        assert [row["step"] for row in read_jsonl(file)] == [*range(known), "next"], cut
        assert file.read_bytes().endswith(b"\n")


def test_torn_only_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"step": ')
    assert read_jsonl(file) == []
    append_jsonl(file, {"step": 1})
    assert read_jsonl(file) == [{"step": 1}]


@pytest.mark.parametrize("line", [b"{torn", b"[1]", b"1", b"\xff\xfe", b"[" * 100_000])
def test_bad_line_in_the_middle_is_named(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: expected one JSON object"):
        read_jsonl(file)


def test_missing_file(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.jsonl"):
        read_jsonl(tmp_path / "nothing.jsonl")
    assert RunFolder.create(config).read(Step) == []


def test_rewind_cuts_what_the_resumed_run_writes_again(config: Config) -> None:
    run = RunFolder.create(config)
    rows: list[dict[str, Any]] = [
        {"stage": "base", "step": 0},
        *({"stage": "sft", "round": 0, "step": step} for step in (1, 2)),
        *({"stage": "rl", "round": 0, "step": step} for step in (1, 2, 3)),
        {"stage": "sft", "round": 1, "step": 1},
        *({"stage": "rl", "round": 1, "step": step} for step in (1, 2, 3)),
        {"stage": "final", "round": 1, "step": 3},
    ]
    for file in ("metrics.jsonl", "evaluations.jsonl"):
        append_jsonl(run.path / file, *rows)

    run.rewind("rl", 1, 2)
    assert read_jsonl(run.path / "metrics.jsonl") == read_jsonl(run.path / "evaluations.jsonl") == rows[:9]
    run.rewind("rl", 0, 2)
    assert read_jsonl(run.path / "metrics.jsonl") == rows[:5]
    run.rewind("sft", 0, 0)
    assert read_jsonl(run.path / "metrics.jsonl") == rows[:1]
    assert not (run.path / "completions.jsonl").exists()


def test_full_disk_while_appending(config: Config) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    run = RunFolder.create(config)
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(ResourceError, match=r"metrics\.jsonl: cannot write \(No space left on device\)"):
        append_jsonl(run.path / "metrics.jsonl", {"step": 1})


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_while_replacing_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    write_atomic(file, "old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(ResourceError, match=r"a\.txt: cannot write \(No space left"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_full_disk_at_the_start_leaves_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(ResourceError):
            RunFolder.create(config)
        assert not config.run_path.exists()
    RunFolder.create(config)


def test_place_that_cannot_be_written(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config.run.dir = str(tmp_path / "file")
    with pytest.raises(ResourceError, match="cannot write"):
        RunFolder.create(config)


def test_full_disk_hidden_in_a_library_s_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"model: cannot write \(No space left"), writing(tmp_path / "model"):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="other"), writing(tmp_path / "model"):
        raise RuntimeError("other")


def test_replaced_files_can_be_read_by_others(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.txt", "x")
    (tmp_path / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_meta_that_cannot_be_read(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(DataError, match=r"meta\.json"):
        _ = run.meta
    (tmp_path / "meta.json").write_text("[]")
    with pytest.raises(DataError, match=r"meta\.json"):
        _ = run.meta


def test_a_run_killed_while_it_was_made_blocks_nothing(tmp_path: Path) -> None:
    config = Config.model_validate({"run": {"dir": str(tmp_path), "name": "first"}})
    config.run_path.mkdir()
    (config.run_path / ".meta.json.abc.tmp").write_text('{"form')
    run = RunFolder.create(config)
    (run.path / "config.yaml").unlink()
    (run.path / ".config.yaml.abc.tmp").write_text("run")
    again = RunFolder.create(config, resume=True)
    assert (again.path / "config.yaml").is_file()
    assert not list(again.path.glob("*.tmp"))
