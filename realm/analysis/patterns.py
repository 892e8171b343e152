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

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from realm.analysis.agreement import Agreement, Test, Wrong, agreement
from realm.analysis.answers import answer_of, read
from realm.analysis.clusters import REPEATED, Cluster, Fault, cluster
from realm.analysis.redundancy import agreeing
from realm.analysis.sizes import Common
from realm.analysis.steps import UNKNOWN, Reference, bare, similarity
from realm.bank.cot import CoT
from realm.bank.scan import Group
from realm.display import printable
from realm.method.distance import words
from realm.method.seeds import derive
from realm.tasks.base import Question
from realm.tasks.verify import UNREADABLE, Exact, Verifier, of_kind

Level = Literal["systematic", "mixed", "noise", "too few"]

#: The habit share is at least this for `systematic`, at most that for `noise`.
SYSTEMATIC, NOISE = 0.5, 0.25
#: Pairs of wrong CoTs that a test needs to count.
PAIRS = 50
#: Where this part of the pairs agrees by chance alone (two possible answers, say), agreement tells nothing.
CHANCE = 0.9
_TWO = 2
#: The rules count where this part of the wrong CoTs stands against a right step that several questions share.
COVERAGE = 0.3
#: Wrong CoTs that are analysed; of a larger bank whole questions are drawn by lot until they hold this many.
LIMIT = 20_000
#: Right CoTs of a question that its wrong ones are held against.
POSITIVES = 16
_DEFAULT = Exact()


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
        unreadable: CoTs whose answer the verifier cannot read: neither right nor wrong, and in no other figure.
        analysed, questions: the wrong CoTs looked at and their questions: all, or a sample by lot (`sampled`).
        text_agreement: share of pairs of wrong CoTs of one question whose answers read alike.
        answers, rules: the tests; None without a pair.
        coverage: share of the analysed whose right step is at stake in several questions.
        kinds: how the wrong CoTs leave the right ones, by count.
        in_clusters, across_questions: share of the analysed whose diverging step is that of at least `REPEATED` of
            them, and of these in several questions.
        clusters: of diverging steps, largest first.
        repeated: questions whose wrong CoTs agree most, most first.
    """

    verdict: Level
    sentence: str
    wrong: int
    left_out: int
    unreadable: int
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
    """What is kept of a question; `key`: the gold as the verifier reads it."""

    gold: str
    key: str
    question: str
    faults: tuple[Fault, ...]


def analyse(
    groups: Iterable[Group],
    *,
    verifier: Verifier = _DEFAULT,
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
        verifier: tells which answers are the same.
        seed: of the sample of questions and of the permutations; equal seeds give equal figures in any order of groups.
        permutations: of each test; p-values go down to 1 / (permutations + 1).
        minimum: wrong CoTs without which there is no verdict.
        limit: wrong CoTs that are analysed at most, give or take those of one question.
        progress: called with the number of questions read.

    Memory is bounded by `limit`; 20 000 CoTs take some ten seconds.
    """
    kept: list[tuple[int, str, _Found]] = []  # a heap: the question with the highest lot is first to go
    held = wrong = left_out = unreadable = 0
    sampled = False
    for done, (question, cots) in enumerate(groups, start=1):
        progress(done)
        no_answers = sum(cot.label == 0 and bool(cot.problem) for cot in cots)
        reader = of_kind(verifier, question.kind if question else "")
        said = [
            (cot, answer_of(reader, cot))
            for cot in cots
            if not cot.problem and (cot.label == 0 or (cot.label is None and cot.reason == UNREADABLE))
        ]
        reasoned = [(cot, answer) for cot, answer in said if answer is not None]
        wrong += no_answers + len(reasoned)
        left_out += no_answers
        unreadable += len(said) - len(reasoned)
        if not reasoned:
            continue
        question_id = reasoned[0][0].question_id
        lot = derive(seed, "errors", question_id)
        if held >= limit and lot > -kept[0][0]:
            sampled = True
            continue
        heapq.heappush(kept, (-lot, question_id, _look(question, cots, reasoned, reader)))
        held += len(reasoned)
        while held - len(kept[0][2].faults) >= limit:
            held -= len(heapq.heappop(kept)[2].faults)
            sampled = True
    # In an order that is the bank's own, however it was read.
    found = [one for _, _, one in sorted(kept, key=lambda item: item[1])]
    counts = (wrong, left_out, unreadable)
    return _conclude(found, counts, sampled, seed=seed, permutations=permutations, minimum=minimum)


def _look(
    question: Question | None, cots: Sequence[CoT], wrong: Sequence[tuple[CoT, str]], verifier: Verifier
) -> _Found:
    """Find where each wrong CoT of a question goes wrong; they come with their answers as the verifier reads them."""
    right = sorted((cot for cot in cots if cot.label == 1 and not cot.problem), key=lambda cot: cot.id)
    asked = "" if question is None else question.question
    gold = right[0].answer if question is None and right else "" if question is None else question.answer
    reference = Reference(asked, [cot.text for cot in right[:POSITIVES]])
    faults = (
        Fault(cot.question_id, cot.id, cot.teacher, answer, reference.diverging(cot.text, cot.answer), cot.answer)
        for cot, answer in sorted(wrong, key=lambda one: one[0].id)
    )
    return _Found(gold, read(verifier, gold) or gold.strip(), asked, tuple(faults))


def _conclude(
    found: Sequence[_Found],
    counts: tuple[int, int, int],
    sampled: bool,
    *,
    seed: int,
    permutations: int,
    minimum: int,
) -> Patterns:
    """`counts`: wrong CoTs, those of them that are no reasoning, and unreadable ones."""
    faults = [fault for one in found for fault in one.faults]
    number = len(faults)
    answers = [Wrong(fault.question_id, fault.teacher, fault.answer, one.key) for one in found for fault in one.faults]
    test_seed = derive(seed, "permutations")
    answer_test = agreement(answers, permutations=permutations, seed=test_seed) if answers else None
    rules, coverage = _rules(found, few=answer_test is not None and bool(answer_test.possible))
    rule_test = agreement(rules, permutations=permutations, seed=test_seed) if rules else None
    pairs = [agreeing([fault.answer for fault in one.faults]) for one in found]
    clusters = cluster([fault for fault in faults if fault.divergence.kind != UNKNOWN])
    repeated = [one for one in clusters if len(one.faults) >= REPEATED]
    spanning = [one for one in repeated if one.questions > 1]
    verdict, sentence = _verdict(number, minimum, answer_test, rule_test, coverage)
    return Patterns(
        verdict=verdict,
        sentence=sentence,
        wrong=counts[0],
        left_out=counts[1],
        unreadable=counts[2],
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
        clusters=tuple(clusters),
        repeated=_most_repeated(found),
    )


def _rules(found: Sequence[_Found], few: bool) -> tuple[list[Wrong], float]:
    """The wrong statements made where a right step is at stake that several questions share, and their share.

    `few`: the answers are of a few possible ones. A step that only states its answer then says the same as all that
    are wrong in the same way, and is no rule: it is that of a right one but for the answer, or right elsewhere.
    """
    stated = []
    for question in found:
        for fault in question.faults:
            right, mine = bare(fault.divergence.right), bare(fault.divergence.step)
            if not right or mine == right or similarity(mine, right) < 1 / 3:
                continue
            answers = {*words(fault.said), *words(question.gold)}
            if not few or [word for word in mine if word not in answers] != [w for w in right if w not in answers]:
                stated.append(Wrong(" ".join(right), fault.question_id, " ".join(mine), " ".join(right)))
    if few:
        elsewhere = {one.unit for one in stated}
        stated = [one for one in stated if one.answer not in elsewhere]
    faults = sum(len(question.faults) for question in found)
    questions: dict[str, set[str]] = {}
    for one in stated:
        questions.setdefault(one.unit, set()).add(one.source)
    shared = [one for one in stated if len(questions[one.unit]) > 1]
    return shared, len(shared) / faults if faults else 0.0


def _most_repeated(found: Sequence[_Found]) -> tuple[Repeated, ...]:
    rows = []
    for one in found:
        answers = Counter(fault.answer for fault in one.faults)
        answer, times = min(answers.items(), key=lambda item: (-item[1], item[0]))
        if times > 1:
            said = Counter(fault.said.strip() for fault in one.faults if fault.answer == answer)
            shown = min(said, key=lambda text: (-said[text], text))
            row = Repeated(one.faults[0].question_id, one.question, one.gold, shown, times, len(one.faults))
            rows.append(row)
    return tuple(sorted(rows, key=lambda row: (-row.times, row.question_id))[:20])


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
    possible = () if answers is None else answers.possible
    if by_answers == by_rules == "too few" and len(possible) == _TWO:
        one, other = (printable(text, 40) for text in possible)
        return "too few", (
            f"Too few different answers: (nearly) all are {one} or {other}, so that two wrong ones of a question agree "
            "whether they are habits or noise, and the answers cannot tell which."
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
