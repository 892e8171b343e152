"""One CoT of a bank, and the row that it is on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

from realm.method.routes import Route
from realm.tasks.base import Comment, as_utf8, encodable
from realm.tasks.verify import UNREADABLE

#: What can be wrong with a teacher's answer as such: nothing came, it was cut at the token limit, the teacher refused,
#: what came was no reply of the agreed form, or it states no final answer.
PROBLEMS = ("empty", "cut", "refused", "malformed", "no_answer")


@dataclass(frozen=True)
class CoT:
    """One chain of thought of a teacher, with its own final answer and where it came from.

    Attributes:
        label: 1 right, 0 wrong, None where nobody judged it yet or the verifier could not tell.
        comments: hashes of the expert comments in the teacher's prompt (`comment_hash`); `guided` says if there were.
        sample: its number among the CoTs of the question (of one teacher).
        id: unique in the bank; empty, it becomes `question_id/teacher/sample`.
        reason: of the verifier, why there is no label: `unreadable` (the answer), `unreadable gold`, `timeout`,
            `error: …`.
        problem: one of `PROBLEMS`, or "".
        seconds: from the request to the whole answer.
        params, prompt: hashes (16 hexadecimal digits) of the sampling parameters and of the messages sent.
        meta: JSON text of whatever else the source says; "" for nothing.
    """

    question_id: str
    text: str
    answer: str
    label: int | None
    teacher: str = ""
    guided: bool = False
    comments: tuple[str, ...] = ()
    sample: int = 0
    id: str = ""
    reason: str = ""
    problem: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    params: str = ""
    prompt: str = ""
    meta: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", f"{self.question_id}/{self.teacher}/{self.sample}")

    @property
    def usable(self) -> bool:
        """Whether it may be shown to a student, as it is labelled and there is nothing wrong with it as an answer."""
        return self.label is not None and not self.problem

    def route(self) -> Route:
        """The CoT as it is shown to the student. Raises `ValueError` for a CoT without a label."""
        if self.label is None:
            raise ValueError(f"CoT {self.id} has no label")
        return Route(self.id, self.text, self.answer, self.label)


#: Columns of a row and what they hold; `escaped` is the one that `CoT` does not have.
COLUMNS: dict[str, tuple[type, ...]] = {
    "question_id": (str,),
    "id": (str,),
    "teacher": (str,),
    "sample": (int,),
    "guided": (bool,),
    "comments": (list,),
    "text": (str,),
    "answer": (str,),
    "label": (int, type(None)),
    "reason": (str,),
    "problem": (str,),
    "prompt_tokens": (int, type(None)),
    "completion_tokens": (int, type(None)),
    "seconds": (float, int, type(None)),
    "params": (str,),
    "prompt": (str,),
    "meta": (str,),
    "escaped": (bool,),
}


def escape(text: str) -> str:
    """The inside of the JSON string of `text`: ASCII, whatever it holds."""
    return json.dumps(text)[1:-1]


def unescape(text: str) -> str:
    """What `escape` was given; raises `ValueError` for what it cannot have written."""
    found = json.loads(f'"{text}"')
    if not isinstance(found, str):
        raise ValueError("not an escaped text")
    return found


def to_record(cot: CoT) -> dict[str, Any]:
    """The row of a CoT. A text that UTF-8 cannot hold (lone surrogates) is escaped, and the row says so.

    Raises `ValueError` for an id or a teacher that UTF-8 cannot hold.
    """
    for name in ("question_id", "id", "teacher"):
        if not encodable(getattr(cot, name)):
            raise ValueError(f"`{name}` holds characters that UTF-8 cannot: {getattr(cot, name)!a}")
    escaped = not (encodable(cot.text) and encodable(cot.answer))
    # `COLUMNS` but for `escaped`: the values in its order. (`asdict` would copy each of them deeply.)
    row: dict[str, Any] = dict(zip(COLUMNS, _VALUES(cot), strict=False))
    row["comments"] = list(cot.comments)
    if escaped:
        row |= {"text": escape(cot.text), "answer": escape(cot.answer)}
    for name in ("reason", "problem", "params", "prompt"):
        if not row[name].isascii():
            row[name] = as_utf8(row[name])
    if not encodable(cot.meta):
        # Inside JSON text an escape means the character itself.
        row["meta"] = cot.meta.encode("utf-8", "backslashreplace").decode()
    row["escaped"] = escaped
    return row


def known_label(label: int | None, reason: str) -> int | None:
    """The label as it counts: what could not be read is not wrong, though earlier banks wrote 0 beside it."""
    return None if reason == UNREADABLE else label


def from_record(record: Any) -> CoT:
    """The CoT of a row; raises `ValueError` saying what is wrong with it."""
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, found {type(record).__name__}")
    if record.keys() != COLUMNS.keys():
        for name in sorted(COLUMNS.keys() ^ record.keys()):
            raise ValueError(f"{'unknown' if name in record else 'missing'} key `{name}`")
    kinds = tuple(map(type, _RECORD(record)))
    if kinds not in _KNOWN_KINDS:
        _check_kinds(kinds)
    if record["label"] not in (0, 1, None):
        raise ValueError(f"`label` must be 0, 1 or null, found {record['label']}")
    if record["problem"] not in ("", *PROBLEMS):
        raise ValueError(f"`problem` must be one of {', '.join(PROBLEMS)} or empty, found {record['problem']!r}")
    if not all(isinstance(item, str) for item in record["comments"]):
        raise ValueError("`comments` must be a list of texts")
    label = known_label(record["label"], record["reason"])
    content = {**record, "comments": tuple(record["comments"]), "label": label}
    if content.pop("escaped"):
        content |= {"text": unescape(record["text"]), "answer": unescape(record["answer"])}
    if not content["id"]:
        return CoT(**content)
    # Every column was checked above; the constructor of a frozen class would take four times as long as all of that.
    cot = object.__new__(CoT)
    vars(cot).update(content)
    return cot


def _check_kinds(kinds: tuple[type, ...]) -> None:
    """Raise unless these are types that a row's values may have, in the order of `COLUMNS`; then note them as such."""
    for (name, allowed), kind in zip(COLUMNS.items(), kinds, strict=True):
        if not issubclass(kind, allowed) or (kind is bool and bool not in allowed):
            raise ValueError(f"`{name}` is of the wrong type: {kind.__name__}")
    _KNOWN_KINDS.add(kinds)


#: The values of a CoT, and those of a row, in the order of `COLUMNS`.
_VALUES = attrgetter(*(name for name in COLUMNS if name != "escaped"))
_RECORD = itemgetter(*COLUMNS)
# Rows of a bank are of few kinds, each of which is checked column by column once. (At most 24: four columns may be
# null, and one of them may be a float or an integer.)
_KNOWN_KINDS: set[tuple[type, ...]] = set()


def digest(content: Any, length: int = 16) -> str:
    """That many hexadecimal digits that change whenever the JSON content does."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()[:length]


def comment_hash(comment: Comment) -> str:
    """12 hexadecimal digits by which a bank names a comment: of its text alone."""
    return digest(comment.text, 12)
