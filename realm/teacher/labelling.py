"""Judging what teachers wrote while more of it comes in: verdicts go to `labels.jsonl`, beside the CoTs on disk."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.bank.labelling import label_of
from realm.bank.writer import BankWriter
from realm.tasks.base import Question
from realm.tasks.workers import VerifierPool

#: CoTs judged at a time. A verifier may take seconds for each, and a stop waits for the whole lot.
LOT = 16
#: CoTs that wait in memory; more are found again on disk at the end.
WAITING = 4096


class Judge:
    """Labels CoTs that are in the bank. One thread at a time may call `work` or `rest`.

    Args:
        questions: by id, with their golds.
        behind: whether the bank has CoTs without a verdict already.
    """

    def __init__(
        self,
        folder: BankFolder,
        writer: BankWriter,
        pool: VerifierPool,
        questions: Mapping[str, Question],
        behind: bool = False,
    ) -> None:
        self.behind = behind
        self._folder = folder
        self._writer = writer
        self._pool = pool
        self._questions = questions
        self._waiting: deque[CoT] = deque()

    def add(self, cots: Iterable[CoT]) -> None:
        """Take in CoTs that are on disk now."""
        for cot in cots:
            if len(self._waiting) < WAITING:
                self._waiting.append(cot)
            else:
                self.behind = True

    def work(self) -> bool:
        """Judge a lot of those that wait; False if there was none."""
        lot = [self._waiting.popleft() for _ in range(min(LOT, len(self._waiting)))]
        self._judge(lot)
        return bool(lot)

    def rest(self, stopped: Callable[[], bool]) -> None:
        """Judge what is on disk without a verdict: left by a kill, or more than could wait. `stopped` ends it early."""
        if not self.behind:
            return
        judged = set(self._folder.labels())
        owed = (cot for cot in self._folder.scan() if unjudged(cot) and cot.id not in judged)
        known = (cot for cot in owed if cot.question_id in self._questions)
        while not stopped():
            lot = list(islice(known, LOT))
            if not lot:
                self.behind = False
                return
            self._judge(lot)

    def _judge(self, lot: list[CoT]) -> None:
        asked = [self._questions[cot.question_id] for cot in lot]
        verdicts = self._pool.verify([question.claim(cot.answer) for cot, question in zip(lot, asked, strict=True)])
        self._writer.write_labels(
            # Where nothing was compared, nobody knows: no label, and it is never shown as a route.
            (cot, label_of(verdict), verdict.reason)
            for cot, verdict in zip(lot, verdicts, strict=True)
        )


def unjudged(cot: CoT) -> bool:
    """Whether no verifier has seen the CoT of this row."""
    return cot.label is None and not cot.reason
