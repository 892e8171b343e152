"""What a trainer made of objects in memory is given, read and checked: datasets, sections, a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel
from trl.trainer.grpo_config import GRPOConfig

from realm.bank.store import Bank
from realm.config import Config, make_config
from realm.errors import ConfigError, DataError
from realm.method.outside import called
from realm.method.reward import Weights
from realm.method.routes import Selection
from realm.method.schedule import ALWAYS, Schedule
from realm.plugins import trust
from realm.tasks.base import Question, normal, text_id
from realm.tasks.jsonl import answer_text
from realm.tasks.workers import VerifierPool

#: A section of the configuration, as a mapping or as the object of the method that it says.
Section = Mapping[str, Any] | Schedule | Selection | Weights


def section(given: Section) -> dict[str, Any]:
    """The keys of a section.

    Raises:
        ConfigError: a selection that says how its routes fade, which is another section's.
    """
    if isinstance(given, Schedule):
        kind = given.kind if isinstance(given.kind, str) else called(given.kind)
        return {"schedule": kind, **{name: value for name, value in vars(given).items() if name != "kind"}}
    if isinstance(given, Selection):
        if (given.schedule, given.granularity) != (ALWAYS, "route"):
            raise ConfigError(
                "routes: expected a Selection without a schedule or a granularity of its own, which nobody reads here; "
                "give them as fade={'schedule': …, 'granularity': …}."
            )
        keys = {"k": "k", "strategy": "selection", "error_ratio": "error_ratio", "error_range": "error_range"}
        found = {key: getattr(given, name) for name, key in keys.items()}
        if not isinstance(strategy := given.strategy, str):
            found["selection"] = called(strategy)
        return found
    return asdict(given) if isinstance(given, Weights) else dict(given)


def configuration(
    sections: Mapping[str, Section | None], args: GRPOConfig, path: str, context: int | None, more: Mapping[str, Any]
) -> Config:
    """The configuration of a run with these sections, as far as the trainer's parts read one.

    Args:
        more: keys of `training.rl` besides those that `args` has.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    size = args.num_generations
    rl = {
        "num_generations": size,
        "max_completion_length": args.max_completion_length,
        "batch_size": args.generation_batch_size or size,
        "micro_batch_size": size,
        "num_iterations": args.num_iterations,
        **more,
    }
    found = {name: section(given) for name, given in sections.items() if given is not None}
    trust([found, more])
    k = found.get("routes", {}).get("k")
    model = {"path": path or "student", "context": context, "template_arguments": args.chat_template_kwargs or {}}
    return make_config(
        {
            **found,
            "run": {"seed": args.seed},
            "model": model,
            "bank": {"samples": max(8, k if isinstance(k, int) else 0)},  # how many there are is the bank's own matter
            "training": {"recipe": "realm-zero", "rl": rl},
        },
        "ReaLMTrainer",
    )


def check_model(model: Any) -> None:
    """Raise `ConfigError` for what is neither a model of transformers nor the path or name of one."""
    if not isinstance(model, PreTrainedModel | str | Path):
        raise ConfigError(
            f"model: expected a model of transformers, a directory or a Hub name, found {type(model).__name__}; give "
            "the plain model, adapters of peft as peft_config."
        )


def dtype_of(args: GRPOConfig) -> str:
    """The type of the weights to be loaded.

    Raises:
        ConfigError: `args.model_init_kwargs` holds more than that.
    """
    given: Any = args.model_init_kwargs or {}
    if others := sorted(set(given) - {"dtype"}) or given.get("dtype") == "auto":
        named = ", ".join(others) if isinstance(others, list) else "dtype auto"
        raise ConfigError(
            f"args.model_init_kwargs: {named}: load the model yourself and give it instead of its path; of a path only "
            "a dtype such as bfloat16 is taken."
        )
    return str(given.get("dtype", "float32")).removeprefix("torch.")


def read_questions(name: str, rows: Any, bank: Bank | None, pool: VerifierPool) -> list[Question]:
    """The rows of a dataset as questions, in order; equal ones share an id.

    Args:
        name: of the dataset, for messages.
        bank: whose CoTs are shown; the questions get its ids.

    Raises:
        DataError: it is no dataset of questions; a gold is missing or does not verify; an id, or a text without ids, is
            that of two questions; the bank knows the question otherwise.
    """
    if not isinstance(rows, Dataset):
        raise DataError(
            f"{name}: expected a datasets.Dataset, found {type(rows).__name__}; a split of a DatasetDict is one, and "
            "Dataset.from_list, from_pandas and from_generator make one."
        )
    text = next((column for column in ("question", "prompt") if column in rows.column_names), None)
    if text is None or "answer" not in rows.column_names:
        raise DataError(
            f"{name}: expected the columns question and answer, found {', '.join(rows.column_names) or 'none'}; rename "
            "those that hold them (Dataset.rename_column)."
        )
    if not len(rows):
        raise DataError(f"{name}: it holds no row.")
    known: dict[str, str] = {normal(one.question): one.id for one in bank.questions.values()} if bank else {}
    found: list[Question] = []
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        question = _question(f"{name}: row {number}", row, text, bank, known)
        earlier = first.setdefault(question.id, number)
        before = found[earlier] if earlier < number else question
        if (normal(before.question), before.answer) != (normal(question.question), question.answer):
            raise DataError(
                f"{name}: row {number}: the id {question.id!r} is that of row {earlier} too, with another question or "
                "answer; give each question an id of its own, or leave the column id out where texts differ."
            )
        found.append(question)
    _check_golds(name, found, bank, pool)
    return found


def _question(where: str, row: Mapping[str, Any], text: str, bank: Bank | None, known: Mapping[str, str]) -> Question:
    asked = row[text]
    if isinstance(asked, list) and len(asked) == 1 and asked[0].get("role") == "user":
        asked = asked[0].get("content")
    if not isinstance(asked, str) or not asked.strip():
        raise DataError(
            f"{where}: expected a text (or one message of a user) under {text}, found {row[text]!r:.80}; the system "
            "message is prompt={'system': …}."
        )
    if row["answer"] is None:
        raise DataError(f"{where}: the answer is missing (None).")
    try:
        gold, difficulty = answer_text(row), int(row.get("difficulty") or 0)
    except ValueError as error:
        raise DataError(f"{where}: {error}.") from error
    own = row.get("id")
    question_id = str(own) if own not in (None, "") else known.get(normal(asked), text_id(asked))
    if bank is not None:
        there = bank.questions.get(question_id)
        if there is None or normal(there.question) != normal(asked):
            question_id = known.get(normal(asked), question_id)
            if there is not None and question_id == there.id:
                raise DataError(
                    f"{where}: the id {question_id!r} is another question in the bank ({there.question!r:.50}); "
                    "leave the column id out, and questions are found by their texts."
                )
    return Question(question_id, asked, gold, kind=str(row.get("kind") or ""), difficulty=difficulty)


def _check_golds(name: str, questions: Sequence[Question], bank: Bank | None, pool: VerifierPool) -> None:
    """Each gold verifies, and is the one that the labels of the bank's CoTs rest on."""
    verdicts = pool.verify([one.claim(one.answer) for one in questions])
    for number, (one, verdict) in enumerate(zip(questions, verdicts, strict=True)):
        if not verdict.correct:
            raise DataError(
                f"{name}: row {number}: the gold {one.answer!r:.60} does not verify "
                f"({verdict.reason or 'not equal to itself'}) by the verifier {pool.verifier.name}."
            )
    held = [(number, one) for number, one in enumerate(questions) if bank is not None and one.id in bank.questions]
    golds = [bank.questions[one.id].answer for _, one in held] if bank is not None else []
    verdicts = pool.verify([one.claim(one.answer, gold) for (_, one), gold in zip(held, golds, strict=True)])
    for (number, one), gold, verdict in zip(held, golds, verdicts, strict=True):
        if gold and not verdict.correct:
            raise DataError(
                f"{name}: row {number}: the gold is {one.answer!r:.60} here and {gold!r:.60} in the bank, whose labels "
                "rest on that; mend one of them."
            )


def with_ids(rows: Dataset, ids: Sequence[str]) -> Dataset:
    """What TRL is given: the dataset, with the id of each question, and a prompt that is rendered when it is due."""
    kept = rows.remove_columns([name for name in ("prompt", "question_id") if name in rows.column_names])
    named: Callable[[str, list[str]], Dataset] = kept.add_column  # its signature asks for an argument with a default
    return named("question_id", list(ids)).add_column("prompt", [""] * len(ids))
