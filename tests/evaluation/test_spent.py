"""Tokens that answers take: the shortest right CoT as it would be written, and where an answer stands first."""

from __future__ import annotations

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.evaluation.evaluate import summarise
from realm.evaluation.spent import cache, shortest, stated_at, weights
from realm.rows.evaluation import AnsweredCompletion, Prediction
from realm.tasks.base import Question
from tests.tiny import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()


def test_what_is_needed_is_the_shortest_right_cot_as_a_completion() -> None:
    bank = Bank()
    texts = [("1 plus 2 is odd", 1), ("1 plus 2 is is odd", 1), ("odd", 0), ("even", None)]
    bank.append(CoT("q", text, "1" if label else "0", label, sample=n) for n, (text, label) in enumerate(texts))
    bank.append([CoT("w", "even", "0", 0)])
    found = shortest([Question(name, "", "") for name in ("q", "w", "x")], bank, TOKENIZER, Config())
    # Five words, two tags each for thinking and answer, the answer, and the end.
    assert found == {"q": 5 + 4 + 1 + 1}


def test_an_answer_is_first_stated_where_it_stands_as_a_word_of_its_own() -> None:
    ids = TOKENIZER("<think> 0, 1 plus 0 is odd </think> <answer> 0 </answer>")["input_ids"]
    assert stated_at(TOKENIZER, ids, "1") == 3
    assert stated_at(TOKENIZER, ids, "is odd") == 7
    assert stated_at(TOKENIZER, ids, "0") == 2  # `0,` is a 0 too
    assert stated_at(TOKENIZER, ids, "od") is stated_at(TOKENIZER, ids, None) is stated_at(TOKENIZER, [], "1") is None


def test_bytes_of_an_answer_are_those_of_weights_keys_and_values() -> None:
    model = tiny_model()
    assert weights(model) == 4 * sum(one.numel() for one in {id(one): one for one in model.parameters()}.values())
    assert weights(model.half()) == weights(tiny_model()) / 2
    # Keys and values, two layers, one head of eight numbers, two bytes each; 10 + 6 and 20 + 4 tokens.
    assert cache(model, [10, 20], [6, 4]) == 2 * 2 * 8 * 2 * 20


def row(name: str, needed: int | None, *completions: tuple[int, int | None]) -> Prediction:
    items = (
        AnsweredCompletion(
            text="", answer="1", scores=(), correct=True, copied=False, reasons=(), tokens=tokens, truncated=False,
            stated_at=place,
        )
        for tokens, place in completions
    )  # fmt: skip
    where = {"stage": "final", "step": 0, "split": "test", "routes": 0, "question": "", "gold": "1", "shown": ()}
    return Prediction(**where, question_id=name, shortest=needed, completions=tuple(items))  # type: ignore[arg-type]


def test_figures_are_ratios_over_the_questions_that_have_them() -> None:
    found = summarise([row("a", 10, (30, 20), (10, None)), row("b", 20, (50, 5)), row("c", None, (99, None))], 100, 0)
    assert found.over_shortest is not None and found.stated_at is not None
    assert found.over_shortest.value == (20 + 50) / (10 + 20)
    assert 2.0 <= found.over_shortest.low <= found.over_shortest.value <= found.over_shortest.high <= 2.5
    assert found.stated_at.value == (20 + 5) / (30 + 50)
    none = summarise([row("c", None, (99, None))], 100, 0)
    assert (none.over_shortest, none.stated_at) == (None, None)
