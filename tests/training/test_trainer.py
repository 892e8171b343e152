"""`realm.ReaLMTrainer`: ReaLM from objects in memory, as TRL's trainers are made."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig

import realm
from realm.errors import ConfigError, DataError, ModelError, TrainingError
from realm.tasks.base import Question
from realm.training import frugal
from tests.tiny import WORDING, WORDS, TinyTask, tiny_bank, tiny_model, tiny_tokenizer

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "trl_script.py"


def dataset(task: TinyTask, split: str = "train") -> Dataset:
    return Dataset.from_list(
        [{"question": one.question, "answer": one.answer, "id": one.id} for one in task.rows(split)]
    )


def arguments(folder: Path, **more: Any) -> GRPOConfig:
    given: dict[str, Any] = {
        "max_steps": 4, "per_device_train_batch_size": 16, "num_generations": 4, "max_completion_length": 24,
        "learning_rate": 2e-3, "logging_steps": 1, "save_strategy": "no", "report_to": "none", "bf16": False,
        "use_cpu": True, "seed": 3, "disable_tqdm": True,
    }  # fmt: skip
    return GRPOConfig(str(folder / "out"), **(given | more))


class Seen(TrainerCallback):
    """Takes down what is logged, as a callback of a user's would."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def on_log(self, *_: Any, logs: dict[str, Any], **__: Any) -> None:
        self.logs.append(logs)


def made(student: Any, folder: Path, **more: Any) -> realm.ReaLMTrainer:
    task = TinyTask()
    given: dict[str, Any] = {
        "args": arguments(folder), "train_dataset": dataset(task), "bank": tiny_bank(task), "wording": WORDING,
    }  # fmt: skip
    return realm.ReaLMTrainer(student, **(given | more))


def test_what_closes_a_turn_ends_a_completion(tmp_path: Path) -> None:
    """As in a run: of a base model that knows a template, and names the end of a text alone."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<|user|>"
    tokenizer.chat_template = f"{tokenizer.chat_template}{{# <|end|> #}}"
    trainer = made(tiny_model(), tmp_path, processing_class=tokenizer)
    assert set(trainer.eos_token_ids) == {WORDS.index("<|user|>"), WORDS.index("<|end|>")}


def test_each_batch_of_a_step_and_of_an_evaluation_draws_anew(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL may sample several batches for one step: row i of one is not row i of the next."""
    turns: list[tuple[int, int]] = []
    original = frugal.roll_out

    def noted(*args: Any, **options: Any) -> Any:
        turns.append((options["step"], options["turn"]))
        return original(*args, **options)

    monkeypatch.setattr(frugal, "roll_out", noted)
    sizes = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "steps_per_generation": 2}
    trainer = made(
        student,
        tmp_path,
        args=arguments(tmp_path, max_steps=2, per_device_eval_batch_size=16, **sizes),
        eval_dataset=dataset(TinyTask(), "validation"),
    )
    trainer.train()
    assert turns == [(0, 0), (0, 1), (1, 0)], "of the last questions of an epoch there is one"
    turns.clear()
    trainer.evaluate()
    assert turns == [(2, n) for n in range(len(turns))] and len(turns) > 1


def test_routes_fade_and_the_student_is_saved(student: Path, tmp_path: Path) -> None:
    seen = Seen()
    trainer = made(str(student), tmp_path, callbacks=[seen], fade={"schedule": "linear", "fade_end": 0.75})
    trainer.train()
    rows = [row for row in seen.logs if "routes_per_prompt" in row]
    assert [row["p"] for row in rows] == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0])
    assert (rows[0]["routes_per_prompt"], rows[-1]["routes_per_prompt"]) == (4.0, 0.0)
    assert all(0 <= row["reward"] <= 1.6 for row in rows)
    assert any(row["grad_norm"] > 0 for row in rows)
    trainer.save_model(str(tmp_path / "model"))
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_a_loss_that_is_no_number_is_told_with_what_to_change(student: Path, tmp_path: Path) -> None:
    trainer = made(student, tmp_path)
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(float("nan"))
    with pytest.raises(
        TrainingError, match=r"is not a finite number\. The update was not made(.|\n)*args\.learning_rate \(0\.002\)"
    ):
        trainer.train()


def test_a_model_and_a_tokenizer_in_memory_and_epochs_for_steps(tmp_path: Path) -> None:
    seen = Seen()
    args = arguments(tmp_path, max_steps=-1, num_train_epochs=2)
    made(tiny_model(), tmp_path, args=args, processing_class=tiny_tokenizer(), callbacks=[seen]).train()
    # 12 questions, 4 a step, twice
    assert [row["tau"] for row in seen.logs if "tau" in row] == pytest.approx([step / 6 for step in range(6)])


def test_one_seed_is_one_run(student: Path, tmp_path: Path) -> None:
    def trained() -> dict[str, torch.Tensor]:
        trainer = made(str(student), tmp_path)
        trainer.train()
        return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}  # type: ignore[union-attr]

    once, again = trained(), trained()
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_resumed_is_straight(student: Path, tmp_path: Path) -> None:
    args = arguments(tmp_path, save_strategy="steps", save_steps=2)
    more: dict[str, Any] = {"args": args, "shapes": ["mgpo"], "companions": [{"red": {"weight": 2}}]}
    straight = made(str(student), tmp_path, **more)
    straight.train()
    assert any(row.get("companions/red") for row in straight.state.log_history)
    resumed = made(str(student), tmp_path, **more)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    for (name, one), (_, other) in zip(
        straight.model.named_parameters(),
        resumed.model.named_parameters(),
        strict=True,  # type: ignore[union-attr]
    ):
        assert torch.equal(one, other), name


def test_without_a_bank_no_route_is_shown(student: Path, tmp_path: Path) -> None:
    seen = Seen()
    made(str(student), tmp_path, bank=None, callbacks=[seen]).train()
    assert {row["routes_per_prompt"] for row in seen.logs if "routes_per_prompt" in row} == {0.0}


def test_a_bank_folder_whose_questions_are_found_by_text(student: Path, tmp_path: Path) -> None:
    task = TinyTask()
    bank = tiny_bank(task)
    bank.questions = {one.id: one for one in task.rows("train")}
    bank.save(tmp_path / "bank")
    rows = dataset(task).remove_columns("id").rename_column("question", "prompt")
    seen = Seen()
    made(str(student), tmp_path, bank=tmp_path / "bank", train_dataset=rows, callbacks=[seen]).train()
    assert next(row for row in seen.logs if "p" in row)["routes_per_prompt"] == 4.0


def test_an_evaluation_shows_no_route_and_teaches_nothing(student: Path, tmp_path: Path) -> None:
    args = arguments(tmp_path, eval_strategy="steps", eval_steps=2, per_device_eval_batch_size=16)
    seen = Seen()
    trainer = made(
        str(student), tmp_path, args=args, eval_dataset=dataset(TinyTask(), "validation"), callbacks=[seen],
        fade={"schedule": "adaptive"},
    )  # fmt: skip
    trainer.train()
    found = [row for row in seen.logs if "eval_reward" in row]
    assert len(found) == 2
    assert {row["eval_routes_per_prompt"] for row in found} == {0.0}


def test_a_further_reward_and_adapters(student: Path, tmp_path: Path) -> None:
    def short(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [-len(ids) / 100 for ids in completion_ids]

    seen = Seen()
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    made(str(student), tmp_path, reward_funcs=[short], peft_config=lora, callbacks=[seen]).train()
    row = next(row for row in seen.logs if "reward" in row)
    assert row["rewards/short/mean"] < 0
    assert row["reward"] == pytest.approx(row["rewards/realm/mean"] + row["rewards/short/mean"], abs=1e-6)


def known() -> realm.Bank:
    """A bank that knows its one question."""
    bank = realm.Bank(questions=[Question("q", "a", "1")])
    bank.append([realm.CoT("q", "1", "1", 1, "t")])
    return bank


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"train_dataset": None}, ConfigError, "train_dataset: expected a dataset"),
        ({"train_dataset": Dataset.from_list([{"q": "1"}])}, DataError, "expected the columns question and answer"),
        ({"train_dataset": Dataset.from_list([{"question": " ", "answer": "1"}])}, DataError, "row 0: expected a text"),
        ({"train_dataset": Dataset.from_list([{"question": "x", "answer": ""}])}, DataError, "row 0: the gold ''"),
        ({"train_dataset": Dataset.from_list([{"question": "x", "answer": "1"}])}, DataError, "no labelled CoT"),
        ({"fade": {"shedule": "linear"}}, ConfigError, "did you mean fade.schedule"),
        ({"routes": {"k": -1}}, ConfigError, "routes.k"),
        ({"companions": ["redd"]}, ConfigError, r"training\.rl\.companions\.0: expected .* \(did you mean red\?\)"),
        ({"shapes": [{"mgpo": {"x": 1}}]}, ConfigError, r"training\.rl\.shapes: mgpo: has no option x"),
        ({"verifier": "nmber"}, ConfigError, "nmber"),
        ({"context": 28}, ModelError, r"its prompt needs .* is args\.max_completion_length here"),
        ({"train_dataset": [{"question": "x", "answer": "1"}]}, DataError, "expected a datasets.Dataset, found list"),
        ({"train_dataset": Dataset.from_list([{"question": "x", "answer": None}])}, DataError, r"row 0: .* \(None\)"),
        ({"model": 7}, ConfigError, "model: expected a model of transformers"),
        (
            {"train_dataset": Dataset.from_list([{"question": q, "answer": "1", "id": "q"} for q in "ab"])},
            DataError,
            "row 1: the id 'q' is that of row 0 too",
        ),
        (
            {"train_dataset": Dataset.from_list([{"question": "a", "answer": a} for a in "12"])},
            DataError,
            "row 1: the id .* is that of row 0 too, with another question or answer",
        ),
        (
            {"bank": known(), "train_dataset": Dataset.from_list([{"question": "a", "answer": "2", "id": "q"}])},
            DataError,
            "the gold is '2' here and '1' in the bank",
        ),
        (
            {"bank": known(), "train_dataset": Dataset.from_list([{"question": "b", "answer": "1", "id": "q"}])},
            DataError,
            "the id 'q' is another question in the bank",
        ),
    ],
)
def test_what_is_wrong_is_said(
    student: Path, tmp_path: Path, given: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        made(given.pop("model", str(student)), tmp_path, **given)


def test_what_is_held_out_is_never_trained_on(student: Path, tmp_path: Path) -> None:
    """Though both datasets number their rows from 0."""
    rows = [{"question": f"{a} plus 1", "answer": str((a + 1) % 2), "id": a} for a in range(8)]
    asked: list[Any] = []

    def seen(prompts: list[Any], question: list[str], **_: Any) -> list[float]:
        asked.extend(zip((prompt[0]["content"] for prompt in prompts), question, strict=True))
        return [0.0] * len(prompts)

    held_out = Dataset.from_list([{"question": f"{a} plus 2", "answer": str(a % 2), "id": a} for a in range(8)])
    args = arguments(tmp_path, per_device_eval_batch_size=16)
    trainer = made(
        str(student), tmp_path, args=args, bank=None, train_dataset=Dataset.from_list(rows), reward_funcs=seen,
        eval_dataset={"twos": held_out}, callbacks=None,
    )  # fmt: skip
    trainer.train()
    assert asked
    assert all(prompt.startswith(question) and "plus 1" in question for prompt, question in asked)
    asked.clear()
    assert "eval_twos_loss" in trainer.evaluate()
    assert "eval_loss" in trainer.evaluate(Dataset.from_list(rows[:4]))
    assert all(prompt.startswith(question) for prompt, question in asked)
    assert {question[-1] for _, question in asked} == {"1", "2"}


def test_the_method_s_own_objects_are_sections(student: Path, tmp_path: Path) -> None:
    trainer = made(
        str(student), tmp_path, fade=realm.Schedule("linear"), routes=realm.Selection(k=2), reward=realm.Weights(0.2)
    )
    assert (trainer.renderer.selection.k, trainer.renderer.selection.schedule.kind) == (2, "linear")
    trainer = made(str(student), tmp_path, fade=realm.Schedule(late, p_start=0.5))
    assert trainer.renderer.selection.schedule.p(0.5) == 0.25
    for ignored in (realm.Selection(schedule=realm.Schedule("linear")), realm.Selection(granularity="question")):
        with pytest.raises(ConfigError, match=r"^routes: expected a Selection without a schedule"):
            made(str(student), tmp_path, routes=ignored)


def late(tau: float, schedule: realm.Schedule) -> float:
    return schedule.p_start * tau


def test_the_template_s_arguments_are_those_of_args(student: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not read enable_thinking"):
        made(str(student), tmp_path, args=arguments(tmp_path, chat_template_kwargs={"enable_thinking": False}))
    with pytest.raises(ConfigError, match="model_init_kwargs: attn_implementation: load the model yourself"):
        made(str(student), tmp_path, args=arguments(tmp_path, model_init_kwargs={"attn_implementation": "eager"}))


def test_questions_without_a_route_are_told_of(student: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = TinyTask()
    more = [{"question": "7 plus 7 plus 7", "answer": "1", "id": "new"}, *dataset(task)]
    with caplog.at_level(logging.WARNING):
        made(str(student), tmp_path, train_dataset=Dataset.from_list(more))
    assert "1 of 13 questions have no CoT in the bank, e.g. new" in caplog.text


def test_routes_that_do_not_fit_are_told_of(student: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made(str(student), tmp_path, context=36)
    assert "routes of the first prompts" in caplog.text


@pytest.fixture
def _arguments() -> Iterator[None]:
    kept = sys.argv
    yield
    sys.argv = kept


@pytest.mark.usefixtures("_arguments")
def test_the_script_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json
    import runpy

    from realm.desk.task import DeskTask

    task = DeskTask(max_train=16, max_test=4)
    rows = task.rows("train")
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps({"question": one.question, "answer": one.answer}) + "\n" for one in rows))
    bank = realm.Bank.create(tmp_path / "bank", questions=rows)
    for sample, text in enumerate(("no", "yes", "1", "2")):
        bank.append(
            [realm.CoT(one.id, f"So {text}.", text, int(text == one.answer), "t", sample=sample) for one in rows]
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    sys.argv = [
        str(EXAMPLE), "desk-base", "questions.jsonl", "--bank", "bank", "--verifier", "desk", "--steps", "1",
        "--length", "16",
    ]  # fmt: skip
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
