"""Collections from the endpoint of `wire`, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realm.bank.folder import BankFolder
from realm.config import Config
from realm.tasks.workers import VerifierPool
from realm.teacher.collect import bank_info, collect
from realm.teacher.lanes import Tally
from tests.teacher.fake_teacher import Sums, make_config
from tests.teacher.wire import Wire

__all__ = ["Sums", "endpoint_config", "fill"]


def endpoint_config(wire: Wire, *overrides: str, **parts: Any) -> Config:
    """That asks the wire; `parts` are of the teacher."""
    teacher = {"kind": "openai", "model": "wire-model", "base_url": wire.base_url, "api_key_env": None, **parts}
    return make_config("teachers.scripted-clerk.share=0", f"teachers.wire={json.dumps(teacher)}", *overrides)


def fill(path: Path, config: Config, task: Sums, **arguments: Any) -> Tally:
    """Collect into the bank at `path`, a new one or one that is there; what waits, waits for milliseconds."""
    there = (path / "bank.json").exists()
    folder = BankFolder.open(path) if there else BankFolder.create(path, bank_info(config, task))
    with VerifierPool("number") as pool:
        return collect(config, task, folder, pool, pause=0.001, **arguments)
