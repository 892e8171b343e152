"""The protocol of a teacher: something that answers questions, each with one chain of thought of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from realm.config import Config
from realm.sections import TeacherConfig
from realm.tasks.base import Comment, Question, Task

if TYPE_CHECKING:
    from realm.teacher.instructing import Topic
    from realm.teacher.prompts import TeacherWording

#: A conversation as chat endpoints read it: `role` and `content` of each message.
Messages = list[dict[str, str]]

#: `transient`: trying again may help. `request`: this sample alone is refused. `fatal`: no request will ever work.
#: `denied`: as `fatal` for a teacher that never answered, as `request` for one that has.
Kind = Literal["transient", "request", "denied", "fatal"]


@dataclass(frozen=True)
class Ask:
    """One sample to be asked for.

    Attributes:
        key: names the sample; a function of everything that decides its text.
        comments: the expert comments in its prompt, perhaps none.
        messages: what `Teacher.messages` made of question and comments.
        source: the only randomness of a teacher that samples here and not elsewhere.
    """

    key: str
    question: Question
    comments: tuple[Comment, ...]
    messages: Any
    source: random.Random


@dataclass(frozen=True)
class Reply:
    """A teacher's answer to one `Ask`, not yet judged.

    Attributes:
        text: the CoT.
        answer: its own final answer, "" where it states none.
        problem: what is wrong with it as an answer (`realm.bank.cot.PROBLEMS`), or "".
        prompt_tokens, completion_tokens: as the teacher counts them, None where it does not say. Where it counts
            several samples of one request together, the prompt is the first one's and the rest is shared evenly.
        meta: what else is known: `finish_reason`, `model` as the server names it, …
        cached_tokens: those of the prompt that an endpoint read from its cache.
    """

    text: str
    answer: str
    problem: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    cached_tokens: int = 0


class Failure(Exception):  # noqa: N818 - an outcome to be counted and perhaps tried again, not a mistake of anybody
    """One call of `Teacher.ask` failed; nothing usable came back.

    Attributes:
        reason: a short code: an HTTP status (`429`, `500`, …), `timeout`, `connection`, `half_body`, `not_json`,
            `content_type`, `shape`, `too_large`, `redirect`, `proxy`, `files`, `too_long`, `memory`; `error_text`
            (under status 200), `stream` (where none was asked for), `broken_off` (by the server, as its finish reason
            says).
        message: one line for people, without the key of the endpoint.
        retry_after: seconds the server asks to wait.
        kind: what may be done about it; see `Kind`.
        billed: the endpoint may have charged for the call.
        body: what came back, where something did, at most `BODY_LIMIT` characters, without the key of the endpoint.
    """

    BODY_LIMIT = 1_000_000

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        kind: Kind = "transient",
        retry_after: float | None = None,
        billed: bool = False,
        body: str = "",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.kind: Kind = kind
        self.retry_after = retry_after
        self.billed = billed
        self.body = body[: self.BODY_LIMIT]


class Teacher(Protocol):
    """A source of CoTs.

    Attributes:
        name: the CoTs' `teacher`.
        batch: how many `Ask`s one call takes at most.
        concurrent: whether calls may run side by side.
        costs: what an answer takes: nothing (and no tokens are counted), this machine's time, or money.
        parameters: JSON; everything besides the messages that decides the text, and nothing secret.

    One that pays a prompt once for several samples has `together`, how many, besides; a call of at most so many then
    holds one prompt, and one of more may hold several.
    """

    @property
    def name(self) -> str: ...

    @property
    def batch(self) -> int: ...

    @property
    def concurrent(self) -> bool: ...

    @property
    def costs(self) -> Literal["nothing", "time", "money"]: ...

    @property
    def parameters(self) -> Any: ...

    def messages(self, question: Question, comments: Sequence[Comment]) -> Any:
        """What is sent for the question with these expert comments (perhaps none); JSON."""
        ...

    async def ask(self, asks: Sequence[Ask]) -> Sequence[Reply | Failure | None]:
        """Answer every ask (at most `batch`), in their order. Raises `Failure` where the call gave nothing.

        A single ask may fail too, or be left out (None: nothing is charged for it, and it is asked for again).
        """
        ...

    async def close(self) -> None:
        """Give back connections and memory; the teacher is not asked again."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What a kind of teacher, a function of this that gives a `Teacher`, makes one of.

    Attributes:
        name: of the teacher in the bank.
        settings: its own, of the section `teachers`. `api_key_env` is None where it will never be asked.
        wording: of its prompts, made when it is asked for; raises `ConfigError` where a template cannot be used.
        topics: what it shall write about, by id, all of one kind (`realm.teacher.instructing`); None: it answers
            questions.
    """

    name: str
    settings: TeacherConfig
    config: Config
    task: Task
    wording: Callable[[], TeacherWording]
    topics: Mapping[str, Topic] | None = None
