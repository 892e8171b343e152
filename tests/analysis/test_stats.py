from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realm.analysis.redundancy import agreeing, pairs
from realm.analysis.stats import FIT_SAMPLE, LENGTH_SAMPLE, NAMES, OTHERS, Student, statistics
from realm.bank.cot import CoT
from realm.bank.scan import Group
from realm.statistics.streams import Reservoir
from realm.tasks.base import Question
from realm.tasks.verify import Choice, Exact, Number, Verifier, verifier

# q1: mixed, guided 1 1, unguided 1 0; q2: all wrong, the two wrong ones agree; q3: all right; q4: one CoT without a
# label; q5: none at all; q6: the bank does not know the question
LABELS: dict[str, list[tuple[int | None, str, bool, str]]] = {
    "q1": [(1, "4", True, "a"), (1, "4", True, "b"), (1, "4", False, "a"), (0, "5", False, "b")],
    "q2": [(0, "7", False, "a"), (0, " 7", False, "b"), (0, "", False, "b"), (0, "", True, "a")],
    "q3": [(1, "1", False, "a")],
    "q4": [(None, "1", False, "a")],
    "q5": [],
    "q6": [(0, "3", False, "a")],
}


def small() -> list[Group]:
    groups: list[Group] = []
    for name, rows in LABELS.items():
        cots = [
            CoT(name, f"{name} text {number}", answer, label, teacher=teacher, guided=guided, sample=number)
            for number, (label, answer, guided, teacher) in enumerate(rows)
        ]
        question = Question(name, f"what is {name}?", "4", kind="sum", tags=("x", "y") if name == "q1" else ("x",))
        groups.append((None if name == "q6" else question, cots))
    return groups


def many() -> list[Group]:
    return [(None, [CoT(f"q{n}", "x", "1", (n * i) % 2, sample=i) for i in range(n % 5)]) for n in range(60)]


def test_counts_of_a_small_bank() -> None:
    found = statistics(small())
    wanted = {
        "questions": 5, "without_cots": 1, "unknown_questions": 1, "cots": 11, "right": 4, "wrong": 6, "unlabelled": 1,
        "error_ratio": 0.6, "all_right": 1, "mixed": 1, "all_wrong": 2, "mixed_share": 0.25,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    assert found["by_tag"]["x"]["cots"] == 10
    assert found["by_tag"]["y"]["cots"] == 4
    assert found["by_kind"]["sum"]["cots"] == 10
    assert found["by_split"]["train"]["error_ratio"] == pytest.approx(5 / 9)
    low, high = found["error_ratio_interval"]
    assert 0 <= low < 0.6 < high <= 1


def test_guidance_is_paired_by_question() -> None:
    # q1: guided 1.0 against unguided 0.5; q2: guided 0 against 0: mean (0.5 + 0) / 2
    guidance = statistics(small())["guidance"]
    assert guidance["questions"] == 2
    assert guidance["mean"] == pytest.approx(0.25)
    assert guidance["by_teacher"]["a"]["interval"] == pytest.approx([-(1 - 0.025**0.5), 1 - 0.025**0.5])
    assert guidance["by_teacher"]["a"]["p"] == 1.0
    assert guidance["by_teacher"]["b"]["mean"] == 1.0
    assert guidance["by_teacher"]["b"]["interval"] is None


def test_agreement_leaves_out_what_cannot_be_read() -> None:
    # q1 has one wrong CoT: no pair. q2 has 4, of which 7 and 7 agree and two say nothing.
    redundancy = statistics(small())["redundancy"]
    assert (redundancy["wrong_pairs"], redundancy["wrong_agreement"], redundancy["unreadable_answers"]) == (1, 1.0, 2)
    assert redundancy["distinct_answers_histogram"] == {"1": 4, "2": 1}
    assert agreeing(["a", "a", "b", "c", "d"]) == (1, 10)


#: Answers of one question, the first of them right, and the verifier; different ones, unreadable ones, agreeing pairs.
READ = [
    (["yes", "No", "no.", " (no) "], Choice(("yes", "no")), 2, 0, 1.0, True),
    (["yes", "no", "perhaps", "no"], Choice(("yes", "no")), 2, 1, 1.0, True),
    (["5", "6", "6.0", "7", "six"], Number(), 3, 1, 1 / 3, False),
    (["a b", "a  c", "a c"], Exact(), 2, 0, 1.0, True),
]


@pytest.mark.parametrize(("answers", "reader", "distinct", "unreadable", "agree", "two"), READ)
def test_answers_are_counted_as_the_verifier_reads_them(
    answers: list[str], reader: Verifier, distinct: int, unreadable: int, agree: float, two: bool
) -> None:
    cots = [CoT("q", f"So {n}.", answer, int(n == 0), sample=n) for n, answer in enumerate(answers)]
    redundancy = statistics([(None, cots)], verifier=reader)["redundancy"]
    assert redundancy["distinct_answers"] == distinct
    assert redundancy["unreadable_answers"] == unreadable
    assert redundancy["wrong_agreement"] == pytest.approx(agree)
    assert redundancy["two_answers"] is two


def test_redundancy_tells_copies_from_texts_of_their_own() -> None:
    long = " ".join(f"word{number}" for number in range(40))
    other = " ".join(f"thing{number}" for number in range(40))
    texts = [long, long.replace("word39", "end"), other]
    groups: list[Group] = [(None, [CoT("q", text, "1", 1, sample=number) for number, text in enumerate(texts)])]
    redundancy = statistics(groups)["redundancy"]
    assert redundancy["near_duplicates"] == pytest.approx(1 / 3)
    assert 0.66 < redundancy["mean_distance"] < 0.7


@pytest.mark.parametrize("size", [0, 1, 2, 5, 12, 40])
def test_pairs_are_all_or_a_sample_of_different_ones(size: int) -> None:
    found = list(pairs(size, 64, random.Random(0)))
    assert len(found) == len(set(found)) == min(64, size * (size - 1) // 2)
    assert all(0 <= i < j < size for i, j in found)
    assert set(pairs(size, 10**6, random.Random(0))) == set(pairs(size, size * (size - 1) // 2, random.Random(1)))


def test_figures_do_not_depend_on_the_order_of_the_questions() -> None:
    one, other = statistics(small(), seed=3), statistics(small()[::-1], seed=3)
    assert one["error_ratio_interval"] == pytest.approx(other["error_ratio_interval"])
    for name in ("wrong_agreement", "near_duplicates", "mean_distance"):
        assert one["redundancy"][name] == pytest.approx(other["redundancy"][name])
    assert (
        statistics(many(), seed=3)["mixed_share_interval"] == statistics(many()[::-1], seed=3)["mixed_share_interval"]
    )
    assert statistics(many(), seed=4)["error_ratio_interval"] != statistics(many(), seed=3)["error_ratio_interval"]


def test_a_bank_of_nothing_has_no_shares() -> None:
    found = statistics([])
    assert found["error_ratio"] is found["mixed_share"] is found["redundancy"]["near_duplicates"] is None
    assert found["questions"] == found["cots"] == 0
    json.dumps(found)


def test_problems_reasons_and_usage_are_counted() -> None:
    cots = [
        CoT("q", "", "", 0, teacher="big", problem="empty", completion_tokens=0, seconds=0.5),
        CoT("q", "x", "1", None, teacher="big", sample=1, reason="error: ValueError: one", completion_tokens=10),
        CoT("q", "y", "1", None, teacher="big", sample=2, reason="error: KeyError: two", prompt_tokens=7),
        CoT("q", "z", "1", None, teacher="small", sample=3, reason="timeout"),
    ]
    found = statistics([(None, cots)])
    assert found["problems"] == {"empty": 1}
    assert found["reasons"] == {"error": 2, "timeout": 1}
    assert found["usage"] == {
        "big": {
            "completion_tokens": 10, "completion_tokens_cots": 2, "seconds": 0.5, "seconds_cots": 1,
            "prompt_tokens": 7, "prompt_tokens_cots": 1,
        }
    }  # fmt: skip


def test_a_student_with_a_short_context_sees_fewer_routes() -> None:
    # A text is one token a word; the prompt holds 10 words: two routes of 5.
    def fits(question: Question, routes: Any) -> int | None:
        return None if question.id == "long" else min(len(routes), 2)

    def group(name: str, number: int) -> Group:
        return Question(name, "?", "1"), [CoT(name, "a b c d e", "1", 1, sample=i) for i in range(number)]

    student = Student(lambda text: len(text.split()), fits, 10, 3)
    found = statistics([group("one", 1), group("many", 6), group("long", 6)], student=student)["lengths"]
    assert found["tokens"]["median"] == 5
    assert found["context"] == {
        "limit": 10, "k": 3, "questions": 3, "all_fit": pytest.approx(1 / 3), "question_alone_too_long": 1,
        "routes_that_fit": 1.5, "histogram": {"1": 1, "2": 1},
    }  # fmt: skip


def test_names_beyond_a_bound_are_counted_together() -> None:
    cots = [CoT("q", "x", "1", 1, teacher=f"t{number:05}") for number in range(NAMES + 20)]
    by_teacher = statistics([(None, cots)])["by_teacher"]
    assert len(by_teacher) == NAMES + 1
    assert by_teacher[OTHERS]["cots"] == 20


@pytest.mark.slow
def test_memory_does_not_grow_with_the_bank() -> None:
    import tracemalloc

    def groups(number: int) -> Iterator[Group]:
        for index in range(number):
            name = f"q{index}"
            yield Question(name, "x", "1"), [CoT(name, f"{index} {i} a b c", str(i), i % 2, sample=i) for i in range(2)]

    def peak(number: int) -> int:
        tracemalloc.start()
        statistics(groups(number))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    statistics(groups(6_000))  # what is imported and cached once
    assert LENGTH_SAMPLE <= 2 * 15_000 and FIT_SAMPLE < 15_000  # so that every sample is full in both
    assert peak(30_000) < 1.1 * peak(15_000)


def test_reservoir_is_an_even_sample() -> None:
    counts = [0] * 20
    for seed in range(600):
        reservoir: Reservoir[int] = Reservoir(5, seed, "test")
        for item in range(20):
            reservoir.add(item)
        for item in reservoir.items:
            counts[item] += 1
    # 600 · 5/20 = 150 each, σ = √(600 · ¼ · ¾) = 10.6
    assert all(100 < count < 200 for count in counts)


def real(path: Path) -> list[Group]:
    groups: list[Group] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        cots = [
            CoT(row["id"], cot["text"], cot["answer"] or "", int(cot["correct"]), teacher=cot["source"], sample=number)
            for number, cot in enumerate(row["cots"])
        ]
        groups.append((Question(row["id"], row["question"], row["answer"]), cots))
    return groups


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "read", "ratio", "agreement", "outcomes"),
    [
        ("gsm8k_openai_cots", "number", 0.621, 0.106, (156, 731, 432)),
        ("gsm8k_zeroeval_cots", "number", 0.197, 0.252, (298, 1008, 12)),
        ("crux_zeroeval_cots", "python", 0.473, 0.174, (76, 677, 47)),
    ],
)
def test_known_figures_of_real_banks(
    data_dir: Path, name: str, read: str, ratio: float, agreement: float, outcomes: tuple[int, int, int]
) -> None:
    # Agreement is of the answers that are there.
    found = statistics(real(data_dir / f"{name}.jsonl"), verifier=verifier(read))
    assert found["error_ratio"] == pytest.approx(ratio, abs=6e-4)
    assert found["redundancy"]["wrong_agreement"] == pytest.approx(agreement, abs=6e-4)
    assert (found["all_right"], found["mixed"], found["all_wrong"]) == outcomes


def test_usable_cots_are_told_from_labelled_ones() -> None:
    def cot(question: str, sample: int, label: int | None, problem: str = "", guided: bool = False) -> CoT:
        return CoT(question, f"t{sample}", "" if problem else "7", label, guided=guided, sample=sample, problem=problem)

    # a: the only wrong one was cut; b: contrast; c: nothing but refusals; d: no label
    groups: list[Group] = [
        (None, [cot("a", 0, 1, guided=True), cot("a", 1, 0, "cut"), cot("a", 2, 1)]),
        (None, [cot("b", 0, 1, guided=True), cot("b", 1, 0), cot("b", 2, 0), cot("b", 3, 0, "no_answer")]),
        (None, [cot("c", 0, 0, "refused")]),
        (None, [cot("d", 0, None)]),
    ]
    found = statistics(groups)
    wanted = {
        "right": 3, "wrong": 5, "error_ratio": 5 / 8, "mixed": 2, "all_right": 0, "all_wrong": 1,
        "usable": 5, "usable_right": 3, "usable_wrong": 2, "usable_error_ratio": 2 / 5,
        "teaches_contrast": 1, "teaches_contrast_share": 1 / 3,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    # Guided minus unguided: a 1 − 1/2, b 1 − 0; among whole answers a 1 − 1.
    assert found["guidance"]["mean"] == pytest.approx(0.75)
    assert found["guidance"]["usable"]["mean"] == pytest.approx(0.5)
    # b alone has two wrong whole answers, which agree.
    assert (found["redundancy"]["wrong_pairs"], found["redundancy"]["wrong_agreement"]) == (1, 1.0)


@pytest.mark.data
def test_figures_of_a_real_bank(data_dir: Path) -> None:
    from realm.exchange.importing import import_cots

    bank, _ = import_cots(data_dir / "gsm8k_openai_cots.jsonl", None, relabel=False)
    found = statistics(bank.groups())
    assert round(100 * found["error_ratio"], 1) == 62.1
    assert (found["all_right"], found["mixed"], found["all_wrong"]) == (156, 731, 432)
    assert found["problems"] == {"no_answer": 11}
    assert (found["usable"], found["usable_wrong"]) == (found["cots"] - 11, found["wrong"] - 11)
    assert found["teaches_contrast"] == 731
