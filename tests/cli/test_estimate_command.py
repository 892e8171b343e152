"""`realm train --estimate`, what every run says of its needs, and the refusal of what cannot fit."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from realm.training.estimate import Memory

from .conftest import tree

Realm = Callable[..., Result]


def test_estimate_prints_and_stops(work: Path, realm: Realm) -> None:
    before = tree(work)
    result = realm("train", "config.yaml", "--estimate")
    assert result.exit_code == 0, result.output
    words = [line.split()[0] for line in result.stderr.splitlines() if line]
    assert words == ["model", "fixed", "update", "rollout", "peak", "tokens", "time", "memory"]
    assert "RAM" in result.stderr or "GPU" in result.stderr
    assert tree(work) == before, "nothing is left behind"


def test_a_run_says_what_it_needs_and_does_not_probe(work: Path, realm: Realm) -> None:
    result = realm("train", "config.yaml")
    assert result.exit_code == 0, result.output
    assert "peak     about" in result.stderr and "measured" not in result.stderr


def test_what_cannot_fit_is_not_started(work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(work)
    monkeypatch.setattr("realm.training.estimate.memory", lambda: Memory(100_000, "GPU"))
    for arguments in ((), ("--estimate",)):
        result = realm("train", "config.yaml", *arguments)
        assert result.exit_code == 2
        assert "weights, gradients and optimizer states need" in result.stderr and "the GPU has 100 kB" in result.stderr
    assert tree(work) == before
    monkeypatch.setattr("realm.training.estimate.memory", lambda: Memory(1_000_000, "GPU"))
    assert realm("train", "config.yaml").exit_code == 0, "what may fit is started"
