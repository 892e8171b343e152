"""What ends a training, and what must not: no number in the loss, no memory, empty completions, hostile verifiers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Trainer

from realm.errors import ResourceError, TrainingError
from realm.files import read_jsonl
from realm.pages.completions import sample_groups
from realm.pages.data import read_report
from realm.pages.doctor import diagnose
from realm.processes import LAUNCH
from realm.run import RunFolder
from realm.tasks import workers
from realm.tasks.workers import VerifierPool
from realm.training import grpo, recipes
from realm.training import prepare as preparing
from realm.training.checkpoints import last_checkpoint
from realm.training.failures import Finite, NotFiniteError, explain
from realm.training.grpo import RouteTrainer
from realm.training.prepare import prepare
from realm.training.probe import probe
from realm.training.sft import ColdStartTrainer
from tests.tiny import TinyTask, go, new_run, pool, save_student, tiny_bank, tiny_config, tiny_model, weights

#: What a real allocator says.
TOO_MUCH = 1 << 60


def planted(
    monkeypatch: pytest.MonkeyPatch, trainer: type, step: int, plant: Callable[[Any, torch.Tensor], torch.Tensor]
) -> None:
    """Let the loss of `trainer` be what `plant(model, loss)` makes of it at the global step `step` (from 0)."""
    original = trainer.compute_loss  # type: ignore[attr-defined]

    def compute_loss(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        loss = original(self, model, *args, **kwargs)
        return plant(model, loss) if self.state.global_step == step else loss

    monkeypatch.setattr(trainer, "compute_loss", compute_loss)


def _nan(model: Any, loss: torch.Tensor) -> torch.Tensor:
    return loss * math.nan


def _inf(model: Any, loss: torch.Tensor) -> torch.Tensor:
    return loss + math.inf


def _gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    # As an overflow in a backward pass: the loss itself is a number.
    next(model.parameters()).register_hook(lambda gradient: gradient + math.inf)
    return loss


@pytest.mark.parametrize(
    ("plant", "what"),
    [(_nan, "the loss"), (_inf, "the loss"), (_gradient, "the gradient")],
    ids=["nan", "inf", "gradient"],
)
def test_an_update_by_no_number_is_not_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, plant: Any, what: str
) -> None:
    config = tiny_config(tmp_path, student)
    planted(monkeypatch, RouteTrainer, 4, plant)
    with pytest.raises(TrainingError) as caught:
        go(config)
    said = str(caught.value)
    assert said.startswith(f"RL step 5: {what} is not a finite number. The update was not made")
    assert "training.rl.learning_rate (0.002)" in said and "\n" in said and said.count("\n") == 1
    run = RunFolder(config.run_path)
    assert [row["step"] for row in read_jsonl(run.path / "metrics.jsonl")] == [1, 2, 3, 4]
    stage = run.path / "checkpoints/rl/round-0"
    newest = last_checkpoint(stage)
    assert newest == (stage / "checkpoint-4", 4)
    assert all(torch.isfinite(tensor).all() for tensor in weights(newest[0]).values())
    assert not (run.path / "model").exists()


def test_an_overflow_that_a_scaler_handles_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float16 a step whose gradient overflows is left out by the scaler, which goes on with less."""
    monkeypatch.setattr(Trainer, "_get_grad_norm", lambda self: math.inf)
    trainer: Any = Finite.__new__(Finite)
    trainer.accelerator = SimpleNamespace(scaler=object())
    assert trainer._get_grad_norm() == math.inf
    trainer.accelerator.scaler = None
    with pytest.raises(NotFiniteError, match="the gradient"):
        trainer._get_grad_norm()


def test_a_cold_start_stops_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path) -> None:
    planted(monkeypatch, ColdStartTrainer, 3, _nan)
    with pytest.raises(TrainingError, match=r"SFT step 4: the loss .*\n.*training\.sft\.learning_rate"):
        go(tiny_config(tmp_path, student, recipe="realm-r1"))
    assert not (tmp_path / "run/checkpoints/sft/round-0/model").exists()


def test_a_model_of_no_numbers_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_student(tmp_path / "spoilt")
    file = tmp_path / "spoilt/model.safetensors"
    save_file(
        {name: torch.full_like(tensor, math.nan) for name, tensor in load_file(file).items()}, file, {"format": "pt"}
    )
    with pytest.raises(TrainingError, match=r"RL step 1: .* is not a finite number"):
        go(tiny_config(tmp_path, tmp_path / "spoilt"))


def _allocate(*args: Any, **kwargs: Any) -> Any:
    return torch.empty(TOO_MUCH, dtype=torch.uint8)


def _allocate_on_a_gpu(*args: Any, **kwargs: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, student: Path) -> RunFolder:
    return go(tiny_config(tmp_path_factory.mktemp("straight"), student))


@pytest.mark.parametrize("allocate", [_allocate, _allocate_on_a_gpu], ids=["cpu", "gpu"])
def test_no_memory_for_the_update(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, straight: RunFolder, allocate: Any
) -> None:
    """What is told works: the run goes on with smaller micro-batches, and learns what it would have learned."""
    config = tiny_config(tmp_path, student)
    with monkeypatch.context() as patch:
        planted(patch, RouteTrainer, 4, allocate)
        with pytest.raises(ResourceError) as caught:
            go(config)
    said = str(caught.value)
    assert said.startswith("RL step 5: out of memory in the update: lower training.rl.micro_batch_size (16)")
    assert "training.rl.gradient_checkpointing" in said and "training.rl.max_completion_length (24)" in said
    assert said.endswith(f"realm train {config.run_path} --resume --set training.rl.micro_batch_size=8")
    config.training.rl.micro_batch_size = 8
    config.training.rl.gradient_checkpointing = True
    resumed = go(config, resume=True)
    found, wanted = read_jsonl(resumed.path / "metrics.jsonl"), read_jsonl(straight.path / "metrics.jsonl")
    assert [row["reward"] for row in found] == pytest.approx([row["reward"] for row in wanted])
    assert found[-1]["grad_norm"] == pytest.approx(wanted[-1]["grad_norm"], rel=1e-2)
    moved = weights(straight.path / "model")
    for name, tensor in weights(resumed.path / "model").items():
        torch.testing.assert_close(tensor, moved[name], rtol=1e-2, atol=1e-3)


def test_no_memory_for_generation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path) -> None:
    def _generate_single_turn(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _allocate()

    monkeypatch.setattr(RouteTrainer, "_generate_single_turn", _generate_single_turn)
    with pytest.raises(ResourceError, match=r"RL step 1: out of memory in generation: lower training\.rl\.batch_size"):
        go(tiny_config(tmp_path, student))


def test_no_memory_for_an_evaluation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path) -> None:
    def evaluate_model(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("realm.training.recipes.evaluate_model", evaluate_model)
    with pytest.raises(ResourceError, match=r"an evaluation: lower evaluation\.batch_size \(8\)[\s\S]*batch_size=4"):
        go(tiny_config(tmp_path, student))


@pytest.mark.parametrize(
    ("name", "recipe", "stage"),
    [("make_grpo_trainer", "realm-zero", "RL"), ("load", "realm-r1", "RL"), ("load", "realm-zero", "")],
)
def test_no_memory_for_the_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, name: str, recipe: str, stage: str
) -> None:
    """Where the trainer puts the model onto its device, or where weights are read: a later stage's, or the first's."""
    config = tiny_config(tmp_path, student, recipe=recipe)
    module = grpo if name == "make_grpo_trainer" else recipes if stage else preparing
    original = getattr(module, name)

    def fail(*args: Any, **kwargs: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr("realm.training.grpo.grpo_rows", _allocate_on_a_gpu)
            patch.setattr("realm.student.load.find", _allocate_on_a_gpu)
            return original(*args, **kwargs)

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(ResourceError) as caught:
        go(config)
    said = str(caught.value)
    assert said.startswith("RL step 1: out of memory before the first step: the model itself is too big")
    assert "training.lora.r 16" in said
    assert (f"realm train {config.run_path} --resume" in said) == bool(stage), "or no run is there yet"


@pytest.mark.parametrize(
    ("where", "what"),
    [("_generate_single_turn", "generation"), ("compute_loss", "the update")],
)
def test_no_memory_for_the_probe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, where: str, what: str
) -> None:
    """There is no run yet that could go on."""

    def _generate_single_turn(*args: Any, **kwargs: Any) -> Any:
        return _allocate()

    monkeypatch.setattr(RouteTrainer, where, _generate_single_turn if where[0] == "_" else _allocate_on_a_gpu)
    task = TinyTask()
    with pool() as judges, pytest.raises(ResourceError) as caught:
        probe(prepare(tiny_config(tmp_path, student), task, tiny_bank(task)), judges)
    assert str(caught.value).startswith(f"RL step 1: out of memory in {what}: lower training.rl.")
    assert "--resume" not in str(caught.value) and str(caught.value).count("\n") == 0


def test_what_is_clipped_is_measured_where_a_batch_is_used_twice(tmp_path: Path, student: Path) -> None:
    rl = {"num_iterations": 2, "epsilon": 1e-4, "learning_rate": 2e-2}
    rows = read_jsonl(go(tiny_config(tmp_path, student, rl=rl)).path / "metrics.jsonl")
    assert max(row["clip_ratio"] for row in rows) > 0.2


def test_nothing_is_told_that_has_been_done_already(tmp_path: Path, student: Path) -> None:
    config = tiny_config(tmp_path, student, rl={"micro_batch_size": 1})
    assert "--set training.rl.gradient_checkpointing=true" in str(explain(MemoryError(), config, "rl", 0, "run"))
    config.training.rl.gradient_checkpointing = True
    assert "--resume" not in str(explain(MemoryError(), config, "rl", 0, "run"))


def test_the_command_that_goes_on_is_launched_as_the_run_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path
) -> None:
    monkeypatch.setenv(LAUNCH, "ddp.yaml --num_processes 2")
    said = str(explain(MemoryError(), tiny_config(tmp_path, student), "rl", 0, "run"))
    again = "realm train run --resume --launch 'ddp.yaml --num_processes 2'"
    assert said.endswith(f"{again} --set training.rl.micro_batch_size=8")
    assert "prompts are not shared under it" in said


def test_other_errors_are_not_explained_away(tmp_path: Path, student: Path) -> None:
    config = tiny_config(tmp_path, student)
    for error in (RuntimeError("shape '[2]' is invalid"), ValueError("out of range"), KeyError("out of memory")):
        assert explain(error, config, "rl", 0, "run") is None


def stubborn(folder: Path, token: int) -> Path:
    """A student that says one token for ever, whatever it is asked."""
    save_student(folder)
    model = tiny_model()
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
        model.model.embed_tokens.weight[:, 0] = 1.0
        model.lm_head.weight[token, 0] = 1000.0
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("token", [0, 1], ids=["only-padding", "empty"])
def test_completions_of_nothing_earn_nothing_and_are_said(tmp_path: Path, token: int) -> None:
    run = go(tiny_config(tmp_path, stubborn(tmp_path / "student", token), rl={"steps": 8}))
    rows = read_jsonl(run.path / "metrics.jsonl")
    assert len(rows) == 8
    for row in rows:
        assert (row["reward"], row["accuracy"], row["parse_failures"]) == (0.0, 0.0, 1.0)
        assert row["parse"]["answer_missing"] == 1.0
        assert row["loss"] == 0.0 and row["grad_norm"] == 0.0
    groups = read_jsonl(run.path / "completions.jsonl")
    assert all(not item["text"].strip() for row in groups for item in row["completions"])
    checks = [finding.check for finding in diagnose(read_report(run.path))[0].findings]
    assert checks[0] == "nothing_read"


@pytest.mark.parametrize(("what", "reason"), [("hang", "timeout"), ("die", "died"), ("eat", "MemoryError")])
def test_a_hostile_verifier_costs_a_worker_and_is_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, what: str, reason: str
) -> None:
    monkeypatch.setattr(workers, "_PROGRAM", (str(Path(__file__).with_name("hostile_rewarder.py")),))
    monkeypatch.setenv("HOSTILE", what)
    with VerifierPool("python", timeout=0.5 if what == "hang" else 60.0) as judge:
        run = go(tiny_config(tmp_path, student, rl={"steps": 2}, eval_every=8), judge=judge)
        assert reason in judge.verify([("1", "1")])[0].reason
        assert judge.verify([("0", "0"), ("0", "1")])[0].correct
    rows = read_jsonl(run.path / "metrics.jsonl")
    assert len(rows) == 2 and (run.path / "model").is_dir()
    assert max(row["verifier_failures"] for row in rows) > 0
    assert max(row["accuracy"] for row in rows) > 0, "the other answers are judged as ever"
    sampled = [item for row in read_jsonl(run.path / "completions.jsonl") for item in row["completions"]]
    unknown = [item for item in sampled if item["answer"] == "1"]
    assert unknown and all((item["correct"], item["reward"]) == (None, None) for item in unknown)
    assert all(item["reward"] is not None for item in sampled if item["answer"] == "0")
    shown = [
        item for group in sample_groups(read_report(run.path).runs[0], 10**6, [])[0] for item in group["completions"]
    ]
    assert [item["correct"] for item in shown if item["answer"] == "1"] == [None] * len(unknown)
    (finding,) = (one for one in diagnose(read_report(run.path))[0].findings if one.check == "verifier")
    assert "task.verifier_timeout" in finding.settings and finding.weight == "harmful"


def test_a_leaking_verifier_costs_workers_and_no_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path
) -> None:
    """A worker has 2 GB: the third answer of a kind that leaks 900 MB is judged by a fresh one."""
    monkeypatch.setattr(workers, "_PROGRAM", (str(Path(__file__).with_name("hostile_rewarder.py")),))
    monkeypatch.setenv("HOSTILE", "leak")
    started = 0
    original = workers._Worker.__init__

    def count(self: Any, *args: Any) -> None:
        nonlocal started
        started += 1
        original(self, *args)

    monkeypatch.setattr(workers._Worker, "__init__", count)
    with VerifierPool("python", timeout=60) as judge:
        run = go(tiny_config(tmp_path, student, rl={"steps": 4}, eval_every=8), judge=judge)
    straight = go(tiny_config(tmp_path / "straight", student, rl={"steps": 4}, eval_every=8))
    rows = read_jsonl(run.path / "metrics.jsonl")
    assert started > 2 and all(row["verifier_failures"] == 0 for row in rows)
    assert [row["accuracy"] for row in rows] == [row["accuracy"] for row in read_jsonl(straight.path / "metrics.jsonl")]


def test_the_reason_of_a_failure_is_kept_with_the_run(tmp_path: Path, student: Path) -> None:
    run = new_run(tiny_config(tmp_path, student))
    run.finish("failed", "RL step 5: out of memory")
    assert json.loads((run.path / "meta.json").read_text())["reason"] == "RL step 5: out of memory"
    (finding,) = diagnose(read_report(run.path))[0].findings
    assert "out of memory" in finding.says
    resumed = new_run(tiny_config(tmp_path, student), resume=True)
    assert resumed.meta.reason is None
