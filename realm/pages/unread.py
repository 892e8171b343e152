"""Answers of a student that the verifier could not read: how many, and some of them."""

from collections import deque
from statistics import fmean

from realm.bank.unreadable import EXAMPLES, quoted
from realm.pages.data import Run
from realm.rows.evaluation import Prediction
from realm.rows.training import Sampled
from realm.run_rows import read_rows
from realm.tasks.verify import UNREADABLE


def unread(run: Run) -> tuple[float, str]:
    """The share of unreadable answers and where: in the last quarter of RL, else the most of a final evaluation."""
    course = [row.unreadable_answers for row in run.rl if row.unreadable_answers is not None]
    if course:
        return fmean(course[-max(3, len(course) // 4) :]), "towards the end of RL"
    finals = [row.unreadable_answers or 0.0 for row in run.evaluations if row.stage == "final"]
    return max(finals, default=0.0), "in the final evaluation"


def sentence(run: Run) -> str:
    """The same in words, with the latest examples that the run's files hold; "" where there were none."""
    level, where = unread(run)
    if level <= 0:
        return ""
    found: deque[str] = deque(maxlen=EXAMPLES)
    kinds: tuple[type[Sampled] | type[Prediction], ...] = (Sampled, Prediction)
    for kind in kinds:
        for row in read_rows(run.folder, kind, []):
            for item in row.completions:
                if item.verdict == UNREADABLE and item.answer and item.answer.strip():
                    shown = quoted(item.answer)
                    if shown not in found:
                        found.append(shown)
        if found:
            break
    examples = f", e.g. {', '.join(found)}" if found else ""
    return f"The verifier could not read {level:.1%} of the answers {where}{examples}; they count as wrong."
