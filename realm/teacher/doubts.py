"""What an endpoint does to answers without a word: it has no room for them, or gives the same one again and again.

Nothing of this is an error of a request, so that no answer says it; counts and texts of several do. Each doubt is told
once, and nothing is refused for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from realm.bank.cot import digest
from realm.sections import SamplingConfig
from realm.teacher.base import Reply
from realm.teacher.complaints import parse
from realm.teacher.outcomes import OLLAMA, Answer
from realm.teacher.plan import BYTES_PER_TOKEN, measure

#: Tokens by which the counts of a server may be off from what it was told.
SLACK = 16
#: Samples that are compared with the first one of their prompt, each of at least so many characters; and prompts that
#: are remembered for it.
COMPARED, CHARACTERS, PROMPTS = 30, 100, 200


class Doubts:
    """Looks at the answers of one endpoint.

    Args:
        where: of the teacher's settings, `teachers.NAME`.
    """

    def __init__(self, where: str, sampling: SamplingConfig) -> None:
        #: Tokens that prompt and answer may have together at an Ollama; None where that is not known.
        self.context: int | None = None
        self._where, self._sampling = where, sampling
        self._cramped = False
        self._first: dict[str, str] | None = {} if sampling.temperature != 0 else None
        self._compared = 0

    def about(self, messages: Any, replies: Sequence[Reply]) -> Iterator[str]:
        """What is new to be said after these answers of one request."""
        for said in (self._room(messages, replies), self._sameness(messages, replies)):
            if said:
                yield f"{self._where}: {said}"

    def _room(self, messages: Any, replies: Sequence[Reply]) -> str:
        """Whether the context is too small for what was asked."""
        if self._cramped or not replies:
            return ""
        most = self._sampling.max_tokens
        # A prompt that was cut is counted as it was cut.
        prompt = max(-(-measure(messages)[1] // BYTES_PER_TOKEN), replies[0].prompt_tokens or 0)
        if self.context is not None and prompt + most > self.context:
            self._cramped = True
            enough = 1 << (prompt + most - 1).bit_length()
            return (
                f"Ollama runs the model with a context of {self.context} tokens; a prompt of about {prompt} and "
                f"max_tokens {most} need more. It drops the beginning of what does not fit, or ends the answer there, "
                f"and says nothing. Start it with OLLAMA_CONTEXT_LENGTH={enough}, or give the model PARAMETER num_ctx "
                f"{enough} by ollama create (num_ctx in sampling.extra does nothing), or lower max_tokens."
            )
        counts = [reply.completion_tokens or most for reply in replies if reply.problem == "cut"]
        if len(counts) < len(replies) or sum(counts) >= len(counts) * (most - SLACK):
            return ""
        self._cramped = True
        return (
            f"an answer was cut after {counts[0]} tokens, by the endpoint's count, although max_tokens is {most}: its "
            "context, which prompt and answer share, is full, or it has a lower limit of its own. More max_tokens are "
            "of no use; start the server with a larger context."
        )

    def _sameness(self, messages: Any, replies: Sequence[Reply]) -> str:
        """Whether all samples of a prompt are one."""
        if self._first is None:
            return ""
        name = digest(messages)
        for reply in replies:
            if len(reply.text) < CHARACTERS:
                continue
            if name not in self._first:
                self._first[name] = digest(reply.text)
            elif self._first[name] == digest(reply.text):
                self._compared += 1
            else:
                self._first = None
                return ""
        if self._compared < COMPARED and len(self._first) < PROMPTS:
            return ""
        same, self._first = self._compared >= COMPARED, None
        if not same:
            return ""
        return (
            f"samples of one prompt are the same word for word (all {self._compared} that were compared), although "
            f"temperature is {_named(self._sampling.temperature)}: the endpoint passes over it, draws all of them with "
            "one seed, or answers from a cache. Further samples add nothing; switch that off there (of a LiteLLM "
            "proxy: sampling.extra {cache: {no-cache: true}}), or lower bank.samples."
        )


def of_ollama(answer: Answer) -> bool:
    """Whether an Ollama gave the answer."""
    parsed = parse(answer.body.decode("utf-8", "replace"))
    return isinstance(parsed, dict) and parsed.get("system_fingerprint") == OLLAMA


def loaded_context(answer: Answer, model: str) -> int | None:
    """The context, in tokens, of a model in an answer of Ollama's to GET /api/ps; None where it is not told."""
    parsed = parse(answer.body.decode("utf-8", "replace"))
    rows = parsed.get("models") if isinstance(parsed, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and str(row.get("model")).casefold().removesuffix(":latest") == (
            model.casefold().removesuffix(":latest")
        ):
            found = row.get("context_length")
            return found if isinstance(found, int) and found > 0 else None
    return None


def _named(temperature: float | None) -> str:
    return "the endpoint's own" if temperature is None else f"{temperature:g}"
