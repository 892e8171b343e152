"""`realm export hub`: what is written, what is not, and what is uploaded only where it is asked for."""

from __future__ import annotations

import errno
import json
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner, Result

from realm.cli.app import app
from realm.commands.asking import Student

MODEL = {"README.md", "config.json", "generation_config.json", "model.safetensors", "chat_template.jinja"}


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", "hub", *map(str, arguments)])


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run in whose model lies what is nobody's business."""
    run = shutil.copytree(trained, tmp_path / "run")
    for name in ("optimizer.pt", "training_args.bin", ".env", "notes.txt", "trainer_state.json"):
        (run / "model" / name).write_text("secret")
    (run / "model" / "tokenizer.model").symlink_to("/etc/hostname")
    settings = json.loads((run / "model" / "config.json").read_text())
    (run / "model" / "config.json").write_text(
        json.dumps({**settings, "_name_or_path": str(run), "part": {"_name_or_path": str(run)}})
    )
    return run


def test_the_folder_holds_the_model_and_nothing_private(run: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = cli(run, out)
    assert told.exit_code == 0, told.output
    assert {file.name for file in out.iterdir()} == {*MODEL, "tokenizer.json", "tokenizer_config.json"}
    assert sorted(told.stdout.split()) == sorted(str(file) for file in out.iterdir())
    for file in out.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes() and str(trained.parent).encode() not in file.read_bytes()
    assert AutoModelForCausalLM.from_pretrained(out) and AutoTokenizer.from_pretrained(out)
    assert Student(out).ask("3 plus 4").text == Student(run).ask("3 plus 4").text


def test_a_folder_that_is_used(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.doc").write_text("mine")
    assert cli(run, out).exit_code == 0
    refused = cli(run, out)
    assert refused.exit_code == 2 and "--overwrite" in refused.output
    (out / "model-00001-of-00002.safetensors").write_text("of another model")
    assert cli(run, out, "--overwrite").exit_code == 0
    assert (out / "mine.doc").exists() and not (out / "model-00001-of-00002.safetensors").exists()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("# Of something else")
    assert "README.md: is there already" in cli(run, tmp_path / "project").output
    assert [file.name for file in (tmp_path / "project").iterdir()] == ["README.md"]
    for place in (run, run / "model", run / "model" / "deep"):
        assert "is the run itself, or of its model" in cli(run, place).output


def test_a_full_disk_leaves_what_was_there(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    assert cli(run, folder).exit_code == 0
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    copy = shutil.copyfile

    def full(source: Path, target: Path) -> Any:
        if source.suffix == ".safetensors":
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    result = cli(run, folder, "--overwrite")
    assert result.exit_code == 2 and "cannot write (No space left on device)" in result.stderr
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_no_link_is_followed_there_or_here(run: Path, tmp_path: Path) -> None:
    mine, out = tmp_path / "mine.json", tmp_path / "out"
    mine.write_text("mine")
    out.mkdir()
    (out / "config.json").symlink_to(mine)
    refused = cli(run, out)
    assert refused.exit_code == 2 and "config.json: is there already" in refused.output
    assert cli(run, out, "--overwrite").exit_code == 0
    assert mine.read_text() == "mine" and not (out / "config.json").is_symlink()
    (run / "model" / "model.safetensors").rename(tmp_path / "elsewhere")
    (run / "model" / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    refused = cli(run, tmp_path / "other")
    assert refused.exit_code == 2 and "model.safetensors: is a link" in refused.output
    assert not (tmp_path / "other").exists()


def test_a_card_of_ones_own_stays_and_a_missing_one_is_written(run: Path, trained: Path, tmp_path: Path) -> None:
    (run / "model" / "README.md").write_text("# Mine")
    assert cli(run, tmp_path / "a").exit_code == 0
    assert (tmp_path / "a" / "README.md").read_text() == "# Mine"
    (run / "model" / "README.md").unlink()
    assert cli(run, tmp_path / "b").exit_code == 0
    made = (tmp_path / "b" / "README.md").read_text()
    assert made == (trained / "model" / "README.md").read_text()


def test_what_is_refused(run: Path, tmp_path: Path) -> None:
    for place, said in ((run / "model", "expected the folder of a training run"), (tmp_path, "expected the folder")):
        refused = cli(place, tmp_path / "out")
        assert refused.exit_code == 2 and said in refused.output
    shutil.rmtree(run / "model")
    assert "has no model yet" in cli(run, tmp_path / "out").output
    for options in (("--public",), ("--push", "no name"), ("--push", "name")):
        refused = cli(run, tmp_path / "out", *options)
        assert refused.exit_code == 2 and refused.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_it_is_uploaded_only_where_it_is_asked_for(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    class Place(str):
        repo_id = "me/tiny"

    def create_repo(self: HfApi, name: str, **given: Any) -> Place:
        calls.append({"name": name, **given})
        return Place(f"https://hub.example/{name}")

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **given: calls.append(given))
    out = tmp_path / "out"
    assert cli(run, out).exit_code == 0 and not calls
    (out / "mine.doc").write_text("mine")
    told = cli(run, out, "--overwrite", "--push", "me/tiny")
    assert told.exit_code == 0 and "pushed: https://hub.example/me/tiny" in told.stdout
    made, uploaded = calls
    assert made == {"name": "me/tiny", "private": True, "exist_ok": True}
    assert (uploaded["repo_id"], uploaded["folder_path"]) == ("me/tiny", out)
    assert {*uploaded["allow_patterns"]} == {*MODEL, "tokenizer.json", "tokenizer_config.json"}
    there = ("model-00001-of-00002.safetensors", "chat_template.jinja", "LICENSE", "onnx/model.safetensors", "mine.doc")
    gone = [name for name in there if any(fnmatch(name, one) for one in uploaded["delete_patterns"])]
    assert gone == [*there[:2]], "what would be read together with the model"
    assert cli(run, out, "--overwrite", "--push", "me/tiny", "--public").exit_code == 0
    assert calls[2]["private"] is False


def test_what_the_hub_refuses_is_told_in_a_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise LocalTokenNotFoundError("Token is required.\nLog in.\x1b[31m")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    refused = cli(run, tmp_path / "out", "--push", "me/tiny")
    assert refused.exit_code == 2 and "Traceback" not in refused.output
    assert "error: me/tiny: the Hub did not take it (Token is required. Log in.\\x1b[31m)." in refused.output
    assert refused.stderr.count("\n") == 1 and (tmp_path / "out" / "model.safetensors").is_file()
