"""Tokens that answers take: against the shortest right CoT of the bank, and until the answer is first stated.

S1-Bench (arXiv 2504.10368) measures what models write beyond need on questions that need little. What is needed is our
choice: the shortest right CoT that a teacher wrote for the very question, in the form that the student is to write.
"First stated" is where the text of the completion's own answer stands first as a word of its own: a `no` before its
time, in `no receipt`, counts too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from realm.bank.store import Bank
from realm.config import Config
from realm.method.prompt import target
from realm.student.prompts import plain_text
from realm.tasks.base import Question

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def shortest(
    questions: Sequence[Question], bank: Bank, tokenizer: PreTrainedTokenizerBase, config: Config
) -> dict[str, int]:
    """Tokens of the shortest right CoT of each question as a completion, its end among them, where there is one."""
    tags, harmless, found = config.prompt.tags(), plain_text(tokenizer), {}
    for question in questions:
        right = [route for route in bank.routes(question.id) if route.label]
        if right:
            texts = [target(harmless(route.text), harmless(route.answer), None, tags) for route in right]
            found[question.id] = 1 + min(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))
    return found


def stated_at(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], answer: str | None) -> int | None:
    """The tokens of a completion up to where its answer is first stated, that among them; None where it never is."""
    words = r"\s+".join(map(re.escape, (answer or "").split()))
    place = re.search(rf"(?<!\w){words}(?!\w)", str(tokenizer.decode(list(ids)))) if words else None
    if place is None:
        return None
    low, high = 1, len(ids)
    while low < high:
        middle = (low + high) // 2
        enough = len(tokenizer.decode(list(ids[:middle]))) >= place.end()
        low, high = (low, middle) if enough else (middle + 1, high)
    return low
