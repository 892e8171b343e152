"""A completion from text to reward: parse, verify, pay. Serves our trainer, TRL's and verl's alike; no torch."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from realm.errors import ConfigError, DataError
from realm.method.completion import Completion, parse
from realm.method.prompt import Tags
from realm.method.reward import Reward, Rule, Weights, reward
from realm.plugins import outside, take, trust
from realm.student.judging import unreadable
from realm.tasks.execute import program_in
from realm.tasks.jsonl import answer_text
from realm.tasks.verify import Verdict
from realm.tasks.workers import Claim, VerifierPool, verify_once


@dataclass(frozen=True)
class Scored:
    """One completion with everything that was found out about it.

    `verifier_failed`: the verifier timed out or gave up, so that nobody knows whether the answer is right. `verdict`:
    its reason where nothing was compared (see `Verdict`).
    """

    text: str
    completion: Completion
    correct: bool
    reward: Reward
    verifier_failed: bool
    verdict: str = ""

    @property
    def paid(self) -> float | None:
        """The reward that is learned from; None where nobody knows what the answer is worth."""
        return None if self.verifier_failed else self.reward.total


@dataclass(frozen=True)
class Asked:
    """What a completion answers: the question's text, its gold, the labels (1 right, 0 wrong) of the routes that it is
    to score, in the order of its prompt (none where no route was shown), and the question's kind."""

    question: str
    gold: str
    labels: tuple[int, ...] = ()
    kind: str = ""


#: Reason of a completion whose program has no result, beside those of the parser (`realm.method.completion.REASONS`).
PROGRAM_FAILED = "program_failed"


def read(rows: Sequence[tuple[str, int]], tags: Tags, pool: VerifierPool, execute: bool = False) -> list[Completion]:
    """Completions, each given with the number of routes that it scores, as their parts.

    Args:
        execute: where the thinking is a program (`realm.tasks.execute.program_in`), its result is the answer, and what
            stands in the answer part does not count; a program without one has no answer. Any other keeps its answer.
    """
    found = [parse(text, n_routes, tags) for text, n_routes in rows]
    programs = {at: program for at, one in enumerate(found) if (program := program_in(one.think))} if execute else {}
    for at, ran in zip(programs, pool.run(list(programs.values())), strict=True):
        found[at] = replace(found[at], answer=ran.value, executed=True)
        if ran.value is None:
            found[at] = replace(found[at], format_ok=False, reasons=(*found[at].reasons, PROGRAM_FAILED))
    return found


class Judge:
    """MRPV's two-stage reward (`realm.method.reward`) of completions that a verifier judges.

    Args:
        pool: judges answers; one thread at a time is let through to it.
        execute: the result of a completion's program is its answer (see `read`).

    Raises:
        ConfigError: the rule is none, or gives what it may not.
    """

    def __init__(
        self,
        pool: VerifierPool,
        *,
        tags: Tags | None = None,
        weights: Weights | None = None,
        rule: str | Rule = "l1",
        execute: bool = False,
    ) -> None:
        self.pool, self.tags, self.weights, self.rule = pool, tags or Tags(), weights or Weights(), rule
        self.execute = execute
        self._rule = rule if callable(rule) else take("rules", str(rule))
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[str], asked: Sequence[Asked]) -> list[Scored]:
        """Each completion scored against what it was asked."""
        rows = [(text, len(one.labels)) for text, one in zip(texts, asked, strict=True)]
        with self._lock:
            parsed = read(rows, self.tags, self.pool, self.execute)
        claims = [(item.answer, one.gold, one.question, one.kind) for item, one in zip(parsed, asked, strict=True)]
        verdicts = self.verify(claims)
        return [
            self._scored(text, item, verdict, one)
            for text, item, verdict, one in zip(texts, parsed, verdicts, asked, strict=True)
        ]

    def verify(self, claims: Sequence[Claim]) -> list[Verdict]:
        """One verdict for each claim."""
        with self._lock:
            return verify_once(self.pool, claims)

    def _scored(self, text: str, item: Completion, verdict: Verdict, asked: Asked) -> Scored:
        with outside():
            paid = reward(item, verdict.correct, asked.labels, self.weights, self._rule)
        return Scored(text, item, verdict.correct, paid, verifier_failed=verdict.failed, verdict=verdict.reason)


class RewardFunction:
    """MRPV's reward for other trainers: called as TRL calls a reward function; `verl` is called as verl calls one.

    Args:
        verifier: name of a verifier (`number`, `math`, `choice`, `exact`, …; docs/reference/verifiers.md).
        choices: of the verifier `choice`.
        tags, weights, rule: of the completion and of the reward; the defaults are those of a run.
        timeout: seconds that one verdict may take.
        execute: where the thinking is a program, its result is the answer.

    Raises:
        ConfigError: there is no such verifier, the choices cannot be told apart, or another argument is no such thing.
    """

    def __init__(
        self,
        verifier: str = "exact",
        choices: Sequence[str] = (),
        *,
        tags: Tags | None = None,
        weights: Weights | None = None,
        rule: str | Rule = "l1",
        timeout: float = 5.0,
        execute: bool = False,
    ) -> None:
        self.__name__ = "realm"  # TRL's name for the reward: rewards/realm/mean
        if not isinstance(weights or Weights(), Weights) or not isinstance(tags or Tags(), Tags):
            raise ConfigError("weights and tags: expected realm.Weights(…) and realm.Tags(…).")
        if not isinstance(timeout, int | float) or timeout <= 0:
            raise ConfigError(f"timeout: expected seconds above 0, found {timeout!r}.")
        self._made: dict[str, Any] = {"verifier": verifier, "choices": list(choices), "timeout": timeout}
        trust([verifier, rule])
        pool = VerifierPool(verifier, list(choices), timeout)
        atexit.register(pool.close)
        self.judge = Judge(pool, tags=tags, weights=weights, rule=rule, execute=execute)
        self._golds: set[str] = set()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Made anew in another process: locks and workers stay where they are."""
        judge = self.judge
        made = {
            **self._made,
            "tags": judge.tags,
            "weights": judge.weights,
            "rule": judge.rule,
            "execute": judge.execute,
        }
        return partial(RewardFunction, **made), ()

    def _asked(self, where: str, gold: Any, question: str, labels: Sequence[int] | None) -> Asked:
        """What one completion answers; raises `DataError` for a gold that nothing can equal."""
        try:
            text = answer_text({"answer": gold.item() if hasattr(gold, "item") else gold})
        except ValueError as error:
            raise DataError(f"{where}: {error}.") from error
        if text not in self._golds:
            (verdict,) = self.judge.verify([(text, text, question)])
            if not verdict.correct and not verdict.failed:
                raise DataError(
                    f"{where}: the gold {text!r:.60} does not verify ({verdict.reason or 'not equal to itself'}) by "
                    f"the verifier {self._made['verifier']}; no answer would ever be right."
                )
            self._golds.add(text)
        return Asked(question, text, tuple(int(label) for label in (labels if labels is not None else ())))

    def __call__(
        self,
        *,
        completions: Sequence[str | Sequence[Mapping[str, Any]]],
        answer: Sequence[Any],
        question: Sequence[str] | None = None,
        labels: Sequence[Sequence[int] | None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """One reward a completion, None (TRL learns nothing from it) where the verifier failed.

        Args:
            completions: texts, or conversations whose last message is read.
            answer, question, labels: columns of the dataset: the gold (a text, a number, or a solution that ends in
                `#### x`), the question's text, which some verifiers read, and the labels of the routes in the prompt.

        Raises:
            DataError: a gold is missing, or no answer could ever equal it.
        """
        texts = [text if isinstance(text, str) else str(text[-1]["content"]) for text in completions]
        for name, column in (("answer", answer), ("question", question), ("labels", labels)):
            if column is not None and len(column) != len(texts):
                raise DataError(f"{name}: expected one for each of {len(texts)} completions, found {len(column)}.")
        asked = [
            self._asked(f"answer of completion {i}", gold, question[i] if question else "", labels[i] if labels else ())
            for i, gold in enumerate(answer)
        ]
        return [item.paid for item in self.judge(texts, asked)]

    def verl(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: Any,
        extra_info: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, float]:
        """verl's custom reward function: the reward of one completion as `score`, and its parts beside it.

        verl knows no completion without a reward: one that the verifier failed on earns no answer reward here, and
        `verifier_failed` says so.

        Args:
            solution_str: the completion.
            ground_truth: the gold.
            extra_info: may hold `labels` (those of the routes to be scored, in order) and `question`.
        """
        info = extra_info or {}
        asked = self._asked("ground_truth", ground_truth, str(info.get("question") or ""), info.get("labels"))
        (found,) = self.judge([solution_str], [asked])
        return {
            "score": found.reward.total,
            "correct": float(found.correct),
            "format": found.reward.format,
            "scoring": found.reward.scoring,
            "verifier_failed": float(found.verifier_failed),
            "unreadable_answer": float(unreadable(found.completion.answer, found.verdict)),
        }
