"""How far apart two CoTs are as texts, and the choice of texts that lie far from each other.

The distance is 1 − the Jaccard similarity of the sets of word 3-grams (shingles; Broder 1997, "On the resemblance and
containment of documents"): 0 for the same words in the same order, 1 where no three words in a row are shared. Case and
white space do not count; numbers and the signs of arithmetic do, because they carry the reasoning.
"""

import functools
import random
import re
import zlib
from collections.abc import Callable, Sequence

#: Words in a row that make a shingle; a shorter text is one shingle by itself.
SHINGLE = 3
#: Two texts at most this far apart are near-duplicates: they share four fifths of their shingles or more.
NEAR_DUPLICATE = 0.2

# Joins the hashes of the words of a shingle; the order matters. 61 bits keep the numbers small and collisions away.
_FACTOR, _MODULUS = 1_000_003, (1 << 61) - 1
_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*|[-+*/=<>×÷%^]")


def words(text: str) -> list[str]:
    """The words, numbers and signs of arithmetic of a text, case-folded."""
    return _WORD.findall(text.casefold())


# Bounded: about 15 kB for each text of 250 words. A training step draws from at most some hundred questions' CoTs.
@functools.lru_cache(maxsize=4096)
def shingles(text: str) -> frozenset[int]:
    """Hashes of the text's shingles, the same in every process (`hash` of text is not); empty for a text of no word."""
    # A lone surrogate of a model's text is no valid UTF-8.
    found = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words(text)]
    size = min(SHINGLE, len(found))
    if not size:
        return frozenset()
    hashes = found[: len(found) - size + 1]
    for start in range(1, size):
        rest = found[start : len(found) - size + 1 + start]
        hashes = [(one * _FACTOR + other) % _MODULUS for one, other in zip(hashes, rest, strict=True)]
    return frozenset(hashes)


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Share of the elements of either set that are in both, in [0, 1]; 1 for two empty sets."""
    if not one and not other:
        return 1.0
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def distance(one: str, other: str) -> float:
    """Distance of two texts in [0, 1]: symmetric, 0 for the same words (two texts without a word included)."""
    return 1.0 - jaccard(shingles(one), shingles(other))


def mean_distance(texts: Sequence[str]) -> float | None:
    """Mean distance over all pairs of the texts; None for fewer than two. Quadratic."""
    pairs = [distance(texts[i], texts[j]) for i in range(len(texts)) for j in range(i)]
    return sum(pairs) / len(pairs) if pairs else None


def farthest_point(
    texts: Sequence[str], k: int, rng: random.Random, metric: Callable[[str, str], float] = distance
) -> list[int]:
    """Indices of k texts that lie far from each other, in the order they were chosen; all where there are fewer.

    Greedy farthest-point traversal (Gonzalez 1985): the first by lot, then always the text whose nearest chosen one is
    farthest away, ties by lot. It takes k·N distances.
    """
    # In an order drawn by lot the first text is one drawn by lot, and of equally far ones the first is too.
    order = rng.sample(range(len(texts)), len(texts))
    nearest = dict.fromkeys(order, float("inf"))
    chosen: list[int] = []
    while nearest and len(chosen) < k:
        best = max(nearest, key=nearest.__getitem__)
        del nearest[best]
        chosen.append(best)
        for index, far in nearest.items():
            nearest[index] = min(far, metric(texts[best], texts[index]))
    return chosen
