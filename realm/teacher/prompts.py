"""What a teacher model is asked: our wording or the user's own, filled with the question and the expert's comments.

Question and comments are written by others: what they contain is shown to the teacher, but it is never taken for a
placeholder of ours, a tag of ours or a mark of a chat template.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from realm.errors import ConfigError
from realm.method.prompt import Tags, escape
from realm.sections import TeacherConfig
from realm.tasks.base import Comment, Question
from realm.teacher.base import Messages

SYSTEM = (
    "You are a careful expert. You reason step by step, you check every step, and you commit yourself to one final "
    "answer."
)
# What many prompts have in common stands first: endpoints read it from a cache, for less.
PROMPT = "{instruction}\n\n{comments}\n\nQuestion:\n{question}"
#: The order of `PROMPT` before; of banks whose `bank.json` names no prompt, and of topics, which are their own.
QUESTION_FIRST = "Question:\n{question}\n\n{comments}\n\n{instruction}"
WORK = "Work out the answer step by step and write down your whole reasoning."
END = "End with one last line of exactly this form:\nFinal answer: the answer alone, without explanation"
COMMENTS = "Rules of the domain, written by an expert; follow every one that applies:"

PLACEHOLDERS = ("question", "comments", "instruction", "gold")
# Doubled braces stand for single ones, so that a template can hold LaTeX such as \boxed{{answer}}.
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}(\s*)")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class TeacherWording:
    """The templates of a teacher's prompt: `system` ("" sends none) and `prompt`, the user message.

    Both may hold {question}, {comments} (a marked list, nothing where no comment is shown), {instruction} and {gold},
    the answer (see `refuse_gold`); `{{` and `}}` are single braces. `instruction` is put in as it is.
    """

    system: str = SYSTEM
    prompt: str = PROMPT
    instruction: str = f"{WORK}\n{END}"

    def messages(self, question: Question, comments: Sequence[Comment]) -> Messages:
        """The conversation for one sample: a system message (if worded) and a user message, valid as UTF-8."""
        values = {
            "question": escape(question.question.strip(), Tags()),
            "comments": comment_list(comments),
            "instruction": self.instruction,
            "gold": escape(question.answer.strip(), Tags()),
        }
        user = {"role": "user", "content": _fill(self.prompt, values)}
        system = {"role": "system", "content": _fill(self.system, values)}
        return [system, user] if self.system.strip() else [user]


def make_wording(name: str, settings: TeacherConfig, hint: str = "", guided: bool = False) -> TeacherWording:
    """The wording of the teacher `name`: its own templates where it has some, ours where not.

    Args:
        hint: what form of answer the task's verifier reads (`realm.tasks.hints.answer_hint`); part of the instruction.
        guided: whether comments will be shown to it, so that its templates need a place for them.

    Raises:
        ConfigError: a template with a placeholder nobody knows, a prompt without {question}, or, where `guided`, no
            {comments} in either.
    """
    wording = TeacherWording(
        system=SYSTEM if settings.system is None else settings.system,
        prompt=PROMPT if settings.prompt is None else settings.prompt,
        instruction="\n".join(part for part in (WORK, hint, END) if part),
    )
    system = _checked(f"teachers.{name}.system", wording.system)
    prompt = _checked(f"teachers.{name}.prompt", wording.prompt)
    if "question" not in prompt:
        raise ConfigError(f"teachers.{name}.prompt: expected {{question}} in it, where the question is put.")
    if guided and "comments" not in system | prompt:
        raise ConfigError(
            f"teachers.{name}.prompt: expected {{comments}} in it, where the expert's comments are put; "
            "add it, or set guidance.probability to 0."
        )
    return wording


def refuse_gold(teachers: Mapping[str, TeacherConfig], about: str) -> None:
    """Let no teacher that is asked be told an answer: it would be no proof that it, or a student, can find it.

    Args:
        about: what is asked about and what to do, for the message.

    Raises:
        ConfigError: a template holds {gold}.
    """
    for name, settings in teachers.items():
        for key in ("system", "prompt") if settings.share else ():
            where = f"teachers.{name}.{key}"
            if "gold" in _checked(where, getattr(settings, key) or ""):
                raise ConfigError(f"{where}: {{gold}} would tell the teacher the answers of {about}.")


def _checked(where: str, template: str) -> set[str]:
    """The placeholders of a template, all of them known."""
    found = {match[1] for match in _PLACEHOLDER.finditer(template) if match[1]}
    unknown = sorted(found - set(PLACEHOLDERS))
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ConfigError(
            f"{where}: unknown placeholder {{{unknown[0]}}}; expected {known} "
            f"(write {{{{{unknown[0]}}}}} for braces that stay)."
        )
    return found


def comment_list(comments: Sequence[Comment]) -> str:
    """The comments as a numbered list under its heading, "" for none. Further lines of a comment are indented."""
    if not comments:
        return ""
    rules = (
        f"{number}. " + escape(comment.text.strip(), Tags()).replace("\n", "\n   ")
        for number, comment in enumerate(comments, start=1)
    )
    return "\n".join([COMMENTS, *rules])


def _fill(template: str, values: dict[str, str]) -> str:
    """Replace the placeholders in one pass: what is filled in is never looked at again. Lone surrogates become `?`."""

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        found = values[match[1]]
        # Where there are no comments, the blank line that sets their list off goes with them.
        return found + match[2] if found or match[1] != "comments" else ""

    return _SURROGATES.sub("?", _PLACEHOLDER.sub(value, template)).strip()
