"""`mentor`: what another model expects is learned beside the token that is there (Mentor-KD, arXiv 2410.09037).

The paper: a mentor of intermediate size, fine-tuned on the teacher's CoTs, writes more of them and gives soft labels,
which the student learns beside both models' CoTs. Here `model` is that mentor, a directory or a run's `model` folder;
its own CoTs come from `student: {model: …}` of `traces`. Our choices: `share` is what its expectation counts beside the
token itself; of it the `top` likeliest tokens are kept, and what is left of 1 is that of all other tokens together.
Temperature and share of the paper were not established.
"""

from collections.abc import Iterable, Sequence

from pydantic import PositiveInt

from realm.sections import Probability
from realm.traces.base import Given, Soft, Tokenized, Voice
from realm.traces.sampling import another


def mentor(
    rows: Sequence[Tokenized], given: Given, *, model: str, share: Probability = 0.5, top: PositiveInt = 20
) -> Iterable[Soft]:
    yield from expected(another(model, given, "training.sft.weigh: mentor: model"), rows, given, share, top)


def expected(voice: Voice, rows: Sequence[Tokenized], given: Given, share: float, top: int) -> Iterable[Soft]:
    """For each row the token that is there with 1 - share, and a voice's distribution over its likeliest with share."""
    size = len(given.tokenizer)  # a model may have places for more tokens
    for row, scores in zip(rows, voice.scores([(row.prompt, row.completion) for row in rows]), strict=True):
        ids, probabilities = [], []
        for token, chances in zip(row.completion, scores[:, :size].exp(), strict=True):
            tokens = sorted({token, *chances.topk(min(top, size)).indices.tolist()})
            parts = zip(tokens, chances[tokens].tolist(), strict=True)
            ids.append(tokens)
            probabilities.append([share * chance + (1 - share) * (one == token) for one, chance in parts])
        yield Soft(ids, probabilities, [1.0] * len(ids))
