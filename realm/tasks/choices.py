"""The verifier `choice`: which of the allowed answers is meant, however a model writes it.

`B`, `(B)`, `**B.**`, `\\boxed{\\text{B}}`, `Option B`, `the answer is B`, `B) Paris`, `B because …`: one choice is
named, and what stands beside it neither names another nor negates or hedges.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from realm.errors import ConfigError
from realm.tasks.reading import UnreadableError, reading_gold

#: A longer answer is an essay.
LONGEST = 2000
#: What may stand around a choice: brackets, quotes, emphasis and final punctuation, as in `(B)`, `**B**` or `B.`
_AROUND = " \t\r\n.,;:()[]{}*_`'\"$!‘’“”«»【】「」<>\\✓✔✅☑→|"
_COMMAND = re.compile(r"\\(?:boxed|fbox|text(?:bf|it|rm|tt)?|math(?:bf|rm|it|sf)|mbox|bf|rm|[()\[\]])\s?")
_HTML = re.compile(r"</?(?:b|i|em|strong|span|p|u|code|br)\s?/?>")
_BULLET = re.compile(r"^(?:[-•·>#*]+\s)+")
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore|then|and|i think|i believe|i choose|i pick|i select|i(?:['’]d| would) go with|"
    r"it(?:['’]s| is)|that(?:['’]s| is)|this is)[\s,:]+)*"
    r"(?:(?:the|my|our)\s+)?(?:(?:final|correct|right|best|most likely|chosen|selected)\s+)*"
    r"(?:(?:answer|option|choice|letter|label|verdict|solution|response|selection)\b(?:\s+(?:choice|option|letter))?"
    r"(?:\s+(?:is|would be|must be|should be|=)|\s*[:：=-])*\s*)?"
    r"(?:(?:the|option|choice|letter|answer)\s+)*",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\s*(?:[.):,;\]】}–—:]|\s-|-\s|\n|$"
    r"|\s(?:is|was)\s+(?:the\s+)?(?:correct|right|best|true|final|my|answer|only)\b"
    r"|\s(?:because|since|as|for|due to|which|given|where|\()|[✓✔✅☑])",
    re.IGNORECASE,
)
#: Words that take back, or join another, what stands before them; and before a choice they negate or hedge it.
_HEDGES = re.compile(
    r"\b(?:or|nor|neither|either|not|no longer|cannot|can['’]t|isn['’]t|never|except|maybe|perhaps|possibly|unsure|"
    r"instead|rather|wrong|incorrect|actually|unless)\b",
    re.IGNORECASE,
)


_REASON = re.compile(r"\b(?:because|since)\s", re.IGNORECASE)
_END = re.compile(
    r"(?<=[\w)])[.;\n](?:\s|$)|(?:^[.,;:)\s]*|\s)(?:because|since|as|for|due to|which|given|where)\s", re.IGNORECASE
)


def _key(text: str) -> str:
    """A choice in the form by which choices are compared: compatibility forms, mark-up, case and what is around it."""
    text = _COMMAND.sub("", _HTML.sub("", unicodedata.normalize("NFKC", text)))
    text = " ".join(text.split()).casefold().strip(_AROUND)
    return re.sub(r"(?<=\w)[-_‐‑](?=\w)", " ", text)


@dataclass(frozen=True)
class Choice:
    """The one of the allowed answers that an answer names, in any case and mark-up, with or without its reason."""

    choices: tuple[str, ...]
    name: str = "choice"

    def __post_init__(self) -> None:
        keys = [_key(choice) for choice in self.choices]
        if len(keys) < 2 or "" in keys or len(set(keys)) < len(keys):
            raise ConfigError(
                "task.choices: expected two or more answers that differ by more than case, brackets and punctuation, "
                f"found {list(self.choices)}."
            )

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return self.key(answer) == reading_gold(self.key, gold)

    @cached_property
    def _by_key(self) -> dict[str, str]:
        return {_key(choice): choice for choice in self.choices}

    @cached_property
    def _letters(self) -> bool:
        """Whether the choices are labels of one or two characters, which in a sentence are told by their case."""
        return all(len(choice.strip()) <= 2 for choice in self.choices)

    @cached_property
    def _any(self) -> re.Pattern[str]:
        """A choice as a word of a text, the longest first."""
        names = sorted(self._by_key, key=len, reverse=True)
        written = [choice.strip() for choice in sorted(self.choices, key=len, reverse=True)] if self._letters else names
        either = "|".join(re.escape(name).replace(r"\ ", r"[\s_-]+") for name in written)
        return re.compile(rf"(?<![\w+#-])(?:{either})(?![\w+#]|-\w)", 0 if self._letters else re.IGNORECASE)

    def key(self, answer: str) -> str:
        """The choice that the answer names, as it is spelled in `choices`; raises `UnreadableError` for none."""
        if len(answer) > LONGEST:
            raise UnreadableError("too long for a choice")
        whole = self._by_key.get(_key(answer))
        if whole is not None:
            return whole
        text = _COMMAND.sub("", _HTML.sub("", unicodedata.normalize("NFKC", answer))).strip()
        if "~~" in text:
            raise UnreadableError("something is crossed out")
        text = _BULLET.sub("", text.replace("**", "").replace("`", "").replace("__", "")).strip()
        lead = _LEAD.match(text)
        rest = text[lead.end() :] if lead else text
        rest = rest.lstrip(" ([{\"'‘“【$<:")
        named = self._any.match(rest)
        if named is None and self._letters:
            # A small letter alone is a choice; in a sentence it is a word.
            named = re.compile(self._any.pattern, re.IGNORECASE).match(rest)
            if named is not None and not re.match(r"\s*[).:\]]|\s*$", rest[named.end() :]):
                named = None
        if named is None:
            raise UnreadableError("none of the choices")
        after = rest[named.end() :]
        closed = after.lstrip("\"'’”】]})$")
        if not (_AFTER.match(after) or _AFTER.match(closed)):
            raise UnreadableError("more than a choice")
        if closed.strip(_AROUND) and (self._names_another(named[0], closed) or _takes_back(closed)):
            raise UnreadableError("more than one choice, or a hedge")
        return self._by_key[_key(named[0])]

    def _names_another(self, named: str, text: str) -> bool:
        # A reason may say why the others are none.
        reason = _REASON.search(text)
        return any(
            _key(found[0]) != _key(named) and not (found[0] == "A" and _is_article(text, found.end()))
            for found in self._any.finditer(text[: reason.start() if reason else None])
        )


def _is_article(text: str, end: int) -> bool:
    """Whether a capital A begins a sentence: `A common distractor is …`"""
    return bool(re.match(r"\s[a-z]{2,}", text[end:])) and not re.match(r"\s(?:is|was|and|or|because|as)\b", text[end:])


def _takes_back(text: str) -> bool:
    """Whether what follows a choice joins another one or takes it back, in its own sentence and before its reason."""
    return bool(_HEDGES.search(_END.split(text, maxsplit=1)[0] if not _END.match(text) else ""))
