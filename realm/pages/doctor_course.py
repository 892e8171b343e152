"""Checks of `realm doctor` on the course of RL: what rose, fell or stood still; see `realm.pages.doctor`."""

from __future__ import annotations

import math
from statistics import fmean, pvariance

from realm.bank.unreadable import quoted
from realm.method.completion import NO_ANSWER
from realm.pages.data import Result
from realm.pages.doctor_case import MIN_ROWS, Case, Finding, Trend
from realm.rows.training import Sampled
from realm.run_rows import read_rows


def _never_right(case: Case) -> bool:
    found = case.values("accuracy")
    return len(found) >= MIN_ROWS and max(found) == 0.0


def nothing_read(case: Case) -> Finding | None:
    """Hardly an answer was read, and no group held two rewards: nothing was learned, however short the run."""
    missing = [
        sum((row.parse or {}).get(one, 0.0) for one in NO_ANSWER) for row in case.rl if row.parse_failures is not None
    ]
    read = [fmean(found) for found in (missing, case.values("unreadable_answers")) if found]
    equal = case.values("zero_spread_groups")
    if not read or not equal or max(read) < 0.95 or fmean(equal) < 0.95 or max(case.values("accuracy"), default=0.0):
        return None
    cut = fmean(case.values("truncated") or [0.0])
    wrote = next((item.text for row in read_rows(case.run.folder, Sampled, []) for item in row.completions), "")
    length = case.told("training.rl.max_completion_length")
    room = f" {cut:.0%} of the completions were cut: give them room first, {length}."
    sft = "more of it" if case.run.stage_steps("sft") else "training.recipe realm-r1"
    cold = f"Teach the form of an answer before RL by a cold start ({sft}; {case.told('training.sft.steps')})"
    advice = f"{cold}, or show an example of it (prompt.examples);"
    if case.shows_examples:
        advice = f"The prompt shows examples of the form already (prompt.examples). {cold};"
    shown = ("prompt.examples",) * (not case.shows_examples)
    return Finding(
        "nothing_read",
        "broken",
        f"{max(read):.0%} of the answers could not be read, and in {fmean(equal):.0%} of the groups all rewards were "
        f"equal: RL has taught nothing.{f' The student writes, e.g., {quoted(wrote)}.' if wrote.strip() else ''}",
        f"{advice} a stronger model.path may know it already.{room if cut >= 0.05 else ''}",
        ("training.recipe", "training.sft.steps", *shown, "training.rl.max_completion_length", "model.path"),
        {"unread": max(read), "zero_spread_groups": fmean(equal), "truncated": cut},
    )


def never_right(case: Case) -> Finding | None:
    """No answer was ever right: nothing but the format was rewarded."""
    if not _never_right(case):
        return None
    return Finding(
        "never_right",
        "harmful",
        f"Not one sampled answer was right in {len(case.values('accuracy'))} rows: there was nothing to learn from but "
        "the format.",
        f"Read completions.jsonl. Where answers are right but not counted, change {case.told('task.verifier')}; where "
        "they are wrong, begin with a cold start (training.recipe realm-r1) or a stronger model.path.",
        ("task.verifier", "training.recipe", "model.path"),
    )


def no_spread(case: Case) -> Finding | None:
    """Groups whose rewards are all equal have no advantage, hence no gradient."""
    spread, right = case.trend("zero_spread_groups"), case.trend("accuracy")
    if spread is None or _never_right(case):
        return None
    rising = spread.rises and spread.change >= 0.2
    if spread.late < (0.3 if rising else 0.5):
        return None
    level = right.late if right else 0.5
    if level >= 0.8:
        advice = "Nearly every answer is right: take harder questions, or stop earlier (training.rl.steps)."
        settings: tuple[str, ...] = ("training.rl.steps",)
    elif level <= 0.2:
        advice = (
            "Nearly every answer is wrong: show routes for longer (fade.hold, fade.fade_end), teach more before RL "
            "(training.recipe realm-r1, training.sft.steps), or take easier questions."
        )
        settings = ("fade.hold", "fade.fade_end", "training.recipe", "training.sft.steps")
    else:
        advice = (
            f"Raise {case.told('training.rl.num_generations')} or {case.told('training.rl.temperature')}, so that a "
            "group holds right and wrong answers, and leave out questions that are always or never solved."
        )
        settings = ("training.rl.num_generations", "training.rl.temperature")
    moved = f", up from {spread.early:.0%} at the start" if rising else ""
    return Finding(
        "no_spread",
        "harmful" if spread.late >= 0.8 else "hint",
        f"In {spread.late:.0%} of the groups towards the end all rewards were equal{moved}: these taught nothing "
        f"(accuracy there {level:.0%}).",
        advice,
        settings,
        {"early": spread.early, "late": spread.late, "accuracy": level},
    )


def idle(case: Case) -> Finding | None:
    """A companion that never found anything to learn beside a completion is a setting without an effect."""
    tables = [row.companions for row in case.rl if row.companions]
    named = {name for table in tables for name in table}
    shares = {name for name in named if not any(name.startswith(f"{other}_") for other in named)}  # others are figures
    never = sorted(name for name in shares if not any(table.get(name) for table in tables))
    if len(tables) < MIN_ROWS or not never:
        return None
    return Finding(
        "idle",
        "hint",
        f"Of training.rl.companions {', '.join(never)} had nothing to learn in any of {len(tables)} rows.",
        "internalize needs right answers to prompts with routes, red right CoTs of the questions that fit "
        "training.rl.max_completion_length, sdft routes in the bank and prompts that show none (training.recipe grpo "
        "or sft+grpo); hard, right answers too. Or take it out.",
        ("training.rl.companions", "training.recipe", "training.rl.max_completion_length"),
    )


def truncated(case: Case) -> Finding | None:
    """Completions cut at their largest length cannot be right, whatever they were about to say."""
    found = case.trend("truncated")
    if found is None or found.late < 0.05:
        return None
    key = "training.rl.max_completion_length"
    return Finding(
        "truncated",
        "harmful" if found.late >= 0.2 else "hint",
        f"{found.late:.0%} of the completions towards the end were cut before they had finished "
        f"({found.early:.0%} at the start).",
        f"Raise {case.told(key)}; where completions only ramble, a cold start (training.recipe realm-r1) helps.",
        (key, "training.recipe"),
        {"early": found.early, "late": found.late},
    )


def parse_failures(case: Case) -> Finding | None:
    """Completions whose parts cannot be read, by the reasons of the parser."""
    found, cut, where = case.trend("parse_failures"), case.trend("truncated"), "completions towards the end"
    rows = [row.parse for row in case.rl[-max(3, len(case.rl) // 4) :]]
    if found is None and (row := _worst_parsed(case)):  # too short a course, or none: what the last evaluation says
        found, cut = (Trend(share or 0.0, share or 0.0, 0.0) for share in (row.parse_failures, row.truncated))
        rows = [{reason: count / (row.n * row.samples) for reason, count in row.reasons.items()}]
        where = f"answers in the evaluation on {row.split}"
    if found is None or found.late < 0.1:
        return None
    means = {
        reason: fmean(row.get(reason, 0.0) for row in rows) for reason in {reason for row in rows for reason in row}
    }
    top = sorted(((reason, part) for reason, part in means.items() if part > 0), key=lambda one: (-one[1], one[0]))[:3]
    named = ", ".join(f"{reason} {part:.0%}" for reason, part in top) or "no reason is noted"
    settings: tuple[str, ...] = ("reward.format", "training.sft.steps", "training.recipe")
    sft = "more training.sft.steps" if case.run.stage_steps("sft") else "training.recipe realm-r1"
    if case.shows_examples:
        advice = (
            f"The prompt shows examples of the form already (prompt.examples): teach it first ({sft}), or raise "
            f"{case.told('reward.format')}."
        )
    else:
        settings += ("prompt.examples",)
        advice = (
            f"Raise {case.told('reward.format')}, show an example of the form (prompt.examples), or teach it first: "
            f"{sft}."
        )
    if cut is not None and cut.late >= 0.05 and any(reason.endswith(("unclosed", "missing")) for reason, _ in top):
        advice = (
            "First let completions end (training.rl.max_completion_length): a cut one lacks its last parts. " + advice
        )
        settings += ("training.rl.max_completion_length",)
    elif any(reason in ("think_missing", "answer_missing", "tags_misplaced") for reason, _ in top):
        advice += " Tags that the model has met before are learned faster (prompt.think_tag, prompt.answer_tag)."
        settings += ("prompt.think_tag", "prompt.answer_tag")
    return Finding(
        "parse_failures",
        "harmful" if found.late >= 0.3 else "hint",
        f"{found.late:.0%} of the {where} could not be read in full: {named}.",
        advice,
        settings,
        {"early": found.early, "late": found.late, **dict(top)},
    )


def _worst_parsed(case: Case) -> Result | None:
    rows = [row for row in case.run.evaluations if row.stage == "final" and row.before is None]
    return max(rows, key=lambda row: row.parse_failures or 0.0, default=None)


def _spread(row: Result) -> float:
    """Variance of an accuracy over `n` questions; one more question of each kind keeps 0 and 1 from being certain."""
    level = (row.accuracy * row.n + 1) / (row.n + 2)
    return level * (1 - level) / row.n


def _alone(case: Case) -> tuple[float, float, float, float, int] | None:
    """Accuracy without routes before and after, that with routes before, the noise of the change, and the last step.

    From the validation questions; where none were asked, from the training prompts that happened to show no route.
    """
    alone, shown = case.validation(with_routes=False), case.validation(with_routes=True)
    if alone[0] and alone[1] and shown[0]:
        start, now = alone[0], alone[1][-1]
        noise = math.sqrt(_spread(start) + _spread(now))
        return start.accuracy, now.accuracy, shown[0].accuracy, noise, now.step
    found, right = case.trend("accuracy_without_routes"), case.trend("accuracy")
    if found is None or right is None:
        return None
    return found.early, found.late, right.early, found.error, case.rl[-1].step


def fade(case: Case) -> Finding | None:
    """Routes went away faster than the student learned to do without them.

    Of the way from accuracy without routes to accuracy with routes, both before RL, training should have gone about as
    large a part as p has fallen by; less than half of that, beyond noise, is a finding.
    """
    found, p = _alone(case), case.values("p")
    if found is None or not p or p[0] <= 0 or not case.shows_routes:
        return None
    start, now, aim, noise, step = found
    seen = [row.p for row in case.rl if row.step <= step and row.p is not None]
    fallen = 1 - (seen or p)[-1] / p[0]
    if aim - start < 0.1 or fallen < 0.3 or (now - start + 2 * noise) / (aim - start) >= fallen / 2:
        return None
    return Finding(
        "fade",
        "harmful",
        f"By step {step} p had fallen by {fallen:.0%}, while accuracy without routes went from {start:.0%} to "
        f"{now:.0%}; with routes it was {aim:.0%} at the start. The help went away faster than the student learned to "
        "do without it.",
        f"Fade later: {case.told('fade.hold')}, {case.told('fade.fade_end')}, another fade.schedule, or more "
        f"{case.told('training.rl.steps')}; or start from a cold start that knows more (training.recipe realm-r1, "
        "training.sft.steps).",
        ("fade.hold", "fade.fade_end", "fade.schedule", "training.rl.steps", "training.recipe", "training.sft.steps"),
        {"fallen": fallen, "before": start, "after": now, "with_routes": aim},
    )


def copies(case: Case) -> Finding | None:
    """Wrong answers that are a shown route's own, more and more of them."""
    found = case.trend("same_err")
    if found is None or not found.rises or found.change < 0.1 or found.late < 0.3:
        return None
    selection = case.run.setting("routes.selection")
    return Finding(
        "copies",
        "harmful",
        f"{found.late:.0%} of the wrong answers towards the end were those of a wrong route shown, up from "
        f"{found.early:.0%}: the student copies routes instead of judging them.",
        f"Mix right and wrong routes (routes.selection balanced or diverse; now {selection}), "
        f"raise {case.told('reward.scores')}, or fade earlier ({case.told('fade.fade_end')}).",
        ("routes.selection", "reward.scores", "fade.fade_end"),
        {"early": found.early, "late": found.late},
    )


def divergence(case: Case) -> Finding | None:
    """The policy runs away from its reference: nats a token; up to about 0.1 is common in GRPO."""
    beta, found = case.value("training.rl.beta", 0.0), case.trend("kl")
    if beta <= 0 or found is None or found.late < 0.5:
        return None
    return Finding(
        "divergence",
        "harmful",
        f"The KL divergence from the reference reached {found.late:.2f} nats a token towards the end "
        f"({found.early:.2f} at the start).",
        f"Raise {case.told('training.rl.beta')} or lower {case.told('training.rl.learning_rate')}.",
        ("training.rl.beta", "training.rl.learning_rate"),
        {"early": found.early, "late": found.late},
    )


def entropy(case: Case) -> Finding | None:
    """Sampling that has become certain explores nothing; sampling that falls apart says nothing."""
    found = case.trend("entropy")
    if found is None:
        return None
    figures = {"early": found.early, "late": found.late}
    moved = f"went from {found.early:.2f} to {found.late:.2f} nats a token"
    if found.falls and found.late <= 0.3 * found.early and found.late < 0.1:
        return Finding(
            "entropy",
            "harmful",
            f"The entropy of sampling {moved}: completions of a group are nearly the same, and nothing new is tried.",
            f"Raise {case.told('training.rl.temperature')}, lower {case.told('training.rl.learning_rate')}, or hold "
            f"the policy with {case.told('training.rl.beta')}.",
            ("training.rl.temperature", "training.rl.learning_rate", "training.rl.beta"),
            figures,
        )
    if found.rises and found.late >= 2 * found.early + 0.5:
        return Finding(
            "entropy",
            "harmful",
            f"The entropy of sampling {moved}: the policy is falling apart.",
            f"Lower {case.told('training.rl.learning_rate')}, or hold the policy with {case.told('training.rl.beta')}.",
            ("training.rl.learning_rate", "training.rl.beta"),
            figures,
        )
    return None


def too_fast(case: Case) -> Finding | None:
    """What was reached is lost again. Where routes fade, reward falls by itself: prompts without any are looked at."""
    p = case.values("p")
    fading = bool(p) and max(p) - min(p) > 0.05
    name = "accuracy_without_routes" if fading else "reward"
    values = case.values(name)
    size = max(6, len(values) // 8)
    if len(values) < 4 * size:
        return None
    windows = [values[end - size : end] for end in range(size, len(values) + 1)]
    best, last = max(windows, key=fmean), windows[-1]
    peak, now = fmean(best), fmean(last)
    # Three standard errors: the best of many windows is high by chance too.
    if peak - now < max(0.05, 0.15 * peak, 3 * math.sqrt((pvariance(best) + pvariance(last)) / size)):
        return None
    limit, norms = case.value("training.rl.max_grad_norm", 1.0), case.values("grad_norm")
    cut = sum(norm > limit for norm in norms) / len(norms) if norms else 0.0
    clipped = f" {cut:.0%} of the steps had their gradient cut to {limit:g}." if cut >= 0.5 else ""
    words = "Accuracy on training prompts without routes" if fading else "The reward"
    return Finding(
        "too_fast",
        "harmful",
        f"{words} was {peak:.2f} at its best and is {now:.2f} at the end.{clipped}",
        f"Lower {case.told('training.rl.learning_rate')} (by half), let it decay (training.rl.lr_schedule cosine), or "
        f"hold the policy with {case.told('training.rl.beta')}.",
        ("training.rl.learning_rate", "training.rl.lr_schedule", "training.rl.beta"),
        {"peak": peak, "last": now, "clipped_steps": cut},
    )


def early_peak(case: Case) -> Finding | None:
    """Validation accuracy without routes was best long before the end."""
    before, within = case.validation(with_routes=False)
    rows = [row for row in (before, *within) if row is not None]
    if not within or len(rows) < 3 or case.run.meta.chosen is not None:
        return None
    best, last = max(rows, key=lambda row: row.accuracy), rows[-1]
    at = 0 if best is before else best.step
    if at > 0.75 * last.step or best.accuracy - last.accuracy < max(0.05, 2 * math.sqrt(_spread(best) + _spread(last))):
        return None
    where = "before RL" if best is before else f"at step {best.step}"
    return Finding(
        "early_peak",
        "harmful",
        f"Validation accuracy without routes was best {where} ({best.accuracy:.0%}) and is {last.accuracy:.0%} at step "
        f"{last.step}.",
        f"Lower {case.told('training.rl.learning_rate')}"
        + (
            f", stop there (training.rl.steps {best.step}), or let validation choose the checkpoint (training.best)."
            if at
            else ": RL takes away what the model could before."
        ),
        ("training.rl.learning_rate", "training.rl.steps", "training.best"),
        {"best": best.accuracy, "best_step": at, "last": last.accuracy},
    )


def length(case: Case) -> Finding | None:
    """Completions that grow or shrink without getting better."""
    found, right = case.trend("completion_tokens"), case.trend("accuracy")
    if found is None or right is None or right.rises or abs(found.change) < 8:
        return None
    if not (found.rises and found.late >= 1.5 * found.early) and not (found.falls and found.late <= 0.5 * found.early):
        return None
    grown = found.rises
    return Finding(
        "length",
        "hint",
        f"Completions {'grew' if grown else 'shrank'} from {found.early:.0f} to {found.late:.0f} tokens while accuracy "
        f"did not rise ({right.early:.0%} to {right.late:.0%}).",
        f"Read some (`realm report`, completions.jsonl). {case.told('training.rl.loss_type')}: "
        + ("dr_grpo does not favour long wrong ones." if grown else "dapo weighs every token alike.")
        + " Hold the policy with training.rl.beta.",
        ("training.rl.loss_type", "training.rl.beta"),
        {"early": found.early, "late": found.late},
    )
