r"""The answer in a `\boxed{…}`, with what stands so close to it that it belongs to the answer.

`so $x = \boxed{12}$.` states 12, but `not \boxed{12}`, `-\boxed{12}`, `\boxed{12} million` and `\boxed{2} and
\boxed{3}` do not.
"""

import re

from realm.tasks.markup import LONGEST, clean
from realm.tasks.units import CHANGES, SCALES, known_unit

#: Characters before and behind a box that are looked at.
_NEAR = 120
_BRACE = re.compile(r"\\(?:boxed|fbox|framebox)\s{0,4}\{|\\[\\{}]|[{}]")
_BARE = re.compile(r"\\(?:boxed|fbox)[^\S\r\n]{1,4}([A-Za-z0-9]{1,20})\b")  # what another line begins with is in no box
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s?\{([^{}]*)\}")
_FORMULA = re.compile(r"\$([^$\n]{1,40})\$")
_AND = r"(?:and|or|to|und|oder|et|ou|y|o|与|或|和)"
# `\boxed{2}, b = \boxed{3}`, `\boxed{2} hours and \boxed{3} minutes`, `\boxed{2}` and below it `(b) \boxed{3}`.
_JOINED = re.compile(
    rf"[\s$,;:&\\()\[\]*–-]*(?:[^\W\d_]{{2,15}}\s+(?={_AND}\b))?(?:{_AND})?[\s$\\()\[\]*]*"
    r"(?:(?:(?<=\()[a-h]|part\s\(?[a-h])[):.*\s]{1,4})?[\s$\\()\[\]*]*(?:[A-Za-z]\w?\s*=[\s$]*)?",
    re.IGNORECASE,
)
# An operator, with the operand before it where there is one, directly before the box.
_OPERATOR = re.compile(
    r"(?:(?:\d[\d.,]*|(?<![A-Za-z])[A-Za-z]|[)}])\s?)?"
    r"(?:[-+−–*/^≈~<>≤≥≠±√×]|\\(?:pm|mp|approx|sim|simeq|neq?|le|leq|ge|geq|lt|gt|times|cdot|sqrt))\s?$"
)
_SIGNED = re.compile(r"([-−–+])\s?(?:\\?[$£€¥]|\\left\s?\(|\()\s?$")
_FACTOR = re.compile(r"(?<![A-Za-z])(?:\d[\d.,]*|[A-Za-z])$")
# What goes on behind the box without a word between; `≈ 0.33` behind it says the same again.
_ATTACHED = re.compile(
    r"(?:\s?[/^*+×·÷!‰_?<>≤≥≠]|\s?[-−–](?=\s?[\d\w\\])|\\?%|\s?\d|[A-Za-z]|[.,:]\d"
    r"|\s?\\(?!approx|text|mathrm|mbox|quad|qquad|end|right|tag|label|hfill|\\|[,;:! )\]$%])[A-Za-z]+)"
    r"[^\s$;]{0,20}(?:\s\d\S{0,10})?"
)
_CANDIDATE = re.compile(rf"[\s$]*(?:[,;]|{_AND}\b|[–-])[\s$]*(?:[A-Za-z]\s?=\s?)?[-+$]?[\d\\]\S{{0,20}}", re.IGNORECASE)
_TAKEN_BACK = re.compile(
    r"[\s)$*.]*(?:(?:is|was|would be|being|,)?\s*\(?"
    r"(?:wrong|incorrect|false|not|impossible|too\s(?:large|small|high|low))\b"
    r"|(?:and a half|or\b|at (?:most|least)|approximately|approx|roughly|or so|plus|minus|times|squared|cubed|factorial"
    r"|hal(?:f|ved|ves)|thirds|quarters|tenths|more|less|fewer|lakh|hundred))[^.\n]{0,30}",
    re.IGNORECASE,
)
_PREDICATE = frozenset({"is", "are", "was", "be", "equals", "get", "have", "gives", "becomes", "=", ":", "therefore"})
_DENIES = frozenset({"not", "never", "wrong", "incorrect", "false", "neither", "nor", "cannot", "except", "without"})
#: Words that name a unit or a scale but are mostly something else in a sentence.
_PLAIN_WORDS = frozenset(
    {"in", "a", "am", "as", "at", "is", "e", "i", "some", "before", "after", "up", "over", "t", "mill"}
)


def spans_of(text: str) -> list[tuple[int, int, int, int]]:
    """(start of the command, of the content, end of the content, of the box) of the outermost balanced boxes that hold
    anything; linear in the length of the text."""
    open_braces: list[tuple[int, int] | None] = []
    found: list[tuple[int, int, int, int]] = []
    for match in _BRACE.finditer(text):
        token = match[0]
        if token == "}":
            start = open_braces.pop() if open_braces else None
            if start is not None and match.start() - start[1] <= LONGEST and text[start[1] : match.start()].strip():
                while found and found[-1][0] > start[0]:
                    found.pop()
                found.append((*start, match.start(), match.end()))
        elif token == "{":
            open_braces.append(None)
        elif len(token) > 2:
            open_braces.append((match.start(), match.end()))
    return found


def with_braces(text: str) -> str:
    r"""The text with `\boxed 12` written as `\boxed{12}`."""
    return _BARE.sub(r"\\boxed{\1}", text)


def boxed(text: str) -> str:
    r"""The content of the last `\boxed{…}` whose braces are balanced, "" for none."""
    found = spans_of(text)
    return clean(text[found[-1][1] : found[-1][2]]) if found else ""


def last_group(text: str, spans: list[tuple[int, int, int, int]]) -> int:
    """The number of the first of the boxes that are joined to the last one: `\\boxed{2} and \\boxed{3}`."""
    first = len(spans) - 1
    while first:
        between = text[spans[first - 1][3] : spans[first][0]]
        if len(between) > _NEAR or not _JOINED.fullmatch(_TEXT.sub(r" \1 ", between)):
            break
        first -= 1
    return first


def around(text: str) -> str:
    r"""The last box of a text with what belongs to it: a sign, a negation, a scale, a unit, and boxes joined to it."""
    spans = spans_of(text)
    if not spans:
        return ""
    first = last_group(text, spans)
    inner = ""
    for number in range(first, len(spans)):
        content = clean(text[spans[number][1] : spans[number][2]])
        content = boxed(content) or content if "\\boxed" in content else content
        gap = text[spans[number - 1][3] : spans[number][0]] if number > first else ""
        if number > first and inner == content and not gap.strip("$\\()[]*\n "):
            continue
        inner += (gap.replace("$", "") or " ") * (number > first) + content
    before = _prefix(text[max(0, spans[first][0] - _NEAR) : spans[first][0]])
    behind = _suffix(text[spans[-1][3] : spans[-1][3] + _NEAR])
    return f"{before}{inner}{behind}".strip() if before or behind else inner.strip()


def _prefix(text: str) -> str:
    """What stands before a box and changes it."""
    text = _TEXT.sub(r"\1", text)
    signed = _SIGNED.search(text.rstrip())
    if signed:
        return signed[1]
    plain = text.rstrip().removesuffix("$").removesuffix(r"\(").removesuffix(r"\[").removesuffix("{").rstrip(" *")
    inside = text.rstrip().endswith(("$", r"\(", r"\["))
    operator = _OPERATOR.search(plain)
    if operator:
        # `Final answer - \boxed{12}`: a dash between blanks is no sign, unless it stands within the formula.
        dash = re.search(r"[^\W\d]\s[-–−]$", plain) and text[-1:].isspace() and "$" not in plain
        if not dash or len(operator[0].strip()) > 1:
            sign = operator[0].strip()
            return sign + (" " if sign[-1].isalpha() else "")
    factor = _FACTOR.search(plain)
    if factor and not text[-1:].isspace() and not inside:
        return factor[0]
    clause = re.split(r"[.;!?\n,]\s", plain)[-1].replace(":", " : ").replace("=", " = ")
    words = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d[\d.,]*|[=:<>]", clause)
    folded = [word.casefold().replace("’", "'") for word in words]
    predicate = max((place for place, word in enumerate(folded) if word in _PREDICATE), default=-1)
    for place, word in enumerate(folded):
        if word in _DENIES or word.endswith("n't"):
            return " ".join(words[place:]) + " "
        if place <= predicate or place + 3 < len(words):
            continue
        number = word in ("and", "to") and place and words[place - 1][:1].isdigit()
        if word in ("or", "than") or number or (word in CHANGES and word not in _PLAIN_WORDS):
            return " ".join(words[place - 1 if place and (number or word in ("or", "than")) else place :]) + " "
    return ""


def _suffix(text: str) -> str:
    """What stands behind a box and changes it: an operator, a scale, a unit, another candidate, a denial."""
    bare = _TEXT.sub(r"\1", text)
    closed = text.lstrip()
    for closing in ("$$", "$", r"\)", r"\]", "**"):
        closed = closed.removeprefix(closing)
    closed = _TEXT.sub(r"\1", _FORMULA.sub(r"\1", closed))
    taken_back = _TAKEN_BACK.match(closed)
    if taken_back:
        return " " + taken_back[0].strip()
    for part in (text, closed):
        found = _CANDIDATE.match(part) or (_ATTACHED.match(part) if part is text or not part[:1].isalpha() else None)
        if found and not _TEXT.match(part):
            return found[0]
    word = re.match(
        r"(?:\\[,; ]|~|\s)*([^\W\d_]+|[$€£°])((?:\^\{?\d\}?)?(?:/[^\W\d_]+(?:\^\{?\d\}?)?)?)(\s\d\S*)?", closed
    )
    if word is None or not bare.strip():
        return ""
    name = word[1].casefold()
    if name in _PLAIN_WORDS and not word[2]:
        return ""
    if name in SCALES or known_unit(word[1]) is not None:
        return f" {word[1]}{word[2]}{word[3] or ''}"
    return ""
