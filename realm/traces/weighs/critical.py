"""`critical`: the loss is on the tokens that decide the answer (critical token fine-tuning, arXiv 2510.10974).

The paper, of which the abstract alone could be read: tokens of right solutions are critical where a change of them
turns the answer wrong, fewer than 12 % of all, and these alone are learned. As others tell it, each token of the
model's own greedy right solutions is replaced by its second and its third choice and continued greedily, and is
critical where both come out wrong. So `traces` should be the student's own right ones (a step `student`, then `right`):
in a CoT that the student could not go on with by itself any token comes out critical. Our choices: of a token that is
not the first choice, the two likeliest others; the student reads the bank's routes meanwhile (`routes`), although it is
taught without, so that a question that is hard alone has critical tokens too; `elsewhere` is what all other tokens
weigh. With 0 there the rate has to be low: parameters are shared, and what is not learned is moved as well.

The cost: of a completion of T tokens up to 2 T continuations, each of which reads the prompt. `most` completions are
looked at, drawn by lot; the others weigh `elsewhere`.
"""

from collections.abc import Iterable, Sequence

from pydantic import NonNegativeFloat, PositiveInt

from realm.student.generate import completion_text, end_tokens
from realm.traces.base import Given, Tokenized
from realm.traces.sampling import assess
from realm.traces.weights import reading_routes


def critical(
    rows: Sequence[Tokenized],
    given: Given,
    *,
    elsewhere: NonNegativeFloat = 0.0,
    most: PositiveInt = 500,
    routes: bool = True,
) -> Iterable[Sequence[float]]:
    voice, tokenizer = given.student(), given.tokenizer
    ends = end_tokens(voice.model, tokenizer)
    right = [number for number, row in enumerate(rows) if row.trace.cot.label == 1]
    looked_at = sorted(given.rng("critical").sample(right, min(most, len(right))))
    prompts = {number: reading_routes(rows[number], given) if routes else rows[number].prompt for number in looked_at}
    scores = voice.scores([(prompts[number], rows[number].completion) for number in looked_at])
    choices = {number: found.topk(3).indices.tolist() for number, found in zip(looked_at, scores, strict=True)}
    weights = [[elsewhere] * len(row.completion) for row in rows]
    for place in range(max((len(rows[number].completion) for number in looked_at), default=1) - 1):
        # The end decides nothing.
        missing = [number for number in looked_at if place < len(rows[number].completion) - 1]
        for rank in range(2):
            begun = []
            for number in missing:
                *before, taught = rows[number].completion[: place + 1]
                begun.append([*before, [one for one in choices[number][place] if one != taught][rank]])
            prompts_on = [
                prompts[number] + ids for number, ids in zip(missing, begun, strict=True) if ids[-1] not in ends
            ]
            written = iter(voice.write(prompts_on, length=given.room - place - 1))
            wholes = [ids if ids[-1] in ends else [*ids, *next(written)[0].ids] for ids in begun]
            texts = [
                (completion_text(tokenizer, ids, ends), 0, rows[number].trace.question)
                for number, ids in zip(missing, wholes, strict=True)
            ]
            judged = zip(missing, assess(texts, given), strict=True)
            missing = [number for number, (_, verdict) in judged if not verdict.correct]
        for number in missing:
            weights[number][place] = 1.0
    return weights
