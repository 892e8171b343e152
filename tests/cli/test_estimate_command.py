"""`realm train --estimate`, what every run says of its needs, and the refusal of what cannot fit."""

from pathlib import Path

import pytest

from realm.training.memory import Memory
from tests.cli.conftest import Realm, tree


def test_estimate_prints_and_stops(work: Path, realm: Realm) -> None:
    before = tree(work)
    result = realm("train", "config.yaml", "--estimate")
    assert result.exit_code == 0, result.output
    words = [line.split()[0] for line in result.stderr.splitlines() if line]
    assert words == ["model", "fixed", "update", "rollout", "peak", "tokens", "time", "memory"]
    assert "RAM" in result.stderr or "GPU" in result.stderr
    assert "estimated for the longest prompts, each read once for its group" in result.stderr
    assert "measured in them, on 4 of a step's 4 completions and the prompts that came: the least" in result.stderr
    assert tree(work) == before, "nothing is left behind"


def test_a_run_says_what_it_needs_and_does_not_probe(work: Path, realm: Realm) -> None:
    result = realm("train", "config.yaml")
    assert result.exit_code == 0, result.output
    assert "peak     about" in result.stderr and "measured" not in result.stderr


def test_supervised_recipes_are_estimated_and_refused_too(
    work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = ("--set", "training.rl.max_completion_length=200")
    sft = ("train", "config.yaml", "--set", "training.recipe=rft", *longer)
    result = realm(*sft, "--estimate")
    assert result.exit_code == 0, result.output
    words = [line.split()[0] for line in result.stderr.splitlines() if line]
    assert words == ["model", "fixed", "update", "peak", "tokens", "time"]
    monkeypatch.setattr("realm.training.prepare.memory", lambda config: Memory(100_000, "GPU"))
    result = realm(*sft)
    assert result.exit_code == 2
    assert "weights, gradients and optimizer states need" in result.stderr


def test_what_cannot_fit_is_not_started(work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(work)
    monkeypatch.setattr("realm.training.prepare.memory", lambda config: Memory(100_000, "GPU"))
    for arguments in ((), ("--estimate",)):
        result = realm("train", "config.yaml", *arguments)
        assert result.exit_code == 2
        assert "weights, gradients and optimizer states need" in result.stderr and "the GPU has 100 kB" in result.stderr
    assert tree(work) == before
    monkeypatch.setattr("realm.training.prepare.memory", lambda config: Memory(10_000_000, "GPU"))
    assert realm("train", "config.yaml").exit_code == 0, "what may fit is started"


def test_what_hardly_fits_is_not_started(work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and states fit; the caches of 64 completions of up to 2000 tokens do not, by far."""
    before = tree(work)
    monkeypatch.setattr("realm.training.prepare.memory", lambda config: Memory(1_000_000, "GPU"))
    long = ("--set", "training.rl.max_completion_length=1500", "--set", "training.rl.batch_size=64")
    for arguments in (long, (*long, "--estimate")):
        result = realm("train", "config.yaml", *arguments)
        assert result.exit_code == 2
        assert "a step is estimated to need" in result.stderr and "the GPU has 1.0 MB" in result.stderr
    assert "peak     about" in result.stderr and "time" not in result.stderr, "told, not measured"
    assert tree(work) == before
