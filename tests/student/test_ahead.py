"""Decoding ahead gives the completions of decoding one token at a time, token for token, in fewer forwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from realm.student import ahead, guesses
from realm.student import decode as decoding
from realm.student.decode import decode
from realm.student.guesses import Guess, Guesses, guesses_of
from realm.student.sampling import NEAR, Choice, Sampling
from realm.student.ways import taken, ways
from tests.student.chosen import SLACK
from tests.training.decoders import FAMILIES, VOCABULARY, decoder

LENGTH, END = 14, 1
PROMPTS = [[5, 6, 7, 8, 9, 5, 6, 7], [10, 11], [12, 13, 14]]
REPEATS = [5, 1, 3]
SAMPLINGS = [
    Sampling(),
    Sampling(1.0),
    Sampling(0.5),
    Sampling(1.2, top_p=0.8),
    Sampling(1.0, min_p=0.1),
    Sampling(0.8, top_k=4),
    Sampling(0.9, top_k=9, top_p=0.9, min_p=0.05),
]


def said(
    model: PreTrainedModel,
    sampling: Sampling = SAMPLINGS[1],
    *,
    ahead: bool = True,
    prompts: Sequence[Sequence[int]] = PROMPTS,
    repeats: Sequence[int] = REPEATS,
    ends: Sequence[int] = (END,),
    seed: int = 0,
) -> list[list[int]]:
    pick = sampling.pick([seed + row for row in range(sum(repeats))], LENGTH)
    return decode(model.eval(), prompts, repeats, pad=0, ends=set(ends), max_new_tokens=LENGTH, pick=pick, ahead=ahead)


class Oracle(Guesses):
    """Knows what is coming, but for every `wrong`-th token; guesses of another length for each row."""

    def __init__(self, truth: dict[tuple[int, ...], list[int]], wrong: int) -> None:
        super().__init__(1e6)
        self.truth, self.wrong, self.told = truth, wrong, 0

    def tell(self, guess: Guess, hits: int) -> None:
        assert hits <= len(guess.tokens)
        self.told += hits

    def ask(self, texts: Any, draws: Any, rooms: Any) -> list[Guess]:
        found = []
        for number, (text, room) in enumerate(zip(texts, rooms, strict=True)):
            guess = Guess()
            whole = next((t for t in self.truth.values() if list(t[: len(text)]) == text), text)
            for place in range(len(text), min(len(whole), len(text) + min(room, 1 + number % 4))):
                guess.tokens.append(whole[place] if place % self.wrong else 2 + whole[place] % (VOCABULARY - 2))
                guess.kinds.append(0)
            found.append(guess)
        return found


@pytest.fixture
def foreseen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`said` with guesses of which most come true; the forwards are those of `guesses_of`."""

    def run(model: PreTrainedModel, sampling: Sampling, wrong: int = 5, **how: Any) -> tuple[list[list[int]], Oracle]:
        prompts, repeats = how.get("prompts", PROMPTS), how.get("repeats", REPEATS)
        plain = said(model, sampling, ahead=False, **how)
        owners = [i for i, count in enumerate(repeats) for _ in range(count)]
        truth = {(row,): [*prompts[i], *plain[row]] for row, i in enumerate(owners)}
        oracle = Oracle(truth, wrong)
        monkeypatch.setitem(guesses._OF, model, oracle)
        found = said(model, sampling, **how)
        assert found == plain
        return found, oracle

    yield run


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_completions_are_the_same_in_fewer_forwards(family: str, sampling: Sampling, foreseen: Any) -> None:
    model = decoder(family)
    found, counted = foreseen(model, sampling)
    assert taken(model) == ways(model)[0] == "shared"
    assert counted.forwards < 0.7 * (max(map(len, found)) - 1)
    assert counted.tokens == sum(len(row) - 1 for row in found)
    assert counted.told >= counted.tokens - counted.turns > 0, "every hit is told"


@pytest.mark.parametrize("ends", [[END], [1, *range(20, 45)], range(2, 61)], ids=["rare", "many", "all"])
@pytest.mark.parametrize(
    ("prompts", "repeats"),
    [(PROMPTS, REPEATS), (PROMPTS, [1, 1, 1]), ([PROMPTS[0]], [4]), ([PROMPTS[1]], [1]), ([[3], [4]], [2, 2])],
    ids=str,
)
def test_rows_that_end_within_a_guess(ends: Any, prompts: Any, repeats: Any, foreseen: Any) -> None:
    found, _ = foreseen(decoder("qwen3"), SAMPLINGS[1], prompts=prompts, repeats=repeats, ends=ends, wrong=100)
    assert all(not set(row[:-1]) & set(ends) and len(row) <= LENGTH for row in found)


def test_with_lora(foreseen: Any) -> None:
    adapted = get_peft_model(
        decoder("qwen3"), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    foreseen(adapted.get_base_model(), SAMPLINGS[1])


def test_what_is_learned_is_guessed_and_what_it_guesses_changes_nothing() -> None:
    """The real ones, over several batches of the same prompts: the second time most of it was seen before."""
    model = decoder("qwen3")
    plain = [said(model, Sampling(0.3), ahead=False, seed=seed) for seed in (0, 40, 0)]
    turns = []
    for seed, expected in zip((0, 40, 0), plain, strict=True):
        guesses_of(model).reset()
        assert said(model, Sampling(0.3), seed=seed) == expected
        turns.append(guesses_of(model).tokens / guesses_of(model).turns)
    assert turns[-1] > 1.5 and turns[-1] > turns[0]
    assert guesses_of(model).ask([PROMPTS[0][:2]], [()], [1])[0].tokens == PROMPTS[0][2:3], "prompts are learned too"


def test_a_near_choice_is_made_anew_from_the_row_alone(monkeypatch: pytest.MonkeyPatch, foreseen: Any) -> None:
    """Scores that rounding has moved over a draw are not believed where the draw was near."""
    model = decoder("qwen3")
    plain = said(model, SAMPLINGS[1], ahead=False)
    closely = Choice.closely

    def rounded(self: Choice, scores: Any, rows: Any, steps: Any) -> tuple[torch.Tensor, ...]:
        chosen, _ = closely(self, scores, rows, steps)
        doubtful = (rows + steps) % 3 == 0
        return torch.where(doubtful, (chosen + 1) % VOCABULARY, chosen), doubtful

    monkeypatch.setattr(Choice, "closely", rounded)
    guesses_of(model).reset()
    assert said(model, SAMPLINGS[1]) == plain
    places = [row + step for row, found in enumerate(plain) for step in range(len(found))]
    assert guesses_of(model).near == sum(place % 3 == 0 for place in places)


def test_what_is_near() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    rows, steps = torch.tensor([0]), torch.tensor([0])

    def near(draw: float | None, scores: torch.Tensor = scores, **how: Any) -> tuple[int, bool]:
        draws = None if draw is None else torch.tensor([[draw]])
        chosen, close = Choice(Sampling(1.0, **how), draws).closely(scores, rows, steps)
        assert int(chosen) == int(Choice(Sampling(1.0, **how), draws)(scores, rows, 0))
        return int(chosen), bool(close)

    assert near(0.5 - NEAR / 2) == (0, True) and near(0.5 + NEAR / 2) == (1, True)
    assert near(0.5 - 3 * NEAR) == (0, False) and near(0.5 + 3 * NEAR) == (1, False)
    assert near(0.65) == (1, False)
    # Without a draw: two that are nearly the likeliest.
    assert near(None) == (0, False)
    assert near(None, torch.tensor([[3.0, 2.0, 3.0 + 1e-6]])) == (2, True)
    # What is left to choose from would be another.
    assert near(0.1, top_p=0.7) == (0, False)
    assert near(0.1, top_p=0.8 + NEAR / 2)[1] and near(0.1, top_p=0.8 - NEAR / 2)[1]
    assert near(0.1, min_p=0.5) == (0, False)
    assert near(0.1, min_p=0.6 * (1 + NEAR / 2))[1] and near(0.1, min_p=0.6 * (1 - NEAR / 2))[1]
    assert near(0.1, top_k=2) == (0, False)
    assert near(0.1, torch.tensor([[3.0, 2.0, 2.0 + 1e-6]]), top_k=2)[1]


def test_rounding_is_well_below_what_counts_as_near(foreseen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cumulated probabilities of forwards of several tokens, against those of whole rows alone."""
    model = decoder("qwen3")
    seen: dict[tuple[int, int], torch.Tensor] = {}
    closely = Choice.closely

    def spy(self: Choice, scores: Any, rows: Any, steps: Any) -> Any:
        # What stood behind a wrong guess is seen again.
        places = zip(rows.tolist(), steps.tolist(), strict=True)
        seen.update(zip(places, scores.softmax(-1).cumsum(-1), strict=True))
        return closely(self, scores, rows, steps)

    monkeypatch.setattr(Choice, "closely", spy)
    found, _ = foreseen(model, SAMPLINGS[1], wrong=100)
    owners = [i for i, count in enumerate(REPEATS) for _ in range(count)]
    for (row, step), cumulated in seen.items():
        if step >= len(found[row]):  # behind the end
            continue
        text = torch.tensor([[*PROMPTS[owners[row]], *found[row][:step]]])
        with torch.no_grad():
            alone = model(input_ids=text).logits[0, -1].softmax(-1).cumsum(-1)
        assert (cumulated - alone).abs().max() < NEAR


def test_only_where_rounding_is_small_and_seldom_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = decoder("qwen3")
    drawn, likeliest = Sampling(1.0).pick([0], 4), Sampling().pick([0], 4)
    assert ahead.exact(model, drawn) and ahead.exact(model, likeliest)
    with torch.autocast("cpu", torch.bfloat16):
        assert not ahead.exact(model, drawn)
    monkeypatch.setattr(ahead, "_VOCABULARY", VOCABULARY - 1)
    assert not ahead.exact(model, drawn) and ahead.exact(model, likeliest)
    monkeypatch.setattr(ahead, "_VOCABULARY", VOCABULARY)
    assert ahead.exact(model, drawn)
    model.config.output_router_logits = False
    assert not ahead.exact(model, drawn)
    del model.config.output_router_logits
    assert not ahead.exact(model.bfloat16(), drawn)
    said(model)
    assert guesses_of(model).forwards == 0


def test_one_that_is_wrong_ahead_is_noticed(monkeypatch: pytest.MonkeyPatch, foreseen: Any, caplog: Any) -> None:
    """Guesses that see what comes behind them: the way is given up, and the completions are right."""
    from realm.student.cache import _Spots

    spots = _Spots.__init__

    def blind(self: Any, *args: Any) -> None:
        spots(self, *args)
        self.hidden = None

    monkeypatch.setattr(_Spots, "__init__", blind)
    foreseen(decoder("qwen3"), SAMPLINGS[1], wrong=100)
    assert "scores differ by" in caplog.text


def test_guesses_are_the_quantiles_of_what_followed() -> None:
    known = Guesses(64.0)
    for last in (9, 9, 9, 4):
        known.learn([1, 2, 3, last], 2)
    (low,), (high,) = (known.ask([[1, 2, 3]], [[draw] * 5], [1]) for draw in (0.1, 0.6))
    assert (low.tokens, high.tokens) == ([4], [9])
    assert known.ask([[7, 8]], [[0.5]], [1])[0].tokens == []
    assert known.ask([[1, 2, 3]], [[]], [1])[0].tokens == [9], "without draws: what followed most"


def test_guesses_that_fail_are_no_longer_made_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "_BEGINNINGS", 400)
    known = Guesses(64.0)
    asked = 0
    text = [3, 4, 5, 6, 7, 8]
    for turn in range(300):
        known.learn([*text, turn + 10], len(text))
        (guess,) = known.ask([text], [[0.5] * 20], [8])
        asked += bool(guess.tokens)
        known.tell(guess, 0)
        known.learn([turn + number for number in range(9)], 0)
        assert len(known._young) + len(known._old) <= 400 + 2 * 18
    assert 0 < asked < 100
    assert all(len(after) <= 64 for after in known._young.values())


@pytest.mark.parametrize(
    ("layers", "weights", "device", "fits", "too_many"),
    [(4, 840_000, "cpu", 32, 48), (30, 134_500_000, "cpu", 8, 16), (30, 134_500_000, "meta", 500, 1000)],
)
def test_guesses_pay_where_a_forward_costs_more_than_its_rows(
    layers: int, weights: int, device: str, fits: int, too_many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = decoder("llama", num_hidden_layers=1)
    model.config.num_hidden_layers = layers
    some = torch.empty(1, device=device).expand(weights)
    monkeypatch.setattr(model, "parameters", lambda: iter([some]))
    assert guesses_of(model).pay(fits) and not guesses_of(model).pay(too_many)


def test_rows_that_leave_make_guesses_pay(foreseen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One token at a time while there are many, several when few are left."""
    model = decoder("qwen3")
    plain = said(model, ahead=False)
    lengths = sorted(map(len, plain))
    assert lengths[0] < lengths[-1], "the rows must not end together"
    started: list[list[int]] = []
    look = decoding.look_ahead

    def spy(*args: Any, **how: Any) -> None:
        started.append(list(args[4]))
        look(*args, **how)

    monkeypatch.setattr(decoding, "look_ahead", spy)
    monkeypatch.setattr(Guesses, "pay", lambda _, rows: rows < len(plain))
    found, counted = foreseen(model, SAMPLINGS[1], wrong=100)
    first = lengths[0]
    assert started == [[row for row, one in enumerate(plain) if len(one) > first]]
    assert counted.tokens == sum(len(row) - 1 for row in found) and first <= counted.forwards < lengths[-1] - 1


def test_many_prompts_that_nobody_shares_are_left_to_the_models_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    model = decoder("qwen3")
    for limit, way in ((6, "shared"), (5, "batch")):
        monkeypatch.setattr(Guesses, "pay", lambda _, rows, limit=limit: rows <= limit)
        plain = said(model, repeats=[1, 1, 1], ahead=False)
        assert said(model, repeats=[1, 1, 1]) == plain
        assert taken(model) == way


def test_guesses_are_asked_for_with_the_draws_of_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = decoder("qwen3")
    plain = said(model, ahead=False)
    owners = [i for i, count in enumerate(REPEATS) for _ in range(count)]
    draws = SAMPLINGS[1].pick(range(len(owners)), LENGTH).draws
    assert draws is not None
    asked = []

    def ask(_: Guesses, texts: Any, numbers: Any, rooms: Any) -> list[Guess]:
        for text, own, room in zip(texts, numbers, rooms, strict=True):
            age = LENGTH - len(own)
            row = next(row for row in range(len(owners)) if draws[row, age:].tolist() == list(own))
            assert text == [*PROMPTS[owners[row]], *plain[row][:age]] and room == LENGTH - age - 1
            asked.append(row)
        return [Guess() for _ in texts]

    monkeypatch.setattr(Guesses, "ask", ask)
    said(model)
    assert set(asked) == {row for row, found in enumerate(plain) if len(found) > 1}


def test_a_guess_goes_as_far_as_all_of_it_is_likely_and_each_token_has_its_own_draw() -> None:
    def asked(fixed: float) -> list[int]:
        known = Guesses(fixed)
        for last in (4, 9):
            known.learn([1, 2, 3, last], 2)
        return known.ask([[1, 2]], [[0.1, 0.9]], [2])[0].tokens

    assert asked(1e6) == [3, 9]
    # Nothing was tried: each is one half likely, where a position costs 0.3 of a token.
    assert asked(2 / 0.3 - 2) == [3]


def test_the_likelier_of_two_guesses_is_made_and_the_older_half_is_known_too(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Guesses(1e6)
    known.learn([1, 2, 3, 4, 5, 6, 9], 6)
    for _ in range(3):
        known.learn([5, 6, 7], 2)
    assert known.ask([[1, 2, 3, 4, 5, 6]], [[0.1]], [1])[0].tokens == [9], "the longer of two as likely"
    guess = known.ask([[1, 2, 3, 4, 5, 6]], [[0.1]], [1])[0]
    for _ in range(9):
        known.tell(guess, 0)
    assert known.ask([[1, 2, 3, 4, 5, 6]], [[0.1]], [1])[0].tokens == [7]
    monkeypatch.setattr(guesses, "_BEGINNINGS", 4)
    known.learn([11, 12, 13], 2)
    assert not known._young and known.ask([[5, 6]], [[0.1]], [1])[0].tokens == [7]


def test_nobody_knows_of_what_stands_behind_a_miss() -> None:
    known, guess = Guesses(1e6), Guess()
    guess.tokens, guess.kinds = [3, 4, 5], [0, 1, 2]
    known.tell(guess, 1)
    assert [known._hits[kind] for kind in guess.kinds] == [2, 1, 1]
    assert [known._tries[kind] for kind in guess.kinds] == [3, 3, 2]


def test_slack_of_the_tests_is_above() -> None:
    assert NEAR < SLACK
