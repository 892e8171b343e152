"""A message of an assistant: what it thought, where a server or a file keeps that apart, and what it then said."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from realm.tasks.spoken import halves, without_run_on

#: What of a message is its text: the reasoning, what was said after it, or both.
Shows = Literal["both", "reasoning", "answer"]
#: Keys that hold the reasoning (DeepSeek, vLLM, OpenRouter, Ollama, LiteLLM); the first that has some counts, as the
#: others repeat it.
THOUGHT_KEYS = (
    *("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks"),
    *("reasoning_text", "thinking_content", "thoughts", "thought"),
)
CONTENT_KEYS = ("content", "value")

# Of a part of a content, or of an entry of `reasoning_details`: thinking, redacted_thinking, reasoning.text, thought…
_THOUGHT = re.compile(r"(?:redacted_)?(?:think|reason|thought)", re.IGNORECASE)
_TEXT_KEYS = ("thinking", "reasoning", "text", "summary", "content", "thought")
_DEEPEST = 5


@dataclass(frozen=True)
class Said:
    """A message, read. `content` is None where it has none, and ends before a leaked end mark; `others`: the types of
    parts that are no text; `run_on`: whether another turn stood behind the end mark."""

    reasoning: str
    content: str | None
    others: tuple[str, ...] = ()
    run_on: bool = False

    @property
    def stated(self) -> str:
        """Where the final answer stands: in the content, in the reasoning only where there is no content."""
        return self.content if self.content and self.content.strip() else self.reasoning

    @property
    def thought(self) -> bool:
        """Whether `stated` was said after a thought that is kept apart."""
        return bool(self.reasoning.strip()) and self.stated is not self.reasoning

    def text(self, shows: Shows = "both") -> str:
        """The CoT. Where the part that is to be shown is missing, the other one stands in for it."""
        content = self.content or ""
        if shows != "both" and not self.reasoning.strip():
            # Servers that know no reasoning leave it in the content, between tags.
            said, thought = halves(content)
            part = said if shows == "answer" else thought
            return part.strip() or content
        if not self.reasoning.strip() or (shows == "answer" and content.strip()):
            return content
        if shows == "reasoning" or not content.strip():
            return self.reasoning
        if self.reasoning.strip() in content:  # some servers leave it there as well
            return content
        return f"{self.reasoning.rstrip()}\n\n{content.lstrip()}"


def read_message(message: Mapping[str, Any]) -> Said:
    """Reasoning and content of a message in any of the usual shapes.

    Raises:
        TypeError: the content is neither a text nor a list of parts; says of which type it is.
    """
    content = next((message[key] for key in CONTENT_KEYS if message.get(key) is not None), None)
    thoughts = next((found for key in THOUGHT_KEYS if (found := _thought(message.get(key))).strip()), "")
    if content is None:
        return Said(thoughts, None)
    if isinstance(content, str):
        content, run_on = without_run_on(content)
        return Said(thoughts, content, run_on=run_on)
    if not isinstance(content, list) or not all(isinstance(part, dict | str) for part in content):
        raise TypeError(type(content).__name__)
    texts: list[str] = []
    thinking: list[str] = []
    others: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif _THOUGHT.match(str(part.get("type"))) or part.get("thought") is True:
            thinking.append(_thought(part))
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            others.append(str(part.get("type"))[:40])
    content, run_on = without_run_on("".join(texts))
    return Said(thoughts or _joined(thinking), content, tuple(others), run_on)


def _thought(value: Any, depth: int = 0) -> str:
    """The text of a reasoning: a text, a part or a list of them, however deep; "" where there is none to read."""
    if isinstance(value, str):
        return value
    if depth > _DEEPEST:
        return ""
    if isinstance(value, list):
        texts = [_thought(item, depth + 1) for item in value]
        # A list in a part holds the pieces of one text (Mistral); any other holds texts that stand for themselves.
        return "".join(texts) if depth and all(map(_is_piece, value)) else _joined(texts)
    if not isinstance(value, dict):
        return ""
    found = (_thought(value[key], depth + 1) for key in _TEXT_KEYS if value.get(key))
    return next((text for text in found if text.strip()), "")


def _is_piece(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def _joined(texts: list[str]) -> str:
    return "\n\n".join(text for text in texts if text.strip())
