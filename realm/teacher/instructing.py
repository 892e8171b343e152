"""The teacher as instructor (LLMs-as-Instructors): what it is asked about a student's error, and what it wrote.

Source: arXiv 2407.00497. The paper states the two strategies: learning from error (the instructor sees the question and
the student's wrong response) and learning from error by contrast (it sees a right response too), and that what it
writes is tailored to the error it analysed. The wording, one example for a request, and the form of a reply are ours:

    Analysis: …
    New question: …
    Solution: …
    Final answer: …

A student's error is asked about as a question of its own, so that the collection's engine pays for nothing twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from realm.bank.cot import digest
from realm.sections import TeacherConfig
from realm.tasks.answers import final_answer
from realm.tasks.base import Question
from realm.teacher.prompts import END, PROMPT, TeacherWording

SYSTEM = (
    "You are a careful teacher. You find out why a student went wrong, and you write exercises that mend exactly that."
)
WORK = (
    "A student got this question wrong. Compare the response with how the question is rightly solved and find the one "
    "rule or step that the student missed. Then write one new question of the same kind that cannot be answered "
    "without that rule or step. It must state everything that is needed, differ from the question above in its details "
    "and have one definite answer. Solve it step by step.\n"
    "Reply in exactly this form:\n"
    "Analysis: what the student missed\n"
    "New question: the question alone\n"
    "Solution: the whole reasoning, as the student should have reasoned, without a word about the student or about "
    "this exercise"
)
#: A longer question is none.
LONGEST_QUESTION = 10_000

# As with final answers, what marks up the start of a line is bounded, so that no line is read twice.
_MARK = re.compile(
    r"^[^\w\n]{0,16}(new question|solution)[ \t]{0,4}[*_`]{0,4}[ \t]{0,4}[:：][ \t]{0,4}[*_`]{0,4}",
    re.IGNORECASE | re.MULTILINE,
)
_LAST_LINE = re.compile(r"[^\w\n]{0,16}final[ \t]{1,4}answer\b", re.IGNORECASE)


@dataclass(frozen=True)
class Mistake:
    """A student's error: its reasoning and answer ("" for none), and a right response to the same question or ""."""

    question: Question
    response: str
    answer: str
    right: str = ""

    @property
    def id(self) -> str:
        """A function of all that the instructor is shown."""
        return f"{self.question.id}/{digest([self.question.question, self.response, self.answer, self.right])}"

    def asked(self) -> Question:
        """What the instructor is asked about, as a question without a gold: that of the example is its own to find."""
        parts = [
            self.question.question.strip(),
            f"A student's wrong response:\n{self.response.strip()}\nFinal answer: {self.answer.strip() or '(none)'}",
        ]
        if self.right:
            parts.append(f"A right response:\n{self.right.strip()}")
        return Question(
            self.id, "\n\n".join(parts), "", self.question.split, kind=self.question.kind, tags=self.question.tags
        )


def instructor_wording(settings: TeacherConfig, hint: str = "") -> TeacherWording:
    """The wording for a teacher that instructs; `prompt` and `system` of its settings are made for CoTs.

    An empty `system` still sends none: some chat templates know no system message.

    Args:
        hint: what form of answer the task's verifier reads (`realm.tasks.hints.answer_hint`).
    """
    system = "" if settings.system is not None and not settings.system.strip() else SYSTEM
    return TeacherWording(system, PROMPT, "\n".join(part for part in (WORK, hint, END) if part))


@dataclass(frozen=True)
class Written:
    """One example of an instructor: a question, the reasoning to learn and its answer."""

    question: str
    text: str
    answer: str

    def reply(self) -> str:
        """It in the form that instructors are asked for; `read_example` reads it back."""
        return f"New question: {self.question}\nSolution: {self.text}\nFinal answer: {self.answer}"


def read_example(reply: str) -> Written | None:
    """The example in an instructor's reply, None where it holds none: the last question that has a solution.

    The line of the final answer is no part of the reasoning: the answer is taught in a part of its own. Linear time.
    """
    marks = [(match[1].casefold(), match) for match in _MARK.finditer(reply)]
    pairs = [
        (opening, closing)
        for (one, opening), (other, closing) in pairwise(marks)
        if one != "solution" and other == "solution"
    ]
    if not pairs:
        return None
    opening, closing = pairs[-1]
    question, solution = reply[opening.end() : closing.start()].strip(), reply[closing.end() :].strip()
    reasoning, _, last = solution.rpartition("\n")
    text = reasoning.strip() if _LAST_LINE.match(last) else solution
    answer = final_answer(solution)
    if not (question and text and answer) or len(question) > LONGEST_QUESTION:
        return None
    return Written(question, text, answer)
