"""Numbers and lists in words, as terminals and documents show them.

The pages set the same figures with the spaces, dashes and minus signs of type (`realm.pages.svg`).
"""

from collections.abc import Callable

#: What stands for a figure that there is none of.
NONE = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as `71.2%`."""
    return NONE if share is None else f"{share:.{digits}%}"


def hundredths(share: float) -> str:
    """A share, or the difference of two, in per cent without the sign: `71.2`."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """A difference of shares in points: `+22.9`."""
    return f"{100 * difference:+.1f}"


def between(low: float, high: float, form: Callable[[float], str] = hundredths) -> str:
    """An interval: `67.0 to 75.1`."""
    return f"{form(low)} to {form(high)}"


def bracketed(low: float, high: float, form: Callable[[float], str] = hundredths) -> str:
    """An interval where there is little room: `[67.0, 75.1]`."""
    return f"[{form(low)}, {form(high)}]"


def p_value(p: float) -> str:
    """A p-value to three digits: `0.012`, `< 0.0005`, `1`."""
    return "1" if p >= 0.9995 else f"{p:.3f}" if p >= 0.0005 else "< 0.0005"


def decimals(value: float | None) -> str:
    """A number to two digits behind the point, or nothing."""
    return "" if value is None else f"{value:.2f}"


def grouped(number: float, apart: str = ",") -> str:
    """A number of things, its thousands set apart: `12,345`."""
    return f"{round(number):,}".replace(",", apart)


def amount(number: float) -> str:
    """A number that may be small, as money: `12,345`, `0.27`."""
    return grouped(number) if number >= 100 else f"{number:.3g}"


def clock(seconds: float) -> str:
    """A time that is counted on or down: `12:05 min`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def duration(seconds: float) -> str:
    """Seconds in words: `45 s`, `12 min 5 s`, `3 h 20 min`."""
    total = round(seconds)
    if total < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{total} s"
    minutes, rest = divmod(total, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def roughly(seconds: float) -> str:
    """A time that is only roughly known: `45 s`, `40 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
