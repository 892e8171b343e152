"""`sdft`: what the student wrote alone is graded by the student that reads routes (SDFT, arXiv 2601.19897).

The paper: a model that is shown a demonstration is the teacher of the same model that is not, on what the latter
writes, so that less is forgotten than by SFT. In TRL's trainer the teacher is the model before training (or a moving
average, or the model as it is), the divergence lies between both KLs on the student's top 100 tokens, and a ratio is
cut at 2.

Here the demonstrations are `k` routes of the bank, right and wrong, and what is graded are completions of prompts that
showed none; the end token is left out, for with routes the scores follow there. Our choices:

    soft   the divergence is KL(teacher ‖ student) over all tokens, on every completion: no label is asked for, and
           where routes are mostly wrong the teacher's mass lies on wrong values
    hard   right completions alone, -log π(o_t) times π(o_t | routes) / π(o_t), at most `most`: on average the gradient
           of the soft form, of which only what was sampled and verified is left

The teacher is the model as it is at the update.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt

from realm.method.routes import draw
from realm.method.schedule import ALWAYS
from realm.plugins import outside
from realm.training.companions.base import Companion, Ids, Row, Seen
from realm.training.rewards import Group


@dataclass(frozen=True, kw_only=True)
class Sdft(Companion):
    by: Literal["soft", "hard"] = "soft"
    k: PositiveInt = 4
    most: PositiveFloat = 2.0
    whole: ClassVar[bool] = False
    reads_bank: ClassVar[bool] = True

    @property
    def soft(self) -> bool:
        return self.by == "soft"

    def rows(self, seen: Seen) -> list[Row | None]:
        rows: list[Row | None] = []
        for group in seen.groups:
            sampled = seen.sampled[len(rows) : len(rows) + len(group.scored)]
            shown = () if group.routes else self._shown(group, seen)
            rows += [
                self._row(ids, shown, seen) if shown and (self.soft or item.correct) else None
                for item, ids in zip(group.scored, sampled, strict=True)
            ]
        return rows

    def _shown(self, group: Group, seen: Seen) -> tuple[int, ...]:
        """The prompt with routes, as many as the context holds; empty where there are none."""
        renderer, question = seen.renderer, group.question.id
        routes = renderer.routes(question)
        selection = replace(renderer.selection, k=self.k, schedule=ALWAYS)
        with outside():
            drawn = draw(routes, selection, seed=renderer.seed, question_id=question, step=seen.step)
        prompt = renderer.fit(question, drawn)
        return tuple(prompt.ids) if prompt.routes else ()

    def _row(self, ids: Ids, shown: tuple[int, ...], seen: Seen) -> Row | None:
        prompt, completion = ids
        if completion and completion[-1] in seen.ends:
            completion = completion[:-1]
        return Row(prompt, completion, teacher=(shown, completion)) if completion else None

    def factor(
        self, log_probs: torch.Tensor, figures: torch.Tensor, teacher: torch.Tensor | None
    ) -> torch.Tensor | float:
        return 1.0 if teacher is None else (teacher - log_probs).exp().clamp(max=self.most)
