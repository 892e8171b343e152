"""Sets of real numbers as intervals: `x < 5`, `(2, 5]`, unions, `x \\ne 2`, whether they are the same."""

from typing import Any

from realm.formula.expressions import Value
from realm.formula.values import NoScalarError, number

#: (from, whether without it, to, whether without it)
_Piece = tuple[Any, bool, Any, bool]
_NOISE = 160


class _NoIntervalsError(ValueError):
    """A value that is no set of real numbers with known ends."""


def same(gold: Value, answer: Value) -> bool | None:
    """Whether two values are the same set of real numbers; None where one of them is no such set."""
    try:
        (one, name_one), (two, name_two) = _read(gold), _read(answer)
    except (_NoIntervalsError, NoScalarError):
        return None
    if name_one is not None and name_two is not None and name_one != name_two:
        return False
    return len(one) == len(two) and all(
        a[1] == b[1] and a[3] == b[3] and _close(a[0], b[0]) and _close(a[2], b[2])
        for a, b in zip(one, two, strict=True)
    )


def _infinite() -> Any:
    import mpmath

    return mpmath.inf


def _close(one: Any, two: Any) -> bool:
    import mpmath

    if mpmath.isinf(one) or mpmath.isinf(two):
        return bool(one == two)
    with mpmath.workdps(2 * _NOISE):
        return bool(abs(one - two) <= max(abs(one), abs(two)) * mpmath.mpf(10) ** -_NOISE)


def _below(one: Any, two: Any) -> bool:
    return bool(one < two and not _close(one, two))


def _end(value: Value) -> Any:
    found = number(value)
    if found is None:
        raise _NoIntervalsError
    return found


def _read(value: Value) -> tuple[list[_Piece], Value | None]:
    """The pieces in order, apart from each other, and the variable that the set is of, if it names one."""
    kind = value[0]
    if kind == "tuple" and len(value[3]) == 2:
        low, high = map(_end, value[3])
        return _merged([(low, value[1] == "(", high, value[2] == ")")]), None
    if kind == "set":
        points = [_end(item) for item in value[1]]
        return _merged([(point, False, point, False) for point in points]), None
    if kind == "named" and value[1] == "R":
        return _everything(), None
    if kind == "assign":
        try:
            end = _end(value[2])
        except NoScalarError:
            pieces, name = _read(value[2])
        else:
            pieces, name = [(end, False, end, False)], None
        return pieces, value[1] if name is None else name
    if kind == "rel":
        return _chain(value)
    if kind == "relations":
        return _joined(value)
    if kind in ("union", "meet", "minus"):
        (one, name_one), (two, name_two) = _read(value[1]), _read(value[2])
        if kind == "minus":
            two = _complement(two)
        return _merged(one + two) if kind == "union" else _meet(one, two), name_one if name_two is None else name_two
    if kind == "builder" and (value[2][0] == "name" or value[2] == ("named", "R")):
        pieces, name = _read(value[3])
        if name != value[1]:
            raise _NoIntervalsError
        return pieces, None
    raise _NoIntervalsError


def _everything() -> list[_Piece]:
    return [(-_infinite(), True, _infinite(), True)]


def _chain(value: Value) -> tuple[list[_Piece], Value]:
    sides = [value[1], *(side for _, side in value[2])]
    names = [side for side in sides if side[0] == "sym" or (side[0] == "fn" and len(side[1]) == 1)]
    if not names or any(name != names[0] for name in names):
        raise _NoIntervalsError
    found = _everything()
    for left, (operator, right) in zip(sides, value[2], strict=False):
        if operator == "in" and left == names[0]:
            pieces = _read(right)[0]
        elif operator == "notin" and left == names[0]:
            pieces = _complement(_read(right)[0])
        elif left == names[0] and right != names[0]:
            pieces = _half(operator, _end(right))
        elif right == names[0] and left != names[0]:
            pieces = _half({"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(operator, operator), _end(left))
        else:
            raise _NoIntervalsError
        found = _meet(found, pieces)
    return found, names[0]


def _half(operator: str, end: Any) -> list[_Piece]:
    infinite = _infinite()
    if operator in ("<", "<="):
        return [(-infinite, True, end, operator == "<")]
    if operator in (">", ">="):
        return [(end, operator == ">", infinite, True)]
    if operator == "=":
        return [(end, False, end, False)]
    if operator == "!=":
        return [(-infinite, True, end, True), (end, True, infinite, True)]
    raise _NoIntervalsError


def _joined(value: Value) -> tuple[list[_Piece], Value | None]:
    """Relations of one variable: all hold, or one of them, as `or` says; commas say what is not empty."""
    read = [_read(one) for one in value[2]]
    names = {name for _, name in read}
    if len(names) != 1:
        raise _NoIntervalsError
    union = _merged([piece for pieces, _ in read for piece in pieces])
    meet = _everything()
    for pieces, _ in read:
        meet = _meet(meet, pieces)
    if value[1] == "or":
        return union, names.pop()
    return meet if meet or value[1] == "and" else union, names.pop()


def _merged(pieces: list[_Piece]) -> list[_Piece]:
    kept = [one for one in pieces if _below(one[0], one[2]) or (_close(one[0], one[2]) and not one[1] and not one[3])]
    found: list[_Piece] = []
    for piece in sorted(kept, key=lambda one: (one[0], one[1])):
        if found:
            low, low_open, high, high_open = found[-1]
            touches = _below(piece[0], high) or (_close(piece[0], high) and not (piece[1] and high_open))
            if touches:
                if _close(low, piece[0]):
                    low_open = low_open and piece[1]
                if _close(high, piece[2]):
                    high_open = high_open and piece[3]
                elif _below(high, piece[2]):
                    high, high_open = piece[2], piece[3]
                found[-1] = (low, low_open, high, high_open)
                continue
        found.append(piece)
    # Ends at infinity are never in.
    infinite = _infinite()
    return [(low, lo or low == -infinite, high, ho or high == infinite) for low, lo, high, ho in found]


def _complement(pieces: list[_Piece]) -> list[_Piece]:
    start, start_open = -_infinite(), True
    found: list[_Piece] = []
    for low, low_open, high, high_open in pieces:
        found.append((start, start_open, low, not low_open))
        start, start_open = high, not high_open
    found.append((start, start_open, _infinite(), True))
    return _merged([one for one in found if one[0] != one[2] or not (one[1] or one[3])])


def _meet(one: list[_Piece], two: list[_Piece]) -> list[_Piece]:
    return _complement(_merged(_complement(one) + _complement(two)))
