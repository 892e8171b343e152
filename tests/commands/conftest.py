"""One trained run of the tiny student for all tests of what is done with a trained model."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.commands.training import train
from realm.config import Config
from realm.sections import TaskConfig
from tests.tiny import TinyTask, save_student, tiny_bank, tiny_config

#: What a bank of others may call its teacher.
HOSTILE = "</code>![x](http://a.example/x.png)`<script>|\n---\nlicense: mit\n\x1b[31m"


def tiny_task(settings: TaskConfig, seed: int) -> TinyTask:
    """As `task.name` names it."""
    return TinyTask()


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Of the run; its base states a licence, and one of its teachers has a name that nobody should show as it is."""
    folder = tmp_path_factory.mktemp("trained")
    student = save_student(folder / "base")
    (student / "README.md").write_text("---\nlicense: MIT\n---\n# A base\n", encoding="utf-8")
    bank = tiny_bank(TinyTask())
    for cots in bank._cots.values():
        cots[0] = cots[0].__class__(**{**vars(cots[0]), "teacher": HOSTILE})
    bank.save(folder / "bank")
    made = tiny_config(folder, student, recipe="realm-r1", rl={"steps": 4}, sft={"steps": 2})
    return made.changed({"fade.fade_end": 0.5, "task.name": f"{__name__}:tiny_task", "bank.path": str(folder / "bank")})


@pytest.fixture(scope="session")
def trained(config: Config) -> Path:
    """The folder of the run; nobody writes there."""
    found = train(config)
    assert found is not None
    return found.path
