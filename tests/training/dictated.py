"""Completions that are given instead of sampled, so that what is learned from them can be compared exactly."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realm.tasks.base import Question
from realm.training.grpo import RouteTrainer
from tests.tiny import WORDS, thinking

Generate = Callable[..., tuple[list[list[int]], Any]]


class Recording:
    """The completions that one run samples, for another to learn from in place of its own.

    Two runs that differ by rounding alone may yet sample different texts: a draw on the edge between two tokens falls
    to either side, by the processor and the number of threads, and from there on the runs have nothing in common.
    """

    def __init__(self) -> None:
        #: The prompts of the whole batch and what was sampled for each of them, by the step that generates.
        self.steps: dict[int, tuple[list[list[int]], list[list[int]]]] = {}

    def recorded(self) -> Generate:
        """In the place of `_generate_single_turn`: what is sampled is kept; for a run of one process."""
        original = RouteTrainer._generate_single_turn

        def generate(trainer: Any, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
            found = original(trainer, prompt_ids, *args, **kwargs)
            self.steps[trainer.state.global_step] = prompt_ids, found[0]
            return found

        return generate

    def replayed(self, sampled_too: bool = False) -> Generate:
        """In the place of `_generate_single_turn`, on any number of processes: the same prompts get what was kept.

        `sampled_too`: the trainer must sample the same itself, but for one row in which rounding may decide.
        """
        original = RouteTrainer._generate_single_turn

        def generate(trainer: Any, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
            first = trainer.accelerator.process_index * len(prompt_ids)
            prompts, kept = (part[first : first + len(prompt_ids)] for part in self.steps[trainer.state.global_step])
            assert prompt_ids == prompts, "the runs do not ask the same"
            if sampled_too:
                own, _ = original(trainer, prompt_ids, *args, **kwargs)
                assert sum(one != other for one, other in zip(own, kept, strict=True)) <= 1
            return kept, None

        return generate

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.steps))

    @classmethod
    def load(cls, path: str) -> "Recording":
        made = cls()
        made.steps = {int(step): tuple(parts) for step, parts in json.loads(Path(path).read_text()).items()}
        return made


def completions(ends_from: int | None = None) -> Generate:
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
