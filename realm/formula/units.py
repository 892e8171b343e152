"""Units, currencies and scales that may stand behind (or before) a number in an answer."""

from __future__ import annotations

#: A unit as sorted (name, exponent) pairs: m/s² is (("m", 1), ("s", -2)).
Unit = tuple[tuple[str, int], ...]

SCALES = {
    "hundred": 10**2, "hundreds": 10**2, "thousand": 10**3, "thousands": 10**3, "million": 10**6, "millions": 10**6,
    "billion": 10**9, "billions": 10**9, "trillion": 10**12, "trillions": 10**12, "dozen": 12, "dozens": 12,
    "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7,
}  # fmt: skip

#: Signs of currencies with the name under which their words are known too.
CURRENCIES = {
    "$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "₹": "rupee", "₩": "won", "₽": "ruble",
    r"\$": "dollar", r"\euro": "euro", r"\pounds": "pound", r"\texteuro": "euro", r"\yen": "yen",
}  # fmt: skip

#: Units that could be a scale (5 K for 5000) or change the value: they never vanish.
STICKY = frozenset({"K", "permil", "B", "T", "M"})

# Names, then the other spellings of each. Plurals in s are known without being listed.
_NAMED = """
    % percent pct percentage \\%
    permil \\permil
    unit
    dollar USD usd buck
    cent
    euro EUR eur
    pound GBP lb lbs
    yen JPY
    rupee INR Rs
    won KRW
    deg degree
    degC Celsius celsius centigrade
    degF Fahrenheit fahrenheit
    rad radian
    m meter metre
    s sec second secs
    min minute mins
    h hr hrs hour
    day
    week wk wks
    month
    year yr yrs
    in inch inches
    ft foot feet
    yd yds yard
    mi mile
    acre
    ha hectare
    oz ounce
    ton tonne
    gal gallon
    quart qt
    pint pt
    cup
    g gram gm
    L l liter litre
    N newton Newton
    J joule Joule
    W watt Watt
    V volt Volt
    A ampere amp Ampere
    K kelvin Kelvin
    C coulomb Coulomb
    F farad
    Hz hertz Hertz
    Pa pascal Pascal
    ohm \\Omega Ohm
    mol mole
    eV
    cal calorie
    bar
    atm
    Wh
    bit
    byte
    knot
    mph
    kph
    rpm
    am AM
    pm PM
"""
# Prefixed symbols in use, not every product of prefix and unit: `cs` and `mN` are more often two variables.
_SYMBOLS = """
    km cm mm dm nm um µm μm ms ns us µs μs kg mg ug µg μg mL ml cL cl dL dl kL kl kN kJ MJ GJ kW MW GW mW kV mV mA
    kHz MHz GHz kPa MPa hPa mmol keV MeV GeV kcal Kcal kWh MWh kB KB MB GB TB kb Mb Gb mmHg
"""
_PREFIXES = {"k": "kilo", "c": "centi", "m": "milli", "M": "mega", "G": "giga", "d": "deci", "h": "hecto", "n": "nano",
             "u": "micro", "µ": "micro", "μ": "micro"}  # fmt: skip
_PREFIXED = ("m", "s", "g", "L", "N", "J", "W", "V", "A", "Hz", "Pa", "ohm", "mol", "eV", "cal", "Wh", "bit", "byte")


def _lexicon() -> dict[str, str]:
    known: dict[str, str] = {}
    for line in _NAMED.split("\n"):
        first, *others = line.split() or [""]
        for name in filter(None, (first, *others)):
            for spelling in (name, name + "s") if len(name) > 2 and name.isalpha() else (name,):
                known[spelling] = first
                if first in _PREFIXED and len(name) > 3:
                    known |= {long + spelling.lower(): long + first for long in _PREFIXES.values()}
    for symbol in _SYMBOLS.split():
        rest = known.get(symbol[1:])
        known[symbol] = _PREFIXES[symbol[0]] + rest if rest in _PREFIXED and symbol[0] in _PREFIXES else symbol
    return known


_KNOWN = _lexicon()
_WORDS = {name.casefold(): unit for name, unit in _KNOWN.items() if len(name) > 3}


def unit_named(word: str) -> str | None:
    """The unit that a word or symbol names (`cm`, `Hours`), None for none. Symbols of up to three letters mind case."""
    return _KNOWN.get(word) or (_WORDS.get(word.casefold()) if len(word) > 3 else None)
