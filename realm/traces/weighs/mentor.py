"""`mentor`: what another model expects is learned beside the token that is there (Mentor-KD, arXiv 2410.09037).

The paper: a mentor of intermediate size, fine-tuned on the teacher's CoTs, writes more of them and gives soft labels,
which the student learns beside both models' CoTs. Here `model` is that mentor, a directory or a run's `model` folder;
its own CoTs are the business of `traces`. Our choices: `share` is what its expectation counts beside the token itself;
of it the `top` likeliest tokens are kept, and what is left of 1 is that of all other tokens together. Temperature and
share of the paper were not established.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from realm.errors import ConfigError
from realm.sections import Probability
from realm.student.load import load
from realm.traces.base import Given, Soft, Tokenized, Voice


def mentor(
    rows: Sequence[Tokenized], given: Given, *, model: str, share: Probability = 0.5, top: int = 20
) -> Iterable[Soft]:
    found, tokenizer = load(model, given.config.model.dtype)
    if tokenizer.get_vocab() != given.tokenizer.get_vocab():
        raise ConfigError(
            f"training.sft.weigh: mentor: model: {model} reads other tokens than the student, so that its expectations "
            "cannot be learned; name a model with the student's own tokenizer, such as a larger one of its family."
        )
    voice = Voice(found, given.tokenizer, batch_size=given.config.evaluation.batch_size, spent=given.spent)
    size = len(given.tokenizer)  # a model may have places for more tokens
    for row, scores in zip(rows, voice.scores([(row.prompt, row.completion) for row in rows]), strict=True):
        ids, probabilities = [], []
        for token, chances in zip(row.completion, scores[:, :size].exp(), strict=True):
            tokens = sorted({token, *chances.topk(min(top, size)).indices.tolist()})
            expected = zip(tokens, chances[tokens].tolist(), strict=True)
            ids.append(tokens)
            probabilities.append([share * chance + (1 - share) * (one == token) for one, chance in expected])
        yield Soft(ids, probabilities, [1.0] * len(ids))
