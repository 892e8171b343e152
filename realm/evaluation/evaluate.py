"""Evaluation of a model without and with routes: a record of every question, and a summary of the records.

A summary is one row of evaluations.jsonl, a record one row of predictions.jsonl; whatever a summary says can be
computed again from the records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from realm.bank.store import Bank
from realm.bank.unreadable import EXAMPLES, quoted
from realm.config import Config
from realm.errors import ConfigError, DataError
from realm.evaluation import measures
from realm.files import writing
from realm.method.completion import parse
from realm.method.routes import Route
from realm.method.seeds import derive
from realm.run import RunFolder
from realm.statistics.bootstrap import bootstrap_interval, paired_difference
from realm.student.generate import Generation, Progress, generate
from realm.student.judging import classes, copied, unreadable
from realm.student.load import load, prompt_limit
from realm.student.prompts import Prompt, evaluation_prompts, judged
from realm.tasks.base import Question, Task
from realm.tasks.verify import Verdict
from realm.tasks.workers import VerifierPool, verify_once

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Record = dict[str, Any]
#: What an evaluation writes, the summaries last: where they are, the records that they rest on are there too.
_FILES = ("predictions.jsonl", "evaluations.jsonl")


def completion_limit(config: Config) -> int:
    """Tokens that a completion may have in evaluation."""
    return config.evaluation.max_completion_length or config.training.rl.max_completion_length


def evaluate_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    bank_routes: Callable[[str], list[Route]] | None,
    task: Task,
    pool: VerifierPool,
    config: Config,
    *,
    with_routes: bool,
    split: str,
    seed: int,
    step: int = 0,
    progress: Progress | None = None,
) -> tuple[Record, list[Record]]:
    """Let a model answer questions, greedily or `evaluation.samples` times, and measure the answers.

    The routes shown depend on (seed, question id) alone, so every model compared sees the same ones. The model's mode
    and the global random state are left as they were.

    Args:
        bank_routes: every route of a question id; read only `with_routes`.
        step: training step of the model; noted in the summary, without influence.
        progress: called with (questions done, questions in all).

    Returns:
        The summary (see `summarise`) and one record for each question.

    Raises:
        DataError: there is no question.
        ModelError: a question does not fit into the context even without routes.
        ResourceError: the batch does not fit into the accelerator's memory.
    """
    if not questions:
        raise DataError(f"split {split}: there is no question to evaluate.")
    length, settings = completion_limit(config), config.evaluation
    prompts = evaluation_prompts(
        questions,
        bank_routes if with_routes else None,
        task,
        config,
        tokenizer,
        prompt_limit(model, config, length),
        seed,
    )
    generations = generate(
        model,
        tokenizer,
        [prompt.messages for prompt in prompts],
        max_new_tokens=length,
        batch_size=settings.batch_size,
        samples=settings.samples,
        temperature=settings.temperature if settings.samples > 1 else None,
        seed=derive(seed, "evaluation"),
        progress=progress,
    )
    routes = config.routes.k if with_routes else 0
    records = [
        {"split": split, "routes": routes, **record} for record in _records(prompts, generations, task, pool, config)
    ]
    summary = {"split": split, "routes": routes, "step": step, **summarise(records, settings.bootstrap, seed)}
    return summary, records


def _records(
    prompts: Sequence[Prompt],
    generations: Sequence[Sequence[Generation]],
    task: Task,
    pool: VerifierPool,
    config: Config,
) -> list[Record]:
    """Parse and judge the completions of every prompt; all verifications of a kind go to the pool at once."""
    tags = config.prompt.tags()
    rows = [(prompt, found) for prompt, group in zip(prompts, generations, strict=True) for found in group]
    parsed = [parse(found.text, len(judged(config, prompt.routes)), tags) for prompt, found in rows]
    answers = [item.answer for item in parsed]
    asked = [prompt.question.question for prompt, _ in rows]
    golds = [prompt.question.answer for prompt, _ in rows]
    verdicts = verify_once(pool, list(zip(answers, golds, asked, strict=True)))
    right = [verdict.correct for verdict in verdicts]
    copies = copied(pool, list(zip(answers, right, [prompt.routes for prompt, _ in rows], asked, strict=True)))
    expected: list[str | None] = [None] * len(prompts)
    named: list[str | None] = [None] * len(rows)
    if task.labels:
        questions = [prompt.question for prompt in prompts]
        expected = classes(pool, [one.answer for one in questions], task.labels, [one.question for one in questions])
        named = classes(pool, answers, task.labels, asked)
    completions = [
        {
            "text": found.text,
            "answer": item.answer,
            "scores": list(item.scores),
            "correct": verdict.correct,
            "verdict": verdict.reason,
            "copied": copy,
            "class": name,
            "reasons": list(item.reasons),
            "tokens": found.tokens,
            "truncated": found.truncated,
        }
        for (_, found), item, verdict, copy, name in zip(rows, parsed, verdicts, copies, named, strict=True)
    ]
    size = len(completions) // len(prompts)
    return [
        {
            "question_id": prompt.question.id,
            "kind": prompt.question.kind,
            "difficulty": prompt.question.difficulty,
            "question": prompt.question.question,
            "gold": prompt.question.answer,
            "class": name,
            "shown": [{"id": route.id, "answer": route.answer, "label": route.label} for route in prompt.routes],
            "dropped": prompt.dropped,
            "completions": completions[i * size : (i + 1) * size],
        }
        for i, (prompt, name) in enumerate(zip(prompts, expected, strict=True))
    ]


def question_accuracies(records: Sequence[Record]) -> dict[str, float]:
    """Share of right completions of every question id: what `paired_difference` compares."""
    return {row["question_id"]: fmean(item["correct"] for item in row["completions"]) for row in records}


def summarise(records: Sequence[Record], resamples: int, seed: int) -> Record:
    """The figures of one split, without or with routes; None where a figure is not defined.

    `n` questions, `samples` completions each · `accuracy` with `accuracy_low`, `accuracy_high` (95 %, over questions) ·
    `same_err`, `same_err_all` over completions that were shown routes · `scoring_accuracy`, `auroc`, `brier` over all
    routes shown · `f1` (macro, tasks with classes) · `parse_failures` share of completions with any of the `reasons`
    (number by code) · `verifier_failures` completions that the verifier could not finish with (counted wrong) ·
    `unreadable_answers` share of completions with an answer that it could not read (counted wrong), and
    `unreadable_examples`, the first of them ·
    `truncated` share · `completion_tokens`, `routes_per_prompt`, `routes_dropped` means · `pass_at_n`, `maj_at_n` for
    n = samples > 1 · `by_kind`, `by_difficulty`.
    """
    accuracies = question_accuracies(records)
    low, high = bootstrap_interval(list(accuracies.values()), resamples, derive(seed, "bootstrap"))
    rows = [(record, item) for record in records for item in record["completions"]]
    items = [item for _, item in rows]
    shown = [item for record, item in rows if record["shown"]]
    same_err, same_err_all = measures.same_err([i["correct"] for i in shown], [i["copied"] for i in shown])
    scores = [score for item in shown for score in item["scores"]]
    labels = [route["label"] for record, item in rows for route in record["shown"][: len(item["scores"])]]
    classed = [(record["class"], item["class"]) for record, item in rows if record["class"] is not None]
    unread = [item["answer"] for item in items if unreadable(item["answer"], item["verdict"])]
    samples = len(records[0]["completions"])
    several = [([i["answer"] for i in r["completions"]], [i["correct"] for i in r["completions"]]) for r in records]
    return {
        "n": len(records),
        "samples": samples,
        "accuracy": fmean(accuracies.values()),
        "accuracy_low": low,
        "accuracy_high": high,
        "same_err": same_err,
        "same_err_all": same_err_all,
        "scoring_accuracy": measures.scoring_accuracy(scores, labels),
        "auroc": measures.auroc(scores, labels),
        "brier": measures.brier(scores, labels),
        "f1": measures.macro_f1([gold for gold, _ in classed], [name for _, name in classed]),
        "parse_failures": fmean(bool(item["reasons"]) for item in items),
        "reasons": dict(Counter(reason for item in items for reason in item["reasons"]).most_common()),
        "verifier_failures": sum(Verdict(item["correct"], item["verdict"]).failed for item in items),
        "unreadable_answers": len(unread) / len(items),
        "unreadable_examples": list(dict.fromkeys(map(quoted, unread)))[:EXAMPLES],
        "truncated": fmean(item["truncated"] for item in items),
        "completion_tokens": fmean(item["tokens"] for item in items),
        "routes_per_prompt": fmean(len(record["shown"]) for record in records),
        "routes_dropped": fmean(record["dropped"] for record in records),
        "pass_at_n": fmean(measures.pass_at_n(samples, sum(right), samples) for _, right in several)
        if samples > 1
        else None,
        "maj_at_n": fmean(measures.maj_at_n(*found) for found in several) if samples > 1 else None,
        "by_kind": _by(records, accuracies, "kind"),
        "by_difficulty": _by(records, accuracies, "difficulty"),
    }


def _by(records: Sequence[Record], accuracies: dict[str, float], key: str) -> dict[str, Record]:
    """Number of questions and accuracy for each value of `key`; questions without one (empty, 0) are left out."""
    groups: dict[Any, list[float]] = {}
    for record in records:
        if record[key]:
            groups.setdefault(record[key], []).append(accuracies[record["question_id"]])
    return {str(name): {"n": len(found), "accuracy": fmean(found)} for name, found in sorted(groups.items())}


def evaluation_splits(config: Config, task: Task) -> list[str]:
    """The splits to evaluate: those configured, or every held-out one but those that settings are
    chosen by (`validation`, `validation_…`).

    Raises:
        ConfigError: the task has no split of a configured name.
    """
    known = task.splits()
    for split in config.evaluation.splits:
        if split not in known:
            raise ConfigError(
                f"evaluation.splits: the task {task.name} has no split {split}; it has {', '.join(known)}."
            )
    if config.evaluation.splits:
        return config.evaluation.splits
    return [split for split in known if split != "train" and not split.startswith("validation")]


def evaluate_directory(
    path: str | Path,
    config: Config,
    task: Task,
    bank: Bank | None,
    pool: VerifierPool,
    *,
    out: Path,
    stage: str = "final",
    round_: int = 0,
    step: int = 0,
    progress: Progress | None = None,
) -> list[Record]:
    """Evaluate a model directory or Hub name on the held-out splits, without routes and with those of the bank.

    Writes <out>/evaluations.jsonl (the summaries) and <out>/predictions.jsonl (the records) when all is done; rows of
    an earlier evaluation of the same stage there are replaced then, and stay if this one does not end. A summary with
    routes also holds `autonomy_gap`, accuracy with − without, paired by question, with `autonomy_gap_low` and
    `autonomy_gap_high` (95 %).

    Args:
        bank: the CoTs of the held-out questions; None evaluates without routes only.
        stage, round_, step: where in a run the model belongs; noted in every row.
        progress: called with (questions done, questions in all) over all splits.

    Returns:
        The summaries in the order of the file.

    Raises:
        ConfigError, DataError, ModelError, ResourceError: see `evaluation_splits`, `load`, `evaluate_model`, `append`.
            Unknown splits, bad models and questions that do not fit are found before anything is written.
    """
    splits = {split: task.rows(split) for split in evaluation_splits(config, task)}
    for split, rows in splits.items():
        if not rows:
            raise DataError(f"split {split}: there is no question to evaluate.")
    model, tokenizer = load(path, config.model.dtype, config.model)
    limit = prompt_limit(model, config, completion_limit(config))
    for rows in splits.values():
        evaluation_prompts(rows, None, task, config, tokenizer, limit, config.run.seed)
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(out)
    for file in _FILES:
        folder.read(file)  # one that cannot be read is told before the work, not after it
    where = {"stage": stage, "round": round_, "step": step}
    passes = [
        (split, shown)
        for split, rows in splits.items()
        for shown in (False, True)
        if not shown or has_routes(bank, rows, config)
    ]
    total, done = sum(len(splits[split]) for split, _ in passes), 0
    summaries: list[Record] = []
    predictions: list[Record] = []
    without: dict[str, float] = {}
    for split, shown in passes:

        def report(finished: int, _: int, before: int = done) -> None:
            if progress is not None:
                progress(before + finished, total)

        summary, records = evaluate_model(
            model,
            tokenizer,
            splits[split],
            bank.routes if bank is not None else None,
            task,
            pool,
            config,
            with_routes=shown,
            split=split,
            seed=config.run.seed,
            step=step,
            progress=report,
        )
        accuracies = question_accuracies(records)
        done += len(records)
        if shown:
            gap = paired_difference(
                accuracies, without, config.evaluation.bootstrap, derive(config.run.seed, "bootstrap")
            )
            names = ("autonomy_gap", "autonomy_gap_low", "autonomy_gap_high")
            summary.update(zip(names, gap, strict=True))
        without = accuracies
        predictions += ({**where, **record} for record in records)
        summaries.append({**where, **summary})
    for file, found in zip(_FILES, (predictions, summaries), strict=True):
        folder.keep(file, lambda row: row.get("stage") != stage, found)
    return summaries


def has_routes(bank: Bank | None, rows: Sequence[Question], config: Config) -> bool:
    """Whether an evaluation with routes would show any: the bank has some for one of the questions."""
    return bank is not None and config.routes.k > 0 and any(bank.routes(question.id) for question in rows)
