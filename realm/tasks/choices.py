"""The verifier `choice`: which of the allowed answers is meant, however a model writes it.

`B`, `(B)`, `**B.**`, `\\boxed{\\text{B}}`, `Option B`, `the answer is B`, `B) Paris`, `B because …`: one choice is
named, and what stands beside it neither names another nor negates or hedges.
"""

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
_COMMAND = re.compile(r"\\(?:boxed|fbox|text(?:bf|it|rm|tt)?|math(?:bf|rm|it|sf)|mbox|underline|bf|rm|[()\[\]])\s?")
_HTML = re.compile(r"</?(?:b|i|em|strong|span|p|u|code|br)\s?/?>")
_BULLET = re.compile(r"^(?:[-•·>#*]+\s)+")
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore|then|and|clearly|simply|of course|i think|i believe|it(?:['’]s| is)|"
    r"that(?:['’]s| is)|this is|i(?:['’]d|['’]ll| would| will)? (?:choose|pick|select|go with|say)|choose|pick"
    r"|select)[\s,:]+)*"
    r"(?:(?:the|my|our|a|an)\s+)?(?:(?:final|correct|right|best|most likely|chosen|selected)\s+)*"
    r"(?:(?:answer|ans|option|choice|letter|label|verdict|solution|response|selection)\b(?:\s+(?:choice|option|letter))?"
    r"(?:\s+(?:is|would be|must be|should be|=)|\s*[:：=-])*\s*)?"
    r"(?:(?:the|option|choice|letter|answer|simply|clearly)\s+)*",
    re.IGNORECASE,
)
#: `The statement is true`, `Sentiment: positive`: what is judged, before a choice that is a word.
_SUBJECT = re.compile(
    r"(?:(?:the|this|its?|their)\s+)?+"
    r"(?!wrong|incorrect|first|second|worst|not|false|opposite|contrary|converse|negation|reverse)"
    r"[^\W\d_]+(?:\s+[^\W\d_]+)?"
    r"(?:\s+(?:is|was|are)\s+|\s*[:：=]\s*)(?:(?:a|an|the|clearly|simply|probably)\s+)?|this\s+is\s+(?:a|an)\s+",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\s*(?:[.):,;\]】}–—:=→。]|\s-|-\s|\n|$)"
    r"|\s(?:is|was|would be)\s+(?:the\s+)?(?:most likely\s+)?(?:correct|right|best|true|final|my|answer|only)\b"
    r"|\s(?:because|since|as|for|due to|which|given|where|it is|they|\()|\srather\sthan\b|\s[✓✔✅☑]",
    re.IGNORECASE,
)
#: Directly behind a choice, what takes it back, hedges it or joins another one.
_TAKES_BACK = re.compile(
    r"[\s.,;:()\]–—-]*(?:or\b|nor\b|and\b(?!\s+(?:not|the others))|maybe|perhaps|possibly|probably|unlikely|i guess"
    r"|unsure|(?:(?:is|was|that['’]s|that is|this is|it is|it['’]s)\s+)?(?:not\s+(?:correct|right|true|the)|wrong"
    r"|incorrect|false|untrue)\b|isn['’]t|cannot be|can['’]t be|no\s*[.!)]?\s*$|or not|eliminated"
    r"|ruled out|✗|✘|❌|🚫|\?)",
    re.IGNORECASE,
)
#: A sentence of its own that takes back what was said.
_TAKEN_BACK = re.compile(r"[.!]\s*(?:incorrect|wrong|false|no)\W*$", re.IGNORECASE)
_SWITCH = re.compile(r"\b(?:wait|actually|instead|no longer|correction)\b", re.IGNORECASE)
#: Before another choice: it is denied, not named.
_DENIED = re.compile(
    r"(?:\bnot|n['’]t|\bno|rather than|instead of|unlike|neither|\bnor|than|against)\s+(?:\(|the\s)?$", re.I
)
_FAILS = re.compile(
    r"[)\s]*(?:(?:is|are)\s(?:wrong|incorrect|false|too|not)\b|fails?\b|cannot\b|does\snot\b)", re.IGNORECASE
)
_REASON = re.compile(r"\b(?:because|since)\s[^.;\n]*", re.IGNORECASE)
_NAMES_ALL = re.compile(r"\W*(?:both|all|none|neither|either)\b", re.IGNORECASE)
#: `Vitamin C`, `Group A`: the letter belongs to a name.
_NAME = re.compile(
    r"(?:^|[^\w])(?!(?:Actually|Maybe|Perhaps|So|Option|Choice|Answer|Or|And|Then|Thus|Not|Both|Either|But|Wait)\b)"
    r"[A-Z][a-z]+\s$"
)


_SIGNS = str.maketrans("−‘’“”", "-''\"\"")


def _plain(text: str) -> str:
    """The text in compatibility forms, without commands and tags."""
    return _COMMAND.sub("", _HTML.sub("", unicodedata.normalize("NFKC", text).translate(_SIGNS)))


def _key(text: str) -> str:
    """A choice in the form by which choices are compared: compatibility forms, mark-up, case and what is around it."""
    text = " ".join(_plain(text).split()).casefold().strip(_AROUND)
    return re.sub(r"(?<=\w)(?:\s?[-_‐‑]\s?)+(?=\w)", " ", text)


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
        return all(len(key) <= 2 for key in self._by_key)

    @cached_property
    def _any(self) -> re.Pattern[str]:
        """A choice as a word of a text, the longest first; a digit within a number is none."""
        written = (choice.strip(_AROUND) for choice in self.choices) if self._letters else self._by_key
        either = "|".join(
            re.escape(name).replace(r"\ ", r"[\s_-]+") + (r"(?!\s?[.,:/–-]\s?\d)" if name[-1:].isdigit() else "")
            for name in sorted(written, key=len, reverse=True)
        )
        flags = 0 if self._letters else re.IGNORECASE
        return re.compile(rf"(?<![\w+#$.-])(?<!\d[.,:/])(?:{either})(?![\w+#]|-\w)", flags)

    def key(self, answer: str) -> str:
        """The choice that the answer names, as it is spelled in `choices`; raises `UnreadableError` for none."""
        if len(answer) > LONGEST:
            raise UnreadableError("too long for a choice")
        text = _plain(answer).strip()
        if "~~" in text or re.match(r"[<>]\s?\d", text):
            raise UnreadableError("something is crossed out, or no choice but a comparison")
        whole = self._by_key.get(_key(answer))
        if whole is not None:
            return whole
        text = _BULLET.sub("", text.replace("**", "").replace("`", "").replace("__", "")).strip()
        for start in self._starts(text):
            rest = text[start:].lstrip(" ([{\"'【:")
            named = self._named(rest)
            if named is not None:
                return self._checked(named, rest[named.end() :])
        raise UnreadableError("none of the choices")

    def _starts(self, text: str) -> list[int]:
        """Where the choice may begin: at once, behind what introduces it, behind what is judged by it."""
        lead = _LEAD.match(text)
        starts = [0, lead.end() if lead else 0]
        subject = _SUBJECT.match(text) if not self._letters else None
        return list(dict.fromkeys([*starts, *([subject.end()] if subject else [])]))

    def _named(self, rest: str) -> re.Match[str] | None:
        named = self._any.match(rest)
        if named is None and self._letters:
            # A small letter alone is a choice; in a sentence it is a word.
            named = re.compile(self._any.pattern, re.IGNORECASE).match(rest)
            if named is not None and not re.match(r"\s*[).:\]]|\s*$", rest[named.end() :]):
                named = None
        return named

    def _checked(self, named: re.Match[str], after: str) -> str:
        closed = after.lstrip("\"'”】]})")
        if not (_AFTER.match(after) or _AFTER.match(closed)):
            raise UnreadableError("more than a choice")
        back = _TAKES_BACK.match(after) or _TAKES_BACK.match(closed) or _TAKEN_BACK.search(closed)
        if closed.strip(_AROUND) and (back or _SWITCH.search(closed) or self._names_another(named[0], closed)):
            raise UnreadableError("more than one choice, or a hedge")
        found = self._by_key.get(_key(named[0]))
        if found is None:
            raise UnreadableError("none of the choices")
        return found

    def _names_another(self, named: str, text: str) -> bool:
        """Whether what stands behind a choice names another one, other than to deny it."""
        if self._letters and _NAMES_ALL.match(text):
            return False  # the text of the choice: `B) Both A and C`
        # A reason may say why the others are none.
        text = _REASON.sub(" ", text)
        for found in self._any.finditer(text):
            before, behind = text[max(0, found.start() - 40) : found.start()], text[found.end() :]
            same = _key(found[0]) == _key(named)
            article = found[0] == "A" and _is_article(behind)
            denied = _DENIED.search(before) or _FAILS.match(behind)
            if not (same or article or denied or (self._letters and _NAME.search(before))):
                return True
        return False


def _is_article(behind: str) -> bool:
    """Whether a capital A begins a sentence: `A common distractor is …`"""
    verbs = r"(?:is|was|and|or|because|as|also|works|too|fits|would|could|might|may|but|seems|looks|fails|holds)"
    return bool(re.match(r"\s[a-z]{2,}", behind)) and not re.match(rf"\s{verbs}\b", behind)
