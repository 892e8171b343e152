"""The loss of tokens that do not count alike: a weight a token, and targets that are distributions.

The loss of an optimizer step is the sum of its tokens' weighted losses over the sum of their weights, however it is
split into micro-batches and over processes. Where all weights are 0 or 1 the labels say so, and SFTTrainer is as ever.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer
from trl.trainer.utils import FusedCausalLMOutput

from realm.student.head import by_parts, goes_through_backbone, states_and_head, vocabulary
from realm.traces.base import Soft, Target, Tokenized
from realm.traces.weights import weights_of
from realm.training.adapters import below_adapters
from realm.training.group import sharded
from realm.training.unpadded import unpadded

_LOG = logging.getLogger(__name__)
#: Log-probability of a token that others stand for: below what float32 tells from 0 beside them, and finite.
_NEXT_TO_NOTHING = -30.0


def training_rows(
    found: Sequence[Tokenized], targets: Sequence[Target] | None = None
) -> tuple[list[dict[str, Any]], Sequence[Target]]:
    """The rows of SFTTrainer, and the targets that these name by their place, `target`; none where labels say it all.

    Labels are -100 where nothing is learned: in the prompt, and where the weight is 0. Without targets all tokens of
    the completions count alike.
    """
    targets = [[1.0] * len(row.completion) for row in found] if targets is None else targets
    rows: list[dict[str, Any]] = []
    for row, target in zip(found, targets, strict=True):
        labels = [token if weight else -100 for token, weight in zip(row.completion, weights_of(target), strict=True)]
        rows.append({"input_ids": row.prompt + row.completion, "labels": [-100] * len(row.prompt) + labels})
    if not any(isinstance(target, Soft) or set(target) - {0, 1} for target in targets):
        return rows, ()
    return [{**row, "target": place} for place, row in enumerate(rows)], targets


@dataclass
class Collator(DataCollatorForLanguageModeling):
    """TRL's, and `weights` (B, L); where a target is soft also `ids` and `probabilities` (B, L, K), ids -1 for none.

    A label is then a distribution as well, of one token.
    """

    targets: Sequence[Target] = field(default_factory=list)

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        labels = batch["labels"]
        targets = [self.targets[example["target"]] for example in examples]
        most = max((len(ids) for target in targets if isinstance(target, Soft) for ids in target.ids), default=0)
        batch["weights"] = torch.zeros(labels.shape)
        if most:
            batch["ids"] = torch.full((*labels.shape, most), -1)
            batch["ids"][..., 0] = labels.clamp(min=-1)
            batch["probabilities"] = (batch["ids"] >= 0).float()
        for row, (example, target) in enumerate(zip(examples, targets, strict=True)):
            weights, stop = weights_of(target), len(example["input_ids"])
            place = slice(stop - len(weights), stop)
            batch["weights"][row, place] = torch.tensor(weights, dtype=torch.float32)
            if isinstance(target, Soft) and most:
                batch["ids"][row, place] = torch.tensor(_filled(target.ids, most, -1))
                batch["probabilities"][row, place] = torch.tensor(_filled(target.probabilities, most, 0.0))
        return batch


def _filled(rows: Sequence[Sequence[float]], width: int, filling: float) -> list[list[float]]:
    return [[*row, *[filling] * (width - len(row))] for row in rows]


class Weighted(SFTTrainer):
    """SFTTrainer for the rows of `training_rows`; without targets, and not by length, it is left as it is.

    Overrides `compute_loss`, whose model gives weighted log-probabilities, and transformers' private
    `_get_num_items_in_batch`, which counts what is learned of an optimizer step over all processes: its weights here.

    Args:
        by_length: forward rows of like length together, see `unpadded`, where the model allows it.
    """

    def __init__(self, *args: Any, targets: Sequence[Target] = (), by_length: bool = False, **kwargs: Any) -> None:
        if targets:
            kwargs["args"].remove_unused_columns = False
        super().__init__(*args, **kwargs)
        if targets:
            self.data_collator: Any = Collator(self.data_collator.pad_token_id, targets=targets)
            self.loss_is_scaled_for_ga: Any = True  # whether or not the model's own loss would be
        reason = self._against(soft=any(isinstance(one, Soft) for one in targets)) if by_length else None
        if reason:
            _LOG.info("Rows are as long as the longest of their micro-batch: %s.", reason)
        self._by_length = by_length and not reason

    def _against(self, soft: bool) -> str | None:
        """Why the rows of a micro-batch go through the layers together, as half a sentence; None: they need not."""
        if sharded():
            return "the model is sharded (FSDP, ZeRO-3)"
        if self.aux_loss_enabled:
            return "the auxiliary loss of a mixture of experts is one of every token"
        causal: Any = below_adapters(self.model)
        if causal.base_model is causal or (soft and not goes_through_backbone(causal)):
            return "its layers cannot be told from its head"
        return None

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        if not batch_samples or "weights" not in batch_samples[0]:
            return super()._get_num_items_in_batch(batch_samples, device)
        total = torch.stack([batch["weights"][:, 1:].sum() for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(total).sum() if self.args.world_size > 1 else total

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inputs = dict(inputs)
        counted = [inputs.pop(name)[:, 1:] for name in ("weights", "ids", "probabilities") if name in inputs]
        if not self._by_length:
            return self._weighted(model, inputs, counted, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")[:, 1:]
        learned = labels != -100
        inputs["shift_labels"] = labels[learned][None]
        counted = [one[learned][None] for one in counted]
        lengths = inputs["attention_mask"].sum(1).tolist()
        with unpadded(below_adapters(self.accelerator.unwrap_model(model)), lengths, learned):
            return self._weighted(model, inputs, counted, return_outputs, num_items_in_batch)

    def _weighted(
        self, model: Any, inputs: dict[str, Any], counted: Sequence[torch.Tensor], return_outputs: bool, total: Any
    ) -> Any:
        """The loss.

        Args:
            counted: weights (B, L - 1), ids and probabilities (B, L - 1, K), as far as there are any.
            total: what the sum of the losses is divided by; None: the weights of this batch.
        """
        if not counted:
            return super().compute_loss(model, inputs, return_outputs, total)
        weights, *targets = counted
        total = weights.sum() if total is None else total
        # SFTTrainer divides by 1 at least, as it counts tokens.
        scale = min(float(total), 1.0) or 1.0

        def weighted(**given: Any) -> FusedCausalLMOutput:
            found: Any = self._soft(model, *targets, **given) if targets else model(**given)
            found.log_probs = found.log_probs * (weights / scale)
            return found

        return super().compute_loss(weighted, inputs, return_outputs, total / scale)

    def _soft(self, model: Any, ids: torch.Tensor, probabilities: torch.Tensor, **given: Any) -> FusedCausalLMOutput:
        """What the fused head gives, with minus the cross-entropy of each target as its log-probability.

        The logits are made at the places alone that some row learns. What a target leaves of 1 is that of all other
        tokens together, so that the loss is least where the model's distribution is the one that the target was cut
        from.
        """
        labels = given["shift_labels"] if "shift_labels" in given else given["labels"][:, 1:]
        learned = labels != -100
        places = learned.any(0).nonzero().flatten()
        if not len(places):
            return model(**given)
        given = {name: one for name, one in given.items() if name not in ("labels", "shift_labels", "fused_lm_head")}
        causal = below_adapters(self.accelerator.unwrap_model(model))
        outputs, states, head = states_and_head(model, causal, places, whole=sharded(), **given)

        def of_places(
            states: torch.Tensor, ids: torch.Tensor, probabilities: torch.Tensor, labels: torch.Tensor
        ) -> torch.Tensor:
            scores = head(states).float().log_softmax(-1)
            found = scores.gather(-1, ids.clamp(min=0))
            # Summed as they are: 1 minus the sum of the others is rounding alone where a student is sure.
            named = torch.where(ids >= 0, ids, ids[..., :1]).clamp(min=0)
            others = scores.scatter(-1, named, _NEXT_TO_NOTHING).logsumexp(-1)
            rest = (1 - probabilities.sum(-1)).clamp(min=0)
            expected = (probabilities * found).sum(-1) + rest * others
            return torch.stack([expected, -(scores.exp() * scores).sum(-1), scores.argmax(-1) == labels], -1)

        parts = (one[:, places] for one in (ids, probabilities, labels))
        with self.accelerator.autocast():  # the model's own wrapper, below adapters, is none of the head's
            found = by_parts(of_places, vocabulary(causal), states, *parts)
        whole = found.new_zeros((*learned.shape, 3))
        whole[:, places] = found
        log_probs, entropy, top = (whole * learned[..., None]).unbind(-1)
        return FusedCausalLMOutput(
            log_probs=log_probs,
            entropy=entropy,
            is_top1=top > 0,
            label_mask=learned,
            aux_loss=getattr(outputs, "aux_loss", None),
        )
