"""Pairs: which of many are taken, and from pairs to the rows of token ids that DPO, KTO and ORPO learn from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from realm.bank.cot import CoT
from realm.errors import DataError
from realm.method.seeds import derive, question_order, rng
from realm.plugins import POINTS, entry
from realm.tasks.base import Question
from realm.traces.base import Given, Pair, Trace
from realm.traces.doors import where
from realm.traces.examples import completion, fitting, ids_of

#: Which pairs of a question come first: any, those nearest in length, or those with the longest common beginning.
By = Literal["lot", "length", "beginning"]


def best(question: Question, cots: Sequence[CoT], given: Given, *, most: int, by: By) -> list[Pair]:
    """At most so many pairs of a right CoT and a wrong one; none where all are right, or all wrong.

    Lots decide between pairs that are as good.
    """
    pairs = [Pair(question, a, b) for a in cots if a.label == 1 for b in cots if b.label == 0]
    given.rng("pairs", question.id).shuffle(pairs)
    if by != "lot":
        pairs.sort(key=lambda pair: _distance(pair, by))
    return pairs[:most]


def _distance(pair: Pair, by: By) -> int:
    assert pair.chosen is not None and pair.rejected is not None
    one, other = pair.chosen.text, pair.rejected.text
    return abs(len(one) - len(other)) if by == "length" else -common(one, other)


def common(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items (characters, tokens) at the beginning are the same."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@dataclass(frozen=True)
class Side:
    """A CoT as it is learned: token ids, the one that ends it last, and how many of them are the thinking."""

    ids: list[int]
    thinking: int


@dataclass(frozen=True)
class Rows:
    """What a stage learns from: the different rows, and the number of the one that stands at each place of training.

    `tokens[n]`: through the model once the reference has read each row and n steps are done.
    """

    rows: list[dict[str, Any]]
    order: list[int]
    tokens: list[int]


def make_rows(pairs: Iterable[Pair], given: Given, steps: int) -> Rows:
    """The rows of a stage in the order of training: a function of the pairs, the renderer's seed and the round.

    Questions take turns, and each time one of the question's pairs is drawn by lot. KTO learns from CoTs by themselves:
    a preferred and a rejected one take turns, as many of each, whatever questions they are of.

    Raises:
        DataError: there is nothing that the student could learn from.
    """
    settings, seed = given.config.training.pairs, given.renderer.seed
    pairs = list(pairs)
    lanes = _lanes(pairs, given)
    if not all(lanes):
        raise DataError(_nothing(pairs, given))
    count = steps * settings.batch_size
    drawn = []
    for number, lane in enumerate(lanes):
        order = question_order(list(lane), count, derive(seed, "pairs", given.round, number))
        drawn.append([rng(seed, "pairs", given.round, number, n).choice(lane[key]) for n, key in enumerate(order)])
    places = [row for turn in zip(*drawn, strict=True) for row in turn]
    used = {id(row): row for row in places}
    numbers = {key: number for number, key in enumerate(used)}
    read = 0 if settings.loss == "orpo" else sum(map(_length, used.values()))
    width = settings.batch_size * len(lanes)
    lengths = [sum(map(_length, places[start : start + width])) for start in range(0, len(places), width)]
    return Rows(list(used.values()), [numbers[id(row)] for row in places], [*accumulate(lengths, initial=read)])


def _nothing(pairs: Sequence[Pair], given: Given) -> str:
    """Why there is nothing to learn from."""
    value = given.config.training.pairs.miner
    at, (name, _) = where("miners", value), entry(value)
    if pairs and all(pair.chosen and pair.rejected and pair.chosen.text == pair.rejected.text for pair in pairs):
        return f"{at} found no pair to learn from: in all {len(pairs)} the preferred and the rejected CoT are the same."
    if not pairs and name not in POINTS["miners"].table:
        return f"{at} found no pair at all for {len(given.renderer.questions)} questions; look at what it asks of CoTs."
    return (
        f"{at} found no pair of a preferred and a rejected CoT of at most training.rl.max_completion_length = "
        f"{given.room} tokens each. A question needs both, and what the student writes has to be of the asked form: "
        "collect or sample more CoTs (bank.samples, samples of the miner), teach the form first (training.sft.steps), "
        "or take another miner (docs/howto/pairs.md)."
    )


def _lanes(pairs: Iterable[Pair], given: Given) -> list[dict[str, list[dict[str, Any]]]]:
    """The rows by question id: of the pairs or, for KTO, those of the preferred CoTs and those of the rejected ones."""
    settings, pairs = given.config.training.pairs, list(pairs)
    sides = _sides(pairs, given)
    lanes: list[dict[str, list[dict[str, Any]]]] = [{}, {}] if settings.loss == "kto" else [{}]
    for pair in pairs:
        chosen, rejected = (sides.get(cot) if cot else None for cot in (pair.chosen, pair.rejected))
        if chosen and rejected and chosen.ids == rejected.ids:
            continue
        prompt = given.renderer.fit(pair.question).ids
        if settings.loss == "kto":
            for lane, side, other in ((0, chosen, rejected), (1, rejected, chosen)):
                if side:
                    row = {"prompt_ids": prompt, "completion_ids": side.ids, "label": side is chosen}
                    row["mask"] = _mask(side, other, settings.learned)
                    lanes[lane].setdefault(pair.question.id, []).append(row)
        elif chosen and rejected:
            row = {"prompt_ids": prompt, "chosen_ids": chosen.ids, "rejected_ids": rejected.ids}
            row["chosen_mask"] = _mask(chosen, rejected, settings.learned)
            row["rejected_mask"] = _mask(rejected, chosen, settings.learned)
            lanes[0].setdefault(pair.question.id, []).append(row)
    return lanes


def _sides(pairs: Sequence[Pair], given: Given) -> dict[CoT, Side]:
    """The CoTs that a completion may be long enough for."""
    renderer = given.renderer
    asked = {cot: pair.question for pair in pairs for cot in (pair.chosen, pair.rejected) if cot}
    cots = [trace.cot for trace in fitting([Trace(question, cot) for cot, question in asked.items()], given)]
    texts = [completion(renderer, cot) for cot in cots]
    close = f"</{renderer.tags.think}>"
    thoughts = [text.partition(close)[0] + close for text in texts]
    found = zip(cots, ids_of(renderer.tokenizer, texts), ids_of(renderer.tokenizer, thoughts), strict=True)
    end = renderer.tokenizer.eos_token_id
    return {cot: Side([*ids, end], common(ids, thinking)) for cot, ids, thinking in found}


def _mask(side: Side, other: Side | None, learned: str) -> list[int]:
    """For each token 1 where it counts, 0 where not; the one that ends the completion always does."""
    ids, start, stop = side.ids, 0, len(side.ids) - 1
    if learned == "answer":
        start = side.thinking
    elif learned == "difference" and other:
        start = min(common(ids, other.ids), stop)
        stop = max(stop - common(ids[-2::-1], other.ids[-2::-1]), start)
    return [int(start <= n < stop or n == len(ids) - 1) for n in range(len(ids))]


def _length(row: dict[str, Any]) -> int:
    """Tokens that the model reads of a row."""
    sides = [ids for name, ids in row.items() if name in ("chosen_ids", "rejected_ids", "completion_ids")]
    return sum(len(row["prompt_ids"]) + len(ids) for ids in sides)
