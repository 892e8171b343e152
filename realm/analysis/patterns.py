"""Are the wrong CoTs of a bank systematic (the same wrong answer again and again, the same missed rule) or noise?

Three questions are put to the bank, each answered by an effect with its interval (see `realm.analysis.agreement`):

- answers: do wrong CoTs of one question give the same answer more often than independent near misses would?
- rules: where a wrong CoT states something else than the right ones, and the same right statement is at stake in
  several questions, is it replaced by the same wrong statement? Pairs within one question do not count here.
- sizes: do wrong numbers miss their golds by one and the same amount or factor, whatever the question (see
  `realm.analysis.sizes`)?

The effect is the habit share h: were a share h of the wrong CoTs to follow one habit and the rest to err independently,
two of them would agree as often as they do, or the commonest error be as common as it is. The third question can speak
for habits, but not against them. The strongest of the three decides. `systematic`: at least half follow a
habit (lower end of the interval). `noise`: at most a quarter do (upper end). `mixed`: some do, in between. `too few`:
under `minimum` wrong CoTs, or too few pairs to tell (the interval reaches from no habit at all to more than noise, or
from noise to systematic).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from realm.analysis.agreement import Agreement, Test, Wrong, agreement
from realm.analysis.clusters import REPEATED, Cluster, Fault, cluster
from realm.analysis.redundancy import agreeing
from realm.analysis.sizes import Common
from realm.analysis.steps import UNKNOWN, Reference, bare, cited, hedged, similarity
from realm.bank.cot import CoT
from realm.bank.scan import Group
from realm.method.seeds import derive
from realm.tasks.base import Question

Level = Literal["systematic", "mixed", "noise", "too few"]

#: The habit share is at least this for `systematic`, at most that for `noise`.
SYSTEMATIC, NOISE = 0.5, 0.25
#: Pairs of wrong CoTs that a test needs to count.
PAIRS = 50
#: Where this part of the pairs agrees by chance alone (two possible answers, say), agreement tells nothing.
CHANCE = 0.9
#: The rules count where this part of the wrong CoTs stands against a right step that several questions share.
COVERAGE = 0.3
#: Wrong CoTs that are analysed; of a larger bank whole questions are drawn by lot until they hold this many.
LIMIT = 20_000
#: Right CoTs of a question that its wrong ones are held against.
POSITIVES = 16


@dataclass(frozen=True)
class Repeated:
    """A question of which many wrong CoTs give one answer."""

    question_id: str
    question: str
    gold: str
    answer: str
    times: int
    wrong: int


@dataclass(frozen=True)
class Patterns:
    """What `analyse` found.

    Attributes:
        verdict, sentence: the level, and the one sentence that says why.
        wrong, left_out: wrong CoTs of the bank; those that are no reasoning (cut, empty, refused, …) are left out.
        analysed, questions: the wrong CoTs looked at and their questions: all, or a sample by lot (`sampled`).
        text_agreement: share of pairs of wrong CoTs of one question with equal answer text, empty ones agreeing with
            nothing.
        answers, rules: the tests; None without a pair.
        coverage: share of the analysed whose right step is at stake in several questions.
        kinds: how the wrong CoTs leave the right ones, by count.
        in_clusters, across_questions: share of the analysed whose diverging step is that of at least `REPEATED` of
            them, and of these in several questions.
        hedged, hedged_right, cited, cited_right: share of the diverging steps that hedge or cite a rule, and of the
            right steps they stand against.
        clusters: of diverging steps, largest first.
        repeated: questions whose wrong CoTs agree most, most first.
    """

    verdict: Level
    sentence: str
    wrong: int
    left_out: int
    analysed: int
    questions: int
    sampled: bool
    text_agreement: float | None
    answers: Agreement | None
    rules: Agreement | None
    coverage: float
    kinds: dict[str, int]
    in_clusters: float
    across_questions: float
    hedged: float | None
    hedged_right: float | None
    cited: float | None
    cited_right: float | None
    clusters: tuple[Cluster, ...]
    repeated: tuple[Repeated, ...]

    def as_dict(self, clusters: int = 20) -> dict[str, Any]:
        """As JSON, with the largest `clusters` of the clusters."""
        found = asdict(self) | {"clusters": [_cluster_record(one) for one in self.clusters[:clusters]]}
        for name in ("answers", "rules"):
            test: Agreement | None = getattr(self, name)
            if test is not None:
                for part in ("overall", "within", "across", "shuffled"):
                    found[name][part]["habit_share"] = getattr(test, part).habit_share
        return found


def _cluster_record(one: Cluster) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "cots": len(one.faults),
        "questions": one.questions,
        "teachers": one.teachers,
        "step": one.step,
        "right": one.right,
        "examples": [fault.cot_id for fault in one.faults[:5]],
    }


@dataclass(frozen=True)
class _Found:
    """What is kept of a question."""

    gold: str
    question: str
    faults: tuple[Fault, ...]


def analyse(
    groups: Iterable[Group],
    *,
    seed: int = 0,
    permutations: int = 1000,
    minimum: int = 100,
    limit: int = LIMIT,
    progress: Callable[[int], None] = lambda done: None,
) -> Patterns:
    """Analyse the wrong CoTs of a bank in one pass.

    Args:
        groups: every question with all its CoTs, labels applied; a question that is not known takes the answer of a
            right CoT for its gold.
        seed: of the sample of questions and of the permutations; equal seeds give equal figures in any order of groups.
        permutations: of each test; p-values go down to 1 / (permutations + 1).
        minimum: wrong CoTs without which there is no verdict.
        limit: wrong CoTs that are analysed at most, give or take those of one question.
        progress: called with the number of questions read.

    Memory is bounded by `limit`; 20 000 CoTs take some ten seconds.
    """
    kept: list[tuple[int, str, _Found]] = []  # a heap: the question with the highest lot is first to go
    held = wrong = left_out = 0
    sampled = False
    for done, (question, cots) in enumerate(groups, start=1):
        progress(done)
        false = [cot for cot in cots if cot.label == 0]
        reasoned = [cot for cot in false if not cot.problem]
        wrong += len(false)
        left_out += len(false) - len(reasoned)
        if not reasoned:
            continue
        question_id = reasoned[0].question_id
        lot = derive(seed, "errors", question_id)
        if held >= limit and lot > -kept[0][0]:
            sampled = True
            continue
        heapq.heappush(kept, (-lot, question_id, _look(question, cots, reasoned)))
        held += len(reasoned)
        while held - len(kept[0][2].faults) >= limit:
            held -= len(heapq.heappop(kept)[2].faults)
            sampled = True
    # In an order that is the bank's own, however it was read.
    found = [one for _, _, one in sorted(kept, key=lambda item: item[1])]
    return _conclude(found, wrong, left_out, sampled, seed=seed, permutations=permutations, minimum=minimum)


def _look(question: Question | None, cots: Sequence[CoT], wrong: Sequence[CoT]) -> _Found:
    """Find where each wrong CoT of a question goes wrong."""
    right = sorted((cot for cot in cots if cot.label == 1 and not cot.problem), key=lambda cot: cot.id)
    asked = "" if question is None else question.question
    gold = right[0].answer if question is None and right else "" if question is None else question.answer
    reference = Reference(asked, [cot.text for cot in right[:POSITIVES]])
    faults = (
        Fault(cot.question_id, cot.id, cot.teacher, cot.answer.strip(), reference.diverging(cot.text, cot.answer))
        for cot in sorted(wrong, key=lambda cot: cot.id)
    )
    return _Found(gold, asked, tuple(faults))


def _conclude(
    found: Sequence[_Found], wrong: int, left_out: int, sampled: bool, *, seed: int, permutations: int, minimum: int
) -> Patterns:
    faults = [fault for one in found for fault in one.faults]
    number = len(faults)
    answers = [
        Wrong(fault.question_id, fault.teacher, fault.answer, one.gold)
        for one in found
        for fault in one.faults
        if fault.answer
    ]
    rules, coverage = _rules(faults)
    test_seed = derive(seed, "permutations")
    answer_test = agreement(answers, permutations=permutations, seed=test_seed) if answers else None
    rule_test = agreement(rules, permutations=permutations, seed=test_seed) if rules else None
    pairs = [agreeing([fault.answer for fault in one.faults]) for one in found]
    clusters = cluster([fault for fault in faults if fault.divergence.kind != UNKNOWN])
    repeated = [one for one in clusters if len(one.faults) >= REPEATED]
    spanning = [one for one in repeated if one.questions > 1]
    steps = [fault.divergence.step for fault in faults if fault.divergence.right]
    against = [fault.divergence.right for fault in faults if fault.divergence.right]
    verdict, sentence = _verdict(number, minimum, answer_test, rule_test, coverage)
    return Patterns(
        verdict=verdict,
        sentence=sentence,
        wrong=wrong,
        left_out=left_out,
        analysed=number,
        questions=len(found),
        sampled=sampled,
        text_agreement=sum(a for a, _ in pairs) / total if (total := sum(b for _, b in pairs)) else None,
        answers=answer_test,
        rules=rule_test,
        coverage=coverage,
        kinds=dict(Counter(fault.divergence.kind for fault in faults).most_common()),
        in_clusters=sum(len(one.faults) for one in repeated) / number if number else 0.0,
        across_questions=sum(len(one.faults) for one in spanning) / number if number else 0.0,
        hedged=_share(hedged, steps),
        hedged_right=_share(hedged, against),
        cited=_share(cited, steps),
        cited_right=_share(cited, against),
        clusters=tuple(clusters),
        repeated=_most_repeated(found),
    )


def _share(holds: Callable[[str], bool], steps: Sequence[str]) -> float | None:
    return sum(map(holds, steps)) / len(steps) if steps else None


def _rules(faults: Sequence[Fault]) -> tuple[list[Wrong], float]:
    """The wrong statements made where a right step is at stake that several questions share, and their share."""
    stated = []
    for fault in faults:
        right, mine = bare(fault.divergence.right), bare(fault.divergence.step)
        if right and mine != right and similarity(mine, right) >= 1 / 3:
            stated.append(Wrong(" ".join(right), fault.question_id, " ".join(mine), " ".join(right)))
    questions: dict[str, set[str]] = {}
    for one in stated:
        questions.setdefault(one.unit, set()).add(one.source)
    shared = [one for one in stated if len(questions[one.unit]) > 1]
    return shared, len(shared) / len(faults) if faults else 0.0


def _most_repeated(found: Sequence[_Found], count: int = 20) -> tuple[Repeated, ...]:
    rows = []
    for one in found:
        answers = Counter(fault.answer for fault in one.faults if fault.answer)
        if answers:
            answer, times = min(answers.items(), key=lambda item: (-item[1], item[0]))
            if times > 1:
                row = Repeated(one.faults[0].question_id, one.question, one.gold, answer, times, len(one.faults))
                rows.append(row)
    return tuple(sorted(rows, key=lambda row: (-row.times, row.question_id))[:count])


def _level(test: Test | None) -> Level:
    """What one test says by itself."""
    if test is None or test.pairs < PAIRS or test.null is None or test.null > CHANCE or test.habit_share is None:
        return "too few"
    _, low, high = test.habit_share
    if high > NOISE and (low == 0 or (low <= NOISE and high >= SYSTEMATIC)):
        return "too few"  # from none to some, or from few to most: the pairs cannot tell
    return "systematic" if low >= SYSTEMATIC else "noise" if high <= NOISE else "mixed"


def _size_level(common: Common | None, minimum: int) -> Level:
    """What the commonest error says: habits, or nothing."""
    if common is None or common.answers < minimum or common.habit_share[1] < NOISE:
        return "too few"
    return "systematic" if common.habit_share[1] >= SYSTEMATIC else "mixed"


_STRENGTH: dict[Level, int] = {"too few": 0, "noise": 1, "mixed": 2, "systematic": 3}


def _verdict(
    number: int, minimum: int, answers: Agreement | None, rules: Agreement | None, coverage: float
) -> tuple[Level, str]:
    """The strongest of the three, and why in one sentence."""
    if number < minimum:
        return "too few", f"Too few: {number} wrong CoTs, and an analysis needs {minimum}."
    answer_test = None if answers is None else answers.overall
    rule_test = None if rules is None or coverage < COVERAGE else rules.across
    by_answers, by_rules = _level(answer_test), _level(rule_test)
    common = None if answers is None else answers.common
    by_size = _size_level(common, minimum)
    if _STRENGTH[by_size] > max(_STRENGTH[by_answers], _STRENGTH[by_rules]):
        assert common is not None
        share, low, high = common.habit_share
        return by_size, (
            f"{by_size.capitalize()}: {common.share:.1%} of {common.answers:,} wrong numbers miss the gold in the same "
            f"way ({common.error}), whatever the question, against {common.chance:.1%} by chance, as if {share:.0%} "
            f"({low:.0%} to {high:.0%}) followed a habit: {_MEANING[by_size]}."
        )
    if by_answers == by_rules == "too few" and answer_test and answer_test.null and answer_test.null > CHANCE:
        return "too few", (
            f"Too few different answers: two wrong ones of a question are equal in {answer_test.null:.1%} of the pairs "
            "by chance alone, so that their agreement tells nothing."
        )
    if by_answers == by_rules == "too few":
        return "too few", (
            f"Too few: of {number} wrong CoTs not enough answer the same question, or share a right step with another "
            "question, to tell a habit from chance."
        )
    if _STRENGTH[by_rules] > _STRENGTH[by_answers]:
        assert rule_test is not None
        return by_rules, _sentence(
            by_rules, rule_test, "wrong statements that replace the same right one in different questions"
        )
    assert answer_test is not None
    return by_answers, _sentence(by_answers, answer_test, "wrong answers of one question")


_MEANING = {
    "systematic": "the errors are habits",
    "mixed": "habits and independent errors are mixed",
    "noise": "the errors are mostly independent of each other",
}


def _sentence(level: Level, test: Test, what: str) -> str:
    assert test.habit_share is not None and test.observed is not None and test.null is not None
    share, low, high = test.habit_share
    return (
        f"{level.capitalize()}: two {what} are equal in {test.observed:.1%} of {test.pairs:,} pairs, against "
        f"{test.null:.1%} for independent near misses, as if {share:.0%} ({low:.0%} to {high:.0%}) followed a habit: "
        f"{_MEANING[level]}."
    )
