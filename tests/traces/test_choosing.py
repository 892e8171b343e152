"""Steps that choose among traces: filters, shares and numbers, on random inputs with a planted truth."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError
from realm.method.prompt import target
from realm.student.load import load
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.traces.base import Given, Trace, Voice
from realm.traces.examples import alone, by_question, examples, fitting
from realm.traces.pipeline import bound, run_steps
from realm.traces.steps.guided_first import guided_first
from realm.traces.steps.length import length
from realm.traces.steps.mix import mix
from realm.traces.steps.pattern import pattern
from realm.traces.steps.per_question import per_question
from realm.traces.steps.perplexity import perplexity
from realm.traces.steps.repetition import repeated, repetition
from tests.tiny import CONTEXT, TinyTask, pool, thinking, tiny_config
from tests.traces.scripted import given, questions, tokenizer, trace


def words(source: random.Random, least: int, most: int) -> str:
    return " ".join(source.choices(["lamp", "days", "for", "the", "box"], k=source.randint(least, most)))


def kept(found: object) -> list[str]:
    return [one.cot.id for one in found]  # type: ignore[attr-defined]


def long_and_short(count: int, source: random.Random) -> list[Trace]:
    """Two CoTs of each of so many questions, in any order: the long one is the big teacher's."""
    made = []
    for question in questions(count):
        made.append(trace(question, words(source, 30, 40), teacher="big"))
        made.append(trace(question, words(source, 3, 20), teacher="small"))
    source.shuffle(made)
    return made


@pytest.mark.parametrize("options", [{}, {"by": "teacher", "large": "big"}])
def test_a_fifth_of_500_is_100_for_any_seed(options: dict[str, str]) -> None:
    source = random.Random(3)
    chosen = []
    traces = long_and_short(500, source)
    for seed in range(6):
        found = list(mix(traces, given(questions(500), seed=seed)[0], **options))  # type: ignore[arg-type]
        assert len(found) == 500 == len({one.question.id for one in found})
        big = frozenset(one.question.id for one in found if one.cot.teacher == "big")
        assert len(big) == 100
        chosen.append(big)
    assert len(set(chosen)) == 6, "which ones is drawn anew"


def test_any_share_is_met_exactly() -> None:
    source = random.Random(4)
    for _ in range(30):
        count, share = source.randint(1, 60), source.choice([0.0, 1.0, source.random()])
        have = given(questions(count), seed=source.randrange(99))[0]
        found = list(mix(long_and_short(count, source), have, share=share))
        assert sum(one.cot.teacher == "big" for one in found) == round(share * count)


def test_questions_with_one_sort_alone_count_and_stay() -> None:
    asked = questions(40)
    big = [trace(q, "long", teacher="big") for q in asked[:20]]
    small = [trace(q, "short", teacher="small") for q in asked[10:]]
    have = given(asked)[0]
    for share, wanted in ((0.1, 10), (0.3, 12), (0.9, 20)):
        found = list(mix([*big, *small], have, share=share, by="teacher", large="big"))
        assert len(found) == 40
        assert sum(one.cot.teacher == "big" for one in found) == wanted
    three = [trace(asked[0], "so " * words, sample=words) for words in (9, 1, 4)]
    sizes = [[one.cot.sample for one in mix(three, have, share=share)] for share in (0, 1)]
    assert sizes == [[1, 4], [4, 9]], "the one in the middle is long and short"
    same = [trace(q, "one") for q in asked]
    assert sorted(kept(mix(same, have))) == sorted(kept(same)), "a question's only CoT is long and short"


def test_what_cannot_be_mixed_is_refused() -> None:
    have, traces = given(questions(2))[0], [trace(q, "x") for q in questions(2)]
    with pytest.raises(ConfigError, match=r"training.sft.traces: mix: share: .* less than or equal to 1"):
        bound("steps", {"mix": {"share": 1.5}})
    with pytest.raises(ConfigError, match=r"expected a teacher of these CoTs \(big\), found 'other'"):
        list(mix(traces, have, by="teacher", large="other"))


def test_the_number_of_rationales_of_a_question_is_what_is_taught() -> None:
    """Fine-tune-CoT's knob: so many different CoTs of each question come in training, no more and no fewer."""
    source = random.Random(5)
    asked = questions(6)
    traces = [trace(q, f"{q.id} thought {n}", sample=n) for q in asked for n in range(source.randint(1, 8))]
    sizes = {q.id: sum(one.question.id == q.id for one in traces) for q in asked}
    have = given(asked)[0]
    for most in (1, 2, 5, 9):
        found = list(per_question(traces, have, most=most))
        taught: dict[str, set[str]] = {}
        for one in examples(found, have, 600):
            taught.setdefault(one.question_id, set()).add(one.taught.id)
        assert {name: len(ids) for name, ids in taught.items()} == {n: min(most, size) for n, size in sizes.items()}
    few = [frozenset(kept(per_question(traces, given(asked, seed=seed)[0]))) for seed in range(5)]
    assert len(set(few)) > 1


def test_guided_ones_stand_for_those_of_their_own_question() -> None:
    source = random.Random(12)
    asked = questions(20)
    traces = [trace(q, "so", sample=n) for q in asked for n in range(source.randint(1, 4))]
    traces = [replace(one, cot=replace(one.cot, guided=source.random() < 0.3)) for one in traces]
    source.shuffle(traces)
    found = list(guided_first(traces, given(asked)[0]))
    guided = {one.question for one in traces if one.cot.guided}
    assert 0 < len(guided) < len(asked)
    for question in asked:
        mine = [one for one in traces if one.question == question]
        wanted = [one for one in mine if one.cot.guided] if question in guided else mine
        assert [one for one in found if one.question == question] == wanted


def test_pattern() -> None:
    asked = questions(1)[0]
    traces = [
        trace(asked, text, sample=n) for n, text in enumerate(["by the rule 3", "I guess 3", "rule: I guess", "no"])
    ]
    have = given([asked])[0]
    assert list(pattern(traces, have)) == traces
    assert list(pattern(traces, have, must=re.compile(r"\brule\b"))) == [traces[0], traces[2]]
    assert list(pattern(traces, have, never=re.compile("(?i)i GUESS"))) == [traces[0], traces[3]]
    assert list(pattern(traces, have, must=re.compile("rule"), never=re.compile("guess"))) == [traces[0]]


def test_length_counts_the_tokens_that_are_taught() -> None:
    source = random.Random(6)
    asked = questions(1)[0]
    traces = [trace(asked, words(source, 1, 30), sample=n) for n in range(40)]
    have = given([asked])[0]
    tokens = [len(tokenizer()(f"<think> {t.cot.text} </think> <answer> 0 </answer>")["input_ids"]) + 1 for t in traces]
    assert list(length(traces, have)) == traces
    for least, most in ((0, 20), (15, 0), (12, 25)):
        wanted = [t for t, n in zip(traces, tokens, strict=True) if n >= least and (not most or n <= most)]
        assert 0 < len(wanted) < 40
        assert list(length(traces, have, least=least, most=most)) == wanted


def test_what_fits_can_be_written_whole_with_its_scores() -> None:
    source = random.Random(13)
    asked = questions(30)
    others = [
        Question(f"other/{n}", f"another question {n}", "1") for n in range(30)
    ]  # somebody else's, without routes
    traces = [trace(q, words(source, 1, 30)) for q in [*asked, *others]]
    tags = given(asked)[0].renderer.tags
    sizes = []
    for one in traces:
        written = target(one.cot.text, one.cot.answer, [1.0] * 4 if one.question in asked else [], tags)
        sizes.append(len(tokenizer()(written)["input_ids"]) + 1)  # and its end
    for room in sorted(sizes)[10:50:10]:
        wanted = [one for one, size in zip(traces, sizes, strict=True) if size <= room]
        assert fitting(traces, given(asked, room=room)[0]) == wanted
        assert 0 < len(wanted) < len(traces)


def test_what_is_asked_in_another_way_has_to_fit_too() -> None:
    asked = questions(2)
    have = given(asked)[0]
    short, long = (replace(trace(asked[0], "so"), instruction="Shortly " * count) for count in (3, 600))
    foreign = trace(Question("other", "lamp " * 600, "1"), "so")
    assert fitting([short, long, foreign], have) == [short]
    for one, row in zip([short, trace(asked[1], "so")], alone([short, trace(asked[1], "so")], have), strict=True):
        shown = tokenizer().decode(row.prompt)
        assert one.question.question in shown and shown.count("Shortly") == (3 if one is short else 0)


def test_questions_come_in_another_order_each_round() -> None:
    asked = questions(20)
    have, traces = given(asked)[0], [trace(q, "so") for q in asked]
    orders = [[one.question_id for one in examples(traces, replace(have, round=n), 20)] for n in (0, 0, 1, 2)]
    assert orders[0] == orders[1] and len({tuple(order) for order in orders}) == 3


def test_repetition_is_the_share_of_runs_that_came_before() -> None:
    assert repeated("a b c d a b c d", 4) == pytest.approx(1 / 5)
    assert repeated("a a a a a", 2) == pytest.approx(3 / 4)
    assert repeated("a b", 4) == 0
    source = random.Random(7)
    asked = questions(1)[0]
    traces = []
    for number in range(30):
        fresh = [f"w{number}x{place}" for place in range(source.randint(4, 30))]
        again = source.randrange(6)  # times that the first four words come again, a new word before each
        text = " ".join([*fresh, *(word for n in range(again) for word in (f"n{number}x{n}", *fresh[:4]))])
        runs = len(text.split()) - 3
        assert repeated(text, 4) == pytest.approx(again / runs)
        traces.append(trace(asked, text, sample=number))
    shares = [repeated(one.cot.text, 4) for one in traces]
    for most in (0.1, sorted(shares)[20]):
        found = list(repetition(traces, given([asked])[0], most=most))
        assert found == [one for one, share in zip(traces, shares, strict=True) if share <= most]
        assert 0 < len(found) < 30


def test_perplexity_is_that_of_what_is_taught(tmp_path: Path, student: Path) -> None:
    model, tokens = load(str(student), "float32")
    config, task = tiny_config(tmp_path, student), TinyTask()
    renderer = Renderer(config, task, None, tokens, CONTEXT)
    have = Given(
        config,
        task,
        None,
        renderer,
        pool(),
        students=lambda which, spent: Voice(model, tokens, batch_size=5, spent=spent),
    )
    source, traces = random.Random(8), []
    for number, question in enumerate(task.rows("train")):
        text = thinking(question, question.answer).split()
        if number % 2:
            source.shuffle(text)
        traces.append(trace(question, " ".join(text)))
    own = []
    for row in alone(traces, have):
        ids = torch.tensor([row.prompt + row.completion])
        labels = ids.clone()
        labels[:, : len(row.prompt)] = -100
        own.append(math.exp(model(input_ids=ids, labels=labels).loss.item()))
    edge = sorted(own)[5] * 1.0001
    assert list(perplexity(traces, have, most=edge)) == [t for t, p in zip(traces, own, strict=True) if p <= edge]
    assert have.spent.tokens == sum(len(row.prompt) + len(row.completion) for row in alone(traces, have))
    assert not list(perplexity(traces, have, most=1.0))


@pytest.mark.parametrize(
    "entry",
    [
        {"student": {"samples": 0}},
        {"student": {"temperature": 0}},
        {"student": {"which": "before"}},
        {"adapt": {"samples": 0}},
        {"prune": {"least": -1}},
        {"per_question": {"most": 0}},
        {"repetition": {"words": 0}},
        {"length": {"least": -1}},
        {"perplexity": {"most": 0}},
        {"mix": {"by": "length"}},
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_starts(entry: dict[str, dict[str, object]]) -> None:
    with pytest.raises(ConfigError, match=r"training\.sft\.traces: "):
        bound("steps", entry)


def test_replay_is_the_list_of_the_docs() -> None:
    """A fifth of the questions is taught by the untrained student's own right answers, the others by the bank alone."""
    page = Path(__file__).resolve().parents[2] / "docs" / "howto" / "forgetting.md"
    (block,) = (one for one in re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL) if "mix" in one)
    entries = Config.model_validate(yaml.safe_load(block)).training.sft.traces
    source, asked = random.Random(4), questions(50)
    knows = {one.question: source.random() < 0.6 for one in asked}
    bank = Bank()
    for question in asked:
        bank.append(
            CoT(
                question.id,
                f"it was written {n}",
                question.answer if n else "x",
                int(n > 0),
                "big",
                guided=n == 1,
                sample=n,
            )
            for n in range(3)
        )

    def says(prompt: str, sample: int) -> str:
        number = int(re.search(r"question number (\d+)", prompt)[1])  # type: ignore[index]
        answer = asked[number].answer if knows[asked[number].question] and sample < 3 else "none"
        return f"<think> so I say {sample} </think> <answer> {answer} </answer>"

    have, voice = given(asked, says, bank)
    asked_for: list[str] = []
    students: Any = lambda which, spent: asked_for.append(which) or voice  # noqa: E731
    found = by_question(run_steps(entries, replace(have, students=students)))
    assert asked_for == ["base"] and found.keys() == {one.id for one in asked}
    own = {name for name, traces in found.items() if any(one.cot.teacher == "student" for one in traces)}
    assert len(own) == 10 and all(knows[found[name][0].question.question] for name in own)
    for name, traces in found.items():
        assert all(one.cot.label == 1 for one in traces)
        wanted = [f"so I say {n}" for n in range(3)] if name in own else ["it was written 1"]
        assert [one.cot.text for one in traces] == wanted
