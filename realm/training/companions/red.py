"""`red`: a right CoT of the bank joins each group as one more member (RED, arXiv 2508.16677, no accepted paper).

The paper, whose code was read in stored versions of its repository: among 8 members of a group one is an offline CoT,
rewarded like the others, so that its advantage is that of the reward over the whole group. It is multiplied by

    w = |(1 - H_off / H_off') / (1 - H_on / H_on')| in [1, 7]     H: mean entropies of offline and of sampled tokens,
                                                                  H' those of the step before; the first w is 1
    ρ = π / (π + (1 - π) r)     for each token, r: accuracy of the group. At r = 0 the CoT is imitated (ρ = 1), at
                                r = 1 what the student says anyway is strengthened (ρ = π)

Its code writes ρ without cutting its gradient, which leaves none at r = 0; here ρ is a factor without one. Our choices:
the group stays as it is, and the CoT does not lower the advantages of the others; r is the accuracy of what was
sampled, without the CoT; rewards are those of the method, without what shapes add, and the group's deviation divides,
whatever `scale_rewards` says; the CoT stands behind the question alone, whatever routes the group was shown, and is
drawn anew each time; w is a step late, as entropies are known when a batch has been learned from. It is a quotient of
two small differences whose sign is dropped: `red_clipped` in metrics.jsonl tells how often it lies at a bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from realm.method.seeds import rng
from realm.traces.examples import completion, ids_of
from realm.training.companions.base import Companion, Row, Seen
from realm.training.rewards import Group


@dataclass(frozen=True, kw_only=True)
class Red(Companion):
    most: Annotated[float, Field(ge=1)] = 7.0
    watches: ClassVar[bool] = True
    reads_bank: ClassVar[bool] = True

    def rows(self, seen: Seen) -> list[Row | None]:
        weight = self._entropy_weight()
        rows: list[Row | None] = []
        for group in seen.groups:
            rows += [self._row(group, seen, weight), *[None] * (len(group.scored) - 1)]
        return rows

    def _row(self, group: Group, seen: Seen, weight: float) -> Row | None:
        renderer, question = seen.renderer, group.question.id
        judged = [item for item in group.scored if not item.verifier_failed]
        rewards = [*(item.reward.total for item in judged), seen.best]
        right = sorted((one for one in renderer.routes(question) if one.label == 1), key=lambda one: one.id)
        if not judged or not right or min(rewards) == seen.best:
            return None
        rng(renderer.seed, "red", question, seen.step).shuffle(right)
        end = int(renderer.tokenizer.eos_token_id)
        for route in right:
            ids = [*ids_of(renderer.tokenizer, [completion(renderer, route)])[0], end]
            if len(ids) <= group.room:
                advantage = (seen.best - fmean(rewards)) / (stdev(rewards) + 1e-4)  # as TRL scales rewards of a group
                accuracy = fmean(item.correct for item in judged)
                return Row(renderer.fit(question).ids, ids, weight * advantage, figure=accuracy)
        return None

    def factor(
        self, log_probs: torch.Tensor, figures: torch.Tensor, teacher: torch.Tensor | None
    ) -> torch.Tensor | float:
        likely = log_probs.exp().clamp(min=torch.finfo(log_probs.dtype).tiny)
        return likely / (likely + (1 - likely) * figures)

    def watch(self, entropy: float, sampled: float) -> None:
        for name, value in (("off", entropy), ("on", sampled)):
            if not math.isnan(value):
                self.memory[f"{name} sum"] = self.memory.get(f"{name} sum", 0.0) + value
                self.memory[f"{name} parts"] = self.memory.get(f"{name} parts", 0.0) + 1

    def _entropy_weight(self) -> float:
        """w of the two batches before, which closes the last one."""
        memory, changes = self.memory, []
        for name in ("off", "on"):
            if f"{name} sum" in memory:
                if f"{name} last" in memory:
                    memory[f"{name} before"] = memory[f"{name} last"]
                memory[f"{name} last"] = memory.pop(f"{name} sum") / memory.pop(f"{name} parts")
            if before := memory.get(f"{name} before"):
                changes.append(1 - memory[f"{name} last"] / before)
        found = 1.0
        if len(changes) == 2:
            off, on = map(abs, changes)
            found = off / on if on else (math.inf if off else 1.0)
        weight = min(max(found, 1.0), self.most)
        memory |= {"weight": weight, "clipped": float(weight != found)}
        return weight

    def figures(self) -> dict[str, float]:
        return {f"red_{name}": self.memory[name] for name in ("weight", "clipped")}
