"""The verifier `number`: the one number that an answer is, read exactly, with its unit.

An answer is read by a grammar, and what the grammar does not know is unreadable: a sign, a currency, separators of
thousands, a decimal fraction, a fraction or a mixed number, a power of ten, a scale (`million`), a unit or a counted
noun, and around them the words with which an answer is introduced. So an answer cannot hedge, negate or rescale its
number with a word that nobody foresaw. A gold is trusted to name its own things: its nouns may be any.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, replace
from fractions import Fraction

from realm.formula.grammar import readings
from realm.formula.values import NoScalarError, rational
from realm.formula.words import NoValueError
from realm.tasks.reading import UnreadableError, reading_gold
from realm.tasks.units import (
    CHANGES,
    CURRENCIES,
    LETTER_SCALES,
    SCALES,
    Unit,
    asked_scales,
    counted,
    known_unit,
    singular,
    vocabulary,
)

LONGEST = 200
_PLAIN = re.compile(r"\s*([+-]?)(\d{1,40})(?:\.(\d{1,40}))?\s*", re.ASCII)

#: Words that introduce an answer or close its sentence and leave a number as it is.
_FRAME = frozenset(
    """
    the a an answer final result total totals sum difference product quotient value number amount cost costs price count
    is are was were be been equals equal equalling to it its it's that that's this there here we i you he she they get
    gets got comes come amounts adds have has had so thus hence therefore then of in all altogether overall exactly
    just only left remaining remain remains each every per my our your his her their which gives give makes make
    made earns earn needs need will would correct solution response by for at on with old tall long wide high away
    """.split()  # noqa: SIM905
)
_ONES = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
    """.split()  # noqa: SIM905
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBER_WORDS = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * tens for tens, word in enumerate(_TENS, start=2)
}

_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SIGNS = str.maketrans(
    dict.fromkeys("−–‒﹣－", "-")
    | dict.fromkeys("＋﹢", "+")
    | dict.fromkeys("×⋅·∙", "*")
    | dict.fromkeys("\u00a0\u2007\u2009\u202f\u200a", "\u2009")
    | {"÷": "/", "⁄": "/", "∕": "/", "º": "°", "˚": "°"}
    | {0xFF01 + offset: 0x21 + offset for offset in range(94)}
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", None)
)
_LATEX = (
    (re.compile(r"\\(?:boxed|fbox|text|textbf|textrm|mathrm|mathbf|mathit|operatorname|bf|rm)\s?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[dtc]?frac\s?\{\s?([^{}]{1,60})\}\s?\{([^{}]{1,60})\}"), r" \1/\2"),
    (re.compile(r"\\[dtc]?frac\s?(\d)\s?(\d)"), r" \1/\2"),
    (re.compile(r"\^\s?\{?\s?\\(?:circ|degree)\b\s?\}?|\^\s?o\b|\\degree\b|\\circ\b"), "°"),
    (re.compile(r"\\(?:times|cdot|ast)\b"), "*"),
    (re.compile(r"\\div\b"), "/"),
    (re.compile(r"\{([,.])\}|,\\!"), r"\1"),
    (re.compile(r"\\(?:left|right|displaystyle)\b|\\!"), ""),
    (re.compile(r"\\[,;: ]|(?<=[\w}])~(?=[\\\w])"), "\u2009"),
    (re.compile(r"\^\s?\{([+-]?\d{1,3})\}"), r"^\1"),
    (re.compile(r"\\([%$#&])"), r"\1"),
)
_EMPHASIS = re.compile(r"\*\*(?=\D|$)(?!\s?10\b)|(?<![\d*])\*\*|__|`")
_HTML = re.compile(r"</?(?:b|i|em|strong|span|p|u|br)\s?/?>|&nbsp;")
_MATH = re.compile(r"\\[()\[\]]|\$\$|(?<!\\)\$(?=[^$]*(?<!\\)\$(?!\d))([^$]*)\$")
_PICTURES = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff\ufe0f]")
#: Pictures that say no, or that nobody knows.
_DOUBTS = re.compile("[❌✗✘✕✖🚫⛔❓❔➖👎🤔🤷⚠]")

_DIGITS = (
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?"  # 1,234,567.5
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)(?:\.\d+)?"  # 12,34,567
    r"|\d{1,3}(?:(?:['’]\d{3})+|(?:_\d{3})+|(?:[\u2009 ]\d{3})+)(?!\d)(?:[.,]\d+(?!\d))?"  # 1 234 567
    r"|\d{1,3}(?:\.\d{3})+,\d+(?!\d)|\d{1,3}(?:\.\d{3}){2,}(?!\d)"  # 1.234,5 and 1.234.567
    r"|\d+(?:\.\d+)?|\.\d+)"
)
_NUMBER = re.compile(
    rf"(?P<digits>{_DIGITS})"
    r"(?:[eE](?P<e>[+-]?\d{1,3})(?!\d)|\s?\*{1,2}?\s?10\s?(?:\^|\*\*)\s?\(?(?P<ten>[+-]?\d{1,3})(?!\d)\)?"
    r"|\s?/\s?(?P<below>\d+)(?!\d)|[\s\u2009]{1,2}(?:and\s)?(?P<above>\d+)/(?P<under>\d+)(?!\d))?",
    re.ASCII,
)
_POWER_ALONE = re.compile(r"(?<![\d.^*])10\s?(?:\^|\*\*)\s?\(?(?P<ten>[+-]?\d{1,3})(?!\d)\)?", re.ASCII)
_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|°\s?[CF]\b|\d+(?:\.\d+)?|\S", re.UNICODE)
_OPENING, _CLOSING = "([{\"'‘“«", ")]}\"'’”»"


@dataclass(frozen=True)
class Quantity:
    """A number, its unit if it has a known one, and the nouns that it counts (singular, lower case)."""

    value: Fraction
    unit: Unit | None = None
    nouns: frozenset[str] = frozenset()
    scale: int = 1

    def same(self, gold: Quantity) -> bool:
        """Whether it equals the gold. A unit that one of them leaves out is not held against it; two must agree, and
        so must what is counted."""
        if self.unit is not None and gold.unit is not None:
            if self.unit.dimension == gold.unit.dimension:
                return self.value * self.unit.factor == gold.value * gold.unit.factor
            # `30 degrees` are those of the gold's °C.
            kinds = {base for unit in (self.unit, gold.unit) for base, _ in unit.dimension}
            return self.value == gold.value and kinds in ({"angle", "celsius"}, {"angle", "fahrenheit"})
        if self.unit is not None and not self.unit.optional:
            return False
        # What the answer counts or measures must be what the gold does, where both say.
        if (self.unit is not None and gold.nouns) or (gold.unit is not None and self.nouns):
            return False
        agree = not (self.nouns and gold.nouns) or self.nouns <= gold.nouns or gold.nouns <= self.nouns
        return self.value == gold.value and agree


def read_number(text: str, words: Container[str] | None = None) -> Fraction:
    """The value of `read_quantity`."""
    return read_quantity(text, words).value


def read_quantity(text: str, words: Container[str] | None = None) -> Quantity:
    """The one number in a short text, exactly: `18`, `$1,234.50`, `2 1/2`, `1.2 × 10^3`, `5 million`, `18 km/h`.

    A percent sign is a unit and does not change the value. An equation is read where it is true and one side is a
    number (`x = 18`, `5 + 7 = 12`).

    Args:
        words: nouns, in lower case and singular, that may stand beside the number besides those known here (of the
            question, of the gold). None: any word may that is not known to change a number.

    Raises `UnreadableError` for anything else, for more than 200 characters and for exponents above 999: exact
    arithmetic on longer numbers could be made to take for ever.
    """
    plain = _PLAIN.fullmatch(text)
    if plain:
        sign, whole, part = plain.groups()
        value = Fraction(int(whole + part), 10 ** len(part)) if part else Fraction(int(whole))
        return Quantity(-value if sign == "-" else value)
    if len(text) > LONGEST:
        raise UnreadableError("too long for a number")
    text = _unmarked(text)
    if not text:
        raise UnreadableError("no number")
    if "=" in text:
        return _equation(text, words)
    return _phrase(text, words)


def _unmarked(text: str) -> str:
    """The text without mark-up, its signs in ASCII and what LaTeX spells in plain characters."""
    text = " ".join(re.split(r"[ \t\r\n\f\v\u3000]+", text.translate(_SIGNS))).strip()
    for sign, spelled in _VULGAR.items():
        if sign in text:
            text = text.replace(sign, f" {spelled} ")
    text = re.sub(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: "^" + found[0].translate(_SUPERSCRIPTS), text)
    if "\\" in text or "{" in text or "~" in text:
        for _ in range(3):
            before = text
            for pattern, by in _LATEX:
                text = pattern.sub(by, text)
            if text == before:
                break
    text = re.sub(r"(?<=\d)\s?[xX]\s(?=\d)|(?<=\d)\sx(?=\d)|(?<=\d)[xX](?=10\s?(?:\^|\*\*))", "*", text)
    text = _EMPHASIS.sub("", _HTML.sub(" ", text))
    text = _MATH.sub(lambda found: f" {found[1] or ''} ", text)
    if _DOUBTS.search(text):
        raise UnreadableError("a picture that says no")
    text = _PICTURES.sub("", text)
    if len(text) > 2 and text[0] in "*_" and text[-1] == text[0]:
        text = text[1:-1]
    return text.strip(" \u2009").rstrip("\\").removesuffix(",").strip(" \u2009")


def _equation(text: str, words: Container[str] | None) -> Quantity:
    """The number that a true equation states; `=12` is one with an empty side."""
    found: list[Quantity] = []
    plain: list[Quantity] = []
    for side in text.split("="):
        side = side.strip()
        if not side:
            continue
        try:
            plain.append(_phrase(side, words))
            found.append(plain[-1])
            continue
        except UnreadableError:
            pass
        worked = _arithmetic(side)
        if worked is not None:
            found.append(Quantity(worked))
        elif not _is_name(side, words):
            raise UnreadableError("a side of the equation is neither a number nor a name")
    if text.rstrip().endswith("=") or not plain or any(quantity.value != plain[0].value for quantity in found):
        raise UnreadableError("an equation that states no one number")
    return next((quantity for quantity in plain if quantity.unit or quantity.nouns), plain[0])


def _is_name(text: str, words: Container[str] | None) -> bool:
    """Whether a side of an equation is what is asked for: a letter, `f(3)`, or words."""
    if re.fullmatch(r"\\?[^\W\d_]{1,8}(?:_\{?\w{1,8}\}?)?'?|[^\W\d_]'?\(\w{1,5}\)", text):
        return text.casefold() not in CHANGES or len(text) == 1
    return all(_harmless(word, words) for word in _TOKEN.findall(text))


def _phrase(text: str, words: Container[str] | None) -> Quantity:
    text = re.sub(r"\b(?:[Nn][or]\.|[Nn]umber|№)\s?(?=\d)|#\s?(?=\d)", "", text)
    accounting = re.fullmatch(r"\(\s?([$€£¥₹]?\s?[\d,]+\.\d\d|[$€£¥₹]\s?[\d,.]+)\s?\)", text)
    if accounting:
        inner = _phrase(accounting[1], words)
        return Quantity(-inner.value, inner.unit)
    while len(text) > 2 and text[0] in "([{\"'‘“" and text[-1] == _CLOSING[_OPENING.index(text[0])]:
        inner_text = text[1:-1].strip()
        if any(sign in inner_text for sign in (text[0], text[-1])):
            break
        text = inner_text
    match = _NUMBER.search(text)
    power = _POWER_ALONE.search(text)
    if power and (match is None or power.start() <= match.start()):
        match, value = power, Fraction(10) ** int(power["ten"])
    elif match is None:
        raise UnreadableError("no number")
    else:
        value = _value(match)
    before, after = text[: match.start()], text[match.end() :]
    negative, currency = _before(before, words)
    unit, nouns, scale = _after(after, value, currency, words)
    value *= scale
    return Quantity(-value if negative else value, unit, nouns, scale)


def _value(match: re.Match[str]) -> Fraction:
    digits = match["digits"]
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", digits):
        digits = digits.replace(".", "").replace(",", ".")
    else:
        if re.search(r"[ \u2009_'’].*,", digits):
            digits = digits.replace(",", ".")
        digits = re.sub(r"[,'’_ \u2009]", "", digits)
    value = Fraction(digits if digits[0] != "." else f"0{digits}")
    if match["below"]:
        below = int(match["below"])
        if below == 0 or (value / below).denominator == 1 or value.denominator != 1:
            raise UnreadableError("a division that was not carried out")
        return value / below
    if match["under"]:
        above, under = int(match["above"]), int(match["under"])
        if value.denominator != 1 or not 0 < above < under:
            raise UnreadableError("no mixed number")
        return value + Fraction(above, under)
    return value * Fraction(10) ** int(match["e"] or match["ten"] or 0)


def _before(text: str, words: Container[str] | None) -> tuple[bool, Unit | None]:
    """What stands before the number: whether it is negative, and its currency. Raises for what changes it otherwise."""
    attached = bool(text) and (text[-1].isalnum() or text[-1] in "_.,")
    if attached and not re.search(r"(?<![^\W\d_])(?:[A-Z]{2,3}|Rs\.?)$", text):
        raise UnreadableError("a part of something longer")
    text = text.rstrip(" \u2009")
    signs, currency = "", None
    while text:
        if text[-1] in "+-":
            signs += text[-1]
            text = text[:-1].rstrip(" \u2009")
            continue
        last = re.search(r"(?:[A-Z]{1,3})?[$€£¥₹]$|(?<![^\W\d_])(?:[A-Z]{3}|Rs\.?)$", text)
        unit = known_unit(_currency(last[0])) if last else None
        if unit is not None and currency is None and last is not None:
            currency, text = unit, text[: last.start()].rstrip(" \u2009")
            continue
        break
    spelled = re.search(r"(?:^|\W)(minus|negative)$", text, re.IGNORECASE)
    if spelled:
        signs, text = signs + "-", text[: spelled.start(1)].rstrip()
    if len(signs) > 1 or (signs and text and text[-1].isalnum()):
        raise UnreadableError("two signs, or an operator")
    for token in _TOKEN.findall(text):
        if token not in ":,;([{\"'‘“|" and (not _harmless(token, words) or known_unit(token) is not None):
            raise UnreadableError(f"{token!r} before the number")
    if text.rstrip().endswith(("*", "/")):
        raise UnreadableError("a part of something longer")
    return "-" in signs, currency


def _currency(text: str) -> str:
    if text[-1] in CURRENCIES:
        return "$" if text.upper() == "US$" else text
    return text.rstrip(".")


def _harmless(token: str, words: Container[str] | None) -> bool:
    """Whether a word may stand beside a number."""
    word = token.casefold().replace("’", "'")
    if word in _FRAME:
        return True
    if not word[:1].isalpha() or word in CHANGES or word.endswith("n't"):
        return False
    return words is None or counted(word, words) or known_unit(token) is not None


def _after(
    text: str, value: Fraction, currency: Unit | None, words: Container[str] | None
) -> tuple[Unit | None, frozenset[str], int]:
    """What stands behind the number: its unit, what it counts, and its scale. Raises for what changes it otherwise."""
    attached = bool(text) and not text[0].isspace()
    text = whole = text.strip(" \u2009")
    ordinal = re.match(r"(?:st|nd|rd|th)\b", text) if attached and value.denominator == 1 else None
    if ordinal:
        text = text[ordinal.end() :].strip()
    if currency is not None or any(sign in text for sign in CURRENCIES):
        text = re.sub(r"^[.,]\s?[-–—]+", "", text).strip()
    scale, text = _scale(text, attached, currency)
    unit, nouns, text = _unit(text, words)
    if currency is not None:
        if unit is None:
            unit = currency
        elif not dict(unit.dimension).keys() & dict(currency.dimension).keys():
            unit = currency * unit
    text = _closed(text, value * scale, words)
    if attached and text == whole and text[:1].isalpha():
        raise UnreadableError("a letter written to the number")
    for token in _TOKEN.findall(text):
        if token in ",;:)]}\"'’”|":
            continue
        if not _harmless(token, words):
            raise UnreadableError(f"{token!r} behind the number")
    return unit, nouns, scale


def _scale(text: str, attached: bool, currency: Unit | None) -> tuple[int, str]:
    word = re.match(r"[^\W\d_]+", text)
    if word is None:
        return 1, text
    name = word[0]
    rest = text[word.end() :].removeprefix(".").strip()
    if attached or currency is not None:
        # A bare m or t behind a plain number is a metre and a tonne.
        letter = LETTER_SCALES.get(name)
        if letter is not None and (currency is not None or name in "kKM"):
            return letter, rest
    found = SCALES.get(name.casefold())
    if found is None and len(name) > 1:
        found = SCALES.get(name[0]) if ord(name[0]) > 0x2E80 else None  # 5万元
        rest = text[1:].strip() if found is not None else rest
    if found is None or (name in ("K", "k") and not attached and currency is None):
        return 1, text
    return found, rest.removeprefix("of ").strip()


_ONE = Unit((), Fraction(1))
_UNIT_WORD = re.compile(r"°\s?[CF]\b|a\.m\.|p\.m\.|[^\W\d_]+|[$€£¥₹%‰°¢℃℉]")
_TEMPERATURE = re.compile(r"\s(celsius|fahrenheit|[CF])\b", re.IGNORECASE)
_POWER = re.compile(r"(?:\s?(?:\^|\*\*)\s?\(?(?=-?\d)|(?<=m)(?=[23]\b))(-?\d)\)?|\s?(squared|cubed)\b")


def _unit(text: str, words: Container[str] | None) -> tuple[Unit | None, frozenset[str], str]:
    """The unit at the beginning of a text, the nouns counted, and the rest."""
    unit: Unit | None = None
    nouns: set[str] = set()
    slash = re.match(r"\s?/\s?(?=[^\W\d_])", text)
    divide, text = bool(slash), text[slash.end() if slash else 0 :]
    while True:
        text = re.sub(r"^[ \u2009]*(?:-(?=[^\W\d_]))?", "", text)
        two = re.match(r"(percentage|basis)[ -](points?)\b|(per)[ -](cent)\b", text, re.IGNORECASE)
        if two:
            name = "percent" if two[3] else f"{two[1]}-{two[2]}".casefold()
            found, end = known_unit(name), two.end()
        else:
            kind = re.match(r"(square|sq\.?|cubic|cu\.?)\s(?=[^\W\d_])", text, re.IGNORECASE)
            start = kind.end() if kind else 0
            word = _UNIT_WORD.match(text, start)
            if word is None:
                return unit, frozenset(nouns), text
            found, end = known_unit(word[0].replace(" ", "").replace("º", "°")), word.end()
            if found is None and word[0].casefold() == "per" and not divide:
                divide, text = True, text[end:]
                continue
            if re.fullmatch("degrees?", word[0]) and (named := _TEMPERATURE.match(text, end)):
                found, end = known_unit(named[1]), named.end()
            if found is None:
                if kind or word[0].casefold() in _FRAME or not _counts(word[0], words):
                    return unit, frozenset(nouns), text
                nouns.add(singular(word[0].casefold()))
                text, divide = text[end:], False
                power = _POWER.match(text)
                slash = re.match(r"\s?/\s?(?=[^\W\d_])", text)
                if power or slash:
                    divide, text = bool(slash), text[(power or slash).end() :]  # type: ignore[union-attr]
                continue
            if kind:
                found = found ** (2 if kind[1].casefold().startswith("s") else 3)
            power = _POWER.match(text, end)
            if power:
                found, end = found ** (int(power[1]) if power[1] else 2 if power[2] == "squared" else 3), power.end()
        if found is not None and not (unit is None and divide and nouns):  # `12 items/hour` are items
            unit = (unit or _ONE) / found if divide else (unit or _ONE) * found
        text = text[end:]
        operator = re.match(r"\s?([/*])\s?(?=[^\W\d_]|°)", text)
        divide = bool(operator and operator[1] == "/")
        if operator:
            text = text[operator.end() :]
        elif not re.match(r"\s?(?:per\b|[^\W\d_]+)", text):
            return unit, frozenset(nouns), text


def _counts(word: str, words: Container[str] | None) -> bool:
    """Whether a word is what the number counts; where any noun may stand (`words` None), one that changes none."""
    if words is None:
        return len(word) > 1 and word.casefold() not in CHANGES and not word.casefold().endswith("n't")
    return counted(word, words)


def _closed(text: str, value: Fraction, words: Container[str] | None) -> str:
    """The rest without closing punctuation and without a parenthesis that says the same again."""
    text = text.strip(" \u2009")
    said = re.match(r"\(([^()]{1,80})\)", text)
    if said:
        inner = said[1].strip()
        if _spelled(inner) != value and _arithmetic(inner) != value:
            for token in _TOKEN.findall(inner):
                if not _harmless(token, words):
                    raise UnreadableError("a parenthesis that says something else")
        text = text[said.end() :].strip()
    if re.fullmatch(r".*[^.!,;:]?[.!,;]", text, re.DOTALL) and not re.search(r"[.!,;:?]{2}$", text):
        text = text[:-1]
    return text


def _spelled(text: str) -> Fraction | None:
    """The number that English words spell, up to thousands; None for other text."""
    total = part = 0
    found = False
    for word in re.split(r"[\s-]+", text.casefold()):
        if word in _NUMBER_WORDS:
            part += _NUMBER_WORDS[word]
        elif word == "hundred" and part:
            part *= 100
        elif word in ("thousand", "million") and part:
            total, part = total + part * SCALES[word], 0
        elif word != "and" or not found:
            return None
        found = True
    return Fraction(total + part) if found else None


_ARITHMETIC = re.compile(r"[\d\s.,+\-*/()$€£%]+")


def _arithmetic(text: str) -> Fraction | None:
    """The value of a sum in digits and + - * / with parentheses; None for anything else."""
    plain = re.sub(r"\u2009|[$€£%]|,(?=\d{3})", "", text)
    if not _ARITHMETIC.fullmatch(text) or len(text) > LONGEST:
        return None
    try:
        found = {rational(value) for value in readings(plain)}
    except (NoValueError, NoScalarError, RecursionError):
        return None
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Number:
    """Equal numbers, compared exactly (no rounding), in the same unit where both have one; see `read_quantity`."""

    name: str = "number"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        expected = reading_gold(read_quantity, gold)
        if _PLAIN.fullmatch(answer):
            return read_quantity(answer).same(expected)
        found = read_quantity(answer, _Words(vocabulary(gold), vocabulary(question)))
        if found.same(expected):
            return True
        # "How many dozen …?" asks for 7, and `7 dozen` says it.
        asked = found.scale > 1 and found.scale in asked_scales(question)
        return asked and replace(found, value=found.value / found.scale).same(expected)

    def key(self, answer: str) -> str:
        return str(read_quantity(answer).value)


class _Words:
    """The words of gold and question together, without making a set of both for every answer."""

    def __init__(self, *parts: frozenset[str]) -> None:
        self._parts = parts

    def __contains__(self, word: object) -> bool:
        return any(word in part for part in self._parts)
