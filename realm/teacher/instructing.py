"""The teacher as a writer of examples: what it is asked about that is no question of the task, and what it wrote.

Three topics: a student's error, to be mended by a new example (LLMs-as-Instructors, arXiv 2407.00497) or by a critique
(SCORE, arXiv 2404.17140), and a passage of a text to write an exercise from (Meerkat, arXiv 2404.00376). The first
paper states two strategies: learning from error (the instructor sees the question and the student's wrong response) and
learning from error by contrast (it sees a right response too), and that what it writes is tailored to the error it
analysed. Of all three the wording, one example for a request, and the form of a reply are ours:

    New question: …            (of a critique: Critique: …)
    Solution: …
    Final answer: …

A topic is asked about as a question of its own, so that the collection's engine pays for nothing twice.
"""

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Protocol

from realm.bank.cot import digest
from realm.sections import TeacherConfig
from realm.tasks.answers import final_answer
from realm.tasks.base import Comment, Question
from realm.teacher.prompts import END, QUESTION_FIRST, TeacherWording

#: A longer question is none.
LONGEST_QUESTION = 10_000

# As with final answers, what marks up the start of a line is bounded, so that no line is read twice.
_MARK = r"^[^\w\n]{{0,16}}({}|solution)[ \t]{{0,4}}[*_`]{{0,4}}[ \t]{{0,4}}[:：][ \t]{{0,4}}[*_`]{{0,4}}"
_LAST_LINE = re.compile(r"[^\w\n]{0,16}final[ \t]{1,4}answer\b", re.IGNORECASE)


@dataclass(frozen=True)
class Work:
    """What a teacher is to do with a topic: its system message, the template of its prompt, and the instruction."""

    system: str
    prompt: str
    instruction: str


MEND = Work(
    "You are a careful teacher. You find out why a student went wrong, and you write exercises that mend exactly that.",
    QUESTION_FIRST,
    "A student got this question wrong. Compare the response with how the question is rightly solved and find the one "
    "rule or step that the student missed. Then write one new question of the same kind that cannot be answered "
    "without that rule or step. It must state everything that is needed, differ from the question above in its details "
    "and have one definite answer. Solve it step by step.\n"
    "Reply in exactly this form:\n"
    "Analysis: what the student missed\n"
    "New question: the question alone\n"
    "Solution: the whole reasoning, as the student should have reasoned, without a word about the student or about "
    "this exercise",
)
CRITICISE = Work(
    "You are a careful teacher. You show a student where it went wrong, so that it can mend its own work.",
    QUESTION_FIRST,
    "A student got this question wrong. Find the first step of its response that is wrong, say what is wrong with it "
    "and which rule or step mends it, without the answer itself. Then solve the question step by step.\n"
    "Reply in exactly this form:\n"
    "Critique: what is wrong, as the student would say it of its own work\n"
    "Solution: the whole reasoning, without a word about the critique or about what you were told",
)
EXAMINE = Work(
    "You are a careful author of exercises. What you ask follows from the text that you are given, and from it alone.",
    "Passage:\n{question}\n\n{instruction}",
    "Write one question that shows whether somebody has understood this passage. It must stand alone, without a word "
    "about the passage, state everything that is no knowledge of the domain, and have one definite answer. Solve it "
    "step by step.\n"
    "Reply in exactly this form:\n"
    "New question: the question alone\n"
    "Solution: the whole reasoning, which states what it takes from the passage as known",
)


class Topic(Protocol):
    """What a teacher is asked about instead of a question of the task. `id`: a function of all that it is shown."""

    work: ClassVar[Work]

    @property
    def id(self) -> str: ...

    def asked(self) -> Question:
        """It as a question; the answer is what a reply is judged by, "" for nothing."""
        ...


@dataclass(frozen=True)
class Mistake:
    """A student's error: its reasoning and answer ("" for none), and a right response to the same question or ""."""

    question: Question
    response: str
    answer: str
    right: str = ""
    work: ClassVar[Work] = MEND

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


@dataclass(frozen=True)
class Flaw(Mistake):
    """A student's error that is to be criticised: the right response is shown, and replies are judged by the gold."""

    work: ClassVar[Work] = CRITICISE

    def asked(self) -> Question:
        return replace(super().asked(), answer=self.question.answer)


@dataclass(frozen=True)
class Passage:
    """A part of a text that an exercise is to be written from; `comment`: its text and its tags."""

    comment: Comment
    work: ClassVar[Work] = EXAMINE

    @property
    def id(self) -> str:
        return f"passage/{digest(self.comment.text)}"

    def asked(self) -> Question:
        return Question(self.id, self.comment.text, "", tags=self.comment.tags)


def topic_wording(settings: TeacherConfig, work: Work, hint: str = "") -> TeacherWording:
    """The wording for a teacher that is asked about topics; `prompt` and `system` of its settings are made for CoTs.

    An empty `system` still sends none: some chat templates know no system message.

    Args:
        hint: what form of answer the task's verifier reads (`realm.tasks.hints.answer_hint`).
    """
    system = "" if settings.system is not None and not settings.system.strip() else work.system
    return TeacherWording(system, work.prompt, "\n".join(part for part in (work.instruction, hint, END) if part))


@dataclass(frozen=True)
class Written:
    """One example of a teacher: a question (of a critique, that), the reasoning to learn and its answer."""

    question: str
    text: str
    answer: str

    def reply(self, opening: str = "New question") -> str:
        """It in the form that teachers are asked for; `read_example` reads it back."""
        return f"{opening}: {self.question}\nSolution: {self.text}\nFinal answer: {self.answer}"


def read_example(reply: str, opening: str = "new question") -> Written | None:
    """The example in a teacher's reply, None where it holds none: the last question that has a solution.

    The line of the final answer is no part of the reasoning: the answer is taught in a part of its own. Linear time.

    Args:
        opening: what stands before the question, in lower case.
    """
    found = re.finditer(_MARK.format(opening), reply, re.IGNORECASE | re.MULTILINE)
    marks = [(match[1].casefold(), match) for match in found]
    pairs = [
        (first, closing)
        for (one, first), (other, closing) in pairwise(marks)
        if one != "solution" and other == "solution"
    ]
    if not pairs:
        return None
    first, closing = pairs[-1]
    question, solution = reply[first.end() : closing.start()].strip(), reply[closing.end() :].strip()
    reasoning, _, last = solution.rpartition("\n")
    text = reasoning.strip() if _LAST_LINE.match(last) else solution
    answer = final_answer(solution)
    if not (question and text and answer) or len(question) > LONGEST_QUESTION:
        return None
    return Written(question, text, answer)
