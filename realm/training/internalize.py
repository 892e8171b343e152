"""`internalize`: what a completion found out with routes in its prompt is also learned with the routes taken away.

GRPO strengthens such a completion under the prompt that showed the routes; nothing asks for what the student knows
alone (method, 5.3). Here completions of a batch are moved to the prompt without routes, without their scores:

    prompt      question, routes, instruction        ->   question, instruction
    completion  <think> … <answer> … <scores> …      ->   <think> … <answer> … <end>

and a term is added to GRPO's loss, with B the completions of the batch, so that it fades as the routes do:

    weight / B · Σ over the moved completions of 1/|o| Σ_t l_t

    sft      l_t = -log π(o_t | question, o_<t)
    distill  l_t = KL(π(· | question, routes, o_<t) ‖ π(· | question, o_<t))         the first is a constant

On-policy only: nothing is learned here that the student has not just written itself. Agreed are, of a question's right
completions, those that read as most of them do, each once. Wrong reasonings that come to the right answer mostly read
differently, so that among all distinct ones they weigh too much (docs/log.md).
"""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from collections.abc import Sequence
from statistics import multimode
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from realm.method.completion import speaks_of_routes
from realm.method.prompt import Tags
from realm.sections import InternalizeSettings
from realm.student.generate import completion_text
from realm.student.prompts import encode
from realm.student.renderer import Renderer
from realm.student.scoring import Scored
from realm.student.ways import known
from realm.training.frugal import FrugalGRPOTrainer
from realm.training.rewards import Group
from realm.training.shared_prefix import causal_model


def without_scores(text: str, tags: Tags) -> str:
    """A completion up to its scores part, as its sampler wrote it."""
    opening = re.search(rf"<\s*{re.escape(tags.scores)}\b", text, re.IGNORECASE)
    return (text[: opening.start()] if opening else text).rstrip()


def _counts(group: Group, item: Scored) -> bool:
    """Whether a completion was shown routes, is right, whole and parsed, and makes sense where the question stands
    alone."""
    return (
        bool(group.routes)
        and item.correct
        and item.completion.format_ok
        and not speaks_of_routes(item.completion.think, group.question.question)
    )


def agreed(groups: Sequence[Group], tags: Tags) -> dict[str, set[str]]:
    """What most of a question's right completions that were shown routes read like without their scores, by its id.

    More than one text where several are as frequent, none where no completion is right.
    """
    votes: defaultdict[str, list[str]] = defaultdict(list)
    for group in groups:
        fit = (item for item in group.scored if _counts(group, item))
        votes[group.question.id] += [without_scores(item.text, tags) for item in fit]
    return {name: set(multimode(found)) for name, found in votes.items()}


def up_to(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str) -> list[int]:
    """The sampled tokens that read `text`, ended; where a token reaches beyond it, `text` as the tokenizer reads it."""

    def read(length: int) -> str:
        return completion_text(tokenizer, ids[:length], {int(tokenizer.eos_token_id)}).rstrip()

    length = bisect.bisect_right(range(len(ids)), len(text), key=lambda number: len(read(number + 1)))
    kept = list(ids[:length])
    if read(length) != text:
        kept = tokenizer(text, add_special_tokens=False)["input_ids"]
    end = int(tokenizer.eos_token_id)
    return kept if kept and kept[-1] == end else [*kept, end]


def moved(
    groups: Sequence[Group], sampled: Sequence[Sequence[int]], renderer: Renderer
) -> list[tuple[list[int], list[int]] | None]:
    """(prompt ids, completion ids) without routes for every completion of the groups, in their order; None: not moved.

    Of a question's right completions those that most of them read like, without their scores, are moved, each text
    once: one, or all where no two read alike.

    Args:
        sampled: the token ids of every completion.
    """
    tokenizer = renderer.tokenizer
    rows: list[tuple[list[int], list[int]] | None] = []
    owed = agreed(groups, renderer.tags)
    for group in groups:
        prompt: list[int] | None = None
        for item in group.scored:
            text = without_scores(item.text, renderer.tags)
            if not (_counts(group, item) and text in owed[group.question.id]):
                rows.append(None)
                continue
            owed[group.question.id].discard(text)
            if prompt is None:
                prompt = encode(tokenizer, renderer.fit(group.question.id).messages)
            rows.append((prompt, up_to(tokenizer, sampled[len(rows)], text)))
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


class InternalizingTrainer(FrugalGRPOTrainer):
    """FrugalGRPOTrainer with a second term in its loss, for completions that were moved (see the module).

    The only change is in `_compute_loss`. A batch carries the moved completions as `alone_ids`, `alone_mask` (B, C),
    `alone_prompt_ids` and `alone_prompt_mask` (B, P); see `as_tensors`. With weight 0 it is FrugalGRPOTrainer.

    Args:
        internalize: weight and kind of the term.
    """

    def __init__(self, *args: Any, internalize: InternalizeSettings, **kwargs: Any) -> None:
        self.internalize = internalize
        super().__init__(*args, **kwargs)

    def move(self, groups: Sequence[Group], batch: dict[str, Any], renderer: Renderer) -> dict[str, torch.Tensor]:
        """What the generated batch of these groups carries along besides; nothing with weight 0."""
        if not self.internalize.weight:
            return {}
        tokenizer = renderer.tokenizer
        whole = zip(batch["completion_ids"].tolist(), batch["completion_mask"].sum(1).tolist(), strict=True)
        sampled = [ids[:length] for ids, length in whole]
        rows = moved(groups, sampled, renderer)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        tensors = as_tensors(rows, int(pad), self.accelerator.device)
        tokens = tensors["alone_prompt_mask"].sum() + tensors["alone_mask"].sum()
        self.state.num_input_tokens_seen += int(self.accelerator.gather(tokens).sum())
        return tensors

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        if not (self.internalize.weight and model.training):
            return loss
        live = (inputs["alone_mask"].sum(1) > 0).nonzero()[:, 0]
        self._metrics["train"]["internalized"].append(len(live) / len(inputs["alone_mask"]))
        if not len(live):
            return loss
        rows = self.args.per_device_train_batch_size * self.current_gradient_accumulation_steps
        return loss + self.internalize.weight / rows * self._alone(model, inputs, live).sum()

    def _alone(self, model: Any, inputs: dict[str, Any], live: torch.Tensor) -> torch.Tensor:
        """(rows,) the loss of each moved completion of a micro-batch, `live` being their rows."""
        part = {name: value[live] for name, value in inputs.items() if name.startswith(("alone", "prompt", "compl"))}
        ids = torch.cat([part["alone_prompt_ids"], part["alone_ids"]], 1)
        mask = torch.cat([part["alone_prompt_mask"], part["alone_mask"]], 1)
        width = part["alone_ids"].shape[1]
        # The bare model: how many processes have something to learn here differs, and a wrapper may wait for all.
        bare = self.accelerator.unwrap_model(model)
        if self.internalize.by == "distill":
            shown = torch.cat([part["prompt_ids"], part["completion_ids"]], 1)
            shown_mask = torch.cat([part["prompt_mask"], part["completion_mask"]], 1)
            with torch.no_grad():
                teacher = _predictions(bare, shown, shown_mask, part["completion_ids"].shape[1], self.temperature)
            with self.accelerator.autocast():
                student = _predictions(bare, ids, mask, width, self.temperature)
            return divergence(student, teacher, _common(part))
        log_probs, _, _ = self._get_per_token_logps_and_entropies(bare, ids, mask, width)
        return -own_mean(log_probs, part["alone_mask"])


def _predictions(model: Any, ids: torch.Tensor, mask: torch.Tensor, keep: int, temperature: float) -> torch.Tensor:
    """(B, keep, V) log-probabilities of every token for the last `keep` places, at the temperature of sampling."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    takes = known(causal_model(model))
    extra = {"position_ids": positions, "logits_to_keep": keep + 1}
    options = {name: value for name, value in extra.items() if name in takes}
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **options).logits[:, -keep - 1 :]
    found: torch.Tensor = (logits[:, :-1].float() / temperature).log_softmax(-1)
    return found


def _common(part: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, min(C, C')) 1 where the moved completion still reads as the sampled one, token by token; then 0."""
    width = min(part["alone_ids"].shape[1], part["completion_ids"].shape[1])
    same = part["alone_ids"][:, :width] == part["completion_ids"][:, :width]
    return same.long().cumprod(1) * part["alone_mask"][:, :width]


def own_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, C) values and mask -> (B,) the mean over each completion's own tokens."""
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def divergence(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B,) mean over the tokens of KL(teacher ‖ student); both (B, ≥ C, V) log-probabilities, mask (B, C)."""
    width = mask.shape[1]
    student, teacher = student[:, :width], teacher[:, :width]
    return own_mean((teacher.exp() * (teacher - student)).sum(-1), mask)
