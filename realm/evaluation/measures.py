"""The measures of the method (`same_err`, scoring, pass@n, maj@n) over plain numbers."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

_SPACE = re.compile(r"(?<!\d) | (?!\d)")


def share(values: Sequence[bool]) -> float | None:
    """Share of true values; None where there is none."""
    return sum(values) / len(values) if values else None


def same_err(correct: Sequence[bool], copied: Sequence[bool]) -> tuple[float | None, float | None]:
    """`same_err` among the wrong completions, and over all of them.

    Args:
        correct: whether each completion (routes shown) is right.
        copied: whether its answer equals a wrong answer of a shown route. A missing answer is wrong and copies nothing.
    """
    wrong = [copy for right, copy in zip(correct, copied, strict=True) if not right]
    return share(wrong), (sum(wrong) / len(correct) if correct else None)


def _filled(scores: Sequence[float | None], labels: Sequence[int]) -> list[tuple[float, int]]:
    """Pairs of score and label, where a missing score is maximally wrong."""
    return [(1.0 - u if s is None else s, u) for s, u in zip(scores, labels, strict=True)]


def scoring_accuracy(scores: Sequence[float | None], labels: Sequence[int]) -> float | None:
    """Share of routes judged rightly, (s ≥ ½) = u. A missing score is wrong. None without routes."""
    return share([(s >= 0.5) == bool(u) for s, u in _filled(scores, labels)])


def brier(scores: Sequence[float | None], labels: Sequence[int]) -> float | None:
    """Mean of (s − u)², 0 is best. A missing score counts 1. None without routes."""
    pairs = _filled(scores, labels)
    return math.fsum((s - u) ** 2 for s, u in pairs) / len(pairs) if pairs else None


def auroc(scores: Sequence[float | None], labels: Sequence[int]) -> float | None:
    """Probability that a random positive route scores above a random negative one; a tie counts ½ (Mann-Whitney).

    A missing score is maximally wrong. None where one of the labels does not occur.
    """
    pairs = _filled(scores, labels)
    positives = np.array([s for s, u in pairs if u])
    negatives = np.sort([s for s, u in pairs if not u])
    if not positives.size or not negatives.size:
        return None
    below = np.searchsorted(negatives, positives, "left")
    not_above = np.searchsorted(negatives, positives, "right")
    return float((below + not_above).sum() / (2 * positives.size * negatives.size))


def macro_f1(golds: Sequence[str], predictions: Sequence[str | None]) -> float | None:
    """Mean F1 over the classes that occur as gold or as prediction; None predicts no class. None without questions."""
    pairs = Counter(zip(golds, predictions, strict=True))
    classes = sorted({*golds, *(name for name in predictions if name is not None)})
    if not classes:
        return None
    gold, predicted = Counter(golds), Counter(predictions)
    # 2·TP / (2·TP + FP + FN), and 2·TP + FP + FN is what was gold plus what was predicted: never zero here.
    return math.fsum(2 * pairs[name, name] / (gold[name] + predicted[name]) for name in classes) / len(classes)


def pass_at_n(samples: int, correct: int, n: int) -> float:
    """Unbiased estimate of the probability that one of n completions is right, from `correct` right ones of `samples`.

    1 − C(samples − correct, n) / C(samples, n), arXiv 2107.03374, equation 1.

    Raises:
        ValueError: n is not in 1 … samples.
    """
    if not 1 <= n <= samples:
        raise ValueError(f"pass@n needs 1 ≤ n ≤ samples, found n = {n} of {samples}")
    return 1.0 - math.comb(samples - correct, n) / math.comb(samples, n)


def bare(answer: str) -> str:
    """An answer without case and white space, but for that between two digits (`1 1/2`): alike so, two are one."""
    return _SPACE.sub("", " ".join(answer.split())).casefold()


def majority(answers: Sequence[str | None]) -> tuple[int, int]:
    """The place of the most frequent answer of one question's completions, and its votes; 0 votes where there is none.

    Answers are told apart as `bare` leaves them; a missing answer has no vote; of equally frequent ones the first
    counts.
    """
    texts = [bare(answer or "") for answer in answers]
    found = Counter(text for text in texts if text).most_common(1)
    return (texts.index(found[0][0]), found[0][1]) if found else (0, 0)


def maj_at_n(answers: Sequence[str | None], correct: Sequence[bool]) -> bool:
    """Whether the most frequent answer of one question's completions is right; see `majority`."""
    place, votes = majority(answers)
    return votes > 0 and correct[place]
