"""`critical`: the loss is on the tokens that decide the answer (critical token fine-tuning, arXiv 2510.10974).

The paper, of which the abstract alone could be read: tokens of right solutions are critical where a change of them
turns the answer wrong, fewer than 12 % of all, and these alone are learned. As others tell it, each token of the
model's own greedy right solutions is replaced by its second and its third choice and continued greedily, and is
critical where both come out wrong. So `traces` should be the student's own right ones (a step `student`, then `right`):
in a CoT that the student could not go on with by itself any token comes out critical. Our choices: of a token that is
not the first choice, the two likeliest others; the student reads the bank's routes meanwhile (`routes`), although it is
taught without, so that a question that is hard alone has critical tokens too; `elsewhere` is what all other tokens
weigh. With 0 there the rate has to be low: parameters are shared, and what is not learned is moved as well.

The cost: of a completion of T tokens 2 T continuations, that is some T x T tokens. `most` completions are looked at,
drawn by lot; the others weigh `elsewhere`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from realm.method.completion import parse
from realm.tasks.workers import verify_once
from realm.traces.base import Given, Tokenized
from realm.traces.weights import reading_routes


def critical(
    rows: Sequence[Tokenized], given: Given, *, elsewhere: float = 0.0, most: int = 500, routes: bool = True
) -> Iterable[Sequence[float]]:
    voice, tokenizer, end = given.student(), given.tokenizer, given.tokenizer.eos_token_id
    right = [number for number, row in enumerate(rows) if row.trace.cot.label == 1]
    looked_at = sorted(given.rng("critical").sample(right, min(most, len(right))))
    prompts = {number: reading_routes(rows[number], given) if routes else rows[number].prompt for number in looked_at}
    scores = voice.scores([(prompts[number], rows[number].completion) for number in looked_at])
    choices = {number: found.topk(3).indices.tolist() for number, found in zip(looked_at, scores, strict=True)}
    weights = [[elsewhere] * len(row.completion) for row in rows]
    for place in range(max((len(rows[number].completion) for number in looked_at), default=1) - 1):
        begun = []
        for number in looked_at:
            *before, taught = rows[number].completion[: place + 1]
            if place < len(rows[number].completion) - 1:  # the end decides nothing
                begun += [(number, [*before, other]) for other in choices[number][place] if other != taught][:2]
        written = iter(
            voice.write(
                [prompts[number] + ids for number, ids in begun if ids[-1] != end], length=given.room - place - 1
            )
        )
        claims = []
        for number, ids in begun:
            whole = ids if ids[-1] == end else [*ids, *next(written)[0].ids]
            read = parse(str(tokenizer.decode(whole, skip_special_tokens=False)), 0, given.renderer.tags)
            question = rows[number].trace.question
            claims.append((read.answer, question.answer, question.question))
        for number, _ in begun:
            weights[number][place] = 1.0
        for (number, _), verdict in zip(begun, verify_once(given.verifier, claims), strict=True):
            if verdict.correct:
                weights[number][place] = elsewhere
    return weights
