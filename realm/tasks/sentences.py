"""What a sentence says the answer is, where no line is marked as one, and where a text takes its answer back.

See `realm.tasks.answers`, which reads the marks.
"""

import re

from realm.tasks.boxes import around
from realm.tasks.markup import LONGEST, clean

#: Statements of one kind that are looked at, from the end of the text.
LAST = 50

_SENTENCE = re.compile(
    r"\banswer(?:[ \t](?:to|for)[ \t][^.\n]{1,60}?)?[ \t]{1,4}(?:is|was|(?:must|should|would|will)[ \t]be|equals)\b"
    r"[ \t]{0,4}:?[ \t]{0,4}"
    r"|\b(?:option|choice)[ \t]{1,4}(?:is|must[ \t]be|would[ \t]be)[ \t]{0,4}:?[ \t]{1,4}"
    r"(?=\(?[A-Za-z0-9]{1,2}\)?(?:[\s.,;:]|$))"
    r"|\bi(?:['’]d|[ \t]would|['’]ll|[ \t]will)?[ \t](?:choose|pick|select|go[ \t]with)[ \t]{1,4}",
    re.IGNORECASE,
)
_CORRECT = re.compile(
    r"(?:\b(?:option|choice|answer)[ \t]{1,4}|^[^\w\n]{0,6}(?:(?:so|thus|hence|therefore)[, \t]{1,3})?)"
    r"(\(?(?:(?-i:[A-Z])|\d{1,2})\)?)"
    r"[ \t]{1,4}is[ \t]{1,4}(?:the[ \t]{1,4})?(?:correct|right|best|true|answer)\b(?![^\n.]{0,20}\?)"
    r"|^[^\w\n]{0,6}(?:so|thus|hence|therefore)[, \t]{1,3}(?:it['’]?s[ \t]|it is[ \t]|option[ \t]|choice[ \t])?"
    r"(\(?(?-i:[A-Z])\)?|[-+]?[$€£]?\d[\d.,]{0,40}%?)(?=[.!]?$)",
    re.IGNORECASE,
)
# Before a statement in its sentence, what makes it none.
_UNSAID = re.compile(
    r"\b(?:not|never|neither|nor|no|false|wrong|incorrect|doubt|maybe|perhaps|suppose|assume|if|whether|unless|first|initial"
    r"|second|original|previous|unlikely|possibly|many|some|people|might|could|note|naive|tempting)\b|n['’]t\b"
    r"|\b(?:common|obvious|intuitive|quick)\s*$",
    re.IGNORECASE,
)
_PICTURES = "[\u2600-\u27bf\U0001f300-\U0001faff\ufe0f]"
LONE = re.compile(
    rf"(?:{_PICTURES}\s?)*(?:\**\([^\s()]{{1,40}}\)\**\.?|\*\*[^*\n]{{1,60}}\*\*\.?|\$[^$\n]{{1,60}}\$\.?"
    r"|[-+]?[$€£]?\d[\d.,]{0,40}%?|[A-Z]\.?|(?:[Yy]es|[Nn]o|[Tt]rue|[Ff]alse)\.?|\(?[A-Z]\)[ \t][^\n]{1,60})"
)
# What is said of an answer, not the answer: `based on rule 3`, `obtained by addition`, `see above`.
_ABOUT = re.compile(
    r"(?:\w{1,20}ly\s)?(?:\w{2,20}ed|found|given|shown|known|written|taken|drawn|made|got|gotten|seen|built|chosen"
    r"|correct|wrong|right|in|on|at|by|from|as|just|simply|therefore|thus|also|not\syet|always)"
    r"\s(?:on|in|by|from|to|above|below|as|using|with|at|that|for|via|through|because|since|here|after|step|the|up)\b"
    r"|(?:see|as|like)\s(?:above|below|stated|shown|follows|before|given|computed|the)\b|(?:above|below)\b"
)
# A word that may be an answer but rarely is; it counts only where nothing else states one.
_DOUBTFUL = re.compile(
    r"(?:\w{3,20}ed|correct|checked|helps?|helpful|key|check|above|below|ok|okay|done|follows|it|this|that|yours|(?:an?|the)(?=\s)"
    r"|reasonable|valid|consistent|plausible)\b"
)
_PRONOUN = re.compile(
    r"(?:it|this|that|which|they|he|she|we|i|because|since|there)\b(?!\s(?:is|are)\s\S{1,12}\.?$)", re.IGNORECASE
)
_ADVERB = re.compile(
    r"(?:simply|clearly|indeed|thus|therefore|obviously|just|of course|then)[, ]\s?(?=\S)", re.IGNORECASE
)
_BULLET = re.compile(r"(?:>\s?){0,4}(?:[-*•]\s+|1[.)]\s+)?")
_REASON = re.compile(r",?\s(?:because|since)\s.*", re.IGNORECASE)
_CITED = re.compile(r"\s\[\d{1,2}\]\.?$")
_SHORT_SENTENCE = re.compile(
    r"((?:\*\*[^*\n]{1,80}\*\*|\$[^$\n]{1,200}\$|`[^`\n]{1,80}`|\(?[A-Za-z]\)?|[-+$€£(]{0,3}\d[^\n]{0,60}?"
    r"|[^\W\d_]{1,20})[*]{0,2})[.!]\*{0,2}\s+(?=[A-Z\"'(][^\s.]*\s+\S+\s+\S)"
)
_ABBREVIATED = re.compile(r"(?:St|Dr|Mr|Mrs|Ms|Mt|No|vs|e|i)\b")
# In a sentence behind a short answer: it is taken back or joined by another one.
_CHANGED = re.compile(
    r"\b(?:no|not|actually|wait|however|but|or|alternatively|instead|also|rather|should be|made an? (?:mistake|error)"
    r"|unless|although|wrong)\b",
    re.IGNORECASE,
)
_FAILED = "forgot|missed|misread|miscounted|miscalculated|overlooked"
# Behind an answer, where its writer thinks again: `Wait, …`, `Actually, …`, `I made an error`.
_WAIT = re.compile(
    r"(?:^|[.!?:][ \t]{1,2})[^\w\n]{0,8}(?:(?:hm+|oh|ah|but|no)\b[,.]?[ \t]{1,2})?"
    r"(?:(?:wait|hold on|oops|actually|correction|scratch that|sorry|(?:my )?apologies|hm+)\b"
    rf"|I (?:just )?(?:made|see|noticed?|realized?|{_FAILED})\b)",
    re.IGNORECASE | re.MULTILINE,
)
_DENIED = re.compile(
    r"\W{0,20}(?:that|this|it|which)(?:['’]s|[ \t](?:is|was))[ \t](?:not[ \t](?:right|correct)|wrong|incorrect)\b",
    re.IGNORECASE,
)
_ADMITS = re.compile(
    r"(?:['’]s|\b(?:is|was))[ \t](?:not[ \t](?:right|correct|true)|wrong|incorrect|an?[ \t](?:mistake|error))"
    r"|\b(?:isn|wasn)['’]t[ \t](?:right|correct)|\b(?:mistake|error)\b|\bshould[ \t](?:have[ \t]been|be)\b"
    rf"|\bI (?:just )?(?:{_FAILED})\b|\b(?:correction|oops|scratch that)\b",
    re.IGNORECASE,
)
#: `The total comes to **58**.`
_BOLD_END = re.compile(r"^([^*\n]{0,200})\*\*([^*\n]{1,40})\*\*[.!]?\s*$")


def narrowed(line: str) -> str:
    """What a line states: the sentence in it that says what the answer is, else its first, if that is short."""
    if len(line.split(maxsplit=3)) > 3 and (said := _sentence(line)):
        return said
    return clean(one_sentence(line))


def one_sentence(line: str) -> str:
    """The line without the sentences or the reason behind a short answer: `12. It is the sum.`, `B. Note that …`"""
    line = line.strip()
    adverb = _ADVERB.match(line)
    line = _CITED.sub("", line[adverb.end() :] if adverb else line)
    match = _SHORT_SENTENCE.match(line)
    if match and not _ABBREVIATED.match(match[1]) and not _CHANGED.search(line[match.end() :]):
        return match[1]
    reason = _REASON.search(line)
    if reason and len(line[: reason.start()].split()) <= 3 and not _CHANGED.search(reason[0]):
        return line[: reason.start()]
    return line


def _sentence(line: str) -> str:
    """What a line says the answer is, in a sentence; "" for none, for what is a remark on it, and for what is denied,
    doubted or supposed."""
    correct = [*_CORRECT.finditer(line)][-LAST:]
    said = [*_SENTENCE.finditer(line)][-LAST:]
    if correct and (not said or correct[-1].start() >= said[-1].start()):
        return "" if _unsaid(line, correct[-1].start()) else clean(correct[-1][1] or correct[-1][2])
    if not said or _unsaid(line, said[-1].start()):
        return ""
    rest = line[said[-1].end() :]
    if "\\boxed" in rest:
        return ""
    value = clean(one_sentence(rest))
    return value if doubtful(value) is False else ""


def _unsaid(line: str, position: int) -> bool:
    """Whether the words before a statement, in its sentence, make it none."""
    before = re.split(r"[.!?;\n]\s", line[max(0, position - 200) : position])[-1]
    return bool(_UNSAID.search(before))


def doubtful(value: str, colon: bool = False) -> bool | None:
    """Whether what a text states may be a remark on its answer instead; None where it surely is one.

    `colon`: it stands behind one.
    """
    plain = value.casefold()
    if _ABOUT.match(plain) and (not colon or not any(sign.isdigit() for sign in plain)):
        return None
    remark = not any(sign.isdigit() for sign in value) and not re.search(r"(?:^|\s|\()[B-HJ-Z](?:$|[\s.),;:])", value)
    few = len(plain.split(maxsplit=12)) <= 12
    return remark and bool(
        (few and _DOUBTFUL.match(plain) and (not colon or _is_remark(plain))) or _PRONOUN.match(value)
    )


def _is_remark(plain: str) -> bool:
    """With a colon before it, an article begins an answer; these words do not."""
    return not plain.startswith(("a ", "an ", "the ")) and plain != "correct"


def unmarked(text: str) -> str:
    """Where no line is marked: a last line that is nothing but an answer, or a sentence of one of the last lines."""
    last = [line for line in text[-4 * LONGEST :].split("\n") if line.strip()][-3:]
    lone = len(last[-1]) <= LONGEST and LONE.fullmatch(last[-1].strip()) if last else None
    # A bare number that is the whole text is no reasoning that ends in an answer.
    if lone and (len(last) > 1 or not last[-1].strip()[0].isdigit()):
        before = last[-2].strip() if len(last) > 1 else ""
        two = before != last[-1].strip() and LONE.fullmatch(before)
        return f"{before}\n{last[-1].strip()}" if two else clean(re.sub(rf"^(?:{_PICTURES}\s?)+", "", last[-1].strip()))
    for line in reversed(last):
        if len(line) <= LONGEST and (value := _sentence(line)):
            return value
    bold = _BOLD_END.match(last[-1][bullet(last[-1]) :]) if last and len(last[-1]) <= LONGEST else None
    # What stands before it belongs to it, as with a box: `It is not **12**`, `at least **12**`, `-**12**`.
    return around(f"{bold[1]}\\boxed{{{bold[2]}}}") if bold else ""


def bullet(line: str) -> int:
    """How far the mark of a quotation or a list goes on a line below a heading."""
    match = _BULLET.match(line)
    return match.end() if match else 0


def taken_back(behind: str, found: str) -> str:
    """A stated answer, or what the text behind it says instead; "" where that takes it back and states no other."""
    wait = _DENIED.match(behind) or _WAIT.search(behind)
    if wait is None:
        return found
    rest = behind[wait.start() :]
    return unmarked(rest) or ("" if _ADMITS.search(rest) else found)
