"""Scalars compared by value: exactly where both are rational, else at 320 digits at a few points.

Nothing is built that a short text could make huge: numbers have a limit of bits, powers and factorials one of size.
"""

import math
import zlib
from fractions import Fraction
from functools import lru_cache
from typing import Any

from realm.formula.expressions import Value
from realm.formula.words import words

_MOST_BITS = 1 << 17
_DIGITS = 320
# What two evaluations of one value may differ by, relative to the largest term that went into them: half the digits may
# be lost where terms cancel.
_NOISE = 160
_LARGEST = 10**9


class NoScalarError(ValueError):
    """No number: undefined (1/0), too large to compare, or no scalar at all."""


# ---------------------------------------------------------------------------------------------------------------------
# Exactly


def rational(value: Value) -> Fraction | None:
    """The value, exactly; None where it is none of numbers alone, irrational, or too large for that.

    Raises `NoScalarError` where it is undefined.
    """
    kind = value[0]
    if kind == "num":
        found: Fraction = value[1]
        return found
    if kind in ("const", "sym", "pm", "opaque"):
        return None
    if kind == "deg":
        return rational(value[1])
    if kind == "fn":
        return _rational_function(value[1], [rational(part) for part in value[2:]])
    if kind not in ("add", "mul", "div", "neg", "pow"):
        raise NoScalarError("no scalar")
    parts = [rational(part) for part in value[1:]]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or sum(map(_bits, known)) > _MOST_BITS:
        return None
    if kind == "add":
        return sum(known, Fraction(0))
    if kind == "neg":
        return -known[0]
    if kind == "mul":
        return known[0] * known[1]
    if kind == "div":
        if known[1] == 0:
            raise NoScalarError("division by zero")
        return known[0] / known[1]
    return _power(*known)


def _bits(number: Fraction) -> int:
    return number.numerator.bit_length() + number.denominator.bit_length()


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return None
    if base == 0 and exponent <= 0:
        raise NoScalarError("zero to the power of zero")
    if abs(exponent) * _bits(base) > _MOST_BITS:
        return Fraction(1) if abs(base) == 1 and exponent % 2 == 0 else base if abs(base) == 1 else None
    return base ** int(exponent)


def _rational_function(name: str, arguments: list[Fraction | None]) -> Fraction | None:
    if any(argument is None for argument in arguments):
        return None
    known = [argument for argument in arguments if argument is not None]
    if name == "abs" and len(known) == 1:
        return abs(known[0])
    if name in ("floor", "ceil") and len(known) == 1:
        return Fraction(math.floor(known[0]) if name == "floor" else math.ceil(known[0]))
    if name in ("min", "max") and known:
        return min(known) if name == "min" else max(known)
    if name == "sqrt" and known[0] >= 0:
        roots = Fraction(math.isqrt(known[0].numerator), math.isqrt(known[0].denominator))
        return roots if roots * roots == known[0] else None
    whole = [int(number) for number in known if number.denominator == 1]
    if len(whole) < len(known):
        return None
    if name in ("gcd", "lcm") and whole:
        return Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))
    if name == "binom" and len(whole) == 2 and 0 <= whole[0] <= 10_000 and whole[1] >= 0:
        return Fraction(math.comb(*whole))
    if name == "factorial" and 0 <= whole[0] <= 5_000:
        return Fraction(math.factorial(whole[0]))
    if name == "factorial2" and 0 <= whole[0] <= 5_000:
        return Fraction(math.prod(range(whole[0], 0, -2)))
    return None


# ---------------------------------------------------------------------------------------------------------------------
# At many digits


def _is_undefined(name: str) -> bool:
    """Whether a function's name is that of `f(x)`, `g'(2)` or `f_1(x)`."""
    return name[0] in "fghFGH" and name.partition("_")[0].rstrip("'") == name[0]


#: A number and the size of the largest terms that went into it, by which its error is measured.
_Sized = tuple[Any, Any]


class _UndefinedError(ValueError):
    """No value at this point."""


class _Evaluation:
    """One expression at one point. `real`: whether every part of it was real."""

    def __init__(self, point: int, fixed: dict[str, Any]) -> None:
        import mpmath

        self._mp = mpmath.mp
        self._point = point
        self._fixed = fixed
        self._angles = False
        self.real = True

    def of(self, value: Value) -> _Sized:
        mp = self._mp
        kind = value[0]
        if kind == "num":
            return self._exact(mp.mpf(value[1].numerator) / value[1].denominator)
        if kind == "const":
            if value[1] == "oo":
                raise NoScalarError("infinity within an expression")
            return self._exact({"pi": +mp.pi, "e": +mp.e, "i": mp.mpc(0, 1)}[value[1]])
        if kind == "sym":
            return self._exact(self._variable(value[1]))
        if kind == "fn" and _is_undefined(value[1]):
            return self._exact(self._variable(repr(value)))
        if kind == "deg":
            inner, size = self.of(value[1])
            return (inner * mp.pi / 180, size) if self._angles else (inner, size)
        if kind == "add":
            parts = [self.of(part) for part in value[1:]]
            return self._sized(sum(part for part, _ in parts), max(size for _, size in parts))
        if kind == "neg":
            inner, size = self.of(value[1])
            return -inner, size
        if kind == "mul":
            (one, size_one), (two, size_two) = self.of(value[1]), self.of(value[2])
            return self._sized(one * two, size_one * size_two)
        if kind == "div":
            (one, size_one), (two, size_two) = self.of(value[1]), self.of(value[2])
            if self._is_noise(two, size_two):
                raise _UndefinedError
            return self._sized(one / two, size_one / abs(two) * (size_two / abs(two)))
        if kind == "pow":
            return self._power(value[1], value[2])
        if kind == "fn":
            return self._function(value[1], value[2:])
        raise NoScalarError("no scalar")

    def _variable(self, name: str) -> Any:
        return self._fixed[name] if name in self._fixed else _coordinate(name, self._point)

    def _exact(self, number: Any) -> _Sized:
        return number, abs(number)

    def _sized(self, number: Any, size: Any) -> _Sized:
        if not self._mp.isfinite(number):
            raise _UndefinedError
        return number, max(size, abs(number))

    def _is_noise(self, number: Any, size: Any) -> bool:
        return abs(number) <= size * self._mp.mpf(10) ** -_NOISE

    def _power(self, base: Value, exponent: Value) -> _Sized:
        mp = self._mp
        (one, size), (two, size_two) = self.of(base), self.of(exponent)
        if self._is_noise(one, size):
            if mp.re(two) > 0:
                return mp.mpf(0), size
            raise _UndefinedError
        whole = rational(exponent) if exponent[0] != "sym" else None
        # The size of the outcome, as a power of e.
        if abs(two) * (abs(mp.log(abs(one))) + 4) > _LARGEST:
            raise NoScalarError("too large to compare")
        if (
            not isinstance(one, mp.mpc)
            and one < 0
            and whole is not None
            and whole.denominator % 2
            and whole.denominator > 1
        ):
            # The real root, which is what x^{1/3} means among real numbers.
            found = abs(one) ** (mp.mpf(whole.numerator) / whole.denominator)
            return self._sized(-found if whole.numerator % 2 else found, 0)
        found = one ** int(two) if not isinstance(two, mp.mpc) and mp.isint(two) else mp.power(one, two)
        self._note(found)
        loss = max(size / abs(one) * abs(two), size_two * abs(mp.log(abs(one))), 1)
        return self._sized(found, abs(found) * loss)

    def _note(self, found: Any) -> None:
        if isinstance(found, self._mp.mpc) and found.imag != 0:
            self.real = False

    def _function(self, name: str, arguments: tuple[Value, ...]) -> _Sized:
        mp = self._mp
        outside, self._angles = self._angles, name in _PLAIN
        found = [self.of(argument) for argument in arguments]
        self._angles = outside
        numbers = [number for number, _ in found]
        size = max(size for _, size in found)
        x = numbers[0]
        if name not in _RELATIVE and name not in ("ln", "log") and abs(size) > _LARGEST:
            raise NoScalarError("too large to compare")
        try:
            if name in ("floor", "ceil"):
                near = mp.nint(mp.re(x))
                if self._is_noise(x - near, max(size, 1)):
                    x = near
                outcome = mp.floor(x) if name == "floor" else mp.ceil(x)
            elif name in ("min", "max"):
                if any(isinstance(number, mp.mpc) for number in numbers):
                    raise NoScalarError("complex numbers have no order")
                outcome = min(numbers) if name == "min" else max(numbers)
            elif name == "abs":
                outcome = abs(x)
            elif name == "sqrt":
                outcome = mp.sqrt(x)
            elif name == "root":
                outcome = self._root(x, numbers[1])
            elif name in ("ln", "log"):
                if self._is_noise(x, size):
                    raise _UndefinedError
                outcome = mp.log(x)
                if name == "log":
                    base = mp.log(numbers[1]) if len(numbers) > 1 else mp.log(10)
                    if base == 0:
                        raise _UndefinedError
                    outcome /= base
            elif name == "factorial":
                outcome = mp.factorial(x)
            elif name == "factorial2":
                outcome = mp.fac2(x)
            elif name == "binom" and len(numbers) == 2:
                outcome = mp.binomial(*numbers)
            elif name == "exp":
                outcome = mp.exp(x)
            elif name in _PLAIN:
                outcome = getattr(mp, name)(x)
            else:
                raise NoScalarError(f"no value of {name}")
        except (ZeroDivisionError, ValueError, OverflowError, mp.NoConvergence) as error:
            if isinstance(error, NoScalarError):
                raise
            raise _UndefinedError from error
        self._note(outcome)
        # How much an error of the argument, which its size measures, changes the outcome: by the derivative.
        loss = max(size / abs(x), 1) if x else max(size, 1)
        if name in ("ln", "log"):
            return self._sized(outcome, max(abs(outcome), loss))
        if name in _RELATIVE:
            return self._sized(outcome, abs(outcome) * loss)
        return self._sized(outcome, (1 + abs(outcome)) ** 2 * size if name in _PLAIN else abs(outcome) * max(size, 1))

    def _root(self, x: Any, degree: Any) -> Any:
        mp = self._mp
        if not degree:
            raise _UndefinedError
        if not isinstance(x, mp.mpc) and x < 0 and mp.isint(degree) and int(degree) % 2:
            return -mp.power(-x, 1 / degree)
        return mp.power(x, 1 / degree)


_PLAIN = frozenset(
    words("sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth sech csch asinh acosh atanh")
)
#: Functions whose outcome has the relative error of their argument.
_RELATIVE = frozenset(words("abs sqrt root min max floor ceil"))

_POINTS = 5
#: The last two are below -2; of several variables, all negative ones would tell sqrt(x) sqrt(y) from sqrt(xy).
_POINTS_OF_ONE = 7
#: Where a function has steps or a bend, few points might all lie on the same side.
_POINTS_OF_STEPS = 60
#: Letters that count: an identity has to hold for whole numbers only.
_COUNTING = frozenset("nkmN")


def _coordinate(name: str, point: int) -> Any:
    """The value of a variable at a point, the same wherever it is asked for: positive at the first two points, above 1
    and below, below -2 at the last two, of either sign at the others."""
    import mpmath

    drawn = zlib.crc32(f"{point} {name}".encode())
    if name.partition("_")[0] in _COUNTING:
        return mpmath.mpf(5 + drawn % 50)
    top, below = 1 + drawn % 97, (7, 101, 23, 11, 103)[point % 5]
    if point in (5, 6):
        return mpmath.mpf(-top - 2 * below) / below
    if point == 0:
        top += below
    return mpmath.mpf(-top if point > 1 and drawn >> 16 & 1 else top) / below


def symbols(value: Value) -> frozenset[str]:
    """The names of the variables of a scalar."""
    if value[0] == "sym":
        return frozenset((value[1],))
    parts = [symbols(part) for part in value[1:] if isinstance(part, tuple) and part]
    return frozenset().union(*parts)


def _constant(value: Value) -> bool:
    """Whether no variable and no function without a definition is in a scalar."""
    if value[0] == "sym" or (value[0] == "fn" and _is_undefined(value[1])):
        return False
    return all(_constant(part) for part in value[1:] if isinstance(part, tuple) and part)


#: What `_Evaluation` found at a point: the number, the size of its terms, and whether it was real all along.
_Found = tuple[Any, Any, bool]


def _evaluated(value: Value, point: int, fixed: dict[str, Any] | None = None) -> _Found | None:
    import mpmath

    with mpmath.workdps(_DIGITS):
        evaluation = _Evaluation(point, fixed or {})
        try:
            number, size = evaluation.of(value)
        except _UndefinedError:
            return None
        return number, size, evaluation.real


@lru_cache(maxsize=512)
def _at_points(value: Value, points: int = _POINTS) -> tuple[_Found | None, ...]:
    """What the scalar is at each point, None where it is undefined; at one point alone if it is constant."""
    return tuple(_evaluated(value, point) for point in range(points if not _constant(value) else 1))


def _steps(value: Value) -> bool:
    return (value[0] == "fn" and value[1] in ("floor", "ceil", "abs", "min", "max")) or any(
        _steps(part) for part in value[1:] if isinstance(part, tuple) and part
    )


def _pairs(one: Value, two: Value) -> list[tuple[_Found, _Found]]:
    points = _POINTS_OF_ONE if len(symbols(one) | symbols(two)) == 1 else _POINTS
    points = _POINTS_OF_STEPS if _steps(one) or _steps(two) else points
    first, second = _at_points(one, points), _at_points(two, points)
    count = max(len(first), len(second))
    first, second = first * (count // len(first)), second * (count // len(second))
    return [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]


def equal(gold: Value, answer: Value) -> bool:
    """Whether two scalars have the same value; with variables, wherever the gold is a real number.

    Raises `NoScalarError` where one of them has none.
    """
    exact_gold, exact_answer = rational(gold), rational(answer)
    if exact_gold is not None and exact_answer is not None:
        return exact_gold == exact_answer
    if gold == answer:
        return True
    pairs = _pairs(gold, answer)
    if not pairs:
        raise NoScalarError("undefined")
    real = [pair for pair in pairs if pair[0][2]]
    return all(_close(one, two) for one, two in (real if len(real) > 1 else pairs))


def _close(one: _Found, two: _Found) -> bool:
    import mpmath

    with mpmath.workdps(_DIGITS):
        return bool(abs(one[0] - two[0]) <= max(one[1], two[1]) * mpmath.mpf(10) ** -_NOISE)


def number(value: Value) -> Any:
    """A real constant as an mpf, to be ordered by; None where it is none."""
    import mpmath

    if value in (("const", "oo"), ("neg", ("const", "oo"))):
        return mpmath.inf if value[0] == "const" else -mpmath.inf
    if not _constant(value):
        return None
    found = _at_points(value)[0]
    if found is None:
        raise NoScalarError("undefined")
    return None if isinstance(found[0], mpmath.mpc) and found[0].imag else mpmath.re(found[0])


def proportional(one: Value, two: Value) -> int:
    """1 or -1 where two expressions are a positive or negative constant times each other, so that setting them to zero
    says the same; else 0."""
    import mpmath

    pairs = _pairs(one, two)
    with mpmath.workdps(_DIGITS):
        tiny = mpmath.mpf(10) ** -_NOISE
        ratios = [
            (first[0] / second[0], first[1] / abs(first[0]) + second[1] / abs(second[0]))
            for first, second in pairs
            if abs(first[0]) > first[1] * tiny and abs(second[0]) > second[1] * tiny
        ]
        if len(ratios) < 2 or len(ratios) < len(pairs):
            return 0
        start = ratios[0][0]
        if any(abs(ratio - start) > abs(start) * loss * tiny for ratio, loss in ratios):
            return 0
        return 1 if mpmath.re(start) > 0 else -1


def same_when_solved(one: Value, two: Value) -> bool:
    """Whether two expressions, both linear in one variable, have their zero at the same value of it."""
    import mpmath

    return any(
        all(
            first is not None and second is not None and abs(first - second) <= abs(first) * mpmath.mpf(10) ** -_NOISE
            for first, second in ((_zero(one, name, point), _zero(two, name, point)) for point in range(_POINTS))
        )
        for name in sorted(symbols(one) & symbols(two))
    )


def _zero(value: Value, name: str, point: int) -> Any:
    """Where an expression is zero in one variable, the others being at a point; None where it is not linear in it."""
    import mpmath

    with mpmath.workdps(_DIGITS):
        found = [_evaluated(value, point, {name: mpmath.mpf(at) / 7}) for at in (3, 10, 24)]
        if any(one is None for one in found):
            return None
        low, middle, high = (one[0] for one in found if one is not None)
        slope = middle - low
        noise = max(abs(low), abs(middle), abs(high)) * mpmath.mpf(10) ** -_NOISE
        if abs(slope) <= noise or abs(high - middle - 2 * slope) > noise:
            return None
        return mpmath.mpf(3) / 7 - low / slope
