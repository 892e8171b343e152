"""Evaluation of a model without and with routes: a prediction for every question, and a summary of them.

A summary is one row of evaluations.jsonl; whatever it says can be computed again from the rows of predictions.jsonl.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from realm.bank.store import Bank
from realm.bank.unreadable import EXAMPLES, quoted
from realm.config import Config
from realm.errors import ConfigError, DataError
from realm.evaluation import measures, spent
from realm.evaluation.confidence import told
from realm.evaluation.edits import edited_splits, moved
from realm.evaluation.sums import ALL, tally, together
from realm.files import writing
from realm.method.completion import stated_confidence
from realm.method.routes import Route
from realm.method.seeds import derive
from realm.rows.base import Place, ShownRoute, Stage
from realm.rows.evaluation import AnsweredCompletion, Estimate, Evaluation, Part, Prediction, Sums
from realm.run import RunFolder
from realm.sections import EvaluationConfig
from realm.statistics.bootstrap import bootstrap_interval, paired_difference, ratio_interval, share_interval
from realm.student.generate import Generation, Progress, generate, stop_of, to_accelerator
from realm.student.judging import classes, copied, unreadable
from realm.student.load import load, prompt_limit
from realm.student.prompts import Prompt, evaluation_prompts, judged
from realm.student.scoring import read
from realm.tasks.base import Question, Task
from realm.tasks.verify import Verdict
from realm.tasks.workers import VerifierPool, verify_once

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    where: Place,
    needed: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> tuple[Evaluation, list[Prediction]]:
    """Let a model answer questions, greedily or `evaluation.samples` times, and measure the answers.

    The routes shown depend on (seed, question id) alone, so every model compared sees the same ones. The model's mode
    and the global random state are left as they were.

    Args:
        bank_routes: every route of a question id; read only `with_routes`.
        where: in a run the model belongs; noted in every row, without influence.
        needed: tokens that questions need (`realm.evaluation.spent`); None: what answers take is not measured.
        progress: called with (questions done, questions in all).

    Returns:
        The summary and a row for each question.

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
        [prompt.ids for prompt in prompts],
        max_new_tokens=length,
        batch_size=settings.batch_size,
        samples=settings.samples,
        temperature=settings.temperature if settings.samples > 1 else None,
        seed=derive(seed, "evaluation"),
        likelihood=settings.confidence == "likelihood",
        stop=stop_of(config, tokenizer),
        progress=progress,
    )
    answered = _answered(prompts, generations, task, pool, config)
    expected = _expected([prompt.question for prompt in prompts], task, pool)
    rows = [
        Prediction(
            stage=where.stage,
            round=where.round,
            step=where.step,
            split=split,
            routes=config.routes.k if with_routes else 0,
            question_id=prompt.question.id,
            kind=prompt.question.kind,
            difficulty=prompt.question.difficulty,
            question=prompt.question.question,
            gold=prompt.question.answer,
            class_=name,
            shown=tuple(ShownRoute(id=route.id, answer=route.answer, label=route.label) for route in prompt.routes),
            dropped=prompt.dropped,
            shortest=(needed or {}).get(prompt.question.id),
            completions=completions,
        )
        for prompt, name, completions in zip(prompts, expected, answered, strict=True)
    ]
    if needed is not None:
        rows = [_with_places(row, found, tokenizer) for row, found in zip(rows, generations, strict=True)]
    summary = summarise(rows, settings.bootstrap, seed)
    if needed is None:
        return summary, rows
    lengths = [len(prompt.ids) for prompt in prompts], [sum(one.tokens for one in row.completions) for row in rows]
    return replace(summary, weights=spent.weights(model), cache=spent.cache(model, *lengths)), rows


def _with_places(row: Prediction, found: Sequence[Generation], tokenizer: PreTrainedTokenizerBase) -> Prediction:
    """The row with the places at which its completions first state their answers."""
    pairs = zip(row.completions, found, strict=True)
    return replace(
        row,
        completions=tuple(
            replace(one, stated_at=spent.stated_at(tokenizer, made.ids, one.answer)) for one, made in pairs
        ),
    )


def _expected(questions: Sequence[Question], task: Task, pool: VerifierPool) -> list[str | None]:
    """The class of every question's gold; None for tasks without classes."""
    if not task.labels:
        return [None] * len(questions)
    return classes(pool, [one.answer for one in questions], task.labels, questions)


def _answered(
    prompts: Sequence[Prompt],
    generations: Sequence[Sequence[Generation]],
    task: Task,
    pool: VerifierPool,
    config: Config,
) -> list[tuple[AnsweredCompletion, ...]]:
    """Parse and judge the completions of every prompt; all verifications of a kind go to the pool at once."""
    rows = [(prompt, found) for prompt, group in zip(prompts, generations, strict=True) for found in group]
    texts = [(found.text, len(judged(config, prompt.routes))) for prompt, found in rows]
    parsed = read(texts, config.prompt.tags(), pool, config.prompt.execute)
    answers = [item.answer for item in parsed]
    asked = [prompt.question for prompt, _ in rows]
    verdicts = verify_once(pool, [one.claim(answer) for one, answer in zip(asked, answers, strict=True)])
    right = [verdict.correct for verdict in verdicts]
    copies = copied(pool, list(zip(answers, right, [prompt.routes for prompt, _ in rows], asked, strict=True)))
    named = classes(pool, answers, task.labels, asked) if task.labels else [None] * len(rows)
    completions = [
        AnsweredCompletion(
            text=found.text,
            answer=item.answer,
            scores=item.scores,
            correct=verdict.correct,
            verdict=verdict.reason,
            copied=copy,
            class_=name,
            reasons=item.reasons,
            tokens=found.tokens,
            truncated=found.truncated,
            executed=item.executed if config.prompt.execute else None,
            confidence=confidence(found, item.answer, config.evaluation.confidence),
        )
        for (_, found), item, verdict, copy, name in zip(rows, parsed, verdicts, copies, named, strict=True)
    ]
    size = len(completions) // len(prompts)
    return [tuple(completions[start : start + size]) for start in range(0, len(completions), size)]


def confidence(found: Generation, answer: str | None, by: str | None) -> float | None:
    """How sure a completion's answer is by what `evaluation.confidence` names, where the completion alone tells it."""
    if not answer or by not in ("likelihood", "stated"):
        return None
    if by == "stated":
        return stated_confidence(found.text)
    return math.exp(found.log_prob) if found.log_prob is not None and math.isfinite(found.log_prob) else None


def question_accuracies(rows: Sequence[Prediction]) -> dict[str, float]:
    """Share of right completions of every question id: what `paired_difference` compares."""
    return {row.question_id: fmean(item.correct for item in row.completions) for row in rows}


def summarise(rows: Sequence[Prediction], resamples: int, seed: int) -> Evaluation:
    """The figures of one split, without or with routes, from the predictions on its questions."""
    first = rows[0]
    accuracies = question_accuracies(rows)
    low, high = bootstrap_interval(list(accuracies.values()), resamples, derive(seed, "bootstrap"))
    pairs = [(row, item) for row in rows for item in row.completions]
    items = [item for _, item in pairs]
    shown = [item for row, item in pairs if row.shown]
    same_err, same_err_all = measures.same_err([i.correct for i in shown], [i.copied for i in shown])
    scores = [score for item in shown for score in item.scores]
    labels = [route.label for row, item in pairs for route in row.shown[: len(item.scores)]]
    classed = [(row.class_, item.class_) for row, item in pairs if row.class_ is not None]
    unread = [item.answer or "" for item in items if unreadable(item.answer, item.verdict)]
    sums = [tally(item.text for item in row.completions) for row in rows]
    operators = together(sums)
    true, stated = operators.pop(ALL)
    each = [one[ALL] for one in sums]
    true_low, true_high = share_interval(each, resamples, derive(seed, "bootstrap")) if stated else (None, None)
    samples = len(first.completions)
    tokens = [(fmean(one.tokens for one in row.completions), row.shortest) for row in rows if row.shortest is not None]
    places = [
        (sum(item.stated_at or 0 for item in found), sum(item.tokens for item in found))
        for row in rows
        if (found := [item for item in row.completions if item.stated_at is not None])
    ]
    several = [([i.answer for i in row.completions], [i.correct for i in row.completions]) for row in rows]
    return Evaluation(
        stage=first.stage,
        round=first.round,
        step=first.step,
        split=first.split,
        routes=first.routes,
        n=len(rows),
        samples=samples,
        accuracy=fmean(accuracies.values()),
        accuracy_low=low,
        accuracy_high=high,
        same_err=same_err,
        same_err_all=same_err_all,
        scoring_accuracy=measures.scoring_accuracy(scores, labels),
        auroc=measures.auroc(scores, labels),
        brier=measures.brier(scores, labels),
        f1=measures.macro_f1([gold for gold, _ in classed], [name for _, name in classed]),
        parse_failures=fmean(bool(item.reasons) for item in items),
        reasons=dict(Counter(reason for item in items for reason in item.reasons).most_common()),
        verifier_failures=sum(Verdict(item.correct, item.verdict).failed for item in items),
        unreadable_answers=len(unread) / len(items),
        unreadable_examples=tuple(dict.fromkeys(map(quoted, unread)))[:EXAMPLES],
        truncated=fmean(item.truncated for item in items),
        completion_tokens=fmean(item.tokens for item in items),
        executed=None if items[0].executed is None else fmean(bool(item.executed) for item in items),
        routes_per_prompt=fmean(len(row.shown) for row in rows),
        routes_dropped=fmean(row.dropped for row in rows),
        over_shortest=_ratio(tokens, resamples, seed),
        stated_at=_ratio(places, resamples, seed),
        pass_at_n=fmean(measures.pass_at_n(samples, sum(right), samples) for _, right in several)
        if samples > 1
        else None,
        maj_at_n=fmean(measures.maj_at_n(*found) for found in several) if samples > 1 else None,
        sums=stated,
        true_sums=true / stated if stated else None,
        true_sums_low=true_low,
        true_sums_high=true_high,
        by_operator={name: Sums(n=n, true=right / n) for name, (right, n) in sorted(operators.items())},
        by_kind=_by({row.question_id: row.kind for row in rows}, accuracies),
        by_difficulty=_by({row.question_id: row.difficulty for row in rows}, accuracies),
    )


def _ratio(values: Sequence[tuple[float, float]], resamples: int, seed: int) -> Estimate | None:
    """The ratio of two sums over the questions, with its interval; None where there are none."""
    if not values:
        return None
    low, high = ratio_interval(values, resamples, derive(seed, "bootstrap"))
    above, below = (sum(side) for side in zip(*values, strict=True))
    return Estimate(value=above / below, low=low, high=high)


def _by(groups: Mapping[str, str] | Mapping[str, int], accuracies: Mapping[str, float]) -> dict[str, Part]:
    """The questions of each group, by question id; those without one (empty, 0) are left out."""
    found: dict[str | int, list[float]] = {}
    for key, group in groups.items():
        if group:
            found.setdefault(group, []).append(accuracies[key])
    names = sorted(found, key=lambda name: (isinstance(name, str), name))
    return {str(name): Part(n=len(found[name]), accuracy=fmean(found[name])) for name in names}


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


def evaluation_questions(config: Config, task: Task) -> dict[str, Sequence[Question]]:
    """The questions of the splits to evaluate; of that on which a threshold is chosen, if the task has it; edited ones.

    Raises:
        ConfigError: as of `evaluation_splits`, or there is no such edit, or no split `precision_on`.
        DataError: a split has no question.
    """
    splits: dict[str, Sequence[Question]] = {split: task.rows(split) for split in evaluation_splits(config, task)}
    if empty := [split for split, asked in splits.items() if not asked]:
        raise DataError(f"split {empty[0]}: there is no question to evaluate.")
    edits = edited_splits(splits, task, config)
    chosen_on, usual = config.evaluation.precision_on, EvaluationConfig.model_fields["precision_on"].default
    if config.evaluation.confidence and chosen_on not in (*task.splits(), usual):
        near = difflib.get_close_matches(chosen_on, task.splits(), 1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(task.splits())}."
        raise ConfigError(f"evaluation.precision_on: the task {task.name} has no split {chosen_on}; {hint}")
    if config.evaluation.confidence and chosen_on in task.splits() and task.rows(chosen_on):
        splits.setdefault(chosen_on, task.rows(chosen_on))
    return {**splits, **edits}


def evaluate_directory(
    path: str | Path,
    config: Config,
    task: Task,
    bank: Bank | None,
    pool: VerifierPool,
    *,
    out: Path,
    stage: Stage = "final",
    round_: int = 0,
    step: int = 0,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Evaluate a model directory or Hub name on the held-out splits, without routes and with those of the bank.

    Writes <out>/evaluations.jsonl and <out>/predictions.jsonl when all is done; rows of an earlier evaluation of the
    same stage there are replaced then, and stay if this one does not end.

    Args:
        bank: the CoTs of the held-out questions; None evaluates without routes only.
        stage, round_, step: where in a run the model belongs; noted in every row.
        progress: called with (questions done, questions in all) over all splits.

    Returns:
        The summaries in the order of the file. Where the confidence of answers is measured, the split on which its
        threshold is chosen (`evaluation.precision_on`) is asked last, if the task has it.

    Raises:
        ConfigError, DataError, ModelError, ResourceError: see `evaluation_splits`, `load`, `evaluate_model`, `append`.
            Unknown splits, bad models and questions that do not fit are found before anything is written.
    """
    splits = evaluation_questions(config, task)
    edits = splits.keys() - {*task.splits()}
    model, tokenizer = load(path, config.model.dtype, config.model)
    limit = prompt_limit(model, config, completion_limit(config))
    for asked in splits.values():
        evaluation_prompts(asked, None, task, config, tokenizer, limit, config.run.seed)
    to_accelerator(model)

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(out)
    for kind in (Prediction, Evaluation):
        folder.places(kind)  # a file that cannot be read is told before the work, not after it
    where = Place(stage=stage, round=round_, step=step)
    passes = [
        (split, shown)
        for split, asked in splits.items()
        for shown in (False, True)
        if not shown or (split not in edits and has_routes(bank, asked, config))
    ]
    total, done = sum(len(splits[split]) for split, _ in passes), 0
    summaries: list[Evaluation] = []
    predictions: list[Prediction] = []
    without: dict[str, float] = {}
    needed = {
        split: spent.shortest(asked, bank, tokenizer, config) if bank and split not in edits else {}
        for split, asked in splits.items()
    }
    for split, shown in passes:

        def report(finished: int, _: int, before: int = done) -> None:
            if progress is not None:
                progress(before + finished, total)

        summary, rows = evaluate_model(
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
            where=where,
            needed=needed[split],
            progress=report,
        )
        accuracies = question_accuracies(rows)
        done += len(rows)
        if shown:
            gap, low, high = paired_difference(
                accuracies, without, config.evaluation.bootstrap, derive(config.run.seed, "bootstrap")
            )
            summary = replace(summary, autonomy_gap=gap, autonomy_gap_low=low, autonomy_gap_high=high)
        if split in edits:
            was = [one for one in predictions if (one.split, one.routes) == (split.rpartition("+")[0], 0)]
            before = {key: share for key, share in question_accuracies(was).items() if key in accuracies}
            resamples, seed = config.evaluation.bootstrap, config.run.seed
            change, low, high = paired_difference(accuracies, before, resamples, derive(seed, "bootstrap"))
            told_of = moved(rows, was, pool, resamples, seed)
            summary = replace(summary, edited=told_of, before=fmean(before.values()), change=change)
            summary = replace(summary, change_low=low, change_high=high)
        without = accuracies
        predictions += rows
        summaries.append(summary)
    summaries = told(summaries, predictions, config)
    # The summaries last: where they are, the predictions that they rest on are there too.
    folder.keep(Prediction, lambda row: row.stage != stage, predictions)
    folder.keep(Evaluation, lambda row: row.stage != stage, summaries)
    return summaries


def has_routes(bank: Bank | None, rows: Sequence[Question], config: Config) -> bool:
    """Whether an evaluation with routes would show any: the bank has some for one of the questions."""
    return bank is not None and config.routes.k > 0 and any(bank.routes(question.id) for question in rows)
