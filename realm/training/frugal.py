"""GRPOTrainer that forwards no prompt twice and no completion in vain, with the same loss and the same gradient."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.functional import pad
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from realm.student.ways import is_memory
from realm.training.rollout import foreign_settings, roll_out
from realm.training.shared_prefix import SharedBatch, shared_outputs, take_apart, unfit, virtual_tokens

logger = logging.getLogger(__name__)

#: A model as it is asked: its identity, whether its adapters are switched off (the reference of LoRA), which are on.
_Key = tuple[int, bool, tuple[str, ...]]

#: Mean absolute difference of the log-probabilities of shared and plain path that is taken for rounding.
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-8, torch.bfloat16: 3e-2, torch.float16: 1e-2}
#: How many times that the largest difference may be: it is 5 to 20 times the mean where rounding is all there is, in
#: each of these types (decoders of four families), and a few wrong tokens among thousands must not hide in the mean.
LARGEST = 50


def _key(bare: nn.Module) -> _Key:
    """`bare` is free of distributed wrappers, with or without adapters of peft."""
    if hasattr(bare, "peft_config"):
        for module in bare.modules():
            if isinstance(off := getattr(module, "disable_adapters", None), bool):
                return id(bare), off, tuple(module.active_adapters)  # type: ignore[arg-type]
    return id(bare), False, ()


@dataclass
class _Update:
    """What `_get_per_token_logps_and_entropies` is to know of the loss it is called for.

    `live`: numbers of the rows that can move the gradient; `fill`: (B, C) what stands for the log-probabilities of the
    others; `forwarded`: token positions forwarded so far.
    """

    live: torch.Tensor
    fill: torch.Tensor
    forwarded: int = 0


class FrugalGRPOTrainer(GRPOTrainer):
    """GRPOTrainer with less arithmetic. With `share=False` it is GRPOTrainer; else the only changes are:

    - Log-probabilities (policy, old policy, reference) come from `shared_prefix` where that pays and the model is fit
      for it. On its first use, and on its first batch of prompts that are unequally long, the result is compared with
      the plain path's; where they differ the plain path is taken from then on.
    - The rows of a generated batch go to the micro-batches in the order of their groups, not shuffled. An optimizer
      step uses all of them, so that the gradient is the same sum; one of several that share a batch (TRL's
      `steps_per_generation` above its accumulation, which no run sets) uses whole groups of it. (Loss type bnpo divides
      by the tokens of a micro-batch and so depends on who is in it: there the rows stay shuffled.)
    - A row whose advantage is zero is not forwarded as long as nothing but the advantage times the ratio is in the
      loss (β = 0, no entropy bonus): its loss is zero and its gradient too. It still counts in every mean that the loss
      is divided by. `entropy` in the log is the mean over the rows that were forwarded; clipping ratios are those of
      all rows, because a row without advantage is never clipped. Advantages of a group whose rewards are all equal
      are set to zero outright: rounding of their mean may leave some 1e-4 of nothing.
    - Completions are sampled by `rollout`, where vLLM does not: the prompt of a group is read once. Draws are a
      function of (seed, step, row of the batch), the same for any number of processes.
    - The metric `tokens_saved`: the share of the token positions that plain GRPO forwards in the update and this does
      not, over all processes.

    Sharded models (FSDP, ZeRO-3) take TRL's path: their processes must run the same forwards, and ours depend on the
    rows. Rows without advantage are left out there too, for that changes no number of forwards. The update of a model
    with an auxiliary loss (mixture of experts) is TRL's altogether: that loss is one of every token.

    Private seams of TRL 1.16 (a contract test each, in tests/training/test_frugal.py):
        `_get_per_token_logps_and_entropies(model, input_ids, attention_mask, logits_to_keep, batch_size,
            compute_entropy, compute_aux_loss, …)` is the only forward of the update, called once in `_compute_loss`;
        `model(shift_labels=…, fused_lm_head=True)` calls the backbone and scores all its positions unshifted;
        `_generate_and_score_completions` returns the batch in the order of its input rows, a dict of tensors;
        `_prepare_inputs` keeps the micro-batches in `_buffered_inputs` and takes number `_step` modulo their number;
        `_generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, has_tool_images)` returns
            (completion ids, None).

    Args:
        share: False: nothing of the above.
    """

    def __init__(self, *args: Any, share: bool = True, **kwargs: Any) -> None:
        self._share = share
        self._evaluated = (-1, -1)
        self._update: _Update | None = None
        self._refused: dict[_Key, str] = {}
        # With it: whether the batch that was looked at had gaps to be masked, which covers one without.
        self._checked: set[tuple[_Key, bool]] = set()
        self._told: set[str] = set()
        super().__init__(*args, **kwargs)

    # Log-probabilities

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        if not self._share or compute_aux_loss or any(value is not None for value in more.values()):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss, **more
            )
        update = self._update
        if update is not None:
            if not len(update.live):
                return *self._nothing(model, input_ids, attention_mask, logits_to_keep, update), None
            rows = update.live
            input_ids, attention_mask = input_ids[rows], attention_mask[rows]
        size = batch_size or len(input_ids)
        parts = [
            self._score(model, ids, mask, logits_to_keep, compute_entropy)
            for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        log_probs = torch.cat([part[0] for part in parts])
        entropies = torch.cat([part[1] for part in parts]) if compute_entropy else None  # type: ignore[misc]
        if update is not None:
            log_probs = update.fill.to(log_probs.dtype).index_copy(0, update.live, log_probs)
            if entropies is not None:
                entropies = torch.zeros_like(log_probs).index_copy(0, update.live, entropies.to(log_probs.dtype))
        return log_probs, entropies, None

    def _nothing(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, keep: int, update: _Update
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and entropies where no row can move the gradient.

        Two tokens go through the model all the same, so that every parameter gets its gradient (zero): processes that
        add up their gradients wait for one another.
        """
        start = ids.shape[1] - keep
        log_probs, _, _ = super()._get_per_token_logps_and_entropies(
            model, ids[:1, start - 1 : start + 1], mask[:1, start - 1 : start + 1], 1, None, True
        )
        update.forwarded += 2
        filled = update.fill.to(log_probs.dtype) + 0 * log_probs.sum()
        return filled, torch.zeros_like(filled)

    def _score(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, keep: int, entropy: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Log-probabilities and, if asked for, entropies of some rows, each (rows, keep)."""
        bare = self.accelerator.unwrap_model(model)
        reason = self._refusal(bare)
        if reason is None:
            batch = take_apart(ids, mask, keep)
            if batch.pays and self._agrees(bare, batch, ids, mask, keep):
                with self.accelerator.autocast():
                    outputs = shared_outputs(model, bare, batch)
                self._count(batch.forwarded)
                rest = (0, keep - outputs.log_probs.shape[1])
                return pad(outputs.log_probs, rest), pad(outputs.entropy, rest) if entropy else None
        else:
            self._tell(f"Prompts are forwarded once per completion: {reason}.")
        self._count(ids.numel())
        log_probs, entropies, _ = super()._get_per_token_logps_and_entropies(model, ids, mask, keep, None, entropy)
        return log_probs, entropies

    def _count(self, tokens: int) -> None:
        if self._update is not None:
            self._update.forwarded += tokens

    def _tell(self, message: str, *, everywhere: bool = False) -> None:
        """Say something once: on the main process, or on whichever it is true of."""
        main = self.accelerator.is_main_process
        if message not in self._told and (main or everywhere):
            logger.warning(message if main else f"process {self.accelerator.process_index}: {message}")
        self._told.add(message)

    def _sharded(self) -> bool:
        return bool(self._dist.is_zero3 or self._dist.is_fsdp)

    def _refusal(self, bare: nn.Module) -> str | None:
        """Why this model, as it is set up now, takes TRL's path."""
        if self._sharded():
            return "the model is sharded (FSDP, ZeRO-3)"
        if bare.training and any(getattr(module, "gradient_checkpointing", False) for module in bare.modules()):
            return (
                "gradient checkpointing keeps no cache; without it (gradient_checkpointing: false) and with smaller "
                "micro-batches, of a multiple of G completions, memory and time are saved"
            )
        key = _key(bare)
        if key not in self._refused:
            self._refused[key] = unfit(bare) or ""
        return self._refused[key] or None

    def _agrees(self, bare: nn.Module, batch: SharedBatch, ids: torch.Tensor, mask: torch.Tensor, keep: int) -> bool:
        """Whether both paths give the same log-probabilities; looked at on the first batch of each model only, with and
        without its adapters, and on its first one whose prompts are unequally long, so that gaps are masked.

        The model is called without its wrappers: what they do together with other processes must not depend on this.
        """
        key = _key(bare)
        gaps = batch.mask() is not None
        if (key, True) in self._checked or (key, gaps) in self._checked:
            return True
        self._checked.add((key, gaps))
        with torch.no_grad():
            try:
                with self.accelerator.autocast():
                    shared = shared_outputs(bare, bare, batch).log_probs
            except Exception as error:
                if is_memory(error):
                    raise
                return self._refuse(key, f"sharing them fails in this model ({type(error).__name__}: {error})"[:300])
            plain, _, _ = super()._get_per_token_logps_and_entropies(bare, ids, mask, keep, None, False)
        valid = batch.labels != -100
        width = valid.shape[1]
        found = (shared - plain[:, :width])[valid].abs()
        mean, largest = (float(found.mean()), float(found.max())) if valid.any() else (0.0, 0.0)
        dtype = next(bare.parameters()).dtype
        if self.accelerator.mixed_precision in ("bf16", "fp16"):
            dtype = torch.bfloat16 if self.accelerator.mixed_precision == "bf16" else torch.float16
        message = (
            f"log-probabilities with shared prompts differ by {mean:.1e} on average and {largest:.1e} at most from "
            "those without"
        )
        tolerance = TOLERANCES.get(dtype, TOLERANCES[torch.bfloat16])
        if mean <= tolerance and largest <= LARGEST * tolerance:
            logger.info(message)
            return True
        return self._refuse(key, message)

    def _refuse(self, key: _Key, reason: str) -> Literal[False]:
        """Take TRL's path from now on."""
        self._refused[key] = reason
        self._tell(f"Prompts are forwarded once per completion: {reason}.", everywhere=True)
        return False

    # The loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if not (self._share and model.training):
            return super()._compute_loss(model, inputs)
        if self.aux_loss_enabled:
            self._tell(
                "In the update prompts are forwarded once per completion: the auxiliary loss of a mixture of experts "
                "is one of every token."
            )
            self._metrics["train"]["tokens_saved"].append(0.0)
            return super()._compute_loss(model, inputs)
        mask, advantages, old = inputs["completion_mask"], inputs["advantages"], inputs.get("old_per_token_logps")
        only_advantages = self.beta == 0 and not self._entropy_bonus_enabled and self.top_entropy_quantile >= 1
        counts = advantages != 0 if only_advantages else torch.ones_like(advantages, dtype=torch.bool)
        # The ratio of a row that is left out must be a number: 1.
        fill = torch.zeros(mask.shape, device=mask.device) if old is None else old
        self._update = update = _Update(counts.nonzero()[:, 0], fill)
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        finally:
            self._update = None
        plain = len(mask) * (inputs["prompt_ids"].shape[1] + mask.shape[1])
        sums = torch.stack([mask[counts].sum(), mask.sum(), mask.new_tensor(update.forwarded), mask.new_tensor(plain)])
        live, every, forwarded, all_tokens = self.accelerator.reduce(sums.float(), reduction="sum").tolist()
        metrics = self._metrics["train"]
        metrics["tokens_saved"].append(1 - forwarded / all_tokens)
        # TRL has divided the sum over the rows that were forwarded by the tokens of all. It leaves NaN out of means.
        metrics["entropy"][-1] *= every / live if live else float("nan")
        return loss

    # The batch

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._share and self.model.training:  # type: ignore[union-attr]
            advantages = batch["advantages"]
            # A group may lie on several processes.
            groups = self.accelerator.gather(advantages).view(-1, self.num_generations)
            # Their mean is zero, but for rows without a reward (None) that TRL has set to zero and rounding.
            spread = (groups > 0).any(1) & (groups < 0).any(1)
            flat = ~spread.repeat_interleave(self.num_generations)
            start = self.accelerator.process_index * len(advantages)
            batch["advantages"] = advantages.masked_fill(flat[start : start + len(advantages)], 0.0)
            batch["row"] = torch.arange(len(advantages), device=advantages.device)
        return batch

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        parts = self._buffered_inputs
        if not self._share or self.loss_type == "bnpo" or parts is None or parts is before:
            return inputs
        order = torch.cat([part["row"] for part in parts]).argsort()
        whole = {
            name: torch.cat([part[name] for part in parts])[order]
            if isinstance(value, torch.Tensor) and value.ndim
            else value
            for name, value in parts[0].items()
        }
        self._buffered_inputs = split_tensor_dict(whole, len(parts))
        return self._buffered_inputs[self._step % len(parts)]

    # Sampling

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], Any]:
        reason = self._foreign(images, multimodal_fields)
        if not self._share or reason is not None:
            if self._share and reason:
                self._tell(f"Completions are sampled by transformers' generate: {reason}.")
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images=has_tool_images
            )
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,  # type: ignore[arg-type]
            ) as model,
            self.accelerator.autocast(),
        ):
            completions = roll_out(
                model,
                prompt_ids,
                self.generation_config,
                seed=self.args.seed,
                step=self.state.global_step,
                turn=self._turn(),
                first_row=self.accelerator.process_index * len(prompt_ids),
            )
        return completions, None

    def _turn(self) -> int:
        """The number of a generation among those of one optimizer step, or of one place of evaluations: each draws
        anew."""
        args: Any = self.args
        if self.model.training:  # type: ignore[union-attr]
            every = args.steps_per_generation * self.num_iterations
            return int(self._step % args.gradient_accumulation_steps // every)
        step, turn = self._evaluated
        self._evaluated = (self.state.global_step, turn + 1 if step == self.state.global_step else 0)
        return self._evaluated[1]

    def _foreign(self, images: Any, multimodal_fields: dict[str, Any]) -> str | None:
        """Why completions are sampled by TRL's path; empty where that is somebody's explicit choice."""
        if self.use_vllm or self.use_transformers_continuous_batching or images is not None or multimodal_fields:
            return ""
        if self._sharded():
            return "the model is sharded (FSDP, ZeRO-3)"
        bare = self.accelerator.unwrap_model(self.model_wrapped)
        return virtual_tokens(bare) or foreign_settings(self.generation_config, bare)
