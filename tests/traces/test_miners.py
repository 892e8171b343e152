"""The miners of pairs on a student that says what it is told to."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.student.generate import Generation
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.traces.base import Given, LaterError, Pair, Spent
from realm.traces.miners.bank import bank as from_bank
from realm.traces.miners.corrected import corrected
from realm.traces.miners.rollout import rollout
from realm.traces.miners.weak import weak
from tests.tiny import CONTEXT, TinyTask, pool, tiny_bank, tiny_tokenizer


class Dictated:
    """A voice that answers by a function of the prompt and of how often it was asked; keeps prompts and options."""

    def __init__(self, says: Any) -> None:
        self.says, self.prompts, self.options = says, list[str](), list[dict[str, Any]]()

    def write(self, prompts: Sequence[Sequence[int]], *, samples: int = 1, **options: Any) -> list[list[Generation]]:
        self.options.append(options)
        texts = [tiny_tokenizer().decode(list(ids)) for ids in prompts]
        self.prompts += texts
        return [[Generation(self.says(text, n), 9, False) for n in range(samples)] for text in texts]


def said(think: str, answer: str) -> str:
    return f"<think>{think}</think> <answer>{answer}</answer>"


def given_of(task: TinyTask, bank: Bank | None = None, seed: int = 0, **voices: Dictated) -> Given:
    def students(which: str, spent: Spent) -> Any:
        return voices[which]

    renderer = Renderer(Config(), task, bank, tiny_tokenizer(), 512 + CONTEXT, k=0, seed=seed)
    more: Any = {"students": students} if voices else {}
    return Given(Config(), task, bank, renderer, pool=pool(), **more)


def gold(prompt: str, task: TinyTask) -> str:
    """The gold of the question that a prompt asks."""
    return next(one.answer for one in task.rows("train") if one.question in prompt)


def other(answer: str) -> str:
    return str(1 - int(answer))


@pytest.mark.parametrize("by", ["lot", "length", "beginning"])
def test_bank_pairs_right_with_wrong(task: TinyTask, by: Any) -> None:
    source, bank = random.Random(by), Bank()
    for question in task.rows("train"):
        for n in range(source.randrange(7)):
            label = source.choice((0, 1, None))
            text = " ".join(source.choices(("is", "odd", "even"), k=source.randrange(1, 9)))
            bank.append([CoT(question.id, text, "1", label, "tiny", sample=n)])
    most = 3
    found = list(from_bank(given_of(task, bank), most=most, by=by))
    assert found == list(from_bank(given_of(task, bank), most=most, by=by)), "a function of the seed"
    for question in task.rows("train"):
        labels = [cot.label for cot in bank.cots(question.id)]
        mine = [pair for pair in found if pair.question == question]
        assert len(mine) == min(most, labels.count(1) * labels.count(0)), "none where all are right, or all wrong"
        assert len({(pair.chosen, pair.rejected) for pair in mine}) == len(mine)
        assert all(pair.chosen.label == 1 and pair.rejected.label == 0 for pair in mine)
        if by == "length" and mine:
            texts = [[cot.text for cot in bank.cots(question.id) if cot.label == label] for label in (1, 0)]
            nearest = min(abs(len(a) - len(b)) for a in texts[0] for b in texts[1])
            assert abs(len(mine[0].chosen.text) - len(mine[0].rejected.text)) == nearest


def test_bank_gives_single_cots_where_asked(task: TinyTask) -> None:
    bank = Bank()
    first, second, third, *_ = task.rows("train")
    for question, labels in ((first, (1, 1)), (second, (0, 0, 0)), (third, (1, 0))):
        bank.append([CoT(question.id, "is", "1", label, "tiny", sample=n) for n, label in enumerate(labels)])
    assert [pair.question for pair in from_bank(given_of(task, bank))] == [third]
    found = list(from_bank(given_of(task, bank), unpaired=True))
    assert [(pair.question, pair.chosen is None, pair.rejected is None) for pair in found] == [
        *[(first, False, True)] * 2,
        *[(second, True, False)] * 3,
        (third, False, False),
    ]


def test_unusable_cots_are_in_no_pair(task: TinyTask) -> None:
    bank = Bank()
    bank.append(replace(cot, problem="cut") for cot in tiny_bank(task).all())
    assert list(from_bank(given_of(task, bank), unpaired=True)) == []


def test_rollout_takes_the_nearest_in_length(task: TinyTask) -> None:
    """The first question is answered rightly each time, the second wrongly, of the others sample n = 2 alone is right;
    the wrong one of nearest length is sample 3."""
    always, never, *rest = task.rows("train")

    def says(prompt: str, n: int) -> str:
        answer = gold(prompt, task)
        right = n == 2 if always.question not in prompt and never.question not in prompt else always.question in prompt
        return said("is " * (5 * n if n < 3 else 11), answer if right else other(answer))

    voice = Dictated(says)
    found = list(rollout(given_of(task, now=voice), samples=4))
    assert [pair.question for pair in found] == rest, "at most one of a question, none of the two"
    assert all((pair.chosen.sample, pair.rejected.sample) == (2, 3) for pair in found)
    assert not any("route" in prompt for prompt in voice.prompts)
    assert all(pair.chosen.label == 1 and pair.rejected.label == 0 for pair in found)


def test_answers_of_another_form_are_in_no_pair(task: TinyTask) -> None:
    def says(prompt: str, n: int) -> str:
        return said("is", gold(prompt, task)) if n else f"{said('is', other(gold(prompt, task)))} more"

    def says_when_told(prompt: str, n: int) -> str:
        right = "odd" in prompt
        answer = gold(prompt, task)
        return f"{said('is', answer)} more" if right else said("odd", other(answer))

    assert list(rollout(given_of(task, now=Dictated(says)), samples=3)) == []
    assert list(corrected(given_of(task, now=Dictated(says_when_told)))) == []


def test_corrected_prefers_what_the_student_found_when_told(task: TinyTask) -> None:
    """Every second question is right at once; of the others those of a large sum are corrected in the second try."""
    questions = task.rows("train")

    def large(question: Question) -> bool:
        return sum(map(int, question.question.split(" plus "))) > 5

    def says(prompt: str, n: int) -> str:
        question = next(one for one in questions if one.question in prompt)
        told = "odd" in prompt  # its earlier attempt
        right = questions.index(question) % 2 == 0 or (told and large(question) and n > 0)
        return said(f"even {'is ' * n}" if told else "odd", question.answer if right else other(question.answer))

    voice = Dictated(says)
    found = list(corrected(given_of(task, now=voice), tries=3, temperature=0.7))
    wanted = [question for n, question in enumerate(questions) if n % 2 and large(question)]
    assert len(wanted) > 1 and [pair.question for pair in found] == wanted
    for pair in found:
        assert (pair.chosen.label, pair.chosen.text, pair.chosen.answer) == (1, "even is", pair.question.answer)
        assert (pair.rejected.label, pair.rejected.text) == (0, "odd")
        assert pair.question in questions, "what is learned is the answer to the question alone"
    told = [prompt for prompt in voice.prompts if "odd" in prompt]
    assert len(told) == len(questions) // 2, "what was right is not asked again"
    for prompt in told:
        assert f"answer <|pad|> {other(gold(prompt, task))}," in prompt, (
            "its own answer was wrong: the gold is not told"
        )
    assert [options["temperature"] for options in voice.options] == [0.7, 0.7], "tries differ"


@pytest.mark.parametrize("miner", [rollout, corrected])
def test_each_sampling_is_a_function_of_the_seed(task: TinyTask, miner: Any) -> None:
    seeds = []
    for seed in (0, 0, 1):
        voice = Dictated(lambda prompt, n: said("odd", other(gold(prompt, task))))
        assert list(miner(given_of(task, seed=seed, now=voice))) == []
        seeds.append([options["seed"] for options in voice.options])
    assert seeds[0] == seeds[1]
    assert len({*seeds[0], *seeds[2]}) == 2 * len(seeds[0]), "the first answers and the later tries are other draws"


def test_weak_reads_no_gold(task: TinyTask) -> None:
    questions = task.rows("train")

    def now(prompt: str, n: int) -> str:
        return said("now", "1")

    def base(prompt: str, n: int) -> str:
        return said("base", "1") if questions[0].question in prompt else said("base", "0")

    def mined() -> list[Pair]:
        return list(weak(given_of(task, now=Dictated(now), base=Dictated(base))))

    found = mined()
    assert [pair.question for pair in found] == questions[1:], "where both say the same there is nothing to prefer"
    assert all((pair.chosen.text, pair.rejected.text) == ("now", "base") for pair in found)
    task._rows["train"] = [replace(one, answer="noise") for one in questions]
    again = [(pair.question.id, pair.chosen.text, pair.rejected.text) for pair in mined()]
    assert again == [(pair.question.id, pair.chosen.text, pair.rejected.text) for pair in found]


@pytest.mark.parametrize("miner", [rollout, corrected, weak])
def test_what_samples_waits_for_the_student(task: TinyTask, miner: Any) -> None:
    with pytest.raises(LaterError):
        list(miner(given_of(task)))


def test_an_attempt_too_long_for_the_context_is_not_shown(task: TinyTask) -> None:
    questions = task.rows("train")

    def says(prompt: str, n: int) -> str:
        long = questions[0].question in prompt
        return said(
            "odd " * (CONTEXT if long else 1), gold(prompt, task) if "odd" in prompt else other(gold(prompt, task))
        )

    assert [pair.question for pair in corrected(given_of(task, now=Dictated(says)))] == questions[1:]
