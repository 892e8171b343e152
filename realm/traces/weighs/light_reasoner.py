"""`light_reasoner`: what an expert has over an amateur, where they differ (LightReasoner, arXiv 2510.07962).

The paper, whose code was read: where KL(expert || amateur) is at least .4, the target is the softmax of log p_expert -
log p_amateur over the tokens with p_expert of at least .2 of its highest; no label is asked for, and the expert is
taught (LoRA, 5e-5, 1 000 steps). By its own table instruct models gain nothing. Our choices: the expert is the student
as the stage finds it, reading the bank's routes (`routes`), the amateur the same one (`now`) or the untrained one
(`base`) at the prompt that is taught; the completions are those of `traces`, the student's own where a step `student`
makes them. Left out are the first token, as in the paper, and the end token: with routes the scores follow the answer,
so that it would have the largest divergence of all. Where routes are mostly wrong the target is too; `traces` of right
CoTs alone do not change that.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from realm.traces.base import Given, Soft, Tokenized
from realm.traces.weights import reading_routes


def light_reasoner(
    rows: Sequence[Tokenized],
    given: Given,
    *,
    amateur: Literal["now", "base"] = "now",
    routes: bool = True,
    divergence: float = 0.4,
    support: float = 0.2,
) -> Iterable[Soft]:
    expert, weak = given.student(), given.student(amateur)
    prompts = [reading_routes(row, given) if routes else row.prompt for row in rows]
    pairs = zip(
        rows,
        expert.scores([(prompt, row.completion) for prompt, row in zip(prompts, rows, strict=True)]),
        weak.scores([(row.prompt, row.completion) for row in rows]),
        strict=True,
    )
    for row, strong, other in pairs:
        strong, other = strong.double().cpu(), other.double().cpu()
        likely = strong.exp()
        apart = (likely * (strong - other)).nan_to_num(0.0).sum(-1)
        ids: list[list[int]] = []
        probabilities: list[list[float]] = []
        for place, parted in enumerate(apart.tolist()):
            if not 0 < place < len(row.completion) - 1 or parted < divergence:
                ids.append([])
                probabilities.append([])
                continue
            tokens = (likely[place] >= support * likely[place].max()).nonzero().flatten()
            ids.append(tokens.tolist())
            probabilities.append((strong[place] - other[place])[tokens].softmax(-1).tolist())
        yield Soft(ids, probabilities, [float(bool(found)) for found in ids])
