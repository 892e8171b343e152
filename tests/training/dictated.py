"""Completions that are given instead of sampled, so that what is learned from them can be compared exactly."""

import random
from collections.abc import Callable
from typing import Any

from tiny import WORDS, thinking

from realm.tasks.base import Question


def completions(ends_from: int | None = None) -> Callable[..., tuple[list[list[int]], None]]:
    """In the place of TRL's `_generate_single_turn`: a function of the step and of the row in the whole batch.

    `ends_from`: from this row on a completion is nothing but the end token.
    """

    def generate(self: Any, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> tuple[list[list[int]], None]:
        first = self.accelerator.process_index * len(prompt_ids)
        return [_one(self.state.global_step, first + i, ends_from) for i in range(len(prompt_ids))], None

    return generate


def _one(step: int, row: int, ends_from: int | None) -> list[int]:
    if ends_from is not None and row >= ends_from:
        return [WORDS.index("<|end|>")]
    source = random.Random(f"{step} {row}")
    answer = source.choice("01")
    question = Question("", f"{source.randrange(8)} plus {source.randrange(8)}", "")
    scores = " ".join(["<scores>", *source.choices(["0,", "1,"], k=3), source.choice("01"), "</scores>"])
    text = f"<think> {thinking(question, answer)} </think> <answer> {answer} </answer> {scores} <|end|>"
    return [WORDS.index(word) for word in text.split()]
