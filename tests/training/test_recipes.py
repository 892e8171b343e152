import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from realm.analysis.stats import statistics
from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError, DataError, ModelError, ResourceError
from realm.files import read_jsonl
from realm.recipes import plan
from realm.rows.evaluation import Evaluation
from realm.run import RunFolder
from realm.stopping import Stopped, stoppable
from realm.student.load import load
from realm.training import recipes
from realm.training.checkpoints import last_checkpoint, seal
from realm.training.prepare import prepare
from realm.training.recipes import _Runner
from realm.training.recorder import Event, Recorder
from tests.tiny import TinyTask, go, new_run, pool, tiny_bank, tiny_config


def test_plan(tmp_path: Path) -> None:
    def stages(**training: Any) -> list[tuple[str, int, int, int]]:
        config = tiny_config(tmp_path, tmp_path, **training)
        return [(stage.kind, stage.round, stage.steps, stage.k) for stage in plan(config)]

    assert stages(recipe="grpo") == [("rl", 0, 6, 0)]
    assert stages(recipe="realm-zero", rounds=3) == [("rl", 0, 6, 4)]
    assert stages(recipe="realm-r1", rounds=2) == [("sft", 0, 4, 4), ("rl", 0, 6, 4), ("sft", 1, 4, 4), ("rl", 1, 6, 4)]
    assert stages(recipe="realm-r1", sft={"steps": 0}) == [("rl", 0, 6, 4)]


def test_realm_r1_leaves_a_whole_run(tmp_path: Path, student: Path) -> None:
    events: list[Event] = []
    run = go(tiny_config(tmp_path, student, recipe="realm-r1"), progress=events.append)

    metrics = read_jsonl(run.path / "metrics.jsonl")
    assert [(row["stage"], row["step"]) for row in metrics] == [
        *(("sft", step) for step in range(1, 5)),
        *(("rl", step) for step in range(1, 7)),
    ]
    seconds = [row["seconds"] for row in metrics]
    assert seconds == sorted(seconds) and seconds[0] > 0
    names = (
        "stage round step seconds tokens loss p tau reward reward_format reward_answer reward_scores scoring accuracy "
        "accuracy_without_routes routes_per_prompt routes_dropped zero_spread_groups parse_failures parse "
        "verifier_failures unreadable_answers same_err clip_ratio "
        "completion_tokens truncated tokens_saved kl entropy grad_norm learning_rate"
    )
    assert set(metrics[-1]) == set(names.split())
    assert all(row["loss"] is not None and row["grad_norm"] is not None for row in metrics)

    evaluations = [(row["stage"], row["step"], row["routes"]) for row in read_jsonl(run.path / "evaluations.jsonl")]
    wanted = [("base", 0), ("sft", 3), ("sft", 4), ("rl", 3), ("rl", 6)]
    assert evaluations == [(stage, step, routes) for stage, step in wanted for routes in (0, 4)]
    assert all(row["split"] == "validation" and row["n"] == 4 for row in read_jsonl(run.path / "evaluations.jsonl"))

    groups = read_jsonl(run.path / "completions.jsonl")
    assert [row["step"] for row in groups] == [1, 1, 2, 2, 4, 4, 6, 6]
    assert all(len(row["completions"]) == 4 for row in groups)
    assert groups[0]["prompt"].endswith("<|assistant|>") and len(groups[0]["routes"]) == 4
    assert set(groups[0]["completions"][0]) == {
        "text", "think", "answer", "scores", "correct", "verdict", "reward", "format", "scoring", "reasons",
        "parts", "copied",
    }  # fmt: skip

    learned_from = json.loads((run.path / "bank_stats.json").read_text(encoding="utf-8"))
    assert learned_from["error_ratio"] == 0.5
    assert learned_from["patterns"]["wrong"] == learned_from["wrong"]
    assert learned_from["patterns"]["sentence"]

    cost = run.meta.cost
    assert cost is not None
    assert (cost.steps, cost.completions) == (10, 96)
    assert cost.tokens == sum(stage.tokens for stage in cost.stages) > 0
    assert cost.seconds == pytest.approx(seconds[-1], abs=0.01)

    assert [(event.stage, event.step) for event in events] == [(row["stage"], row["step"]) for row in metrics]
    assert None not in (events[-1].reward, events[-1].without, events[-1].shown)

    model = AutoModelForCausalLM.from_pretrained(run.path / "model")
    tokenizer = AutoTokenizer.from_pretrained(run.path / "model")
    assert model.config.use_cache and tokenizer.chat_template
    assert not list((run.path / "model").glob("*.bin")), "no pickles among what a user keeps"


def test_a_student_that_cannot_be_parsed_is_told_of_before_the_first_step(
    tmp_path: Path, student: Path, bank: Bank, caplog: pytest.LogCaptureFixture
) -> None:
    def told(share: float, examples: Any = "auto", template: str = "", **training: Any) -> list[str]:
        config = tiny_config(tmp_path, student, **training)
        config.prompt.examples = examples
        config.run.name = f"run{len(list(tmp_path.iterdir()))}"
        made = runner(config, bank)
        reasons = {"answer_missing": 15, "scores_missing": 20, "answer_empty": round(20 * share) - 15}
        row = {"parse_failures": 1.0, "reasons": reasons, "truncated": 0.5}
        figures = {"accuracy": 0.0, "accuracy_low": 0.0, "accuracy_high": 0.0, **row}
        made._evaluate = lambda _, __, where: made.run_folder.append(  # type: ignore[method-assign,assignment]
            Evaluation(**vars(where), split="validation", routes=0, n=10, samples=2, **figures)
        )
        caplog.clear()
        model, tokenizer = load(student)
        tokenizer.chat_template = f"{{# {template} #}}"
        made._evaluate_base(model, tokenizer)
        return [record.getMessage() for record in caplog.records]

    (said,) = told(0.95)
    assert said.startswith("95 % of the untrained student's completions have no answer that can be parsed, and")
    for part in (
        "50 % are cut",
        "training.recipe realm-r1",
        "prompt.examples, now none",
        "max_completion_length, now 24",
    ):
        assert part in said
    (said,) = told(0.95, [{"question": "1 plus 1", "think": "is even", "answer": "0"}])
    assert "training.recipe realm-r1" in said and "prompt.examples" not in said, "it is shown some already"
    assert "enable_thinking" not in said
    (said,) = told(0.95, template="enable_thinking")
    assert "model.template_arguments {enable_thinking: false}" in said
    assert told(0.8) == [] == told(0.95, recipe="realm-r1"), "what is taught first"


def test_a_bank_that_changed_before_a_run_goes_on_is_told(
    tmp_path: Path, bank: Bank, task: TinyTask, caplog: pytest.LogCaptureFixture
) -> None:
    run, held = RunFolder(tmp_path), SimpleNamespace(bank=bank, task=task)
    recipes._tell_of_another_bank(held, run)  # type: ignore[arg-type]
    recipes._look_at_bank(SimpleNamespace(**vars(held), config=Config()), run, resume=False)  # type: ignore[arg-type]
    recipes._tell_of_another_bank(held, run)  # type: ignore[arg-type]
    assert not caplog.records, "nothing was noted yet, or nothing changed"
    question = task.rows("train")[0].id
    bank.append([CoT(question, "t", "1", 1, sample=99)])
    recipes._tell_of_another_bank(held, run)  # type: ignore[arg-type]
    assert "the bank has changed since the run began: right, wrong and unlabelled CoTs are [25, 24, 0]" in caplog.text


def test_grpo_needs_no_bank(tmp_path: Path, student: Path) -> None:
    run = go(tiny_config(tmp_path, student, recipe="grpo"), bank=None)
    assert {row["p"] for row in read_jsonl(run.path / "metrics.jsonl")} == {0.0}
    assert {row["routes_per_prompt"] for row in read_jsonl(run.path / "metrics.jsonl")} == {0.0}
    assert {row["routes"] for row in read_jsonl(run.path / "evaluations.jsonl")} == {0}


def test_grpo_is_evaluated_with_routes_where_there_are_some(tmp_path: Path, student: Path) -> None:
    run = go(tiny_config(tmp_path, student, recipe="grpo"))
    assert {row["routes"] for row in read_jsonl(run.path / "evaluations.jsonl")} == {0, 4}


def runner(config: Config, bank: Bank | None) -> _Runner:
    return _Runner(prepare(config, TinyTask(), bank), new_run(config), pool())


def test_with_routes_only_where_the_questions_asked_have_some(tmp_path: Path, student: Path, bank: Bank) -> None:
    config = tiny_config(tmp_path, student)
    made = runner(config, bank)
    assert made._ways() == (False, True)
    made.bank = Bank()
    made.bank.append(cot for row in TinyTask().rows("train") for cot in bank.cots(row.id))
    assert made._ways() == (False,)
    asked, later = TinyTask().rows("validation")[3:5]
    made.bank.append(bank.cots(later.id))
    assert made._ways() == (False,), "four questions are asked"
    made.bank.append(bank.cots(asked.id))
    assert made._ways() == (False, True)


def test_the_untrained_student_is_not_evaluated_where_weights_are_spread(
    tmp_path: Path, student: Path, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    made = runner(tiny_config(tmp_path, student), bank)
    monkeypatch.setattr(made, "_evaluate", lambda *where: asked.append(where))
    model, tokenizer = load(student)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    made._evaluate_base(model, tokenizer)
    assert not asked
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    made._evaluate_base(model, tokenizer)
    assert len(asked) == 1


def test_model_without_chat_template(tmp_path: Path, plain_student: Path) -> None:
    run = go(tiny_config(tmp_path, plain_student, recipe="realm-r1"))
    prompt = read_jsonl(run.path / "completions.jsonl")[0]["prompt"]
    assert "<|user|>" not in prompt and prompt.endswith("judge\n\n")


def test_last_row_is_written_whatever_log_every(tmp_path: Path, student: Path) -> None:
    run = go(tiny_config(tmp_path, student, log_every=4))
    assert [row["step"] for row in read_jsonl(run.path / "metrics.jsonl")] == [4, 6]
    assert run.meta.cost and run.meta.cost.steps == 6


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"routes": {"k": 5}}, ConfigError, r"routes\.k: 5 .* at most 4"),
        ({"model": {"context": 27}}, ModelError, r"question q\d\d: its prompt needs .* the context leaves 3 "),
        ({"model": {"context": 20}}, ModelError, "max_completion_length|context of 20"),
        ({"model": {"context": 4000}}, ModelError, "128"),
        ({"model": {"path": "no/such/model"}}, ModelError, "no/such/model"),
    ],
)
def test_mistakes_are_found_before_training(
    tmp_path: Path, student: Path, bank: Bank, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    config = tiny_config(tmp_path, student)
    for section, values in change.items():
        for key, value in values.items():
            setattr(getattr(config, section), key, value)
    with pytest.raises(error, match=message) as caught:
        prepare(config, TinyTask(), bank)
    assert str(caught.value).count("\n") <= 1
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_batch_of_the_cold_start_must_divide(tmp_path: Path, student: Path, bank: Bank) -> None:
    config = tiny_config(tmp_path, student, recipe="realm-r1", sft={"micro_batch_size": 3})
    with pytest.raises(ConfigError, match=r"training\.sft\.batch_size \(8\)"):
        prepare(config, TinyTask(), bank)


def test_recipe_that_shows_routes_needs_some(tmp_path: Path, student: Path) -> None:
    for bank in (None, Bank()):
        with pytest.raises(DataError, match="realm-zero"):
            prepare(tiny_config(tmp_path, student), TinyTask(), bank)


def test_several_gpus_need_a_launcher(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, bank: Bank
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ResourceError, match="2 GPUs"):
        prepare(tiny_config(tmp_path, student), TinyTask(), bank)


@pytest.mark.parametrize(("signals", "together"), [(1, True), (2, False)], ids=["agreed-on", "at-once"])
def test_the_group_is_left_only_where_all_processes_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, signals: int, together: bool
) -> None:
    """Who waits for the others after a second Ctrl-C, which may have reached this process alone, waits for ever."""
    left: list[bool] = []
    monkeypatch.setattr(recipes, "leave_group", lambda: left.append(True))
    original = Recorder.on_step_end

    def sending(self: Recorder, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        original(self, args, state, control, **kwargs)
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Recorder, "on_step_end", sending)
    config = tiny_config(tmp_path, student)
    with pytest.raises(Stopped) as stopped, stoppable():
        go(config)
    assert stopped.value.together is together and left == [True] * together


def test_a_signal_that_reached_another_process_after_its_last_step_stops_this_one_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(recipes, "agreed", lambda number, device: asked.append(number) or signal.SIGTERM)
    config = tiny_config(tmp_path, student, rl={"steps": 2})
    with pytest.raises(Stopped, match="RL step 2 is saved") as stopped:
        go(config)
    assert stopped.value.together and stopped.value.number == signal.SIGTERM and asked == [0]
    found = last_checkpoint(config.run_path / "checkpoints/rl/round-0")
    assert found is not None and found[1] == 2, "what is said is so"


def test_last_checkpoint(tmp_path: Path) -> None:
    def write(step: int, sealed: int | None) -> Path:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        if sealed is not None:
            seal(folder, sealed)
        return folder

    assert last_checkpoint(tmp_path) is None
    write(9, 9)
    write(10, 10)
    write(20, None)
    (write(30, 30) / "seal.json").write_text('{"step": 30')
    write(40, 10)
    (write(50, 50) / "model.safetensors").write_bytes(b"weight")
    (write(60, 60) / "later").write_bytes(b"")
    (write(70, 70) / "model.safetensors").unlink()
    (write(80, 80) / "seal.json").write_text("[]")
    assert last_checkpoint(tmp_path) == (tmp_path / "checkpoint-10", 10)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]


def test_a_full_disk_is_the_users_to_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path) -> None:
    import errno

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    config = tiny_config(tmp_path, student, recipe="grpo", rl={"steps": 1})
    monkeypatch.setattr("transformers.Trainer.save_model", full)
    with pytest.raises((ResourceError, OSError), match="No space left"):
        go(config)
    assert not (config.run_path / "model").exists()


def test_tiny_bank_is_half_wrong() -> None:
    """What the tests above rest on."""
    assert statistics(tiny_bank(TinyTask()).groups())["error_ratio"] == 0.5
