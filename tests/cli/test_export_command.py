"""`realm export verl` on a user's own configuration."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import yaml
from typer.testing import Result

from realm.training.verl_export import read_exported

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def test_export(work: Path, student: Path, realm: Callable[..., Result], tmp_path: Path) -> None:
    refused = realm("export", "verl", "config.yaml", "--out", "verl")
    assert refused.exit_code == 2 and "chat template" in refused.output
    chat = tmp_path / "chat"
    chat.mkdir()
    for file in student.iterdir():
        (chat / file.name).write_bytes(file.read_bytes())
    settings = json.loads((chat / "tokenizer_config.json").read_text())
    (chat / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": TEMPLATE}))
    settings = json.loads((chat / "config.json").read_text())
    (chat / "config.json").write_text(json.dumps({**settings, "max_position_embeddings": 16384}))
    done = realm("export", "verl", "config.yaml", "--out", "verl", "--model", os.path.relpath(chat))
    assert done.exit_code == 0, done.output
    stated = yaml.safe_load((work / "verl/verl.yaml").read_text())
    assert stated["actor_rollout_ref"]["model"]["path"] == str(chat), "verl may be started anywhere"
    assert {file.name for file in (work / "verl").iterdir()} == {"train.parquet", "validation.parquet", "verl.yaml"}
    assert "python -m verl.trainer.main_ppo" in done.stdout and "cold start" not in done.output
    assert "verl has no counterpart: training.rl.bf16 (false): verl computes in bf16" in done.stderr
    cold = ["--set", "training.recipe=realm-r1", "--set", f"model.path={chat}", "--out", "cold"]
    told = realm("export", "verl", "config.yaml", *cold)
    assert told.exit_code == 0, told.output
    assert "--model <run>/checkpoints/sft/round-0/model (<run>/model is the model after RL)" in told.stderr
    # What is trained here first is taught the form, and so is shown no examples; what is not is shown some.
    shown = {one: read_exported(work / one / "train.parquet").wording.examples for one in ("verl", "cold")}
    assert shown["verl"] and not shown["cold"]
    again = realm("export", "verl", "config.yaml", "--out", "verl", "--model", str(chat))
    assert again.exit_code == 2 and "--overwrite" in again.output
    shaped = realm("export", "verl", "config.yaml", "--out", "shaped", "--set", "training.rl.shapes=[mgpo]")
    assert shaped.exit_code == 2 and "training.rl.shapes: verl's update knows none; set it to []." in shaped.output
