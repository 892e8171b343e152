"""Answers of a student that the verifier could not read: how many, and some of them."""

from __future__ import annotations

from collections import deque
from statistics import fmean

from realm.bank.unreadable import EXAMPLES, quoted
from realm.report.data import Run, items, read_lines, share
from realm.tasks.verify import UNREADABLE

_NAME = "unreadable_answers"


def unread(run: Run) -> tuple[float, str]:
    """The share of unreadable answers and where: in the last quarter of RL, else the most of a final evaluation."""
    rows = [row for row in run.metrics if row.get("stage") == "rl"]
    course = [value for row in rows if (value := share(row.get(_NAME))) is not None]
    if course:
        return fmean(course[-max(3, len(course) // 4) :]), "towards the end of RL"
    finals = [share(row.more.get(_NAME)) or 0.0 for row in run.evaluations if row.stage == "final"]
    return max(finals, default=0.0), "in the final evaluation"


def sentence(run: Run) -> str:
    """The same in words, with the latest examples that the run's files hold; "" where there were none."""
    level, where = unread(run)
    if level <= 0:
        return ""
    found: deque[str] = deque(maxlen=EXAMPLES)
    for name in ("completions.jsonl", "predictions.jsonl"):
        for row in read_lines(run.folder / name, []):
            for item in items(row.get("completions")):
                answer = item.get("answer")
                if item.get("verdict") == UNREADABLE and isinstance(answer, str) and answer.strip():
                    shown = quoted(answer)
                    if shown not in found:
                        found.append(shown)
        if found:
            break
    examples = f", e.g. {', '.join(found)}" if found else ""
    return f"The verifier could not read {level:.1%} of the answers {where}{examples}; they count as wrong."


def sentences(runs: list[Run]) -> str:
    """Those of several runs, by their names."""
    told = [(run.name, said) for run in runs if (said := sentence(run))]
    return " ".join(f"{name}: {said}" if len(runs) > 1 else said for name, said in told)
