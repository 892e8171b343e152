"""Weights of traces, of spans and of a weigh, put on the tokens of completions."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from realm.bank.cot import CoT
from realm.config import Config
from realm.errors import ConfigError, DataError
from realm.student.load import load_tokenizer
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.traces.base import Given, Soft, Span, Tokenized, Trace
from realm.traces.examples import examples, tokenize
from realm.traces.weights import own_weights, weigh
from tests.tiny import CONTEXT, TinyTask, tiny_bank, tiny_config, tiny_tokenizer

QUESTION = Question("q00", "0 plus 0", "0", kind="sum")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return tiny_config(tmp_path, tmp_path, recipe="sft", sft={"empty_share": 1.0})


def given_of(config: Config, tokenizer: PreTrainedTokenizerBase, context: int = CONTEXT) -> Given:
    task = TinyTask()
    bank = tiny_bank(task)
    return Given(config, task, bank, Renderer(config, task, bank, tokenizer, context, k=0))


def row_of(trace: Trace, given: Given) -> Tokenized:
    (row,) = tokenize(given.renderer, examples([trace], given, 1))
    return row


def opening(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    tokenizer.chat_template = "{{ messages[-1]['content'] }} <think>"
    return tokenizer


@pytest.mark.parametrize("opens", [False, True], ids=["", "thinking opened by the prompt"])
@pytest.mark.parametrize("seed", range(6))
def test_spans_are_put_on_their_tokens(config: Config, opens: bool, seed: int) -> None:
    """Whatever stands before them: white space, tags, special tokens and entities, which are written otherwise."""
    source = random.Random(seed)
    tokenizer = load_tokenizer("desk-base") if seed % 2 else tiny_tokenizer()
    given = given_of(config, opening(tokenizer) if opens else tokenizer, 2000)
    hostile = [" ", "\n", "</think>", "&lt;answer>", "＜scores>", "<|end|>", str(tokenizer.eos_token), "\ud800", "is 3"]
    before, after = (" ".join(source.choices(hostile, k=6)) for _ in range(2))
    marked = "6 plus 7"
    text = f"{before} {marked} {after} \nFinal answer: 0"
    start = text.index(marked)
    span = Span(start, start + len(marked), 0.25)
    row = row_of(Trace(QUESTION, CoT("q00", text, "0", 1), weight=2.0, spans=(span,)), given)
    weights = own_weights(row, given)
    within = [token for token, weight in zip(row.completion, weights, strict=True) if weight == 0.5]
    assert tokenizer.decode(within).strip() == marked
    assert set(weights) == {0.5, 2.0} and weights[-1] == 2.0
    cut = replace(row.trace, spans=(Span(text.index("Final"), len(text), 0.0),))
    assert set(own_weights(replace(row, trace=cut), given)) == {2.0}, "what is not taught has no tokens"


def test_a_token_that_is_partly_within_a_span_is_within(config: Config) -> None:
    given = given_of(config, tiny_tokenizer())
    text = "0 plus 0 is even"
    spans = (Span(text.index("lus"), text.index("lus") + 1, 0.5), Span(text.index("plus"), text.index("is"), 0.5))
    row = row_of(Trace(QUESTION, CoT("q00", text, "0", 1), spans=(*spans, Span(3, 3, 9.0))), given)
    named = dict(zip(given.tokenizer.convert_ids_to_tokens(row.completion), own_weights(row, given), strict=True))
    assert named == {**dict.fromkeys(named, 1.0), "plus": 0.25, "0": named["0"]}


def traces(given: Given) -> list[Trace]:
    assert given.bank is not None
    return [
        Trace(question, cot, weight=weight)
        for question, weight in zip(given.task.rows("train")[:3], (1.0, 0.5, 2.0), strict=True)
        for cot in given.bank.cots(question.id)[:1]
    ]


@pytest.fixture
def rows(config: Config) -> tuple[list[Tokenized], Given]:
    given = given_of(config, tiny_tokenizer())
    return tokenize(given.renderer, examples(traces(given), given, 12)), given


def test_a_weigh_sees_each_row_once_and_multiplies(
    rows: tuple[list[Tokenized], Given], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Tokenized] = []

    def by(found: Sequence[Tokenized], given: Given) -> Iterator[Any]:
        for row in found:
            seen.append(row)
            length = len(row.completion)
            yield Soft([[4]] * (length - 1) + [[]], [[1.0]] * (length - 1) + [[]], [3.0] * length)

    with caplog.at_level("INFO", "realm.traces"):
        found = weigh(*rows, by, tmp_path / "kept.json")
    assert "100.0 % of the tokens have another weight than 1" in caplog.text
    assert len(seen) == 3 and not (tmp_path / "kept.json").exists(), "it asks no student"
    for row, target in zip(rows[0], found, strict=True):
        assert isinstance(target, Soft)
        assert target.weights == [3 * row.trace.weight] * (len(row.completion) - 1) + [0.0], "no ids, no weight"
    plain = weigh(*rows, None, tmp_path / "kept.json")
    assert plain == [[row.trace.weight] * len(row.completion) for row in rows[0]]


def test_what_a_student_gave_is_kept(rows: tuple[list[Tokenized], Given], tmp_path: Path) -> None:
    asked: list[str] = []

    def students(which: str, spent: Any) -> Any:
        asked.append(which)
        spent.tokens += 5
        return None

    def by(found: Sequence[Tokenized], given: Given) -> Iterable[Any]:
        given.student("base")
        return [[float(place + 1) for place, _ in enumerate(row.completion)] for row in found]

    ready, kept = replace(rows[1], students=students), tmp_path / "traces" / "kept.json"
    first = weigh(rows[0], ready, by, kept)
    assert first == weigh(rows[0], ready, by, kept) and asked == ["base"]
    assert json.loads(kept.read_text())["spent"]["tokens"] == 5 and ready.spent.tokens == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda length: [1.0] * (length - 1), r"a weight of 0 or more for each token .* found \d+ for \d+ tokens"),
        (lambda length: [-1.0] * length, "found -1.0 for the row"),
        (lambda length: [float("nan")] * length, "found nan for the row"),
        (lambda length: [0.0] * length, "no token has any weight"),
    ],
)
def test_what_cannot_be_weights_is_refused(
    rows: tuple[list[Tokenized], Given], tmp_path: Path, wrong: Any, message: str
) -> None:
    def by(found: Sequence[Tokenized], given: Given) -> Iterable[Any]:
        return [wrong(len(row.completion)) for row in found]

    with pytest.raises((ConfigError, DataError), match=message):
        weigh(*rows, by, tmp_path / "kept.json")
    with pytest.raises(ConfigError, match="found 0 for "):
        weigh(*rows, lambda found, given: [], tmp_path / "kept.json")
