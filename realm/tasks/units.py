"""Units, currencies and counted things that may stand beside a number, and the words that change a number.

A unit is a product of base dimensions and a factor, so that 5 km equals 5000 m and no hour equals a minute.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from realm.formula import units as formula

#: Words by which a number is multiplied: those of formulas, and what prose and other languages have besides.
SCALES: dict[str, int] = formula.SCALES | {
    "k": 10**3, "mn": 10**6, "mln": 10**6, "bn": 10**9, "bln": 10**9, "tn": 10**12, "trn": 10**12, "lac": 10**5,
    "tausend": 10**3, "tsd": 10**3, "mio": 10**6, "mill": 10**6, "millionen": 10**6, "mrd": 10**9, "milliarden": 10**9,
    "mille": 10**3, "milliard": 10**9, "milliards": 10**9, "millón": 10**6, "millones": 10**6, "milioni": 10**6,
    "миллион": 10**6, "миллионов": 10**6, "тысяч": 10**3, "тыс": 10**3, "млн": 10**6, "млрд": 10**9,
    "百": 100, "千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8, "천": 10**3, "만": 10**4, "억": 10**8,
}  # fmt: skip
#: Letters that scale an amount of money, or a number that they are written to without a space.
LETTER_SCALES = {"K": 10**3, "k": 10**3, "M": 10**6, "m": 10**6, "B": 10**9, "b": 10**9, "T": 10**12}

#: Words that negate a number, leave it open, or make another one of it. No question and no gold makes them harmless.
CHANGES = frozenset(
    """
    not no non never neither nor none cannot without except excluding isn't aren't wasn't won't can't don't doesn't
    maybe perhaps possibly probably likely unlikely presumably supposedly guess suppose think believe might may could
    about around approximately approx roughly circa nearly almost close near estimated ballpark some
    than least most more less fewer greater smaller larger bigger higher lower over under above below beyond exceeding
    up upto max min maximum minimum between within or versus vs either unless until till before after
    minus negative plus times squared cubed square cube cubic root sqrt frac log ln exp sin cos tan factorial mod modulo
    wrong incorrect false untrue unknown unsure hardly barely scarcely rarely if loss lost lose
    decrease decreased opposite
    base inverse reciprocal power divided multiplied twice thrice double triple quadruple doubled tripled half halve
    halved halves quarter quarters third thirds fourth fourths fifth fifths sixth sixths seventh sevenths eighth
    eighths ninth ninths tenth tenths hundredth hundredths thousandth thousandths millionth millionths percentile
    pi π e i score gross mil
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
    """.split()  # noqa: SIM905 (a list of words reads better as words)
).union(SCALES)

_SI = {"k": 3, "c": -2, "m": -3, "d": -1, "µ": -6, "μ": -6, "n": -9, "M": 6, "G": 9}


def _table() -> dict[str, tuple[str, Fraction]]:
    """Unit as it is written -> its base dimension and its factor. Symbols keep their case, names have none."""
    found: dict[str, tuple[str, Fraction]] = {}

    def put(dimension: str, factor: Fraction | int | str, names: str) -> None:
        found.update((name, (dimension, Fraction(factor))) for name in names.split())

    for symbol, dimension, factor, prefixes in (
        ("m", "length", Fraction(1), "kcdmµμn"), ("g", "mass", Fraction(1), "kmµμ"), ("s", "time", Fraction(1), "mµμn"),
        ("l", "volume", Fraction(1), "mcd"), ("L", "volume", Fraction(1), "mcd"), ("J", "energy", Fraction(1), "kM"),
        ("W", "watt", Fraction(1), "kMm"), ("V", "volt", Fraction(1), "km"), ("Hz", "hertz", Fraction(1), "kMG"),
        ("Pa", "pascal", Fraction(1), "kM"), ("N", "newton", Fraction(1), "k"), ("A", "ampere", Fraction(1), "m"),
        ("mol", "mole", Fraction(1), "m"), ("Wh", "energy", Fraction(3600), "k"), ("eV", "eV", Fraction(1), "kM"),
        ("cal", "energy", Fraction("4.184"), "k"), ("Ω", "ohm", Fraction(1), "k"), 
    ):  # fmt: skip
        put(dimension, factor, symbol)
        for prefix in prefixes:
            put(dimension, factor * Fraction(10) ** _SI[prefix], prefix + symbol)
    for stem, dimension in (
        ("meter", "length"), ("metre", "length"), ("gram", "mass"), ("liter", "volume"), ("litre", "volume"),
        ("joule", "energy"), ("watt", "watt"), ("second", "time"),
    ):  # fmt: skip
        for prefix, power in (("", 0), ("kilo", 3), ("centi", -2), ("milli", -3), ("deci", -1), ("micro", -6)):
            put(dimension, Fraction(10) ** power, f"{prefix}{stem} {prefix}{stem}s")
    put("length", "0.0254", "in inch inches")
    put("length", "0.3048", "ft foot feet")
    put("length", "0.9144", "yd yard yards")
    put("length", "1609.344", "mi mile miles")
    put("mass", 1000, "kilo kilos kgs")
    put("mass", 10**6, "t ton tons tonne tonnes")
    put("mass", "28.349523125", "oz ounce ounces")
    put("mass", "453.59237", "lb lbs pound-mass")
    put("time", 1, "sec secs")
    put("time", 60, "min mins minute minutes")
    put("time", 3600, "h hr hrs hour hours")
    put("time", 86400, "d day days")
    put("time", 604800, "wk week weeks")
    put("month", 1, "month months")
    put("month", 12, "yr yrs year years")
    put("volume", "3.785411784", "gal gallon gallons")
    put("volume", "0.946352946", "quart quarts")
    put("volume", "0.473176473", "pint pints")
    put("energy", "4184", "Cal Calorie Calories")
    put("energy", "4.184", "calorie calories")
    put("angle", 1, "° deg degree degrees")
    put("radian", 1, "rad radian radians")
    put("celsius", 1, "°C ℃ C celsius")
    put("fahrenheit", 1, "°F ℉ F fahrenheit")
    put("kelvin", 1, "kelvin kelvins")
    put("volt", 1, "volt volts")
    put("ampere", 1, "amp amps ampere amperes")
    put("newton", 1, "newton newtons")
    put("hertz", 1, "hertz")
    put("pascal", 1, "pascal pascals")
    put("mole", 1, "mole moles")
    put("ohm", 1, "ohm ohms")
    put("acre", 1, "acre acres")
    put("byte", 1, "byte bytes")
    for power, letter in enumerate("kMGT", start=1):
        put("byte", 1000**power, f"{letter}B {letter.upper()}B")
    put("bit", 1, "bit bits")
    put("USD", 1, "$ USD US$ dollar dollars bucks")
    put("USD", "0.01", "¢ cent cents")
    put("EUR", 1, "€ EUR euro euros")
    put("GBP", 1, "£ GBP pound pounds quid")
    put("JPY", 1, "¥ JPY yen")
    put("INR", 1, "₹ INR Rs rupee rupees")
    put("CNY", 1, "CNY RMB yuan 元")
    put("CAD", 1, "C$ CA$")
    put("AUD", 1, "A$ AU$")
    for code in ("CHF", "CAD", "AUD", "KRW", "RUB", "BRL", "MXN", "SEK", "NOK", "DKK", "PLN"):
        put(code, 1, code)
    put("CHF", 1, "franc francs")
    put("peso", 1, "peso pesos")
    put("share", 1, "% percent pct percentage-points percentage-point")
    put("share", "0.1", "‰ permille permil")
    put("share", "0.0001", "ppm")
    put("share", "0.01", "basis-points basis-point bps")
    put("clock-am", 1, "am AM a.m.")
    put("clock-pm", 1, "pm PM p.m.")
    return found


UNITS = _table()
CURRENCIES = frozenset("$€£¥₹")
_FOLDED = {name.casefold(): name for name in UNITS if len(name) > 2}
_ANY_CASE = frozenset(name.casefold() for name in UNITS)
#: Units that never vanish: beside them a number is another one.
_STATED = frozenset({"‰", "permille", "permil", "ppm", "basis-points", "basis-point", "bps"})

#: Things that word problems count. What a question or its gold names may be counted too.
COUNTED = frozenset(
    """
    unit item piece thing object point person people man men woman women child children kid boy girl baby adult student
    pupil teacher friend player worker employee customer guest passenger member family team class group
    apple orange banana pear peach lemon egg cookie candy candies cake pie pizza slice sandwich cup glass glasses bottle
    can jar bowl plate book page letter word card stamp sticker pencil pen crayon marker notebook ticket coin bill box
    boxes bag basket bucket pack package carton case crate shelf shelves row column chair table desk room house houses
    door window floor car bus buses truck bike bicycle train plane boat ship wheel tire ball doll toy game puzzle marble
    bead block brick flower rose tree plant leaf leaves seed bush bushes dog cat puppy puppies kitten bird duck chicken
    hen cow horse pig sheep goat rabbit fish frog bee ant butterfly butterflies animal shirt dress dresses hat shoe sock
    pair set step lap trip visit game match matches goal round run shot turn way time page question problem test mile
    个 個 只 本 人 名 件 枚 匹 頭 头 位 次 岁 歳 개 명
    way vertex vertices edge face side term solution root value number integer element digit square triangle
    photo picture painting song movie show episode video message call email star rock shell button ribbon balloon
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Unit:
    """A unit: `dimension` as sorted (base, power) pairs, the factor to its bases, and whether it may be left out."""

    dimension: tuple[tuple[str, int], ...]
    factor: Fraction
    optional: bool = True

    def __mul__(self, other: Unit) -> Unit:
        return _combined(self, other, 1)

    def __truediv__(self, other: Unit) -> Unit:
        return _combined(self, other, -1)

    def __pow__(self, power: int) -> Unit:
        dimension = tuple((base, power * exponent) for base, exponent in self.dimension)
        return Unit(dimension, self.factor**power, self.optional)


def _combined(one: Unit, other: Unit, sign: int) -> Unit:
    powers = dict(one.dimension)
    for base, exponent in other.dimension:
        powers[base] = powers.get(base, 0) + sign * exponent
    dimension = tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent))
    return Unit(dimension, one.factor * other.factor**sign, one.optional and other.optional)


def singular(noun: str) -> str:
    """A noun without its plural ending, roughly; the same form for `apple` and `apples`."""
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "sses", "xes", "zes")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) else noun


def known_unit(word: str) -> Unit | None:
    """The unit that a word or sign names: symbols in their own case, names in any."""
    name = word if word in UNITS else _FOLDED.get(word.casefold())
    if name is None:
        return None
    base, factor = UNITS[name]
    return Unit(((base, 1),), factor, name not in _STATED)


def counted(word: str, others: Container[str] = ()) -> bool:
    """Whether a word may be what a number counts. `others`: words of the question and the gold, in lower case."""
    word = word.casefold()
    if len(word) == 1 and word.isascii():
        return False
    if word in CHANGES:
        return word in others
    # A unit in another case is another unit, and no noun.
    return word not in _ANY_CASE and any(form in COUNTED or form in others for form in (word, singular(word)))


_HOW_MANY = re.compile(r"\bhow (?:many|much) (more|fewer|less|times)\b")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


_ASKED = re.compile(r"\b(?:how many|how much|in|nearest|number of) (?:\w+ ){0,2}?(" + "|".join(SCALES) + r")\b")


@lru_cache(maxsize=4096)
def asked_scales(question: str) -> frozenset[int]:
    """The scales in which a question wants its answer: 12 of "How many dozen eggs …?"."""
    return frozenset(SCALES[name] for name in _ASKED.findall(question[:20_000].casefold()))


@lru_cache(maxsize=4096)
def vocabulary(text: str) -> frozenset[str]:
    """The words of a question or a gold that may stand beside a number: in lower case, singular too, none that changes
    it. A question for how many more (or fewer, less, times) lets an answer say so."""
    text = text[:20_000].casefold()
    words = {word.replace("’", "'") for word in _WORD.findall(text)}
    words = {word for word in words if word not in CHANGES and not word.endswith("n't")}
    words.update(_HOW_MANY.findall(text))
    return frozenset(words | {singular(word) for word in words})
