"""What answers take: tokens against the shortest right CoT of the bank and until they are first stated, and memory.

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
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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


def weights(model: PreTrainedModel) -> float:
    """Bytes of the weights as they are loaded; those that are tied count once."""
    return float(sum(one.numel() * one.element_size() for one in model.parameters()))


def cache(model: PreTrainedModel, prompts: Sequence[int], completions: Sequence[int]) -> float | None:
    """Bytes of keys and values for a question, mean: of its prompt once, and of all its completions.

    As if every layer kept those of every token (Kim et al., arXiv 2510.10964, count so). None where the configuration
    does not tell their size.

    Args:
        prompts, completions: tokens of each question's prompt, and of all its completions together.
    """
    text = model.config.get_text_config()
    layers, heads, width = (
        getattr(text, name, None) for name in ("num_hidden_layers", "num_attention_heads", "hidden_size")
    )
    if not layers or not heads or not width:
        return None
    kept = (getattr(text, "num_key_value_heads", None) or heads) * (getattr(text, "head_dim", None) or width // heads)
    tokens = (sum(prompts) + sum(completions)) / len(prompts)
    return float(2 * layers * kept * model.dtype.itemsize * tokens)


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
