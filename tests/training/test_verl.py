"""`realm export verl`: the same prompts and the same rewards as here, through verl's interfaces.

Where verl is installed its own classes load the files; elsewhere a stand-in with the documented constructor does.
"""

import importlib
import importlib.util
import shutil
import sys
import types
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from realm.config import Config
from realm.errors import ConfigError, DataError, ModelError
from realm.method.schedule import Schedule
from realm.student.load import load, load_tokenizer
from realm.student.prompts import encode, prompt_text
from realm.student.renderer import Renderer
from realm.tasks.verify import verifier
from realm.training.grpo import grpo_rows
from realm.training.rewards import RouteReward
from realm.training.verl_export import export_verl, read_exported, verl_config, without_counterpart
from tests.tiny import CHAT_TEMPLATE, CONTEXT, TinyTask, pool, tiny_bank, tiny_config, tiny_tokenizer, tiny_trainer

HAS_VERL = importlib.util.find_spec("verl") is not None
needs_verl = pytest.mark.skipif(not HAS_VERL, reason="verl is not installed")


class StandIn(torch.utils.data.Dataset):
    """RLHFDataset's constructor, as verl 0.9 has it: it notes its arguments and calls two methods of its own."""

    def __init__(
        self, data_files: Any, tokenizer: Any, config: Any, processor: Any = None, max_samples: int = -1
    ) -> None:
        self.data_files = data_files if isinstance(data_files, list) else [data_files]
        self.tokenizer, self.config = tokenizer, config
        self._download()
        self._read_files_and_tokenize()

    def _download(self, use_origin_parquet: bool = False) -> None: ...


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    if not HAS_VERL:
        dataset, algorithms = "verl.utils.dataset.rl_dataset", "verl.trainer.ppo.core_algos"
        for name in (
            "verl",
            "verl.utils",
            "verl.utils.dataset",
            dataset,
            "verl.trainer",
            "verl.trainer.ppo",
            algorithms,
        ):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules[dataset].RLHFDataset = StandIn  # type: ignore[attr-defined]
        sys.modules[algorithms].register_adv_est = lambda name: lambda function: function  # type: ignore[attr-defined]
        monkeypatch.delitem(sys.modules, "realm.training.verl_plugin", raising=False)
    return importlib.import_module("realm.training.verl_plugin")


@pytest.fixture
def exported(tmp_path: Path, student: Path) -> tuple[Config, Path]:
    config = tiny_config(tmp_path, student, rl={"steps": 6})
    task = TinyTask()
    export_verl(config, task, tiny_bank(task), tmp_path / "verl", k=4)
    return config, tmp_path / "verl"


def dataset(plugin: Any, folder: Path, tokenizer: Any, split: str = "train") -> Any:
    # As verl's `create_rl_dataset` calls it.
    settings: Any = {"custom_cls": {}, "max_prompt_length": CONTEXT}
    if HAS_VERL:
        from omegaconf import OmegaConf

        settings = OmegaConf.create(settings)
    return plugin.RouteDataset(
        data_files=str(folder / f"{split}.parquet"), tokenizer=tokenizer, processor=None, config=settings
    )


def test_rows_carry_question_routes_and_labels(exported: tuple[Config, Path]) -> None:
    _, folder = exported
    task = TinyTask()
    bank = tiny_bank(task)
    for split in ("train", "validation"):
        rows = pq.read_table(folder / f"{split}.parquet").to_pylist()
        assert len(rows) == len(task.rows(split))
        for row, question in zip(rows, task.rows(split), strict=True):
            # What any reader of verl's format expects.
            assert {"data_source", "prompt", "ability", "reward_model", "extra_info"} <= row.keys()
            assert row["prompt"][-1]["role"] == "user" and question.question in row["prompt"][-1]["content"]
            assert row["reward_model"] == {"style": "rule", "ground_truth": question.answer}
            assert row["question"] == question.question and row["extra_info"]["question_id"] == question.id
            assert [(item["id"], item["label"]) for item in row["routes"]] == [
                (route.id, route.label) for route in bank.routes(question.id)
            ]
    assert read_exported(folder / "train.parquet").k == 4


@pytest.mark.parametrize(
    ("iterations", "examples"), [(1, "none"), (2, [{"question": "3 plus 4", "think": "is odd", "answer": "1"}])]
)
def test_prompts_are_those_of_our_own_trainer(
    tmp_path: Path, student: Path, plugin: Any, iterations: int, examples: Any
) -> None:
    """Item by item over the whole stage: the question, the routes of its step, the labels in their order."""
    config = tiny_config(tmp_path, student, rl={"num_iterations": iterations})
    config.prompt.examples = examples
    task = TinyTask()
    task.wording = replace(task.wording, without_routes="<{answer}>")
    bank = tiny_bank(task)
    export_verl(config, task, bank, tmp_path / "verl", k=4)
    _, tokenizer = load(student)
    found = dataset(plugin, tmp_path / "verl", tokenizer)
    renderer = Renderer(config, task, bank, tokenizer, CONTEXT, k=4)
    asked = grpo_rows(renderer, config, config.run.seed)["question_id"]
    assert len(found) == len(asked) == 6 // iterations * 4
    shown = []
    for number, question_id in enumerate(asked):
        step = number // 4 * iterations
        wanted, row = renderer.render(question_id, step, step / 6), found[number]
        assert row["raw_prompt"] == wanted.messages and len(wanted.messages) == (1 if examples == "none" else 3)
        assert row["extra_info"]["labels"] == [route.label for route in wanted.routes]
        assert row["extra_info"]["question"] == renderer.questions[question_id].question
        assert (row["extra_info"]["question_id"], row["extra_info"]["p"]) == (question_id, wanted.p)
        shown.append(len(wanted.routes))
    assert max(shown) == 4 and min(shown) < 4, "the routes fade"


def late(tau: float, schedule: Schedule) -> float:
    return 0.5 + tau / 2


def strict(scores: Sequence[float | None], labels: Sequence[int]) -> float:
    return float(list(scores) == list(labels))


def test_schedules_and_rules_of_others_are_those_of_our_own_trainer(tmp_path: Path, student: Path, plugin: Any) -> None:
    config, folder, task = tiny_config(tmp_path, student), tmp_path / "verl", TinyTask()
    config = config.changed({"fade.schedule": f"{__name__}:late", "reward.rule": f"{__name__}:strict"})
    export_verl(config, task, tiny_bank(task), folder, k=4)
    rows = dataset(plugin, folder, load(student)[1])
    assert {rows[number]["extra_info"]["p"] for number in range(len(rows))} == {0.5 + step / 12 for step in range(6)}
    paid = plugin.compute_score(
        "x", COMPLETIONS[0], "1", {"labels": [1, 0, 1, 0]}, exported=str(folder / "train.parquet")
    )
    assert paid["scoring"] == 1.0
    with pytest.raises(ConfigError, match=rf"fade\.schedule: {__name__}:following follows what earlier batches"):
        export_verl(config.changed({"fade.schedule": f"{__name__}:following"}), task, tiny_bank(task), folder, k=4)
    kinds: Any = types.SimpleNamespace(verifier=verifier('{"default": "exact", "sum": "number"}'))
    with pytest.raises(ConfigError, match="verl's reward is not told the kind of a question"):
        export_verl(config, kinds, None, folder, k=4)


def following(tau: float, schedule: Schedule, success: float) -> float:
    return success


def test_held_out_questions_are_asked_alone(exported: tuple[Config, Path], plugin: Any, student: Path) -> None:
    found = dataset(plugin, exported[1], load(student)[1], "validation")
    rows = [found[number] for number in range(len(found))]
    assert [row["extra_info"]["question_id"] for row in rows] == [q.id for q in TinyTask().rows("validation")]
    assert all(row["extra_info"]["labels"] == [] and "<route" not in row["raw_prompt"][-1]["content"] for row in rows)


COMPLETIONS = [
    "<think> it is odd </think> <answer> 1 </answer> <scores> 1, 0, 1, 0 </scores>",
    "<think> it is even </think> <answer> 0 </answer> <scores> 0.9, 0.1, 0.5, 0 </scores>",
    "<answer> 1 </answer>",
    "1 is odd",
    "",
]


@pytest.mark.parametrize("judge", [True, False])
def test_rewards_are_those_of_our_own_trainer(tmp_path: Path, plugin: Any, student: Path, judge: bool) -> None:
    """Also from many threads at once, as verl's reward loop calls it."""
    config, folder = tiny_config(tmp_path, student, rl={"steps": 6}), tmp_path / "verl"
    config.prompt.judge = judge
    task = TinyTask()
    export_verl(config, task, tiny_bank(task), folder, k=4)
    renderer = Renderer(config, task, tiny_bank(task), load(student)[1], CONTEXT, k=4)
    found = dataset(plugin, folder, load(student)[1])
    calls, wanted = [], []
    with pool() as judges:
        ours = RouteReward(config, renderer.questions, judges)
        for number in range(0, 24, 5):
            row = found[number]
            info = row["extra_info"]
            shown = renderer.render(info["question_id"], info["step"], info["step"] / 6)
            for text in COMPLETIONS:
                calls.append((row, text))
                wanted += ours(
                    prompts=[shown.messages], completions=[text], question_id=[info["question_id"]],
                    routes=[shown.routes],
                )  # fmt: skip

    def score(call: tuple[dict[str, Any], str]) -> dict[str, float]:
        row, text = call
        paid: dict[str, float] = plugin.compute_score(
            data_source=row["data_source"],
            solution_str=text,
            ground_truth=row["reward_model"]["ground_truth"],
            # verl adds its own.
            extra_info={**row["extra_info"], "num_turns": None, "rollout_reward_scores": {}},
            exported=str(folder / "train.parquet"),
        )
        return paid

    with ThreadPoolExecutor(8) as threads:
        paid = list(threads.map(score, calls))
    assert [item["score"] for item in paid] == pytest.approx(wanted)
    assert any(row["extra_info"]["labels"] for row, _ in calls) is judge
    assert len({item["score"] for item in paid}) > (3 if judge else 1)
    assert {frozenset(item) for item in paid} == {
        frozenset({"score", "correct", "format", "scoring", "verifier_failed", "unreadable_answer"})
    }


#: Four groups of four: mixed, equal, equal to no binary fraction, and apart by little.
REWARDS = [2.1, 0.1, 0.1, 1.1, 0.0, 0.0, 0.0, 0.0, 1.3, 1.3, 1.3, 1.3, 0.5, 0.5, 0.5, 0.51]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_are_those_of_our_own_trainer(tmp_path: Path, student: Path, plugin: Any, scale: str) -> None:
    config = tiny_config(tmp_path, student, rl={"scale_rewards": scale})
    trainer: Any = tiny_trainer(config, tmp_path, bank=None, k=0)
    trainer.model.train()
    trainer._calculate_rewards = lambda *_: torch.tensor(REWARDS).unsqueeze(-1)
    rows = [dict(trainer.train_dataset[number // 4]) for number in range(16)]
    wanted = trainer._generate_and_score_completions(rows)["advantages"]
    mask = (torch.arange(5) < torch.tensor([1, 2, 3, 5] * 4).unsqueeze(-1)).float()
    paid = torch.zeros(16, 5)
    paid[range(16), mask.sum(-1).long() - 1] = torch.tensor(REWARDS)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    groups = np.array([f"uid-{number // 4}" for number in range(16)], dtype=object)
    found, returns = plugin.advantages(scale, paid[order], mask[order], groups[order.numpy()], config=None)
    torch.testing.assert_close(found, wanted[order].unsqueeze(-1) * mask[order])
    assert returns is found and wanted[:4].abs().min() > 0
    assert not found[(order >= 4) & (order < 12)].any(), "groups of equal rewards"


@needs_verl
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_verl_finds_the_advantages(tmp_path: Path, student: Path, plugin: Any, scale: str) -> None:
    """Under the exported name; and verl's own are not the same, which is why there are ours."""
    from verl import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    config = tiny_config(tmp_path, student, rl={"scale_rewards": scale})
    name = yaml.safe_load(verl_config(config, tmp_path, CONTEXT))["algorithm"]["adv_estimator"]
    found = {}
    for estimator in (name, "grpo"):
        data = DataProto.from_dict(
            tensors={
                "token_level_rewards": torch.full((8, 1), 1.3),
                "response_mask": torch.ones(8, 1),
            },
            non_tensors={"uid": np.array(["one"] * 8, dtype=object)},
        )
        found[estimator] = float(compute_advantage(data, estimator).batch["advantages"].abs().max())
    assert found[name] == 0 and found["grpo"] > 0.05


def test_settings_by_verls_names(exported: tuple[Config, Path], tmp_path: Path, student: Path) -> None:
    text = (exported[1] / "verl.yaml").read_text()
    tree = yaml.safe_load(text)
    assert tree["data"]["train_batch_size"] == 4 and tree["actor_rollout_ref"]["rollout"]["n"] == 4
    assert tree["data"]["shuffle"] is False, "the rows are in the order of the steps"
    assert tree["data"]["max_prompt_length"] + tree["data"]["max_response_length"] == CONTEXT
    assert tree["trainer"]["total_training_steps"] == 6
    assert f"--config-path {exported[1]} --config-name verl" in text
    assert tree["actor_rollout_ref"]["actor"]["loss_scale_factor"] is None
    config = tiny_config(tmp_path, student, lora={"r": 8}, rl={"beta": 0.1, "loss_type": "grpo", "num_iterations": 2})
    export_verl(config, TinyTask(), None, tmp_path / "other", k=0)
    tree = yaml.safe_load((tmp_path / "other" / "verl.yaml").read_text())
    assert tree["actor_rollout_ref"]["model"]["lora_rank"] == 8
    actor = tree["actor_rollout_ref"]["actor"]
    assert (actor["use_kl_loss"], actor["kl_loss_coef"]) == (True, 0.1)
    assert (actor["loss_agg_mode"], actor["ppo_epochs"]) == ("seq-mean-token-mean", 2)
    assert tree["trainer"]["total_training_steps"] == 3


def test_the_chat_template_is_filled_as_here(tmp_path: Path, student: Path, plugin: Any) -> None:
    """Its arguments, and the configured day, reach verl's renderer and the fitting of our prompts alike."""
    folder = tmp_path / "student"
    shutil.copytree(student, folder)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ strftime_now('%d') | int }} {{ number }} " + CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    config = tiny_config(tmp_path, folder)
    config.model.date, config.model.template_arguments = "2025-03-05", {"number": "6"}
    export_verl(config, TinyTask(), None, tmp_path / "verl", k=0)
    arguments = yaml.safe_load((tmp_path / "verl" / "verl.yaml").read_text())["data"]["apply_chat_template_kwargs"]
    prompt = [{"role": "user", "content": "1"}]
    ours = load_tokenizer(folder, config.model)
    assert prompt_text(ours, prompt).startswith("5 6 <|user|> 1")
    theirs: Any = load_tokenizer(folder)
    # As verl calls it.
    tokens = theirs.apply_chat_template(
        prompt, tokenize=True, add_generation_prompt=True, tools=None, return_dict=False, **arguments
    )
    assert tokens == encode(ours, prompt) != encode(theirs, prompt)
    dataset(plugin, tmp_path / "verl", theirs)
    assert encode(theirs, prompt) == tokens
    config.model.template_arguments = {"nothing": 1}
    with pytest.raises(ConfigError, match="does not read nothing"):
        export_verl(config, TinyTask(), None, tmp_path / "other", k=0)


def test_feedback_cannot_be_exported(tmp_path: Path, student: Path) -> None:
    """Nor is it taken for the cosine in silence. Without routes nothing fades, and nothing is refused."""
    config = tiny_config(tmp_path, student)
    config.fade.schedule = "adaptive"
    with pytest.raises(ConfigError, match=r"fade\.schedule: adaptive .* cosine"):
        export_verl(config, TinyTask(), None, tmp_path / "verl", k=4)
    export_verl(config, TinyTask(), None, tmp_path / "alone", k=0)
    config.training.rl.sampler = "dynamic"
    with pytest.raises(ConfigError, match=r"training\.rl\.sampler: dynamic .* even"):
        export_verl(config, TinyTask(), None, tmp_path / "verl", k=0)
    assert not (tmp_path / "verl").exists()


def test_learning_rate_and_optimizer_by_verls_names(tmp_path: Path, student: Path) -> None:
    for schedule, optimizer, wanted in (
        ("constant", "adamw_torch_fused", ("constant", "AdamW", "torch.optim")),
        ("cosine", "adamw_8bit", ("cosine", "AdamW8bit", "bitsandbytes.optim")),
        # Neither has a counterpart, see below.
        ("linear", "adafactor", ("cosine", "AdamW", "torch.optim")),
    ):
        config = tiny_config(tmp_path, student, rl={"lr_schedule": schedule, "optimizer": optimizer})
        optim = yaml.safe_load(verl_config(config, tmp_path, CONTEXT))["actor_rollout_ref"]["actor"]["optim"]
        assert (optim["lr_scheduler_type"], optim["optimizer"], optim["optimizer_impl"]) == wanted


def test_what_verl_cannot_follow_is_said(tmp_path: Path, student: Path) -> None:
    plain = tiny_config(tmp_path, student, rl={"bf16": True}, eval_questions=0)
    (always,) = without_counterpart(plain)
    assert "verifier fails" in always
    rl = {
        "lr_schedule": "linear", "optimizer": "adafactor", "loss_type": "bnpo", "micro_batch_size": 4, "beta": 0.1,
        "num_iterations": 2, "vllm": "colocate", "shapes": ["mgpo"], "companions": [{"sdft": {"weight": 2}}],
    }  # fmt: skip
    other = tiny_config(tmp_path, student, rl=rl, recipe="realm-r1", rounds=2, lora={"r": 4, "dropout": 0.1})
    other.model.dtype = "bfloat16"
    other.model.tokenizer = "file"
    other.run.report_to = ["wandb"]
    said = without_counterpart(other)
    assert [line.partition(" (")[0] for line in said[:-1]] == [
        "training.rl.lr_schedule", "training.rl.optimizer", "training.rl.loss_type", "training.rl.beta",
        "training.rl.shapes", "training.rl.companions",
        "training.rl.bf16", "training.rl.vllm", "training.lora.dropout", "training.rounds", "training.eval_questions",
        "model.dtype", "model.tokenizer", "run.report_to",
    ]  # fmt: skip
    assert said[0] == "training.rl.lr_schedule (linear): verl's decays as a cosine, to zero too"


def test_the_balance_of_experts_is_said(tmp_path: Path, student: Path) -> None:
    """As TRL has it: a term of the loss where the student gives its router's logits and has a coefficient for them."""
    for coefficient, said in ((0.01, True), (0.0, False)):
        settings = Qwen3MoeConfig(
            vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=8,
            num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8, router_aux_loss_coef=coefficient,
        )  # fmt: skip
        Qwen3MoeForCausalLM(settings).save_pretrained(tmp_path / "experts")
        lines = without_counterpart(tiny_config(tmp_path, tmp_path / "experts"))
        assert any("mixture of experts" in line for line in lines) is said
    assert not any("mixture of experts" in line for line in without_counterpart(tiny_config(tmp_path, student)))


def test_what_cannot_be_exported(tmp_path: Path, plain_student: Path) -> None:
    with pytest.raises(ModelError, match="chat template"):
        export_verl(tiny_config(tmp_path, plain_student), TinyTask(), None, tmp_path / "verl", k=0)
    assert not (tmp_path / "verl").exists()
    (tmp_path / "other.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="realm export verl"):
        read_exported(tmp_path / "other.parquet")


@needs_verl
def test_verl_loads_them(exported: tuple[Config, Path], student: Path) -> None:
    """verl's own configuration, loaders, collation and state: resumed in the middle it goes on as it would have."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from torchdata.stateful_dataloader import StatefulDataLoader
    from verl.trainer.ppo.reward import get_custom_reward_fn
    from verl.trainer.ppo.utils import create_rl_dataset, create_rl_sampler
    from verl.utils.dataset.rl_dataset import collate_fn

    _, folder = exported
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder), version_base=None):
        settings = compose("verl")
    _, tokenizer = load(student)
    found = create_rl_dataset(settings.data.train_files, settings.data, tokenizer, None)

    def loader() -> Any:
        return StatefulDataLoader(
            dataset=found,
            batch_size=settings.data.train_batch_size,
            drop_last=True,
            collate_fn=collate_fn,
            sampler=create_rl_sampler(settings.data, found),
        )

    batches = list(loader())
    assert len(batches) == settings.trainer.total_training_steps
    assert [{info["step"] for info in batch["extra_info"]} for batch in batches] == [{step} for step in range(6)]
    first = loader()
    reader = iter(first)
    for _ in range(3):
        next(reader)
    second = loader()
    second.load_state_dict(first.state_dict())
    assert [list(batch["raw_prompt"]) for batch in second] == [list(batch["raw_prompt"]) for batch in batches[3:]]
    score = get_custom_reward_fn(settings)
    assert score is not None
    row = batches[0]
    paid = score(
        data_source=row["data_source"][0],
        solution_str=COMPLETIONS[0],
        ground_truth=row["reward_model"][0]["ground_truth"],
        extra_info=row["extra_info"][0],
    )
    assert paid["score"] > 0


@needs_verl
def test_verl_knows_every_key(exported: tuple[Config, Path]) -> None:
    """Every key of verl.yaml is one of verl's own configuration."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    with initialize_config_module("verl.trainer.config", version_base=None):
        theirs = OmegaConf.to_container(compose("ppo_trainer"))
    ours = yaml.safe_load((exported[1] / "verl.yaml").read_text())
    del ours["hydra"], ours["defaults"]
    reward = ours["reward"]["custom_reward_function"]
    assert set(reward.pop("reward_kwargs")) == {"exported"}  # verl hands on what it finds there

    def unknown(mine: Any, known: Any, where: str = "") -> list[str]:
        if not isinstance(mine, dict) or not isinstance(known, dict):
            return []
        return [f"{where}{key}" for key in mine if key not in known] + [
            name for key in mine if key in known for name in unknown(mine[key], known[key], f"{where}{key}.")
        ]

    assert unknown(ours, theirs) == []
