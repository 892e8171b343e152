"""`internalize`: what a completion found out with routes in its prompt is also learned with the routes taken away.

GRPO strengthens such a completion under the prompt that showed the routes; nothing asks for what the student knows
alone (method, 5.3). Here every distinct right completion of a batch is moved to the prompt without routes, without its
scores, and learned there:

    prompt      question, routes, instruction        ->   question, instruction
    completion  <think> … <answer> … <scores> …      ->   <think> … <answer> … <end>

    loss = weight / B · Σ over the moved completions of 1/|o| Σ_t -log π(o_t | question, o_<t)

with B the completions of the batch: as the routes fade, so does this. On-policy only: nothing is learned here that the
student has not just written itself and the verifier has not found right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from realm.evaluation.prompts import encode
from realm.method.prompt import Tags
from realm.training.renderer import Renderer
from realm.training.rewards import Group, Scored

#: A thought that speaks of the routes makes no sense where there are none.
_SPEAKS_OF_ROUTES = re.compile(r"\broutes?\b", re.IGNORECASE)


def without_scores(text: str, tags: Tags) -> str:
    """A completion up to its scores part, as its sampler wrote it."""
    opening = re.search(rf"<\s*{re.escape(tags.scores)}\b", text, re.IGNORECASE)
    return (text[: opening.start()] if opening else text).rstrip()


def movable(item: Scored) -> bool:
    """Whether a completion is right, whole, readable, and makes sense without the routes."""
    return item.correct and item.completion.format_ok and not _SPEAKS_OF_ROUTES.search(item.completion.think)


def moved(
    groups: Sequence[Group], renderer: Renderer, tokenizer: PreTrainedTokenizerBase
) -> list[tuple[list[int], list[int]] | None]:
    """(prompt ids, completion ids) without routes for every completion of the groups, in their order; None: not moved.

    Of completions of one question that read alike without their scores only the first is moved.
    """
    rows: list[tuple[list[int], list[int]] | None] = []
    seen: set[tuple[str, str]] = set()
    for group in groups:
        prompt: list[int] | None = None
        for item in group.scored:
            text = without_scores(item.text, renderer.tags)
            key = (group.question.id, text)
            if not group.routes or not movable(item) or key in seen:
                rows.append(None)
                continue
            seen.add(key)
            if prompt is None:
                prompt = encode(tokenizer, renderer.fit(group.question.id, ())[0])
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            rows.append((prompt, [*ids, tokenizer.eos_token_id]))
    return rows


def as_tensors(
    rows: Sequence[tuple[list[int], list[int]] | None], pad: int, device: torch.device
) -> dict[str, torch.Tensor]:
    """The rows as TRL pads a batch: (B, P) prompts padded on the left, (B, C) completions on the right, and masks.

    A row that was not moved is a prompt and a completion of one masked token.
    """
    width = max([len(row[0]) for row in rows if row], default=1)
    length = max([len(row[1]) for row in rows if row], default=1)
    shape = (len(rows), width + length)
    ids, mask = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long)
    for number, row in enumerate(rows):
        if row is not None:
            start, end = width - len(row[0]), width + len(row[1])
            ids[number, start:end] = torch.tensor([*row[0], *row[1]])
            mask[number, start:end] = 1
    return {
        "alone_prompt_ids": ids[:, :width].to(device),
        "alone_prompt_mask": mask[:, :width].to(device),
        "alone_ids": ids[:, width:].to(device),
        "alone_mask": mask[:, width:].to(device),
    }


def mean_log_probs(log_probs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, C) log-probabilities and mask -> (B,) their mean over each completion's own tokens."""
    return (log_probs * mask).sum(1) / mask.sum(1).clamp(min=1)


def batch_tensors(groups: Sequence[Group], renderer: Renderer, device: torch.device) -> dict[str, Any]:
    """What a generated batch carries along for its moved completions."""
    tokenizer = renderer.tokenizer
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return as_tensors(moved(groups, renderer, tokenizer), int(pad), device)
