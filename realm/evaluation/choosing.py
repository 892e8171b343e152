"""Which of several models is best on validation: a weighted mean over splits, of another task too (`training.best`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from realm.config import Config
from realm.errors import ConfigError
from realm.evaluation.also import other_task
from realm.evaluation.evaluate import evaluate_model
from realm.rows.base import Place
from realm.student.generate import to_accelerator
from realm.student.load import load_model
from realm.tasks.base import Question, Task
from realm.tasks.workers import VerifierPool


@dataclass(frozen=True)
class Part:
    """Questions that choose, and what their accuracy counts beside that of others; `config`: how they are asked."""

    name: str
    weight: float
    config: Config
    task: Task
    questions: Sequence[Question]


def find_rule(config: Config, task: Task) -> list[Part]:
    """What `training.best` names; empty where it names nothing.

    Raises:
        ConfigError: a name is of no validation split, and what a result is told of must not choose it; or there is no
            such split, or no such task, or no question.
    """
    found: list[Part] = []
    for name, weight in config.training.best.items():
        alien, _, split = name.rpartition(":")
        other = other_task(config) if alien else None
        if alien and (other is None or other.name != alien):
            raise ConfigError(
                f"training.best: {name}: evaluation.also names no task {alien}"
                + (f"; it names {other.name}." if other else ", nor any other.")
            )
        asked, settings = (other.task, other.config) if other else (task, config)
        splits = [one for one in asked.splits() if one.startswith("validation")]
        if split not in splits or not asked.rows(split):
            raise ConfigError(
                f"training.best: expected splits that settings are chosen by, and not what results are told of "
                f"({asked.name} has {', '.join(splits)}), found {name}."
            )
        greedy = settings.evaluation.model_copy(update={"samples": 1})
        found.append(Part(name, weight, settings.model_copy(update={"evaluation": greedy}), asked, asked.rows(split)))
    return found


def accuracies(
    rule: Sequence[Part], models: Sequence[Path], tokenizer: PreTrainedTokenizerBase, config: Config
) -> Iterator[dict[str, float]]:
    """For each model its accuracy on each part, asked greedily and without routes.

    Raises: as `realm.evaluation.evaluate.evaluate_model`.
    """
    with ExitStack() as stack:
        pools = {}
        for part in rule:
            asked = part.config.task
            judge = VerifierPool(part.task.verifier.name, asked.choices, asked.verifier_timeout)
            pools[part.name] = stack.enter_context(judge)
        for path in models:
            model = load_model(path, config.model.dtype)
            to_accelerator(model)
            found = {}
            for part in rule:
                summary, _ = evaluate_model(
                    model,
                    tokenizer,
                    part.questions,
                    None,
                    part.task,
                    pools[part.name],
                    part.config,
                    with_routes=False,
                    split=part.name,
                    seed=config.run.seed,
                    where=Place(stage="final", step=0),
                )
                found[part.name] = summary.accuracy
            yield found
