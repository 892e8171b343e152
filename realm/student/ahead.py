"""The decoding loop that looks ahead: one forward of a prompt's rows checks what was guessed of each.

Every token is drawn by a number of its own (`realm.student.sampling`), so that the scores behind a guess say at once
what would have been chosen there. What agrees with the guess is what would have come without it, one forward a token;
the first that differs is right too, and what follows it is dropped. Nothing but the number of forwards depends on the
guesses:

    guessed            the  sum  is   odd
    a forward reads    so   the  sum  is   odd
    chosen             the  sum  of   …    …         three tokens in one forward

Rounding is the exception, for scores are computed with other rows beside them: in float32 some 1e-6 of the largest. A
choice that is nearer to another one (`NEAR`) is made anew, from the model's own forward of this row alone, without any
cache; it depends on nothing but prompt and draws then, whatever was guessed. One token at a time takes such a choice as
rounding has it, so that some token in a few 100,000 is another one there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from realm.student.cache import SharedCache
from realm.student.guesses import Guess, Guesses
from realm.student.sampling import Choice
from realm.student.ways import Looks, plain_scores, trying

if TYPE_CHECKING:
    from transformers import PreTrainedModel


#: Of so many tokens at most may one be drawn: of more, so many are less likely than `NEAR` that a choice is made anew
#: every few forwards, which costs more than guesses gain.
_VOCABULARY = 8192


def exact(model: PreTrainedModel, choice: Choice) -> bool:
    """Whether rounding is too small for completions to depend on guesses, and choices are seldom near enough for it.

    That is: float32 throughout, no experts, of which the last digit may choose another one, and few tokens to draw.
    """
    text = model.config.get_text_config()
    if hasattr(text, "output_router_logits") or (
        choice.draws is not None and getattr(text, "vocab_size", 0) > _VOCABULARY
    ):
        return False
    return model.dtype == torch.float32 and not torch.is_autocast_enabled(model.device.type)


def look_ahead(
    model: PreTrainedModel,
    guesses: Guesses,
    prompts: Sequence[Sequence[int]],
    found: list[list[int]],
    live: list[int],
    choice: Choice,
    cache: SharedCache,
    scores: torch.Tensor,
    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    looks: Looks,
    situation: frozenset[str],
    *,
    ends: set[int],
    max_new_tokens: int,
) -> None:
    """Go on with completions until they end, as `realm.student.decode` does.

    Args:
        prompts: of every row; equal neighbours are taken in once.
        found: the token ids of each row's completion so far; the others are appended.
        live: the numbers of the rows that have not ended.
        cache: of what these have so far.
        scores: (live rows, vocabulary) of the next token of each.
        forward: scores (M, vocabulary) behind tokens (M, 1) at their positions (M, 1).
        situation: what the way is looked at for, see `Looks`.

    Raises:
        WayError: the model cannot be decoded this way.
    """
    device = scores.device
    draws = [] if choice.draws is None else choice.draws.tolist()
    guesses.begin()
    texts = [[*prompt, *own] for prompt, own in zip(prompts, found, strict=True)]
    for number, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        guesses.learn(text, len(prompt) if number and prompt == prompts[number - 1] else 0)
    asked = [Guess() for _ in live]
    begun = False
    while True:
        rows = [row for row, guess in zip(live, asked, strict=True) for _ in range(1 + len(guess.tokens))]
        ages = [
            len(found[row]) + number
            for row, guess in zip(live, asked, strict=True)
            for number in range(1 + len(guess.tokens))
        ]
        chosen, near = choice.closely(scores, torch.tensor(rows), torch.tensor(ages))
        tokens, doubtful = chosen.tolist(), near.tolist()
        kept, place, came = [], 0, 0
        for number, (row, guess) in enumerate(zip(live, asked, strict=True)):
            own, text = found[row], texts[row]
            before, hits = len(text), 0
            for at, guessed in enumerate([*guess.tokens, None], place):
                token = tokens[at]
                if doubtful[at]:
                    guesses.near += 1
                    with trying():
                        alone = plain_scores(model, torch.tensor([text], device=device))
                    token = int(choice(alone, torch.tensor([row]), len(own)))
                own.append(token)
                text.append(token)
                if token != guessed:
                    break
                hits += 1
                if token in ends:
                    break
            place += 1 + len(guess.tokens)
            came += len(text) - before
            guesses.tell(guess, hits)
            guesses.learn(text, before)
            if own[-1] not in ends and len(own) < max_new_tokens:
                kept.append(number)
        if begun:
            guesses.spent(len(live), came)
        begun = True
        if not kept:
            break
        if len(kept) < len(live):
            live = [live[number] for number in kept]
            with trying():
                cache.reorder_cache(torch.tensor(kept, device=device))
            situation |= {"ended rows left"}
        asked = guesses.ask(
            [texts[row] for row in live],
            [draws[row][len(found[row]) :] if draws else () for row in live],
            [max_new_tokens - len(found[row]) - 1 for row in live],
        )
        inputs: list[int] = []
        places: list[int] = []
        columns: list[int] = []
        positions: list[int] = []
        for slot, (row, guess) in enumerate(zip(live, asked, strict=True)):
            count, age, length = 1 + len(guess.tokens), len(found[row]), len(texts[row])
            inputs += [texts[row][-1], *guess.tokens]
            places += [slot] * count
            columns += range(age - 1, age - 1 + count)
            positions += range(length - 1, length - 1 + count)
        with trying():
            cache.place(torch.tensor(places, device=device), torch.tensor(columns, device=device))
        scores = forward(torch.tensor(inputs, device=device)[:, None], torch.tensor(positions, device=device)[:, None])
        seen = situation | {"guesses"} if len(inputs) > len(live) else situation
        if looks.wanted(seen):
            # What stands behind the longest guess, of the row with most padding and of the longest.
            by_length = sorted(range(len(live)), key=lambda number: len(prompts[live[number]]))
            for number in {by_length[0], by_length[-1]}:
                last = places.index(number) + len(asked[number].tokens)
                looks.take(seen, [*texts[live[number]], *asked[number].tokens], scores[last])
