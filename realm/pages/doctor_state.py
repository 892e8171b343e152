"""Checks of `realm doctor` on how a run ended, what it was given, and what it left; see `realm.pages.doctor`."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from statistics import fmean

from realm.bank.unreadable import MOST, quoted, sentences
from realm.evaluation.measures import bare
from realm.pages.data import split_order
from realm.pages.doctor_case import Case, Finding, standing
from realm.pages.unread import sentence, unread
from realm.rows.base import record
from realm.rows.evaluation import Prediction
from realm.run import RunFolder
from realm.run_rows import read_rows
from realm.text import between, points, roughly

#: Seconds without a new row after which a run that has not said its end is taken for dead, and the same in its rows.
_SILENT_SECONDS, _SILENT_ROWS = 900.0, 20
#: Fewer questions say nothing of how answers are spread; shares from which answers count as one, a gold as frequent.
_MIN_ASKED, _ONE_ANSWER, _FREQUENT = 20, 0.9, 0.2
_FILES = ("meta.json", "metrics.jsonl", "evaluations.jsonl", "completions.jsonl", "predictions.jsonl")


def failed(case: Case) -> Finding | None:
    """The run ended with an error: as it noted, or as a process noted whose end left the others no time to say so."""
    status = case.run.meta.status
    elsewhere = RunFolder(case.run.folder).failure_elsewhere() if status == "running" else ""
    if status != "failed" and not elsewhere:
        return None
    noted = elsewhere or case.run.meta.reason or "no reason is noted in meta.json."
    reason = " ".join(noted.split())
    where = standing(case)
    return Finding(
        "failed",
        "broken",
        f"The run failed{f' after {where}' if where else ''}: {reason}",
        f"Mend that. Where the settings may stay as they are, go on from the last whole checkpoint: {case.again()}",
    )


def unfinished(case: Case) -> Finding | None:
    """The run was interrupted, or is silent without having said its end."""
    status, where = case.run.meta.status, standing(case) or "its start"
    lost = f"At most training.save_every ({case.value('training.save_every', 50):.0f}) steps are done again."
    if status == "interrupted":
        says = f"The run was interrupted after {where}."
        return Finding("unfinished", "broken", says, f"Go on with it: {case.again()}\n{lost}", ("training.save_every",))
    if status != "running" or RunFolder(case.run.folder).failure_elsewhere():  # told by `failed`
        return None
    times = [path.stat().st_mtime for file in _FILES if (path := case.run.folder / file).is_file()]
    silence = case.now - max(times, default=case.now)
    seconds = [row.seconds for row in case.run.metrics]
    longest = max((later - sooner for sooner, later in pairwise(seconds)), default=0.0)
    if silence < max(_SILENT_SECONDS, _SILENT_ROWS * longest):
        return None
    return Finding(
        "unfinished",
        "broken",
        f"The run has not said its end and has written nothing for {roughly(silence)}: it was killed after {where} (by "
        "a scheduler, or by the kernel for its memory), or hangs.",
        f"If no process of it is left, go on with it: {case.again()}\n{lost}",
        ("training.save_every",),
        {"silent_seconds": silence},
    )


def not_a_number(case: Case) -> Finding | None:
    """A loss or a gradient that is no number: null in metrics.jsonl (JSON has no NaN)."""
    for row in case.run.metrics:
        for name, words in (("loss", "loss"), ("grad_norm", "gradient norm")):
            if getattr(row, name) is None:
                where = f"{row.stage.upper()} step {row.step}"
                rate = f"training.{row.stage}.learning_rate"
                return Finding(
                    "not_a_number",
                    "broken",
                    f"The {words} was no finite number at {where}; what was learned after it is worth nothing.",
                    f"Lower {case.told(rate)} or training.rl.max_grad_norm, and train in model.dtype float32 or with "
                    "training.rl.bf16 instead of float16.",
                    (rate, "training.rl.max_grad_norm", "model.dtype", "training.rl.bf16"),
                    {"step": row.step},
                )
    return None


def verifier(case: Case) -> Finding | None:
    """Answers that nobody judged: nothing was learned from them, though they were paid for."""
    found = case.values("verifier_failures")
    level = fmean(found) if found else 0.0
    if level <= 0:
        return None
    return Finding(
        "verifier",
        "harmful" if level >= 0.01 else "hint",
        f"The verifier timed out or died on {level:.2%} of the completions ({max(found):.0%} in the worst row); "
        "nothing was learned from these, right or wrong.",
        f"Raise {case.told('task.verifier_timeout')} seconds, or choose a simpler {case.told('task.verifier')}.",
        ("task.verifier_timeout", "task.verifier"),
        {"mean": level, "worst": max(found)},
    )


def unreadable(case: Case) -> Finding | None:
    """Answers of the student that the verifier could not read: they earned nothing, right or wrong."""
    level, _ = unread(case.run)
    if level < 0.02:
        return None
    return Finding(
        "unreadable",
        "harmful" if level >= 0.1 else "hint",
        sentence(case.run),
        f"Where they are right, choose another {case.told('task.verifier')}; else teach the form of an answer first "
        f"({case.told('training.sft.steps')}, training.recipe realm-r1) or ask for it (prompt.system).",
        ("task.verifier", "training.sft.steps", "training.recipe", "prompt.system"),
        {"share": level},
    )


def bank_unreadable(case: Case) -> Finding | None:
    """CoTs without label, because their answer or their gold cannot be read."""
    found = case.bank.unreadable
    level = found.share or 0.0 if found is not None else 0.0
    if found is None or (level < 0.01 and not found.golds):
        return None
    told = sentences(record(found))
    return Finding(
        "bank_unreadable",
        "harmful" if level > MOST else "hint",
        f"Of the bank, {level:.1%} of the whole answers were no use: " + "; ".join(told) + ".",
        f"`realm bank validate` names them. Another {case.told('task.verifier')} and `realm bank label --all` judge "
        "them anew; teachers.*.prompt asks for another form of answer.",
        ("task.verifier", "teachers"),
        {"share": level, "golds": found.golds},
    )


def dropped(case: Case) -> Finding | None:
    """Routes that the context had no room for."""
    lost, shown = sum(case.values("routes_dropped")), sum(case.values("routes_per_prompt"))
    if lost <= 0 or lost / (lost + shown) < 0.02:
        return None
    return Finding(
        "dropped",
        "hint" if lost < shown else "harmful" if shown else "broken",
        f"{lost / (lost + shown):.0%} of the drawn routes were left out of prompts because the context is too short.",
        f"Raise {case.told('model.context')} (null: what the model allows), or lower "
        f"{case.told('training.rl.max_completion_length')} or {case.told('routes.k')}.",
        ("model.context", "training.rl.max_completion_length", "routes.k"),
        {"dropped": lost / (lost + shown)},
    )


def bank(case: Case) -> Finding | None:
    """Routes of one kind only cannot be told apart: judging them teaches nothing."""
    stats = case.bank
    mixed, questions, right, wrong = stats.mixed_share, stats.questions, stats.all_right, stats.all_wrong
    if not case.shows_routes or mixed is None or questions < 10 or mixed >= 0.3:
        return None
    advice = "Collect more CoTs of each question (bank.samples) from more than one teacher (teachers). "
    advice += (
        "Most questions are too easy for the teacher: a weaker one, or harder questions."
        if right >= wrong
        else f"Most are too hard for the teacher: raise {case.told('guidance.probability')}, or take a stronger one."
    )
    return Finding(
        "bank",
        "hint",
        f"Only {mixed:.0%} of the bank's {questions} questions have right and wrong CoTs ({right} have right ones "
        f"only, {wrong} wrong ones only).",
        advice,
        ("bank.samples", "teachers", "guidance.probability"),
        {"mixed": mixed},
    )


def autonomy(case: Case) -> Finding | None:
    """The trained model still leans on routes."""
    gap = case.report.gap(case.run.name, "test") if case.shows_routes else None
    if gap is None or gap[0] < 0.1 or (gap[1] is not None and gap[1] <= 0):
        return None
    end = case.value("fade.p_end", 0.0)
    return Finding(
        "autonomy",
        "hint",
        f"The trained model still answers {gap[0] * 100:.0f} points more test questions rightly with routes.",
        f"Let the routes go: fade.p_end 0 (now {end:g})."
        if end > 0
        else f"More steps alone ({case.told('training.rl.steps')}), or a cold start with more "
        "examples without routes (training.sft.empty_share, training.sft.steps).",
        ("fade.p_end", "training.rl.steps", "training.sft.empty_share", "training.sft.steps"),
        {"gap": gap[0]},
    )


def one_answer(case: Case) -> Finding | None:
    """One answer is given to nearly all questions, or would have as many right as the model has."""
    results = {row.split: row for row in case.run.evaluations if row.stage == "final" and not row.routes and row.n}
    split = min(results, key=split_order, default="")
    rows = read_rows(case.run.folder, Prediction, [])
    asked = [row for row in rows if row.stage == "final" and not row.routes and row.split == split]
    given = [item.answer for row in asked for item in row.completions]
    answers, golds = Counter(bare(answer) for answer in given if answer), Counter(bare(row.gold) for row in asked)
    if len(asked) < _MIN_ASKED or len(golds) == 1 or not answers:
        return None
    (said, times), (gold, due) = answers.most_common(1)[0], golds.most_common(1)[0]
    share, called_for, constant = times / len(given), golds[said] / len(asked), due / len(asked)
    result, texts = results[split], [*given, *(row.gold for row in asked)]
    shown = {bare(text): quoted(text) for text in reversed(texts) if text}
    if share >= _ONE_ANSWER and share - called_for > 1 - _ONE_ANSWER:
        return Finding(
            "one_answer",
            "harmful",
            f"On {split}, without routes, {share:.0%} of the answers are {shown[said]}, the answer of "
            f"{called_for:.0%} of the questions; {result.accuracy:.0%} were judged right.",
            "Does the verifier take this answer for right whatever is asked (task.verifier)? If not, the student no "
            f"longer reads the question: learn less fast ({case.told('training.sft.learning_rate')}, "
            f"{case.told('training.rl.learning_rate')}), or from more questions with other answers.",
            ("task.verifier", "training.sft.learning_rate", "training.rl.learning_rate"),
            {"share": share, "called_for": called_for, "accuracy": result.accuracy},
        )
    reach = between(*result.interval, "{:.0%}".format)
    if constant < _FREQUENT or result.accuracy_low > constant:
        return None
    return Finding(
        "one_answer",
        "hint",
        f"{shown[gold]} is the answer of {constant:.0%} of the questions of {split}; without routes the model has "
        f"{result.accuracy:.0%} right ({reach}), not shown to be more than that answer alone would.",
        "Whether it has learned more than which answer is frequent takes more held-out questions to tell "
        f"({case.told('task.max_test')}, {case.told('task.test_size')}), or such as have other answers.",
        ("task.max_test", "task.test_size"),
        {"constant": constant, "accuracy": result.accuracy},
    )


def unlearned(case: Case) -> Finding | None:
    """Another task (`evaluation.also`) is answered worse than before the training."""
    results = (row for row in case.report.results if row.edited is None)  # what an edit changed, no training did
    rows = [row for row in results if row.change_high is not None and row.change_high < 0]
    if not rows:
        return None
    row = min(rows, key=lambda row: row.change or 0.0)
    return Finding(
        "unlearned",
        "harmful",
        f"Of {row.split} {row.before or 0.0:.0%} were right before training and {row.accuracy:.0%} are now "
        f"({points(row.change or 0.0)} points): some was unlearned.",
        f"Mix in some of the base ({case.told('training.average.base')}, or realm average), stay near it in SFT "
        "(training.sft.weigh to_base), let validation choose among checkpoints (training.best), or learn less fast "
        "(training.sft.learning_rate, training.lora.r); see docs/howto/forgetting.md.",
        (
            "training.average.base",
            "training.sft.weigh",
            "training.best",
            "training.sft.learning_rate",
            "training.lora.r",
        ),
        {"before": row.before or 0.0, "after": row.accuracy, "change": row.change or 0.0},
    )
