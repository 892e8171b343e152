"""RL: TRL's GRPOTrainer on prompts whose routes fade.

The fade, for G = 3 and two processes with four completions each (compare the sampler's map in TRL's grpo_trainer.py;
x y z u are questions, r1 … r4 the routes shown):

                      |      process 0      |      process 1      |
                       <-----G----->  <-----G----->  one prompt a group, on whatever process its members are
    global_step  τ    p   x   x   x   y     y   y   z   z   z …
         0      0.00 1.00 x + r3 r1 r4 r2   y + r2 r4 r3 r1         every route is shown
         1      0.25 0.82 z + r1 r4 r3      u + r3 r1 r2 r4         each route stays with probability p
         2      0.50 0.41 y + r4            x + r1 r3               other routes for y and x than at step 0
         3      0.75 0.07 u                 z                       questions alone: what is left is the student's own
                            └── drawn from (seed, question id, global_step) when the step generates, never before:
                                a prefetched batch holds question ids only, a resumed run or another process draws
                                the same.

With `num_iterations` μ > 1 a batch is generated at every μ-th step and learned from μ times.

Under fade.schedule adaptive p also depends on what earlier batches achieved, and under training.rl.sampler dynamic the
questions do (see `feedback`): on moving averages that are the same on all processes and saved in every checkpoint.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig

from realm.config import Config
from realm.errors import ConfigError
from realm.method.schedule import Schedule
from realm.method.seeds import question_order
from realm.plugins import POINTS
from realm.student.generate import completion_text, end_tokens
from realm.student.prompts import Prompt, encode_text, prompt_text
from realm.student.renderer import Renderer, as_prompt
from realm.traces.pipeline import instance
from realm.training.adapters import lora_config
from realm.training.companion import CompanionTrainer
from realm.training.companions.base import Companion, Seen
from realm.training.experts import Kept
from realm.training.failures import Finite
from realm.training.feedback import Feedback, make_feedback
from realm.training.group import sharded
from realm.training.rewards import RouteReward
from realm.training.settings import Quiet, accumulation, common_arguments
from realm.training.shapes.base import Shape, added, shaped
from realm.training.stages import Job

#: The fade of an evaluation.
_NO_HELP = Schedule(kind="constant", p_start=0.0)


class RouteTrainer(Quiet, Finite, Kept, CompanionTrainer):
    """GRPOTrainer whose prompts are rendered when a batch is generated.

    Three things change in `CompanionTrainer`: `_tokenize_prompts`, `_calculate_rewards`, and
    `_generate_and_score_completions`, where the `prompt` of every input row is rendered from (seed, question id,
    `state.global_step`) before TRL generates, and the routes shown travel with the row to the reward; with `feedback`,
    the questions may be chosen there too, and it learns from the scored batch; shapes and the rows of companions come
    last. With k = 0, no feedback, no shape and no companion the prompts never change and the trainer is, with
    `share=False`, GRPOTrainer, step for step.

    Private seams of TRL 1.16 it leans on (a contract test each, in tests/training/test_grpo.py):
        `_generate_and_score_completions(inputs)` gets the rows of the dataset, one per completion, when completions
            are generated (not when the batch is fetched), and returns the generation batch;
        `_tokenize_prompts(prompts)` gives the token ids of the prompts, the same as evaluation and SFT have them: TRL
            knows neither the template's arguments nor its date, and lets a tokenizer end plain prompts;
        `_calculate_rewards` hands every column of these rows, the added ones too, to the reward function, and gives the
            rewards of all processes, (completions, functions);
        `_metrics["train"]` holds, by name, the values that `log` takes the mean of;
        `_send_telemetry` and `create_model_card` (see `Quiet`), `_get_grad_norm` (see `Finite`), `_save` (see `Kept`).

    Args:
        renderer: renders the questions named by the column `question_id`.
        feedback: what p and the questions depend on besides the step, if on anything.
        shapes: of the rewards and advantages of a training batch.
    """

    def __init__(
        self,
        *args: Any,
        renderer: Renderer,
        feedback: Feedback | None = None,
        shapes: Sequence[Shape] = (),
        **kwargs: Any,
    ) -> None:
        self.renderer, self.feedback, self.shapes = renderer, feedback, shapes
        super().__init__(*args, **kwargs)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        tokenizer: Any = self.processing_class
        texts = [prompt if isinstance(prompt, str) else prompt_text(tokenizer, prompt) for prompt in prompts]
        return [encode_text(tokenizer, text) for text in texts], None, {}

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        step = self.state.global_step
        training = bool(self.model.training)  # type: ignore[union-attr]
        tau = step / max(1, self.state.max_steps)
        metrics = self._metrics["train" if training else "eval"]
        # In an evaluation nobody helps, and nothing is learned.
        feedback = self.feedback if training else None
        schedule = None if training else _NO_HELP
        if feedback is not None:
            for name, value in feedback.figures().items():
                metrics[name].append(value)
            if feedback.dynamic:
                inputs = self._ask(feedback, inputs)
        rendered: dict[str, Prompt] = {}
        rows = []
        for row in inputs:
            question_id = row["question_id"]
            if question_id not in rendered:
                success = feedback.success(question_id) if feedback is not None else None
                rendered[question_id] = self.renderer.render(question_id, step, tau, success, schedule=schedule)
            shown = rendered[question_id]
            rows.append(
                {
                    **row,
                    "prompt": as_prompt(self.renderer.tokenizer, shown.messages),
                    "routes": shown.routes,
                    "p": shown.p,
                    "tau": tau,
                    "dropped": shown.dropped,
                }
            )
        batch: dict[str, Any] = super()._generate_and_score_completions(rows)
        if not training:
            return batch
        reward: Any = self.reward_funcs[0]
        if self.shapes:
            advantages = batch["advantages"]
            batch["advantages"] = advantages.new_tensor(shaped(self.shapes, reward.groups, advantages.tolist()))
        # Of all processes: a group may lie on several.
        groups = self.accelerator.gather(batch["advantages"]).view(-1, self.num_generations)
        metrics["zero_spread_groups"].append(zero_spread(groups))
        if feedback is not None:
            counts = torch.tensor(feedback.count(reward.groups), device=self.accelerator.device)
            feedback.learn(self.accelerator.reduce(counts, reduction="sum").tolist())
        if not self.companions:
            return batch
        sampled = [
            (prompt[asked == 1].tolist(), completion[written == 1].tolist())
            for prompt, asked, completion, written in zip(
                *(batch[f"{part}_{name}"] for part in ("prompt", "completion") for name in ("ids", "mask")), strict=True
            )
        ]
        ends = frozenset(self.eos_token_ids)
        return batch | self.accompany(Seen(reward.groups, sampled, self.renderer, step, reward.best, ends), batch)

    def _calculate_rewards(self, *given: Any) -> torch.Tensor:
        rewards: torch.Tensor = super()._calculate_rewards(*given)
        if self.shapes and self.model.training:  # type: ignore[union-attr]
            reward: Any = self.reward_funcs[0]
            more = self.accelerator.gather(rewards.new_tensor(added(self.shapes, reward.groups)))
            self._metrics["train"]["shaped"].append(float(more.mean()))
            rewards[:, 0] += more
        return rewards

    def _ask(self, feedback: Feedback, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of this process, which has one part of the generated batch, with the questions of the sampler."""
        asked = feedback.ask(self.state.global_step // self.num_iterations)
        first = self.accelerator.process_index * len(inputs)
        return [{**row, "question_id": asked[number]} for number, row in enumerate(inputs, first)]


def zero_spread(groups: torch.Tensor) -> float:
    """The share of groups that teach nothing, because all rewards that are known in them are equal.

    TRL's own figure (`frac_reward_zero_std`) is that of the batch under scale_rewards batch, and takes rounding for
    spread.

    Args:
        groups: (groups, G) advantages.
    """
    # Around their mean there are some on either side; rounding of the mean puts all of them on one.
    spread = (groups > 0).any(1) & (groups < 0).any(1)
    return 1 - float(spread.float().mean())


def grpo_settings(config: Config, *, output: str, seed: int, context: int) -> GRPOConfig:
    """TRL's settings for one stage of RL.

    Nothing is forwarded twice: the old log-probabilities are those of the update itself (steps per generation =
    accumulation steps), and a reference model exists only for β > 0. top_p 1 and top_k 0 (TRL's defaults) keep the
    importance ratio unbiased.

    Raises:
        ConfigError: the batch does not divide over the processes, or vLLM is asked for and not installed.
    """
    rl = config.training.rl
    vllm: dict[str, Any] = {}
    if rl.vllm != "off":
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError(
                "training.rl.vllm: vLLM is not installed; `pip install 'realm-slm[vllm]'` or set it to off."
            )
        vllm = {"use_vllm": True, "vllm_mode": rl.vllm}
        if rl.vllm == "server":
            vllm |= {"vllm_server_base_url": rl.vllm_url}
        else:
            vllm |= {"vllm_gpu_memory_utilization": rl.vllm_memory, "vllm_max_model_length": context}
    schedule = "constant_with_warmup" if rl.lr_schedule == "constant" and rl.warmup_steps else rl.lr_schedule
    return GRPOConfig(
        **common_arguments(config, output=output, seed=seed, steps=rl.steps, repeat=rl.num_iterations),
        **vllm,
        per_device_train_batch_size=rl.micro_batch_size,
        gradient_accumulation_steps=accumulation(rl.batch_size, rl.micro_batch_size, "training.rl"),
        num_generations=rl.num_generations,
        num_iterations=rl.num_iterations,
        max_completion_length=rl.max_completion_length,
        temperature=rl.temperature,
        top_p=1.0,
        top_k=0,
        beta=rl.beta,
        epsilon=rl.epsilon,
        epsilon_high=rl.epsilon_high,
        top_entropy_quantile=rl.top_entropy_quantile,
        mask_truncated_completions=rl.mask_truncated,
        loss_type=rl.loss_type,
        scale_rewards=rl.scale_rewards,
        learning_rate=rl.learning_rate,
        lr_scheduler_type=schedule,
        warmup_steps=rl.warmup_steps,
        max_grad_norm=rl.max_grad_norm,
        weight_decay=rl.weight_decay,
        gradient_checkpointing=rl.gradient_checkpointing,
        bf16=rl.bf16,
        disable_dropout=True,
        shuffle_dataset=False,
        log_completions=False,
    )


def extras(config: Config, args: GRPOConfig) -> dict[str, Any]:
    """The shapes and companions of a configuration, as `RouteTrainer` takes them.

    Raises:
        ConfigError: one cannot be had or has no such option, or does not work on so many processes.
    """
    rl = config.training.rl
    shapes = [instance("shapes", one, Shape) for one in rl.shapes]
    companions = [instance("companions", one, Companion) for one in rl.companions]
    if any(one.weight for one in companions) and sharded():
        raise ConfigError(
            f"{POINTS['companions'].key}: with sharded weights (FSDP, ZeRO-3) every process must forward the same "
            "number of times, and this does not; take them out, or use DDP or ZeRO-2."
        )
    local = int(args.generation_batch_size or 0) // args.world_size
    if local % args.num_generations and (shapes or any(one.whole for one in companions)):
        raise ConfigError(
            f"{POINTS['shapes' if shapes else 'companions'].key}: {args.world_size} processes with {local} completions "
            f"each cut groups of {args.num_generations} apart; let G divide the completions of a process "
            "(training.rl.batch_size, num_generations)."
        )
    return {"shapes": shapes, "companions": companions}


def grpo_rows(renderer: Renderer, config: Config, seed: int) -> Dataset:
    """The questions of the whole stage in the order they are asked: one row (`question_id`, empty `prompt`) a group.

    One pass over these rows is the stage, so the order is a function of the seed alone: TRL's sampler would shuffle
    anew every epoch from a generator whose state no checkpoint keeps, and a resumed run would ask other questions.
    """
    rl = config.training.rl
    generations = -(-rl.steps // rl.num_iterations)
    count = generations * (rl.batch_size // rl.num_generations)
    ids = question_order(list(renderer.questions), count, seed)
    return Dataset.from_dict({"prompt": [""] * count, "question_id": ids})


def make_rl(job: Job) -> RouteTrainer:
    """The trainer of one stage of RL; its checkpoints go below `job.output`."""
    reward = RouteReward(job.config, job.renderer.questions, job.pool)
    return make_grpo_trainer(
        job.config,
        model=job.model,
        tokenizer=job.tokenizer,
        renderer=job.renderer,
        reward=reward,
        output=job.output,
        seed=job.renderer.seed,
        callbacks=[job.record(reward=reward)],
    )


def make_grpo_trainer(
    config: Config,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    renderer: Renderer,
    reward: RouteReward,
    output: str,
    seed: int,
    callbacks: list[TrainerCallback],
) -> RouteTrainer:
    """The trainer of one RL stage; checkpoints go below `output`."""
    reward.read = partial(completion_text, tokenizer, ends=end_tokens(model, tokenizer))
    feedback = make_feedback(config, renderer.questions, seed, k=renderer.selection.k)
    args = grpo_settings(config, output=output, seed=seed, context=renderer.context)
    trainer = RouteTrainer(
        **extras(config, args),
        renderer=renderer,
        feedback=feedback,
        share=config.training.rl.shared_prefix == "auto",
        model=model,
        processing_class=tokenizer,
        reward_funcs=reward,
        args=args,
        train_dataset=grpo_rows(renderer, config, seed),
        peft_config=lora_config(config),
        callbacks=callbacks if feedback is None else [*callbacks, feedback],
    )
    trainer.be_quiet()
    return trainer
