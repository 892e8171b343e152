"""`internalize`: what a completion found out with routes in its prompt is also learned with the routes taken away.

GRPO strengthens such a completion under the prompt that showed the routes; nothing asks for what the student knows
alone (method, 5.3). Here completions of a batch are moved to the prompt without routes, without their scores, so that
the term fades as the routes do:

    prompt      question, routes, instruction        ->   question, instruction
    completion  <think> … <answer> … <scores> …      ->   <think> … <answer> … <end>

`sft` learns the moved completion, `distill` the distribution that its tokens had with routes. On-policy only: nothing
is learned here that the student has not just written itself. Agreed are, of a question's right completions on one
process, those that read as most of them do, each once. Wrong reasonings that come to the right answer mostly read
differently, so that among all distinct ones they weigh too much (docs/log.md).
"""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import multimode
from typing import ClassVar, Literal

from transformers import PreTrainedTokenizerBase

from realm.method.completion import speaks_of_routes
from realm.method.prompt import Tags
from realm.student.generate import completion_text
from realm.student.prompts import encode
from realm.student.renderer import Renderer
from realm.student.scoring import Scored
from realm.training.companions.base import Companion, Row, Seen
from realm.training.rewards import Group


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


@dataclass(frozen=True, kw_only=True)
class Internalize(Companion):
    by: Literal["sft", "distill"] = "sft"
    whole: ClassVar[bool] = False

    @property
    def soft(self) -> bool:
        return self.by == "distill"

    def rows(self, seen: Seen) -> list[Row | None]:
        found = moved(seen.groups, [completion for _, completion in seen.sampled], seen.renderer)
        return [
            row and Row(*row, teacher=shown if self.soft else None)
            for row, shown in zip(found, seen.sampled, strict=True)
        ]
