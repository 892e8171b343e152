"""The section `training` of the configuration: every key, its type, its default and what it means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from realm.recipes import RECIPES, recipe
from realm.sections import Probability, Section


class SFTSettings(Section):
    """Supervised fine-tuning: the cold start of realm-r1, and all of some baselines (TRL's SFTTrainer)."""

    steps: int = Field(100, ge=0, description="Optimizer steps.")
    batch_size: int = Field(32, ge=1, description="Examples per optimizer step.")
    micro_batch_size: int = Field(32, ge=1, description="Examples per forward on one device.")
    learning_rate: float = Field(2e-5, gt=0)
    taught: Literal["positive", "distinct", "all", "tailored", "contrast"] = Field(
        "positive",
        description="Which CoTs: right ones, right ones that differ, all; or written for the student's errors.",
    )
    guided_first: bool = Field(True, description="Prefer guided positive CoTs as targets where there are some.")
    empty_share: Probability = Field(0.5, description="Share of examples without any route.")


class InternalizeSettings(Section):
    """Right completions that were shown routes are also learned without them (method, 5.3)."""

    weight: float = Field(0.0, ge=0, description="Of this loss beside GRPO's; 0 turns it off.")
    by: Literal["sft", "distill"] = Field(
        "sft", description="Learn right completions themselves, or their distribution with routes."
    )


class RLSettings(Section):
    """RL (TRL's GRPOTrainer underneath)."""

    steps: int = Field(200, ge=1, description="Optimizer steps; τ = step / steps.")
    num_generations: int = Field(8, ge=2, description="G: completions per prompt (the group).")
    batch_size: int = Field(96, ge=2, description="Completions per optimizer step over all processes; a multiple of G.")
    micro_batch_size: int = Field(96, ge=1, description="Completions per forward and backward on one device.")
    learning_rate: float = Field(1e-6, gt=0)
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    max_completion_length: int = Field(512, ge=1, description="Tokens a completion may have.")
    temperature: float = Field(1.0, gt=0)
    beta: float = Field(0.0, ge=0, description="KL coefficient β; above 0 a reference model is kept.")
    epsilon: float = Field(0.2, gt=0, description="Clipping range of the importance ratio.")
    num_iterations: int = Field(1, ge=1, description="Updates per generated batch (μ).")
    sampler: Literal["even", "dynamic"] = Field(
        "even", description="even: every question as often as any other; dynamic: kinds far from the target more often."
    )
    sampler_target: Probability = Field(
        1.0, description="`dynamic`: share of the highest reward from which on a kind counts as mastered."
    )
    sampler_temperature: float = Field(
        0.5, gt=0, description="`dynamic`: the lower, the more the kind farthest from the target is asked."
    )
    sampler_floor: Probability = Field(
        0.1, description="`dynamic`: share of the questions that is spread evenly over the kinds whatever they earn."
    )
    sampler_memory: float = Field(
        0.8, ge=0, lt=1, description="`dynamic`: share of a kind's old reward kept when a batch brings a new one."
    )
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = "dapo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    max_grad_norm: float = Field(1.0, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    gradient_checkpointing: bool = Field(
        False,
        description="Less memory, more time, also in the cold start. The update shares no prompts then: it reads a "
        "prompt once per completion.",
    )
    bf16: bool = Field(False, description="Mixed precision, also in the cold start (needs hardware that has it).")
    optimizer: Literal["adamw_torch_fused", "adamw_torch", "adamw_8bit", "adafactor"] = Field(
        "adamw_torch_fused", description="Also of the cold start; adamw_8bit needs the package bitsandbytes."
    )
    # YAML reads a bare off as false, here and below.
    shared_prefix: Annotated[Literal["auto", "off"], BeforeValidator(lambda v: "off" if v is False else v)] = Field(
        "auto", description="auto: a prompt is read once for its whole group wherever that pays; off: TRL's own path."
    )
    vllm: Annotated[Literal["off", "colocate", "server"], BeforeValidator(lambda v: "off" if v is False else v)] = (
        Field(
            "off",
            description="Generate with vLLM through TRL: beside the training on every GPU, or on a server of its own.",
        )
    )
    vllm_url: str = Field(
        "http://localhost:8000", pattern=r"^https?://", description="Where the server of `vllm: server` listens."
    )
    internalize: InternalizeSettings = InternalizeSettings()
    vllm_memory: float = Field(0.3, gt=0, le=0.95, description="Share of each GPU's memory under `vllm: colocate`.")

    @model_validator(mode="after")
    def _divides(self) -> RLSettings:
        if self.batch_size % self.num_generations:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of num_generations G ({self.num_generations}), "
                f"e.g. {max(1, round(self.batch_size / self.num_generations)) * self.num_generations}"
            )
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of micro_batch_size ({self.micro_batch_size})"
            )
        return self


class LoRASettings(Section):
    """Training of low-rank adapters (LoRA, arXiv 2106.09685) instead of all weights; the saved model is merged."""

    r: int = Field(0, ge=0, description="Rank of the adapters; 0 trains all weights.")
    alpha: int = Field(32, ge=1, description="The adapters' output is scaled by alpha / r.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Of the adapters' input, in the cold start; RL runs without.")
    targets: list[str] = Field(
        [], description="Ends of the names of adapted layers, e.g. [q_proj, v_proj]; empty: every one but the head."
    )


class InstructorSettings(Section):
    """The baseline LLMs-as-Instructors (arXiv 2407.00497): the teacher writes examples for the student's own errors."""

    questions: int = Field(200, ge=1, description="Training questions whose answers are looked at in each round.")
    examples: int = Field(4, ge=1, description="Examples asked for each error, each with a request of its own.")


class TrainingConfig(Section):
    """One training run."""

    recipe: Annotated[str, AfterValidator(lambda name: recipe(name) and name)] = Field(
        "realm-r1",
        description="realm-r1 (SFT, then RL), realm-zero (RL at once), or a baseline (see realm/recipes): "
        f"{', '.join(RECIPES)}; or package.module:attribute.",
    )
    rounds: int = Field(
        1, ge=1, description="How often realm-r1 and sft+grpo repeat SFT + RL, and instructors its SFT."
    )
    sft: SFTSettings = SFTSettings()
    rl: RLSettings = RLSettings()
    lora: LoRASettings = LoRASettings()
    instructors: InstructorSettings = InstructorSettings()
    save_every: int = Field(50, ge=1, description="Steps between checkpoints that --resume can use.")
    keep_checkpoints: int = Field(2, ge=1)
    eval_every: int = Field(50, ge=1, description="Steps between evaluations on the validation questions.")
    eval_questions: int = Field(100, ge=0, description="Training-time evaluation uses this many; 0 turns it off.")
    log_every: int = Field(1, ge=1, description="Steps between rows of metrics.jsonl.")
    sample_every: int = Field(10, ge=1, description="Steps between saved groups of completions.")
    sample_groups: int = Field(2, ge=0, description="Groups saved each time.")
