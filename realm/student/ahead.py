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
cache; it depends on nothing but prompt and draws then, whatever was guessed, and in whatever batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from realm.student.cache import SharedCache
from realm.student.guesses import Guess, Guesses
from realm.student.sampling import Choice
from realm.student.ways import Looks, plain_scores, trying

if TYPE_CHECKING:
    from transformers import PreTrainedModel


#: Ended rows leave the cache when no more than this share of its rows goes on.
_LEFT = 0.8


def exact(model: PreTrainedModel) -> bool:
    """Whether rounding is too small for completions to depend on guesses: float32 throughout, and no experts, of which
    the last digit may choose another one."""
    experts = hasattr(model.config.get_text_config(), "output_router_logits")
    return model.dtype == torch.float32 and not torch.is_autocast_enabled(model.device.type) and not experts


def look_ahead(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    choice: Choice,
    guesses: Guesses,
    cache: SharedCache,
    scores: torch.Tensor,
    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    looks: Looks,
    situation: frozenset[str],
    *,
    ends: set[int],
    max_new_tokens: int,
) -> list[list[int]]:
    """The completions of `prompts`, one for each, as `realm.student.decode` gives them.

    Args:
        prompts: of every row; equal neighbours are taken in once.
        cache: of the prompts that were read, with these rows.
        scores: (rows, vocabulary) of the first token of each.
        forward: scores (M, vocabulary) behind tokens (M, 1) at their positions (M, 1).
        situation: what the way is looked at for, see `Looks`.

    Raises:
        WayError: the model cannot be decoded this way.
    """
    device = scores.device
    draws = [] if choice.draws is None else choice.draws.tolist()
    texts = [list(prompt) for prompt in prompts]
    guesses.begin()
    for number, text in enumerate(texts):
        if not number or text != texts[number - 1]:
            guesses.learn(text, 0)
    live = list(range(len(texts)))
    slots = list(live)
    asked = [Guess() for _ in live]
    start, begun = 0.0, False
    while True:
        rows = [row for row, guess in zip(live, asked, strict=True) for _ in range(1 + len(guess.tokens))]
        ages = [
            len(texts[row]) - len(prompts[row]) + number
            for row, guess in zip(live, asked, strict=True)
            for number in range(1 + len(guess.tokens))
        ]
        found, near = choice.closely(scores, torch.tensor(rows), torch.tensor(ages))
        tokens, doubtful = found.tolist(), near.tolist()
        kept, place, came = [], 0, 0
        for number, (row, guess) in enumerate(zip(live, asked, strict=True)):
            text, before, hits = texts[row], len(texts[row]), 0
            for at, guessed in enumerate([*guess.tokens, None], place):
                token = tokens[at]
                if doubtful[at]:
                    guesses.near += 1
                    with trying():
                        alone = plain_scores(model, torch.tensor([text], device=device))
                    token = int(choice(alone, torch.tensor([row]), len(text) - len(prompts[row])))
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
            if text[-1] not in ends and len(text) - len(prompts[row]) < max_new_tokens:
                kept.append(number)
        now = time.perf_counter()
        if begun:
            guesses.spent(len(live), len(rows), came, now - start)
        start, begun = now, True
        if not kept:
            break
        if len(kept) < len(live):
            live, slots = [live[number] for number in kept], [slots[number] for number in kept]
            # Not each time: what is left is copied.
            if len(live) <= _LEFT * cache.rows:
                with trying():
                    cache.reorder_cache(torch.tensor(slots, device=device))
                slots = list(range(len(live)))
                situation |= {"ended rows left"}
        ages = [len(texts[row]) - len(prompts[row]) for row in live]
        asked = guesses.ask(
            [texts[row] for row in live],
            [draws[row][age:] if draws else () for row, age in zip(live, ages, strict=True)],
            [max_new_tokens - age - 1 for age in ages],
        )
        inputs: list[int] = []
        places: list[int] = []
        columns: list[int] = []
        positions: list[int] = []
        for row, slot, guess, age in zip(live, slots, asked, ages, strict=True):
            count = 1 + len(guess.tokens)
            inputs += [texts[row][-1], *guess.tokens]
            places += [slot] * count
            columns += range(age - 1, age - 1 + count)
            positions += range(len(texts[row]) - 1, len(texts[row]) - 1 + count)
        with trying():
            cache.place(torch.tensor(places, device=device), torch.tensor(columns, device=device))
        scores = forward(torch.tensor(inputs, device=device)[:, None], torch.tensor(positions, device=device)[:, None])
        seen = situation | {"guesses"} if len(inputs) > len(live) else situation
        if looks.wanted(seen):
            # What stands behind the longest guess, of the row with most padding and of the longest.
            by_length = sorted(range(len(live)), key=lambda number: len(prompts[live[number]]))
            for number in {by_length[0], by_length[-1]}:
                last = places.index(slots[number]) + len(asked[number].tokens)
                looks.take(seen, [*texts[live[number]], *asked[number].tokens], scores[last])
    with trying():
        looks.compare()
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
