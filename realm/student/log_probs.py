"""What a model expects at each place of a completion that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from realm.student.ways import known

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.no_grad()
def log_probs(
    model: PreTrainedModel, rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int
) -> list[torch.Tensor]:
    """For each row of (prompt, completion) token ids the (completion, V) log-probabilities, float32, of what stands at
    each of its places. No dropout; the model's mode is restored.

    Args:
        rows: read side by side, padded on the right; no prompt is empty.
        pad: an id to fill up shorter rows with.
    """
    whole = [[*prompt, *completion] for prompt, completion in rows]
    width = max(map(len, whole))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in whole], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in whole], device=model.device)
    takes, start = known(model), min(len(prompt) for prompt, _ in rows) - 1
    extra = {"use_cache": False, "logits_to_keep": width - start}
    options: dict[str, Any] = {name: value for name, value in extra.items() if name in takes}
    training = model.training
    model.eval()
    try:
        logits = model(input_ids=ids, attention_mask=mask, **options).logits[:, start - width :]
    finally:
        model.train(training)
    return [
        logits[number, len(prompt) - 1 - start :][: len(completion)].float().log_softmax(-1)
        for number, (prompt, completion) in enumerate(rows)
    ]
