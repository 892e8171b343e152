"""The row of a question in a bank: what the CoTs answer, with its gold."""

from collections.abc import Mapping
from typing import Any

from realm.bank.cot import escape, unescape
from realm.tasks.base import Question, as_utf8, encodable, normal

QUESTION_COLUMNS = ("id", "question", "answer", "split", "kind", "tags", "escaped")


def from_question(question: Question) -> dict[str, Any]:
    """The row of a question; raises `ValueError` for an id that UTF-8 cannot hold."""
    if not encodable(question.id):
        raise ValueError(f"the id of a question holds characters that UTF-8 cannot: {question.id!a}")
    texts = {"question": question.question, "answer": question.answer}
    escaped = not all(map(encodable, texts.values()))
    return {
        "id": question.id,
        **{name: escape(text) if escaped else text for name, text in texts.items()},
        "split": question.split,
        "kind": as_utf8(question.kind),
        "tags": list(map(as_utf8, question.tags)),
        "escaped": escaped,
    }


def to_question(row: Mapping[str, Any]) -> Question:
    """The question of a row; raises `ValueError` saying what is wrong with it."""
    for name in QUESTION_COLUMNS:
        kind = list if name == "tags" else bool if name == "escaped" else str
        if not isinstance(row.get(name), kind):
            raise ValueError(f"`{name}` is missing or of the wrong type")
    read = unescape if row["escaped"] else str
    return Question(
        id=row["id"],
        question=read(row["question"]),
        answer=read(row["answer"]),
        split=row["split"],
        kind=row["kind"],
        tags=tuple(row["tags"]),
    )


def differing(one: Question, other: Question) -> str:
    """How two questions of one id differ in text or gold answer, white space aside; "" where they do not.

    What one of them does not say does not differ.
    """
    for name, mine, theirs in (("question", one.question, other.question), ("gold answer", one.answer, other.answer)):
        if mine.strip() and theirs.strip() and normal(mine) != normal(theirs):
            return f"has the {name} {normal(mine)!a:.80} here and {normal(theirs)!a:.80} there"
    return ""
