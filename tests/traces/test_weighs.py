"""Rows that weigh: on voices whose scores and answers are planted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from realm.bank.cot import CoT
from realm.student.generate import Generation
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.traces.base import Given, Tokenized, Trace
from realm.traces.examples import examples, tokenize
from realm.traces.weighs.critical import critical
from realm.traces.weighs.light_reasoner import light_reasoner
from realm.traces.weighs.mentor import mentor
from tests.tiny import CONTEXT, LENGTH, WORDS, TinyTask, pool, tiny_bank, tiny_config, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
IDS = {word: number for number, word in enumerate(WORDS)}
DIGITS = [IDS[str(digit)] for digit in range(8)]
FILLER = [IDS[word] for word in ("plus", "is", "judge")]
#: One that turns every answer wrong, wherever it stands.
HARMFUL = IDS["odd"]


def given_of(voices: Any, seed: int = 0) -> Given:
    """`voices`: one for all, or by the name that is asked for."""
    config = tiny_config(Path(), Path(), recipe="sft", sft={"empty_share": 1.0, "steps": 1, "batch_size": 24})
    task = TinyTask()
    bank = tiny_bank(task)
    renderer = Renderer(config, task, bank, TOKENIZER, CONTEXT, k=0, seed=seed)
    students: Any = lambda which, spent: voices[which] if isinstance(voices, dict) else voices  # noqa: E731
    return Given(config, task, bank, renderer, pool(), students=students)


def rows_of(traces: Sequence[Trace], given: Given) -> list[Tokenized]:
    found = tokenize(given.renderer, examples(traces, given, len(traces)))
    return sorted(found, key=lambda row: row.trace.question.id)


class Adder:
    """Goes on rightly, unless a digit of what is planted was changed or the harmful word stands somewhere."""

    model = None

    def __init__(self, seed: int) -> None:
        self.source, self.planted = random.Random(seed), dict[str, tuple[list[int], str]]()
        self.prompts: list[str] = []

    def plant(self, question: Question) -> Trace:
        text = " ".join(self.source.choice([*"01234567", "plus", "is", "judge"]) for _ in range(10))
        return Trace(question, CoT(question.id, text, question.answer, 1, "own"))

    def scores(self, rows: Sequence[tuple[list[int], list[int]]]) -> Iterator[torch.Tensor]:
        for prompt, completion in rows:
            self.planted[TOKENIZER.decode(prompt)] = completion, ""
            found = torch.full((len(completion), len(WORDS)), -20.0)
            for place, token in enumerate(completion):
                others = [one for one in (DIGITS if token in DIGITS else FILLER) if one != token]
                # Where the completion ends in its place an answer is read as well.
                others = [IDS["<|end|>"], IDS["</think>"]] if token == IDS["</answer>"] else others
                second, third = self.source.sample(others, 2)
                # By turns the second choice alone is harmful: what the third one saves is not critical.
                second = HARMFUL if token not in DIGITS and place % 2 and IDS["<|end|>"] != second else second
                ranks = [token, second, third]
                if place % 3 == 0:
                    ranks = [second, third, token]  # not the student's own first choice
                for rank, one in enumerate(ranks):
                    found[place, one] = -1.0 - rank
            yield found

    def write(self, prompts: Sequence[list[int]], *, length: int) -> list[list[Generation]]:
        return [[self._goes_on(prompt, length)] for prompt in prompts]

    def _goes_on(self, whole: list[int], length: int) -> Generation:
        text = TOKENIZER.decode(whole)
        known, (planted, _) = next(one for one in self.planted.items() if text.startswith(one[0]))
        start = len(TOKENIZER(known)["input_ids"])
        begun = whole[start:]
        assert len(begun) + length == LENGTH, "no longer than a student may write"
        self.prompts.append(known)
        changed = [new for new, old in zip(begun, planted, strict=False) if old in DIGITS and new != old]
        answer = TOKENIZER.decode(planted).split("<answer>")[1].split()[0]
        said = "7" if changed or HARMFUL in begun else answer
        if begun[-1] == IDS["</think>"]:
            return Generation("<|end|>", 1, False, (IDS["<|end|>"],))
        opened = begun[-2:-1] == [IDS["<answer>"]] and begun[-1] in DIGITS
        rest = "</answer> <|end|>" if opened else f"</think> <answer> {said} </answer> <|end|>"
        ids = TOKENIZER(rest)["input_ids"]
        assert len(ids) <= length or length == 1
        return Generation(rest, len(ids), False, tuple(ids))


@pytest.mark.parametrize("seed", range(3))
def test_critical_tokens_of_an_adder_are_its_digits(seed: int) -> None:
    voice = Adder(seed)
    given = given_of(voice)
    rows = rows_of([voice.plant(question) for question in given.task.rows("train")], given)
    found = list(critical(rows, given, elsewhere=0.25))
    flagged = {(row, place) for row, weights in enumerate(found) for place, one in enumerate(weights) if one == 1.0}
    digits = {
        (number, place) for number, row in enumerate(rows) for place, one in enumerate(row.completion) if one in DIGITS
    }
    both = len(flagged & digits)
    assert 2 * both / (len(flagged) + len(digits)) >= 0.95
    assert {one for weights in found for one in weights} == {0.25, 1.0}
    assert all("<route" in prompt for prompt in voice.prompts), "the student reads routes meanwhile"


def test_critical_looks_at_right_ones_and_at_no_more_than_asked() -> None:
    voice = Adder(5)
    given = given_of(voice)
    traces = [voice.plant(question) for question in given.task.rows("train")]
    labels = (0, None) * 3
    wrong = [
        Trace(one.question, CoT(one.question.id, one.cot.text, "7", label, "own"))
        for one, label in zip(traces, labels, strict=False)
    ]
    rows = rows_of([*wrong, *traces[6:]], given)
    found = list(critical(rows, given, most=3, routes=False))
    looked_at = [row for row, weights in zip(rows, found, strict=True) if any(weights)]
    assert len(looked_at) == 3 and all(row.trace.cot.label for row in looked_at)
    assert not any("<route" in prompt for prompt in voice.prompts)
    every = critical(rows, given, routes=False)
    assert [any(weights) for weights in every] == [row.trace.cot.label == 1 for row in rows], "nor at unjudged ones"
    drawn = [critical(rows, given_of(voice, seed), most=3, routes=False) for seed in (0, 0, 1, 2, 3)]
    sets = [frozenset(number for number, weights in enumerate(one) if any(weights)) for one in drawn]
    assert sets[0] == sets[1] and len(set(sets)) > 1, "by lot, but of the seed"


class Guesser:
    """Scores at random, as a function of the prompt and of its name."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def scores(self, rows: Sequence[tuple[list[int], list[int]]]) -> Iterator[torch.Tensor]:
        for prompt, completion in rows:
            source = torch.Generator().manual_seed(random.Random(f"{self.name}{prompt}").getrandbits(40))
            yield (2 * torch.randn(len(completion), len(WORDS), generator=source)).log_softmax(-1)


def bank_rows(given: Given) -> list[Tokenized]:
    assert given.bank is not None
    traces = [Trace(one, given.bank.cots(one.id)[0]) for one in given.task.rows("train")]
    return rows_of(traces, given)


@pytest.mark.parametrize(("amateur", "routes"), [("now", True), ("base", True), ("base", False)])
def test_light_reasoner_by_its_definition(amateur: Any, routes: bool) -> None:
    voices = {"now": Guesser("now"), "base": Guesser("base")}
    given = given_of(voices)
    rows = bank_rows(given)
    found = list(light_reasoner(rows, given, amateur=amateur, routes=routes, divergence=2.0, support=0.3))
    selected = 0
    asked: list[list[int]] = []
    original = Guesser.scores
    voices["now"].scores = lambda some: (asked.extend(p for p, _ in some), original(voices["now"], some))[1]  # type: ignore[method-assign]
    list(light_reasoner(rows, given, amateur="base", routes=routes))
    for row, prompt, soft in zip(rows, asked, found, strict=True):
        assert TOKENIZER.decode(prompt).count("<route ") == 3 * routes, "of four CoTs all but the one that is taught"
        (strong,) = Guesser("now").scores([(prompt, row.completion)])
        (weak,) = Guesser(amateur).scores([(row.prompt, row.completion)])
        for place, (ids, probabilities) in enumerate(zip(soft.ids, soft.probabilities, strict=True)):
            p, q = strong[place].exp().double(), weak[place].exp().double()
            wanted = float((p * (p / q).log()).sum()) >= 2.0 and 0 < place < len(row.completion) - 1
            assert bool(ids) == wanted == bool(soft.weights[place])
            if ids:
                selected += 1
                assert ids == [token for token in range(len(p)) if p[token] >= 0.3 * p.max()]
                ratio = p[ids] / q[ids]
                assert sum(probabilities) == pytest.approx(1)
                assert probabilities == pytest.approx((ratio / ratio.sum()).tolist(), rel=1e-4)
    assert selected > 20


def test_light_reasoner_has_nothing_to_say_of_equal_models() -> None:
    given = given_of(Guesser())
    for soft in light_reasoner(bank_rows(given), given, routes=False):
        assert not any(soft.ids) and not any(soft.weights)


@pytest.mark.parametrize("top", [1, 4, 99])
def test_mentor_by_its_definition(monkeypatch: pytest.MonkeyPatch, top: int) -> None:
    """Of a mentor that has places for more tokens than there are, and expects those most of all."""
    given, size = given_of({}), len(WORDS)

    class Wider(Guesser):
        def scores(self, rows: Sequence[tuple[list[int], list[int]]]) -> Iterator[torch.Tensor]:
            for some in super().scores(rows):
                yield torch.cat([some, torch.full((len(some), 9), 2.0)], 1).log_softmax(-1)

    monkeypatch.setattr("realm.traces.weighs.mentor.another", lambda *_: Wider())
    rows = bank_rows(given)
    outside = 0
    for row, soft in zip(rows, mentor(rows, given, model="m", share=0.3, top=top), strict=True):
        (scores,) = Wider().scores([(row.prompt, row.completion)])
        assert soft.weights == [1.0] * len(row.completion)
        for token, chances, ids, found in zip(
            row.completion, scores.exp().tolist(), soft.ids, soft.probabilities, strict=True
        ):
            likeliest = sorted(range(size), key=chances.__getitem__, reverse=True)[:top]
            assert ids == sorted({token, *likeliest})
            assert found == pytest.approx([0.3 * chances[one] + 0.7 * (one == token) for one in ids])
            outside += token not in likeliest
    assert (outside > 0) == (top < size)
