"""What went wrong in a run, or could go better: sentences made from the run's own files, most important first.

Each check looks for one sign and is silent without it. Its sentence holds the figure, its advice the setting to change.
The thresholds are rules of thumb and stand beside the checks; a change over training counts where it is larger than
twice its standard error, so that a short or noisy run is not talked ill.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from realm.pages import doctor_course as course
from realm.pages import doctor_state as state
from realm.pages.data import Report
from realm.pages.doctor_case import MIN_ROWS, Case, Finding, Weight

#: In the order in which findings of one weight are told.
CHECKS: tuple[Callable[[Case], Finding | None], ...] = (
    state.failed, state.unfinished, state.not_a_number, course.nothing_read, course.never_right, course.truncated,
    course.parse_failures, state.verifier, state.unreadable, course.fade, course.no_spread, course.idle,
    course.entropy, course.divergence, course.too_fast, course.early_peak, course.copies, state.dropped,
    state.bank_unreadable, state.bank, state.one_answer, state.autonomy, state.unlearned, course.length,
)  # fmt: skip
#: What follows where nothing was read at all.
_FOLLOWS = ("never_right", "truncated", "parse_failures", "unreadable", "no_spread", "one_answer")
_WEIGHTS: tuple[Weight, ...] = ("broken", "harmful", "hint")


@dataclass
class Diagnosis:
    """What was found out about one run; `notes` say what could not be judged, and why."""

    name: str
    findings: list[Finding]
    notes: list[str]


def diagnose(report: Report, now: float | None = None) -> list[Diagnosis]:
    """Look at every run of a report (see `realm.pages.data.read_report`)."""
    return [_examine(Case(run, report, time.time() if now is None else now)) for run in report.runs]


def _examine(case: Case) -> Diagnosis:
    findings = [found for check in CHECKS if (found := check(case)) is not None]
    if any(finding.check == "nothing_read" for finding in findings):
        findings = [finding for finding in findings if finding.check not in _FOLLOWS]
    findings.sort(key=lambda finding: _WEIGHTS.index(finding.weight))
    notes = []
    if case.run.meta.evaluated is not None:
        notes.append("this is the evaluation of a model; there is no training to look at.")
    elif not case.run.has_rl:
        notes.append("the course of training, which is judged by that of RL; this recipe has none.")
    elif len(case.rl) < MIN_ROWS:
        notes.append(f"{len(case.rl)} rows of RL are too few to judge how a figure moved ({MIN_ROWS} are needed).")
    elif not case.validation(with_routes=False)[1]:
        notes.append(
            "no evaluation on validation questions during RL: whether accuracy without routes kept up cannot be told "
            "(training.eval_questions, training.eval_every)."
        )
    if case.rl and not case.values("kl") and case.value("training.rl.beta", 0.0) <= 0:
        notes.append(
            "training.rl.beta is 0, so that no reference model is kept and KL is not measured: how far the policy has "
            "run from its start is seen in entropy and validation alone."
        )
    return Diagnosis(case.run.name, findings, notes)
