"""`to_base`: what the untrained student expects is learned beside the token that is there, so that less is unlearned.

The loss of a token is (1 - share) times SFT's and share times the cross-entropy of the untrained student's
distribution, which but for a constant is KL(base || student) at the prompt that is taught; the CoTs are learned at
1 - share of the rate. Learning without Forgetting (arXiv 1606.09282) holds an image classifier to its old outputs on
new inputs in this way; that it is token by token, the share, and no temperature are our choices. `top`: of a
distribution so many tokens are kept, and what is left of 1 is that of all others together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import PositiveInt

from realm.sections import Probability
from realm.traces.base import Given, Soft, Tokenized
from realm.traces.weighs.mentor import expected


def to_base(
    rows: Sequence[Tokenized], given: Given, *, share: Probability = 0.2, top: PositiveInt = 20
) -> Iterable[Soft]:
    yield from expected(given.student("base"), rows, given, share, top)
