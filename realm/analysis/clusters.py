"""Which diverging steps of wrong CoTs are the same: clusters of near-equal steps over the whole bank."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from realm.analysis.steps import Divergence, bare
from realm.method.distance import jaccard, shingles

#: Two steps are the same where they share this part of their shingles or more.
ALIKE = 0.7
#: A cluster of this many wrong CoTs is a repeated one.
REPEATED = 3


@dataclass(frozen=True)
class Fault:
    """The diverging step of one wrong CoT; `answer` as the verifier reads it, `said` as it was written."""

    question_id: str
    cot_id: str
    teacher: str
    answer: str
    divergence: Divergence
    said: str = ""


@dataclass(frozen=True)
class Cluster:
    """Faults of one kind whose steps are alike, the commonest wording first."""

    kind: str
    faults: tuple[Fault, ...]

    @property
    def questions(self) -> int:
        """Number of different questions."""
        return len({fault.question_id for fault in self.faults})

    @property
    def teachers(self) -> int:
        """Number of different teachers."""
        return len({fault.teacher for fault in self.faults})

    @property
    def step(self) -> str:
        """The step, as its first fault words it."""
        return self.faults[0].divergence.step

    @property
    def right(self) -> str:
        """The commonest right step that it stands against; "" where there is none."""
        rights = Counter(fault.divergence.right for fault in self.faults if fault.divergence.right)
        return min(rights, key=lambda right: (-rights[right], right)) if rights else ""


def cluster(faults: Sequence[Fault]) -> list[Cluster]:
    """The faults that have a step, in clusters; largest first, then by wording. Deterministic.

    Leader clustering: each wording, commonest first, joins the most similar leader that is alike (`ALIKE`), or becomes
    a leader. Leaders are found through the rarest shingles (prefix filtering: two sets that share a part t of their
    union share one of the first n − ⌈t·n⌉ + 1 shingles of either, in any common order), so that the time stays far
    below all pairs.
    """
    wordings: dict[tuple[str, tuple[str, ...]], list[Fault]] = {}
    for fault in faults:
        plain = bare(fault.divergence.step)
        if plain:
            wordings.setdefault((fault.divergence.kind, plain), []).append(fault)
    texts = {key: shingles(" ".join(key[1])) for key in wordings}
    frequency = Counter(shingle for found in texts.values() for shingle in found)
    index: dict[tuple[str, int], list[tuple[str, tuple[str, ...]]]] = {}
    members: dict[tuple[str, tuple[str, ...]], list[Fault]] = {}
    for key in sorted(wordings, key=lambda key: (-len(wordings[key]), key)):
        mine = texts[key]
        rare = sorted(mine, key=lambda shingle: (frequency[shingle], shingle))
        rare = rare[: len(rare) - math.ceil(ALIKE * len(rare)) + 1]
        leaders = dict.fromkeys(leader for shingle in rare for leader in index.get((key[0], shingle), ()))
        alike = [(jaccard(mine, texts[leader]), leader) for leader in leaders]
        best = max(alike, key=lambda found: found[0], default=(0.0, key))
        if best[0] >= ALIKE:
            members[best[1]] += wordings[key]
            continue
        members[key] = list(wordings[key])
        for shingle in rare:
            index.setdefault((key[0], shingle), []).append(key)
    found = [Cluster(key[0], tuple(group)) for key, group in members.items()]
    return sorted(found, key=lambda one: (-len(one.faults), one.kind, one.step))
