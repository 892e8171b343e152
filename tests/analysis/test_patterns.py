from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realm.analysis.agreement import Wrong, agreement
from realm.analysis.answers import read, verifier_of
from realm.analysis.clusters import Fault, cluster
from realm.analysis.patterns import Patterns, analyse
from realm.analysis.sizes import commonest
from realm.analysis.steps import OTHER_VALUE, Divergence
from realm.bank.cot import CoT
from realm.bank.scan import Group
from realm.tasks.base import Question
from realm.tasks.verify import UNREADABLE, Choice, Number, Verifier
from realm.tasks.verify import verifier as make_verifier

ERRORS = (*range(-30, 0), *range(1, 31), 40, 50, 100)


def numeric(
    seed: int,
    habit: Callable[[random.Random], bool],
    questions: int = 150,
    wrong: int = 5,
    errors: Sequence[int] = ERRORS,
) -> list[Group]:
    """Questions with numbers for answers: a wrong CoT gives the one wrong answer of its question's habit, or makes an
    independent mistake."""
    source = random.Random(seed)
    groups: list[Group] = []
    for number in range(questions):
        name, gold = f"q{number}", source.randint(50, 400)
        own = gold + source.choice(errors)
        answers = [own if habit(source) else gold + source.choice(errors) for _ in range(wrong)]
        cots = [
            CoT(name, f"We get {a} at once.", str(a), 0, teacher=f"t{i % 2}", sample=i) for i, a in enumerate(answers)
        ]
        cots.append(CoT(name, f"We add up to {gold}.", str(gold), 1, sample=wrong))
        groups.append((Question(name, f"How many, in case {number}?", str(gold)), cots))
    return groups


def look(groups: list[Group], **settings: Any) -> Patterns:
    return analyse(groups, **{"permutations": 99, **settings})


def test_planted_habits_are_systematic() -> None:
    found = look(numeric(0, lambda source: source.random() < 0.8))
    assert found.verdict == "systematic"
    assert found.answers is not None and found.answers.overall.habit_share is not None
    share, low, high = found.answers.overall.habit_share
    # Two of a question agree where both follow the habit, which is what the habit share inverts.
    assert low < 0.8 < high
    assert found.answers.overall.p == pytest.approx(0.01)
    assert f"{share:.0%}" in found.sentence and found.sentence.startswith("Systematic")


def test_independent_mistakes_are_noise() -> None:
    found = look(numeric(1, lambda source: False))
    assert found.verdict == "noise"
    assert found.answers is not None
    # Even so they agree more often than answers dealt out over all questions: the weak null tells nothing.
    assert found.answers.shuffled.p is not None and found.answers.shuffled.p < 0.06


def test_common_mistakes_are_noise_too() -> None:
    # Six possible mistakes: a sixth of the pairs agree, but no more than by chance.
    found = look(numeric(2, lambda source: False, errors=(-10, -2, -1, 1, 2, 10), questions=800))
    assert found.text_agreement == pytest.approx(1 / 6, abs=0.03)
    assert found.verdict == "noise"


def test_one_mistake_in_every_question_is_systematic() -> None:
    # All are 5 too many, or other things: no more agreement within a question than this one error brings.
    found = look(numeric(2, lambda source: False, errors=(*[5] * 8, -2, 7, 9)))
    assert found.verdict == "systematic"
    assert found.answers is not None and found.answers.common is not None
    assert found.answers.common.error == "+5"
    assert found.answers.common.share == pytest.approx(8 / 11, abs=0.06)
    assert "(+5), whatever the question" in found.sentence


def test_half_habits_are_mixed() -> None:
    found = look(numeric(3, lambda source: source.random() < 0.45, questions=300))
    assert found.verdict == "mixed"


def test_a_few_wrong_cots_allow_no_verdict() -> None:
    assert look(numeric(4, lambda source: True, questions=19)).verdict == "too few"
    assert "95" in look(numeric(4, lambda source: True, questions=19)).sentence
    assert look(numeric(4, lambda source: True, questions=19), minimum=50).verdict == "systematic"
    # Many wrong CoTs, but never two of one question
    assert look(numeric(5, lambda source: True, wrong=1)).verdict == "too few"
    assert look([]).verdict == "too few"


def test_two_possible_answers_allow_no_verdict() -> None:
    groups: list[Group] = [
        (Question(f"q{n}", "?", "yes" if n % 2 else "no"),
         [CoT(f"q{n}", f"word{n} number{i}", "no" if n % 2 else "yes", 0, sample=i) for i in range(4)])
        for n in range(100)
    ]  # fmt: skip
    found = look(groups)
    assert found.text_agreement == 1
    assert found.answers is not None and found.answers.overall.null == 1
    assert found.verdict == "too few"


def rules(seed: int, habit: float) -> list[Group]:
    """Ten rules, each at stake in many questions with answers of their own; a wrong CoT states another value."""
    source = random.Random(seed)
    groups: list[Group] = []
    for number in range(200):
        rule, name = number % 10, f"q{number}"
        cots = [CoT(name, f"Rule {rule}x says green {rule + 30}. So {number}.", f"{number}", 1, sample=9)]
        for sample in range(2):
            value = 70 + rule if source.random() < habit else source.randint(100, 900)
            answer = str(source.randint(1000, 9999))
            cots.append(CoT(name, f"Usually rule {rule}x says green {value}. So {answer}.", answer, 0, sample=sample))
        groups.append((Question(name, f"Case {number}?", str(number)), cots))
    return groups


def test_one_missed_rule_in_many_questions_is_systematic_though_answers_differ() -> None:
    found = look(rules(0, 0.9))
    assert found.verdict == "systematic"
    assert "different questions" in found.sentence
    assert found.coverage > 0.9 and found.across_questions > 0.8
    assert found.clusters[0].questions > 10
    assert found.kinds[OTHER_VALUE] == 400
    assert look(rules(1, 0.0)).verdict == "noise"


def test_equal_seeds_give_equal_figures_in_any_order() -> None:
    groups = numeric(6, lambda source: source.random() < 0.5, questions=60)
    assert look(groups).as_dict() == look(groups[::-1]).as_dict()
    other = look(groups, seed=1).answers
    first = look(groups).answers
    assert other is not None and first is not None
    assert other.overall.null != first.overall.null


def test_a_large_bank_is_sampled_by_question() -> None:
    groups = numeric(7, lambda source: source.random() < 0.8, questions=200)
    found = look(groups, limit=300)
    assert found.sampled and 300 <= found.analysed <= 305
    assert found.wrong == 1000
    assert found.verdict == "systematic"
    assert look(groups[::-1], limit=300).as_dict() == found.as_dict()
    assert not look(groups, limit=1000).sampled


def test_what_is_no_reasoning_is_left_out() -> None:
    groups = numeric(8, lambda source: True, questions=30)
    groups.append((Question("cut", "?", "1"), [CoT("cut", "We", "", 0, problem="cut")]))
    found = look(groups)
    assert (found.wrong, found.left_out, found.analysed) == (151, 1, 150)


def test_the_result_is_json() -> None:
    found = json.loads(json.dumps(look(rules(2, 0.9)).as_dict(clusters=2)))
    assert len(found["clusters"]) == 2
    assert found["answers"]["overall"]["habit_share"] is not None
    assert found["repeated"] == []


def test_within_and_across_teachers_are_told_apart() -> None:
    # Each teacher has a habit of its own: samples of one agree always, of two hardly ever.
    source = random.Random(0)
    wrong = []
    for number in range(100):
        gold = source.randint(50, 400)
        for teacher in ("a", "b"):
            own = str(gold + source.choice(ERRORS))
            wrong += [Wrong(str(number), teacher, own, str(gold)) for _ in range(3)]
    found = agreement(wrong, permutations=99, seed=0)
    assert (found.within.pairs, found.across.pairs, found.overall.pairs) == (600, 900, 1500)
    assert found.within.observed == 1
    assert found.across.observed is not None and found.across.observed < 0.1


def test_numbers_are_compared_by_value_and_other_text_as_it_is() -> None:
    wrong = [Wrong("q", "t", answer, "7") for answer in ("18", "18.0", "$18")]
    wrong += [Wrong("p", "t", answer, "'7'") for answer in ("'18'", "18", "[18]")]
    found = agreement(wrong, permutations=19, seed=0)
    assert found.overall.observed == pytest.approx(3 / 6)


def test_clusters_hold_steps_that_are_alike() -> None:
    steps = [
        "Usually a lamp goes to bin coral 27.",
        "By the book, a lamp goes to bin coral 27.",
        "a tent goes to bin coral 27.",
    ]
    faults = [
        Fault(f"q{n}", f"c{n}", "t", "coral 27", Divergence(0, OTHER_VALUE, steps[n % 3], "right")) for n in range(9)
    ]
    found = cluster(faults)
    assert [len(one.faults) for one in found] == [6, 3]
    assert found[0].questions == 6 and found[0].right == "right"
    assert cluster(faults[::-1])[0].faults[0].divergence.kind == OTHER_VALUE


def drawn(seed: int, draw: Callable[[random.Random, int, int], int], golds: Sequence[int]) -> list[Group]:
    """150 questions with 8 CoTs whose answers are independent draws, of (source, gold, number of the question)."""
    source = random.Random(seed)
    groups: list[Group] = []
    for number in range(150):
        name, gold = f"q{number}", source.choice(golds)
        answers = [draw(source, gold, number) for _ in range(8)]
        cots = [
            CoT(name, f"We look {source.random()}.\nHm {source.random()}.", str(a), int(a == gold), sample=i)
            for i, a in enumerate(answers)
        ]
        groups.append((Question(name, f"How many, in case {number}?", str(gold)), cots))
    return groups


def some_right(offset: int, gold: int, source: random.Random) -> int:
    return gold if source.random() < 0.5 else gold + offset


#: What an answer is drawn by, and the golds: independent all of them.
INDEPENDENT: dict[str, tuple[Callable[[random.Random, int, int], int], Sequence[int]]] = {
    "a coin": (lambda s, g, n: s.choice([0, 1]), [0, 1]),
    "a coin where one gold is common": (lambda s, g, n: s.choice([0, 1]), [0, 0, 0, 1]),
    "a coin where one gold is rare": (lambda s, g, n: s.choice([0, 1]), [0] * 9 + [1]),
    "a coin, and now and then another answer": (
        lambda s, g, n: s.choice([0, 1]) if s.random() < 0.95 else s.randint(2, 40), [0, 0, 0, 1],
    ),
    "one of four": (lambda s, g, n: s.choice([1, 2, 3, 4]), [1, 2, 3, 4]),
    "one to three too many": (lambda s, g, n: some_right(s.choice([1, 2, 3]), g, s), range(10, 100)),
    "one to three too many, mostly": (
        lambda s, g, n: some_right(s.choice([1, 2, 3]) if s.random() < 0.9 else s.randint(4, 60), g, s), range(10, 100),
    ),
    "common slips": (lambda s, g, n: g + s.choice([0, 0, 0, 1, -1, 2, -2, 10, -10, 3, 5]), range(10, 100)),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_answers_are_no_habit_however_few_there_are(name: str, seed: int) -> None:
    draw, golds = INDEPENDENT[name]
    found = look(drawn(seed, draw, golds))
    assert found.verdict in ("noise", "too few"), found.sentence


def test_questions_of_small_errors_beside_those_of_large_ones_are_no_habit() -> None:
    # Every second question is missed by one alone, the others by up to fifty. Of 95 % intervals one in ten may miss.
    def draw(source: random.Random, gold: int, number: int) -> int:
        return some_right(source.choice([-1, 1]) * source.randint(1, 1 if number % 2 else 50), gold, source)

    found = [look(drawn(seed, draw, range(10, 100))) for seed in range(10)]
    assert sum(one.verdict in ("noise", "too few") for one in found) >= 9
    assert found[0].answers is not None and found[0].answers.error == "difference, by size"


def test_where_two_answers_are_possible_it_is_said() -> None:
    found = look(drawn(0, *INDEPENDENT["a coin"]))
    assert found.sentence.startswith("Too few different answers: (nearly) all are 0 or 1, so that two wrong ones of a")
    found = look(drawn(0, lambda s, g, n: s.choice([0, 1]) if s.random() < 0.98 else s.randint(2, 40), [0, 1]))
    assert found.answers is not None and len(found.answers.possible) == 2
    assert found.sentence.startswith("Too few different answers: (nearly) all are 0 or 1")


def draw_short(
    seed: int, choices: Sequence[str], draw: Callable[[random.Random, str, str], str], **forms: Any
) -> list[Group]:
    """300 questions with 8 short CoTs, whose answers are drawn of (source, gold, one wrong answer that each question
    has); `ends`: how a CoT states its answer; `spelled`: how the answer is written."""
    source = random.Random(seed)
    ends = forms.get("ends", ("So the answer is {}.", "Therefore it is {}.", "I would say {}."))
    groups: list[Group] = []
    for number in range(300):
        name, gold = f"q{number}", source.choice(forms.get("golds", choices))
        own = source.choice([choice for choice in choices if choice != gold])
        cots = []
        for sample in range(8):
            answer = draw(source, gold, own)
            text = source.choice(ends).format(forms.get("said", {}).get(answer, answer))
            spelled = source.choice(forms.get("spelled", ("{}",))).format(answer)
            cots.append(CoT(name, text, spelled, int(answer == gold), sample=sample))
        groups.append((Question(name, f"Is it so, in case {number}?", gold), cots))
    return groups


def half_right(wrong: Callable[[random.Random, str, str], str]) -> Callable[[random.Random, str, str], str]:
    return lambda source, gold, own: gold if source.random() < 0.5 else wrong(source, gold, own)


def other_than(gold: str, choices: Sequence[str], source: random.Random, liked: str = "") -> str:
    left = [choice for choice in choices if choice != gold]
    return source.choices(left, [8 if choice == liked else 1 for choice in left])[0]


def coin(source: random.Random, gold: str, own: str) -> str:
    return source.choice(YES_NO)


YES_NO, LETTERS, DIGITS = ("yes", "no"), ("A", "B", "C", "D"), ("1", "2", "3", "4")
SPELLED = ("{}", "{}.", "**{}**", " {} ")
#: Choices, how an answer is drawn, how it is written; the verdicts that may be.
SHORT: dict[str, tuple[Sequence[str], Callable[[random.Random, str, str], str], dict[str, Any], set[str]]] = {
    "a coin": (YES_NO, coin, {}, {"too few"}),
    "a coin, written in all ways": (YES_NO, coin, {"spelled": SPELLED}, {"too few"}),
    "a coin, and the step is not the answer": (
        YES_NO, coin, {"said": {"yes": "true", "no": "false"}, "ends": ("So the statement is {} here.",)}, {"too few"},
    ),
    "a coin where all golds are yes": (YES_NO, coin, {"golds": ["yes"]}, {"too few"}),
    "mostly yes": (YES_NO, lambda s, g, o: "yes" if s.random() < 0.8 else "no", {}, {"too few"}),
    "any other letter": (LETTERS, half_right(lambda s, g, o: other_than(g, LETTERS, s)), {}, {"noise", "too few"}),
    "A is liked": (LETTERS, half_right(lambda s, g, o: other_than(g, LETTERS, s, "A")), {}, {"noise", "too few"}),
    "A is liked, and often right": (
        LETTERS, half_right(lambda s, g, o: other_than(g, LETTERS, s, "A")), {"golds": "AAAABCD"}, {"noise", "too few"},
    ),
    "3 is liked": (DIGITS, half_right(lambda s, g, o: other_than(g, DIGITS, s, "3")), {}, {"noise", "too few"}),
    "each question has its own trap": (
        LETTERS, half_right(lambda s, g, o: o if s.random() < 0.8 else other_than(g, LETTERS, s)), {}, {"systematic"},
    ),
    "a trap, written in all ways": (
        LETTERS, half_right(lambda s, g, o: o if s.random() < 0.8 else other_than(g, LETTERS, s)),
        {"spelled": SPELLED}, {"systematic"},
    ),
    "the next letter": (
        LETTERS, half_right(lambda s, g, o: LETTERS[LETTERS.index(g) - 3]), {}, {"systematic"},
    ),
    "half a trap": (
        LETTERS, half_right(lambda s, g, o: o if s.random() < 0.5 else other_than(g, LETTERS, s)), {}, {"mixed"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHORT)
def test_few_possible_answers(name: str) -> None:
    choices, draw, forms, verdicts = SHORT[name]
    found = look(draw_short(0, choices, draw, **forms), verifier=Choice(tuple(choices)))
    assert found.verdict in verdicts, found.sentence
    assert found.answers is not None and set(found.answers.possible) == set(choices)
    if len(choices) == 2:
        assert found.text_agreement == 1 and "(nearly) all are no or yes" in found.sentence


def test_a_missed_rule_is_found_where_only_two_answers_are_possible() -> None:
    groups = []
    for question, cots in rules(0, 0.9):
        said = {cot.id: ("no", "yes")[(cot.label or 0) == int(cot.question_id[1:]) % 2] for cot in cots}
        assert question is not None
        gold = said[cots[0].id]
        groups.append((replace(question, answer=gold), [replace(cot, answer=said[cot.id]) for cot in cots]))
    found = look(groups)
    assert found.answers is not None and len(found.answers.possible) == 2
    assert found.verdict == "systematic" and "different questions" in found.sentence


#: Answers of wrong CoTs, the gold and the verifier; the pairs that agree, and what is shown of the commonest one.
READ = [
    (["Yes", "yes", "**yes**", "maybe"], "no", Choice(("yes", "no")), (3, 3), ("**yes**", 3)),
    (["18", "18.0", "$18", "eighteen or so", ""], "17", Number(), (3, 3), ("$18", 3)),
    (["Bin  7.", "bin 7", "bin 8"], "bin 9", make_verifier("desk"), (1, 3), ("Bin  7.", 2)),
]


@pytest.mark.parametrize(("answers", "gold", "verifier", "agree", "shown"), READ)
@pytest.mark.parametrize("label", [0, None])
def test_answers_are_counted_as_the_verifier_reads_them(
    answers: list[str], gold: str, verifier: Verifier, agree: tuple[int, int], shown: tuple[str, int], label: int | None
) -> None:
    """What it cannot read is neither right nor wrong, whether its label says so (None) or the verifier alone."""
    cots = [CoT("q", f"So {n}.", answer, 0, sample=n) for n, answer in enumerate(answers)]
    unreadable = [cot for cot in cots if read(verifier, cot.answer) is None]
    cots = [replace(cot, label=label, reason=UNREADABLE) if cot in unreadable else cot for cot in cots]
    cots += [CoT("q", "So it is.", gold, 1, sample=90), CoT("q", "So", "", 0, problem="cut", sample=91)]
    found = look([(Question("q", "?", gold), cots)], verifier=verifier)
    assert found.unreadable == len(unreadable)
    assert (found.wrong, found.left_out, found.analysed) == (len(answers) - len(unreadable) + 1, 1, found.wrong - 1)
    assert found.text_agreement == agree[0] / agree[1]
    assert [(one.answer, one.times) for one in found.repeated] == [shown]


INFO = [
    ({"verifier": "choice", "choices": ["yes", "no"]}, "choice"),
    ({"verifier": "number"}, "number"),
    ({}, "exact"),
    ({"verifier": "choice"}, "exact"),
    ({"verifier": "another", "choices": 3}, "exact"),
]


@pytest.mark.parametrize(("info", "name"), INFO)
def test_the_verifier_of_a_bank(info: dict[str, Any], name: str) -> None:
    assert verifier_of(info).name == name


def test_the_commonest_error_is_held_against_chance() -> None:
    source = np.random.default_rng(0)
    # All golds alike: an answer of 15 may be a habit of +5, or be said whatever is asked.
    alike = commonest([(str(n), "15" if n % 4 else str(20 + n), "10") for n in range(100)], source)
    assert alike is not None and (alike.error, alike.share) == ("+5", 0.75)
    assert alike.chance == pytest.approx(0.75) and alike.habit_share[0] == 0
    # Of golds of their own it is one error; the others are 25 different ones.
    own = commonest([(str(n), str(3 * n + (5 if n % 4 else n * n + 7)), str(3 * n)) for n in range(100)], source)
    assert own is not None and (own.error, own.share) == ("+5", 0.75)
    assert own.chance < 0.06 and own.habit_share[0] > 0.7
    doubled = commonest([(str(n), str(2 * n), str(n)) for n in range(1, 50)], source)
    assert doubled is not None and (doubled.error, doubled.share) == ("× 2", 1.0)
    assert commonest([("q", "cat", "dog")], source) is None


@pytest.mark.slow
def test_the_test_keeps_its_level() -> None:
    # 400 banks of independent mistakes: 5 % of the p-values are at most 0.05, σ = √(0.05 · 0.95 / 400) = 0.011.
    # Choosing the hardest way to express an error can only make it stricter.
    found = []
    for seed in range(400):
        source = random.Random(seed)
        golds = [source.randint(50, 400) for _ in range(80)]
        wrong = [
            Wrong(str(n), "t", str(g + source.choice(ERRORS)), str(g)) for n, g in enumerate(golds) for _ in range(4)
        ]
        found.append(agreement(wrong, permutations=99, seed=seed).overall.p or 0)
    assert sum(p <= 0.05 for p in found) / 400 < 0.09
    assert 0.4 < sum(found) / 400 < 0.65


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "low", "high"), [("gsm8k_openai_cots", 0.25, 0.37), ("gsm8k_zeroeval_cots", 0.4, 0.55)]
)
def test_real_banks_lie_between_noise_and_habit(data_dir: Path, name: str, low: float, high: float) -> None:
    groups: list[Group] = []
    for line in (data_dir / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        cots = [
            CoT(row["id"], cot["text"], cot["answer"] or "", int(cot["correct"]), teacher=cot["source"], sample=number)
            for number, cot in enumerate(row["cots"])
        ]
        groups.append((Question(row["id"], row["question"], row["answer"]), cots))
    found = look(groups)
    assert found.verdict == "mixed"
    assert found.answers is not None and found.answers.overall.habit_share is not None
    assert low < found.answers.overall.habit_share[0] < high
