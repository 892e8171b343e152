"""What a run is a function of: the seed, and nothing else."""

import os
from pathlib import Path
from typing import Any

import pytest
from trl.trainer.grpo_trainer import GRPOTrainer

from realm.method.schedule import Schedule
from realm.run import RunFolder
from tests.launched import launch
from tests.tiny import assert_same, figures, go, tiny_config, tiny_trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, student: Path) -> RunFolder:
    return go(tiny_config(tmp_path_factory.mktemp("run"), student))


def test_same_seed_same_run(tmp_path: Path, student: Path, run: RunFolder) -> None:
    assert_same(go(tiny_config(tmp_path, student)).path, run.path)


def test_other_seed_other_run(tmp_path: Path, student: Path, run: RunFolder) -> None:
    config = tiny_config(tmp_path, student)
    config.run.seed = 4
    assert figures(go(config).path, "metrics.jsonl") != figures(run.path, "metrics.jsonl")


def test_evaluation_does_not_change_the_training(tmp_path: Path, student: Path, run: RunFolder) -> None:
    without = go(tiny_config(tmp_path, student, eval_questions=0, sample_groups=0))
    assert figures(without.path, "metrics.jsonl") == figures(run.path, "metrics.jsonl")
    assert not any((without.path / name).exists() for name in ("evaluations.jsonl", "completions.jsonl"))


def test_p_falls_as_scheduled(run: RunFolder) -> None:
    schedule = Schedule()
    metrics = figures(run.path, "metrics.jsonl")
    assert [row["tau"] for row in metrics] == pytest.approx([step / 6 for step in range(6)])
    assert [row["p"] for row in metrics] == pytest.approx([schedule.p(step / 6) for step in range(6)])
    assert metrics[0]["routes_per_prompt"] == 4
    assert metrics[-1]["routes_per_prompt"] < 1


def test_members_of_a_group_share_one_prompt(tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where micro-batches cut through the groups."""
    seen: list[list[dict[str, Any]]] = []

    def spy(self: Any, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        seen.append(inputs)
        return original(self, inputs)

    original = GRPOTrainer._generate_and_score_completions
    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", spy)
    config = tiny_config(tmp_path, student, rl={"micro_batch_size": 2})
    trainer = tiny_trainer(config, tmp_path)
    trainer.train()
    assert len(seen) == 6
    for step, batch in enumerate(seen):
        for start_ in range(0, len(batch), 4):
            group = batch[start_ : start_ + 4]
            assert len({row["question_id"] for row in group}) == 1
            assert all(row["prompt"] == group[0]["prompt"] for row in group)
            assert group[0]["prompt"] == trainer.renderer.render(group[0]["question_id"], step, step / 6).messages
    shown = {row["prompt"][0]["content"] for batch in seen for row in batch}
    assert len(shown) > 12, "a question asked again shows other routes"


DRAW = """
from tests.tiny import *
from realm.student.renderer import Renderer
task = TinyTask()
renderer = Renderer(tiny_config(".", "."), task, tiny_bank(task), tiny_tokenizer(), CONTEXT)
print([renderer.render(q.id, s, s / 6).messages for q in task.rows("train") for s in range(6)])
"""


def test_another_process_renders_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one whose strings have other hashes."""
    salt = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    there = launch(DRAW, tmp_path, PYTHONHASHSEED=salt)
    exec(DRAW, {})
    assert capsys.readouterr().out == there and len(there) > 1000
