"""Every random draw of the project comes from one seed and the names of what is drawn, never from global state."""

import hashlib
import json
import random
from collections.abc import Sequence


def derive(seed: int, *parts: str | int) -> int:
    """A seed in [0, 2**63) that depends on `seed` and on each of `parts`, their order and their types.

    SHA-256 over the JSON of the list: the same on every platform, process and Python version, which neither `hash`
    (salted) nor `repr` of text (follows the Unicode tables of the interpreter) would be. Raises `TypeError` for parts
    that are neither text nor integers.
    """
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rng(seed: int, *parts: str | int) -> random.Random:
    """A generator of its own for the draw named by `parts`; see `derive`."""
    return random.Random(derive(seed, *parts))


def question_order(ids: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` question ids: the questions in a new shuffled order each time all have been asked."""
    order: list[str] = []
    lap = 0
    while len(order) < count:
        order += rng(seed, "order", lap).sample(list(ids), len(ids))
        lap += 1
    return order[:count]
