"""The RL stage of a run as verl's (github.com/volcengine/verl: Ray, many nodes) own files; the method stays ours.

    train.parquet        one question a row, every route with its label; the file's metadata say what the run is
    validation.parquet   the same, shown without routes
    verl.yaml            verl's configuration, with the command in its head

verl loads `verl_plugin`, which renders the prompt of a question at a step and pays the reward with this package's own
functions; `pip install --no-deps` this package where verl is. The cold start of realm-r1 is not verl's: train it here,
and export with its model.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from realm.bank.store import Bank
from realm.config import Config, dump_config
from realm.errors import ConfigError, DataError, ModelError
from realm.files import write_atomic, writing
from realm.method.prompt import Example, Wording, messages
from realm.recipes import plan
from realm.student.load import context_length, load_outline, load_tokenizer, resolve
from realm.student.prompts import make_schedule, make_wording, presented, settled, template_arguments
from realm.tasks.base import Comment, Question, Task, encodable
from realm.tasks.verify import ByKind, Verifier, verifier

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Key of the file's metadata.
KEY = b"realm"
#: TRL's `loss_type` as verl's `loss_agg_mode`.
_LOSS = {
    "dapo": "token-mean",
    "bnpo": "token-mean",
    "grpo": "seq-mean-token-mean",
    "dr_grpo": "seq-mean-token-sum-norm",
}
#: Our optimizers as verl's `optimizer` and `optimizer_impl`.
_OPTIMIZERS = {
    "adamw_torch_fused": ("AdamW", "torch.optim"),
    "adamw_torch": ("AdamW", "torch.optim"),
    "adamw_8bit": ("AdamW8bit", "bitsandbytes.optim"),
}
_PLUGIN = "pkg://realm.training.verl_plugin"
#: Beyond e^20, at which verl cuts the importance ratio, so that its dual clip, which TRL's loss has not, never acts.
_NO_DUAL_CLIP = 1e9


@dataclass(frozen=True)
class Exported:
    """What the metadata of a file say of its run. `config` is the run's whole configuration as YAML.

    `k`: routes per prompt before fading; `context`: tokens of prompt and completion; `split`: train fades by step.
    """

    config: str
    wording: Wording
    verifier: str
    k: int
    context: int
    split: str
    task: str


class ExportedTask:
    """The training questions of an exported file, as the renderer asks for them."""

    labels: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()

    def __init__(self, exported: Exported, choices: list[str], questions: list[Question]) -> None:
        self.name = exported.task
        self.wording = exported.wording
        self.verifier: Verifier = verifier(exported.verifier, choices)
        self._questions = questions

    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def rows(self, split: str) -> list[Question]:
        return self._questions


def export_verl(config: Config, task: Task, bank: Bank | None, out: Path, *, k: int) -> list[Path]:
    """Write the files into the folder `out`, which is made, and return them.

    Args:
        k: routes per prompt of the RL stage (0 in the recipe grpo).

    Raises:
        ConfigError: prompts or questions would depend on what verl's batches achieve, or `model.template_arguments`
            does not suit the chat template.
        ModelError: the student's tokenizer has no chat template, without which verl has no prompt.
        DataError: there is no training question, or a text that UTF-8 cannot hold.
        ResourceError: the disk refuses.
    """
    _refuse_feedback(config, k)
    if isinstance(task.verifier, ByKind):
        raise ConfigError("task.verifier: verl's reward is not told the kind of a question; name one for all of them.")
    tokenizer = load_tokenizer(config.model.path, config.model)
    if not tokenizer.chat_template:
        raise ModelError(f"{config.model.path}: verl needs a tokenizer with a chat template, and this one has none.")
    context = context_length(load_outline(config.model.path), config)
    config = settled(config, task, tokenizer, context - config.training.rl.max_completion_length)
    files = []
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation"):
            questions = task.rows(split)
            if not questions and split == "train":
                raise DataError("there is no training question to export; check task.path.")
            exported = Exported(
                dump_config(config),
                make_wording(config, task, tokenizer),
                task.verifier.name,
                k,
                context,
                split,
                task.name,
            )
            rows = [
                _row(config, exported, tokenizer, number, question, bank) for number, question in enumerate(questions)
            ]
            (out / "verl.yaml").unlink(missing_ok=True)  # it names the others, and so is there when they are
            files.append(out / f"{split}.parquet")
            _write(files[-1], rows, exported)
        files.append(out / "verl.yaml")
        write_atomic(files[-1], verl_config(config, out.resolve(), context))
    return files


def _refuse_feedback(config: Config, k: int) -> None:
    """verl's data set renders a prompt from its number alone; nobody tells it what earlier ones achieved."""
    for follows, key, instead in (
        (k > 0 and make_schedule(config).follows, "fade.schedule", "cosine, linear, step or constant"),
        (config.training.rl.sampler == "dynamic", "training.rl.sampler", "even"),
    ):
        if follows:
            raise ConfigError(
                f"{key}: {config.get(key)} follows what earlier batches achieved, which verl does not hand to its data "
                f"set; set it to {instead} for the export."
            )


def _row(
    config: Config,
    exported: Exported,
    tokenizer: PreTrainedTokenizerBase,
    number: int,
    question: Question,
    bank: Bank | None,
) -> dict[str, Any]:
    routes = bank.routes(question.id) if bank is not None and exported.k else []
    row = {
        # What verl's own dataset reads; the prompt is the one without routes.
        "data_source": f"realm/{exported.task}",
        "prompt": presented(tokenizer, messages(question.question, (), exported.wording, config.prompt.tags())),
        "ability": exported.task,
        "reward_model": {"style": "rule", "ground_truth": question.answer},
        "extra_info": {"index": number, "split": exported.split, "question_id": question.id},
        # What ours reads.
        "question": question.question,
        "routes": [asdict(route) for route in routes],
    }
    if not encodable(json.dumps(row, ensure_ascii=False)):
        raise DataError(
            f"question {question.id}: it or a route of it holds text that UTF-8, and so Parquet, cannot hold."
        )
    return row


_TEXT = pa.string()
_SCHEMA = pa.schema(
    {
        "data_source": _TEXT,
        "prompt": pa.list_(pa.struct({"role": _TEXT, "content": _TEXT})),
        "ability": _TEXT,
        "reward_model": pa.struct({"style": _TEXT, "ground_truth": _TEXT}),
        "extra_info": pa.struct({"index": pa.int64(), "split": _TEXT, "question_id": _TEXT}),
        "question": _TEXT,
        "routes": pa.list_(pa.struct({"id": _TEXT, "text": _TEXT, "answer": _TEXT, "label": pa.int8()})),
    }
)


def _write(path: Path, rows: list[dict[str, Any]], exported: Exported) -> None:
    schema = _SCHEMA.with_metadata({KEY: json.dumps(asdict(exported)).encode("ascii")})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def read_exported(path: str | Path) -> Exported:
    """The metadata of an exported file.

    Raises:
        DataError: it is no Parquet file, or none of ours.
    """
    try:
        found = json.loads((pq.read_schema(path).metadata or {})[KEY])
        examples = tuple(Example(**one) for one in found["wording"].pop("examples", ()))
        wording = Wording(**found["wording"], examples=examples)
        return Exported(**{**found, "wording": wording})
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected a file that `realm export verl` wrote ({error!r}).") from error


def groups_per_step(config: Config) -> int:
    """Prompts of one generated batch."""
    return config.training.rl.batch_size // config.training.rl.num_generations


def generations(config: Config) -> int:
    """Batches that are generated over the stage; verl counts its steps by them."""
    return -(-config.training.rl.steps // config.training.rl.num_iterations)


def verl_config(config: Config, folder: Path, context: int) -> str:
    """verl's configuration as YAML with comments: the run's settings by verl's names, the rest verl's defaults."""
    rl, lora, groups = config.training.rl, config.training.lora, groups_per_step(config)
    optimizer, module = _OPTIMIZERS.get(rl.optimizer, _OPTIMIZERS["adamw_torch"])
    name = resolve(config.model.path)
    place = Path(name)
    model: dict[str, Any] = {
        "path": str(place.resolve()) if place.is_dir() else name,
        "enable_gradient_checkpointing": rl.gradient_checkpointing,
    }
    if lora.r:
        model |= {"lora_rank": lora.r, "lora_alpha": lora.alpha, "target_modules": lora.targets or "all-linear"}
    tree: dict[str, Any] = {
        "hydra": {"searchpath": ["pkg://verl.trainer.config"]},
        "defaults": ["ppo_trainer", "_self_"],
        "data": {
            "train_files": str(folder / "train.parquet"),
            "val_files": str(folder / "validation.parquet"),
            "train_batch_size": groups,
            "max_prompt_length": context - rl.max_completion_length,
            "max_response_length": rl.max_completion_length,
            # The dataset is in the order of the steps already: row i is asked at step i // train_batch_size.
            "shuffle": False,
            "filter_overlong_prompts": False,
            "custom_cls": {"path": _PLUGIN, "name": "RouteDataset"},
            # With a template that asks for the day goes one that knows it: verl hands on whatever stands here.
            "apply_chat_template_kwargs": template_arguments(load_tokenizer(config.model.path), config.model),
        },
        "reward": {
            "custom_reward_function": {
                "path": _PLUGIN,
                "name": "compute_score",
                "reward_kwargs": {"exported": str(folder / "train.parquet")},
            }
        },
        "algorithm": {
            # The plugin's: verl's own "grpo" makes advantages of up to 0.2 of the rounding in groups of equal rewards.
            "adv_estimator": f"realm-{rl.scale_rewards}",
            "use_kl_in_reward": False,
        },
        "actor_rollout_ref": {
            "model": model,
            "actor": {
                "optim": {
                    "optimizer": optimizer,
                    "optimizer_impl": module,
                    "lr": rl.learning_rate,
                    "lr_scheduler_type": "constant" if rl.lr_schedule == "constant" else "cosine",
                    "lr_warmup_steps": rl.warmup_steps,
                    "weight_decay": rl.weight_decay,
                },
                "ppo_mini_batch_size": groups,
                "ppo_micro_batch_size_per_gpu": rl.micro_batch_size,
                "ppo_epochs": rl.num_iterations,
                "clip_ratio": rl.epsilon,
                "clip_ratio_low": rl.epsilon,
                "clip_ratio_high": rl.epsilon_high or rl.epsilon,
                "clip_ratio_c": _NO_DUAL_CLIP,
                "grad_clip": rl.max_grad_norm,
                "loss_agg_mode": _LOSS[rl.loss_type],
                # By itself verl divides by the longest completion of the micro-batch. Read for dr_grpo only.
                "loss_scale_factor": rl.max_completion_length if rl.loss_type == "dr_grpo" else None,
                "use_kl_loss": rl.beta > 0,
                "kl_loss_coef": rl.beta,
                # TRL multiplies k3 by the importance ratio, which gives it the gradient of k2; the + does that here.
                "kl_loss_type": "k3+",
            },
            "rollout": {
                "name": "vllm",
                "n": rl.num_generations,
                "temperature": rl.temperature,
                "log_prob_micro_batch_size_per_gpu": rl.micro_batch_size,
            },
            "ref": {"log_prob_micro_batch_size_per_gpu": rl.micro_batch_size},
        },
        "trainer": {
            "project_name": "realm",
            "experiment_name": config.run.name,
            "default_local_dir": str(folder / "checkpoints"),
            "logger": ["console"],
            "total_epochs": 1,
            "total_training_steps": generations(config),
            "save_freq": config.training.save_every,
            "max_actor_ckpt_to_keep": config.training.keep_checkpoints,
            "test_freq": config.training.eval_every,
            "nnodes": 1,
            "n_gpus_per_node": 8,
        },
    }
    head = (
        "# The RL stage of a run of realm for verl. Where verl is installed, and this package beside it:\n"
        f"#   {start_command(folder)}\n"
        "# Any key can be overridden there, e.g. trainer.nnodes=4.\n"
    )
    return head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def without_counterpart(config: Config) -> list[str]:
    """What of the run's settings verl cannot follow, a sentence each, with what it does instead."""
    training, rl = config.training, config.training.rl
    student: Any = load_outline(config.model.path).config.get_text_config()
    found: dict[str, str | bool | int] = {
        "rl.lr_schedule": rl.lr_schedule == "linear" and "verl's decays as a cosine, to zero too",
        "rl.optimizer": rl.optimizer not in _OPTIMIZERS and "verl trains with AdamW",
        "rl.loss_type": rl.loss_type == "bnpo"
        and rl.micro_batch_size < rl.batch_size
        and "verl averages over the tokens of the whole batch, not over those of each micro-batch",
        "rl.beta": rl.beta > 0
        and rl.num_iterations > 1
        and "from a batch's second update on the KL is not weighed by the importance ratio",
        "rl.top_entropy_quantile": rl.top_entropy_quantile < 1 and "verl learns from all tokens",
        "rl.mask_truncated": rl.mask_truncated and "verl learns from completions that were cut too",
        "rl.shapes": bool(rl.shapes) and "verl's rewards and advantages have no shapes",
        "rl.companions": bool(rl.companions) and "verl's loss has no term beside GRPO's",
        "rl.bf16": not rl.bf16 and "verl computes in bf16, with weights in float32",
        "rl.vllm": rl.vllm != "off" and "verl starts vLLM itself, as actor_rollout_ref.rollout says",
        "lora.dropout": bool(training.lora.r and training.lora.dropout) and "verl has none",
        "rounds": plan(config)[-1].round > 0 and "this is the RL stage of the first",
        "average.base": training.average.base > 0 and "mix the base in by realm average",
        "average.checkpoints": training.average.checkpoints > 1 and "average verl's by realm average",
        "best": bool(training.best) and "verl keeps its last checkpoint",
        "eval_questions": training.eval_questions and "verl validates on all of them, without routes",
    }
    lines = []
    for key, instead in found.items():
        if instead:
            section, _, name = key.rpartition(".")
            value = getattr(getattr(training, section) if section else training, name)
            lines.append(f"training.{key} ({str(value).lower()}): {instead}")
    # As TRL's trainer decides it.
    balance = getattr(student, "router_aux_loss_coef", 0.0)
    if balance and hasattr(student, "output_router_logits"):
        lines.append("model.path (a mixture of experts): verl's loss has no term that balances the experts")
    if config.model.dtype != "float32":
        lines.append(f"model.dtype ({config.model.dtype}): verl keeps the weights that it trains in float32")
    if config.model.tokenizer == "file":
        lines.append("model.tokenizer (file): verl loads the tokenizer as transformers does")
    if config.run.report_to:
        lines.append(f"run.report_to ({', '.join(config.run.report_to)}): name them in trainer.logger")
    return [
        *lines,
        "a completion that the verifier fails on: verl knows no missing reward; it earns none for its answer",
    ]


def start_command(folder: Path) -> str:
    """What starts verl on the exported files."""
    return f"python -m verl.trainer.main_ppo --config-path {shlex.quote(str(folder.resolve()))} --config-name verl"
