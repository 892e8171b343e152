"""docs/howto/train-further.md does what it says, and a run that would be made longer is told to do that."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import yaml
from typer.testing import Result

ROOT = Path(__file__).resolve().parents[2]
HOWTO = ROOT / "docs" / "howto" / "train-further.md"


def test_a_finished_run_is_trained_further_as_written(work: Path, realm: Callable[..., Result]) -> None:
    config = yaml.safe_load((work / "config.yaml").read_text())
    config["run"]["name"], config["bank"] = "my-task", {}
    (work / "my-task.yaml").write_text(yaml.safe_dump(config))
    imported = realm("bank", "import", "rows.jsonl", "runs/my-task/bank", "--config", "my-task.yaml")
    assert imported.exit_code == 0, imported.output
    assert realm("train", "my-task.yaml").exit_code == 0

    refused = realm("train", "runs/my-task", "--resume", "--set", "training.rl.steps=3")
    assert refused.exit_code == 2
    assert (
        "begun with another training.rl.steps. To go on as it began: realm train runs/my-task --resume"
        in refused.stderr
    )
    further = "--out runs/my-task-2 --set bank.path=runs/my-task/bank --model runs/my-task/model"
    assert f"to train the finished model further, {further} with steps" in refused.stderr

    block = re.search(r"^```bash\n(.*?)^```", HOWTO.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    train, report = block[1].replace("steps=100", "steps=3").splitlines()
    for line in (train, report):
        found = realm(*shlex.split(line)[1:])
        assert found.exit_code == 0, found.output
    rows = [json.loads(line) for line in (work / "runs/my-task-2/metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["stage"], row["routes_per_prompt"]) for row in rows] == [
        (n, "rl", 0.0) for n in (1, 2, 3)
    ]
    assert (work / "runs/my-task-2/model/model.safetensors").is_file()
