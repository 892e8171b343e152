"""A run whose completions are decoded ahead is the run without: every row and the weights, bit for bit; and resumed."""

from pathlib import Path
from typing import Any

import pytest

from realm.files import read_jsonl
from realm.run import RunFolder
from tests.tiny import Killed, assert_same, go, killed_at, tiny_config


def rolled(folder: Path, student: Path, speculation: str, **how: Any) -> RunFolder:
    config = tiny_config(folder, student, rl={"speculation": speculation}, save_every=3)
    if not how:
        return go(config)
    with pytest.raises(Killed):
        go(config, progress=killed_at("rl", 0, 4))
    return go(config, resume=True)


def test_a_run_ahead_is_the_run_without(tmp_path: Path, student: Path) -> None:
    """Resumed with nothing remembered, too."""
    plain = rolled(tmp_path / "plain", student, "off")
    ahead = rolled(tmp_path / "ahead", student, "auto")
    assert_same(ahead.path, plain.path)
    rows = read_jsonl(ahead.path / "metrics.jsonl")
    assert rows[-1]["tokens_per_forward"] > 1.1 and rows[-1]["rollout_forwards"] < 24
    assert "tokens_per_forward" not in read_jsonl(plain.path / "metrics.jsonl")[-1]
    assert_same(rolled(tmp_path / "resumed", student, "auto", killed=True).path, ahead.path)
