"""`realm train --estimate`, what every run says of its needs, and the refusal of what cannot fit."""

import shutil
from pathlib import Path

import pytest

from realm.training.estimate import weights_here
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


def test_without_weights_there_is_an_estimate_and_no_run(
    work: Path, realm: Realm, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = work / "bare"
    shutil.copytree(student, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    whole = realm("train", "config.yaml", "--estimate").stderr.splitlines()
    before = tree(work)
    monkeypatch.setattr("realm.training.prepare.memory", lambda config: Memory(100_000, "GPU"))
    result = realm("train", "config.yaml", "--model", "bare", "--estimate")
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert lines[:4] == whole[:4] and " of 100 kB GPU, " in lines[4] and lines[5] == whole[5]
    assert lines[6].startswith("this may not fit")
    assert lines[7:] == ["time     not measured: the weights of bare are not on this machine"]
    result = realm("train", "config.yaml", "--model", "bare")
    assert result.exit_code == 2
    monkeypatch.setattr("realm.training.prepare.memory", lambda config: Memory(10_000_000, "GPU"))
    result = realm("train", "config.yaml", "--model", "bare")
    assert result.exit_code == 2 and "the model directory has no weights" in result.stderr
    assert tree(work) == before


def test_weights_of_the_hub_are_looked_for_in_its_cache_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def cached(name: str, file: str) -> str | None:
        asked.append((name, file))
        return "/cache/index" if file == "model.safetensors.index.json" and name == "owner/there" else None

    monkeypatch.setattr("realm.training.estimate.try_to_load_from_cache", cached)
    assert weights_here("owner/there") and not weights_here("owner/elsewhere") and weights_here("desk-base")
    assert {name for name, _ in asked} == {"owner/there", "owner/elsewhere"}
