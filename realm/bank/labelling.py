"""Labels for the CoTs of a bank: each answer judged against its question's gold, in batches, restartable."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from realm.bank.compact import compact
from realm.bank.cot import CoT, to_record
from realm.bank.folder import BankFolder, labelled
from realm.bank.unreadable import Unreadable
from realm.bank.writer import to_bytes
from realm.errors import ConfigError, DataError
from realm.files import writing
from realm.tasks.base import Question
from realm.tasks.verify import UNREADABLE, UNREADABLE_GOLD, Verdict, choices_of
from realm.tasks.workers import Claim, VerifierPool, verify_once

T = TypeVar("T")

#: CoTs, and characters of their texts, that are judged and written together.
BATCH, BATCH_TEXT = 512, 4 << 20
#: Why a CoT has no label where its question has no gold answer.
NO_GOLD = "no gold"
#: Entry of `bank.json` while a labelling is under way.
UNDER_WAY = "labelling"


def judge_all(pool: VerifierPool, pairs: Sequence[Claim]) -> list[Verdict]:
    """One verdict for each claim, in order; equal ones are judged once.

    Where neither answer nor gold can be read, the gold is the reason.
    """
    verdicts = verify_once(pool, pairs)
    # A verifier may read the answer first, and then never looks at the gold.
    unread = [place for place, verdict in enumerate(verdicts) if verdict.reason == UNREADABLE]
    golds = [(pair[1], *pair[1:]) for pair in (pairs[at] for at in unread)]
    for place, gold in zip(unread, verify_once(pool, golds), strict=True):
        if gold.reason in (UNREADABLE, UNREADABLE_GOLD):
            verdicts[place] = Verdict(False, UNREADABLE_GOLD)
    return verdicts


def label_of(verdict: Verdict) -> int | None:
    """1 or 0 for a verdict; None where nothing was compared: what cannot be read is not wrong."""
    return None if verdict.reason else int(verdict.correct)


def outcome(label: int | None, reason: str) -> str:
    """What to count a verdict as: right, wrong, unreadable, unreadable gold, no gold, timeout or error."""
    return reason.partition(":")[0] or ("right" if label else "wrong")


def batches(items: Iterable[T], length: Callable[[T], int], most: int, most_text: int) -> Iterator[list[T]]:
    """The items in lists that end where they hold `most` of them, or `most_text` characters."""
    batch: list[T] = []
    size = 0
    for item in items:
        batch.append(item)
        size += length(item)
        if len(batch) >= most or size >= most_text:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def label_bank(
    folder: BankFolder,
    pool: VerifierPool,
    *,
    choices: Sequence[str] = (),
    everything: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Judge every CoT without a label, or with `everything` all, and keep the verifier's reasons; takes the lock.

    Verdicts are appended to `labels.jsonl` batch by batch and folded into the rows at the end. A labelling that was
    stopped goes on where it was if it is started with the same verifier and `everything`. `progress`: (CoTs, of all).

    Returns {"judged", "before" (judged by the start that was stopped), "kept" (labelled, without a gold to judge them
    by: they keep their labels), "outcomes": {right, wrong, unreadable, unreadable gold, no gold, timeout, error},
    "reasons": how often each reason of the verifier occurs, "unreadable": see `Unreadable.summary`, of the judged
    ones}. Raises `ConfigError` where labels of two verifiers would be mixed, `DataError`
    for a row that is no CoT or where the questions are missing, `ResourceError` where nothing can be written.
    """
    settings = {"verifier": pool.verifier.name, "choices": list(choices), "all": everything}
    with folder.lock():
        folder.info = BankFolder.open(folder.path).info  # as the last one who held the lock left it
        if not (folder.path / "questions.jsonl").exists():
            raise DataError(f"{folder.path / 'questions.jsonl'}: is not there, and with it the golds; put it back.")
        _check(folder, settings)
        if folder.info.get(UNDER_WAY) != settings:
            fold(folder)
            folder.update({UNDER_WAY: settings})
        done = folder.labels()
        questions = {question.id: question for question in folder.iterate_questions() if question.answer.strip()}
        total = count(folder)
        outcomes: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        unreadable, bad_golds = Unreadable(), set[str]()
        seen = kept = 0
        with folder.writer() as writer:
            for batch in batches(folder.scan(), lambda cot: len(cot.text), BATCH, BATCH_TEXT):
                seen += len(batch)
                owed = [cot for cot in batch if cot.id not in done and (everything or cot.label is None)]
                # Without a gold there is nothing to judge by: a label that is there stays.
                judged = [cot for cot in owed if cot.label is None or cot.question_id in questions]
                kept += len(owed) - len(judged)
                verdicts = _judge(judged, questions, pool)
                writer.write_labels(verdicts)
                outcomes.update(outcome(label, reason) for _, label, reason in verdicts)
                reasons.update(reason for _, _, reason in verdicts if reason)
                for cot, _, reason in verdicts:
                    unreadable.answer(replace(cot, reason=reason))
                    if reason == UNREADABLE_GOLD and cot.question_id not in bad_golds:
                        bad_golds.add(cot.question_id)
                        unreadable.gold(cot.question_id, questions[cot.question_id].answer)
                progress(seen, total)
        fold(folder)
        same = labelled_by(folder.info, pool.verifier.name, choices)
        made_by = {} if same else {name: settings[name] for name in ("verifier", "choices")}
        folder.update({UNDER_WAY: None, **made_by})
    return {
        "judged": sum(outcomes.values()),
        "before": len(done),
        "kept": kept,
        "outcomes": dict(outcomes),
        "reasons": dict(reasons.most_common(20)),
        "unreadable": unreadable.summary(),
    }


def fold(folder: BankFolder) -> None:
    """Move the labels of `labels.jsonl` into the CoTs' rows; inside `lock`. An interruption loses nothing."""
    labels = folder.labels()
    if labels and folder.parquet is not None:
        compact(folder)
    elif labels:
        temporary = folder.path / "cots.jsonl.tmp"
        with writing(folder.path):
            with temporary.open("wb") as file:
                for cot in folder.scan():
                    file.write(to_bytes(to_record(labelled(cot, labels))))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(folder.path / "cots.jsonl")
        folder.write_card()
    with writing(folder.path):
        (folder.path / "labels.jsonl").unlink(missing_ok=True)


def labelled_by(info: Mapping[str, Any], verifier: str, choices: Sequence[str]) -> bool:
    """Whether a bank's labels are those of this verifier; choices matter to `choice` alone."""
    known = info.get("choices") or ()
    return bool(info.get("verifier") == verifier) and choices_of(verifier, known) == choices_of(verifier, choices)


def half_judged(info: Mapping[str, Any]) -> str:
    """What to say of a bank of which another verifier has judged a part anew, and was stopped; "" of any other."""
    begun, known = info.get(UNDER_WAY), info.get("verifier")
    if not isinstance(begun, dict) or not begun.get("all") or known is None:
        return ""
    by, choices = str(begun.get("verifier")), begun.get("choices") or []
    if labelled_by(info, by, choices):
        return ""
    return (
        f"labels of two verifiers, {known} and {by} (or with other choices), are mixed in it, as `realm bank label "
        f"--all` was stopped; finish it with {by}, or judge all CoTs by {known} again (--all --verifier {known})"
    )


def _check(folder: BankFolder, settings: dict[str, Any]) -> None:
    if settings["all"]:
        return
    if mixed := half_judged(folder.info):
        raise ConfigError(f"{folder.path}: {mixed}.")
    known = folder.info.get("verifier")
    if known is not None and not labelled_by(folder.info, settings["verifier"], settings["choices"]):
        raise ConfigError(
            f"{folder.path}: its labels are those of the verifier {known}, others of {settings['verifier']} (or with "
            "other choices) would be mixed with them; judge all CoTs anew (--all), or name the same verifier."
        )


def _judge(
    cots: Sequence[CoT], questions: Mapping[str, Question], pool: VerifierPool
) -> list[tuple[CoT, int | None, str]]:
    """Each CoT with its label and the reason; `questions` are those that have a gold."""
    asked = [(cot, questions[cot.question_id]) for cot in cots if cot.question_id in questions]
    verdicts = iter(judge_all(pool, [question.claim(cot.answer) for cot, question in asked]))
    found: list[tuple[CoT, int | None, str]] = []
    for cot in cots:
        if cot.question_id not in questions:
            found.append((cot, None, NO_GOLD))
        else:
            verdict = next(verdicts)
            found.append((cot, label_of(verdict), verdict.reason))
    return found


def count(folder: BankFolder) -> int:
    """The number of CoTs, without reading them as such."""
    return folder.compacted_rows() + sum(1 for _ in folder.lines())
