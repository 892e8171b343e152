"""Programs that a model wrote, run for their result: a small subset of Python, interpreted here.

The text is hostile, and nothing of it is ever compiled or evaluated by Python: `ast.parse` reads it, and what this
module does not name is refused. An interpreter of our own is simpler than a sandbox around `exec`, whose object model
leads from any value to everything (`().__class__`): here no name leads to a function that is not in `FUNCTIONS`, values
have no attributes but the parts of a date, and every operation is counted and measured before it is done.

The language: assignments, `if`, `for`, `while`; numbers, texts, truth values, lists, tuples and dictionaries of them;
arithmetic, comparisons, subscripts; the functions below, also as `math.floor`; dates as of `datetime`. No functions of
its own, no attributes, methods, comprehensions or f-strings; imports of `math` and `datetime` do nothing, all others
are refused. The result is the value of `answer`, or of the last expression (`print` is one), as text.

Promised, in three layers that do not rest on each other:
- the interpreter: no file, process, network, clock or chance can be named; at most `STEPS` operations, where an
  operation costs as much as the values that it reads and makes are large; numbers below 2**`BITS`; texts and lists of
  `LENGTH`, nested once. The same program has the same result on every machine.
- the worker (`realm.tasks.workers`), where programs run: killed at its deadline, with little memory, unable to write
  files, to open any, or (but for root) to start processes. Python's own parser, which may exhaust stack or memory on
  text made for it, runs there too.
- the pool: a worker that dies or hangs costs its program the result, nothing else.
Not promised: that a result means anything, or that a program is what Python would have accepted; what both run gives
the same value, with floats shown to twelve digits.
"""

import ast
import datetime
import math
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

STEPS, BITS, LENGTH = 200_000, 4_096, 10_000
_DEPTH, _TEXT, _RESULT = 100, 10_000, 1_000

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"^answer[ \t]*=(?!=)", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """What became of a program: its result as text, or None and the reason why there is none."""

    value: str | None
    reason: str = ""


def program_in(text: str) -> str | None:
    """The program that a text is or holds: its last fenced block, or all of it where a line begins `answer =`."""
    fenced = _FENCE.findall(text)
    if fenced:
        return dedent(fenced[-1]).strip("\n")
    return text if _ANSWER.search(text) else None


def run(program: str) -> Ran:
    """The result of a program; never raises for what it holds. For a worker: `realm.tasks.workers.VerifierPool.run`."""
    machine = _Machine()
    try:
        if len(program) > _TEXT:
            raise _StopError("is too long")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the parser, about constants that are called and the like
            tree = ast.parse(program)
        machine.block(tree.body)
        return Ran(_text(machine.values.get("answer", machine.last)))
    except _StopError as error:
        reason = str(error)
    except (_BreakError, _ContinueError):
        reason = "SyntaxError"
    except Exception as error:
        reason = type(error).__name__  # its words may be the program's
    return Ran(None, f"line {machine.line}: {reason}")


class _StopError(Exception):
    """The program does what it may not."""


class _BreakError(Exception):
    pass


class _ContinueError(Exception):
    pass


def _round(number: float, digits: int | None = None) -> float:
    if digits is not None and abs(digits) > 100:  # a power of ten is made of them
        raise _StopError("rounds to more than 100 digits")
    return round(number, digits)


def _sum(values: Iterable[float]) -> float:
    return sum(values)


#: Every function of the language. Only `timedelta` takes keywords.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "min": min, "max": max, "sum": _sum, "round": _round, "len": len, "sorted": sorted, "range": range,
    "int": int, "float": float, "str": str, "bool": bool, "list": list, "tuple": tuple,
    "floor": math.floor, "ceil": math.ceil, "sqrt": math.sqrt,
    "date": datetime.date, "timedelta": datetime.timedelta,
    "print": lambda *values: values[0] if len(values) == 1 else " ".join(map(str, values)),
}  # fmt: skip
_MODULES = {"math": {"floor", "ceil", "sqrt"}, "datetime": {"date", "timedelta"}}
_PARTS = {datetime.date: {"year", "month", "day"}, datetime.timedelta: {"days"}}
_NUMBERS, _LISTS, _TIMES = (int, float, bool), (list, tuple, dict), (datetime.date, datetime.timedelta)
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_SIGNS: dict[type[ast.AST], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: operator.not_,
}  # fmt: skip
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda one, many: one in many, ast.NotIn: lambda one, many: one not in many,
}  # fmt: skip


class _Machine:
    """Statements and expressions, walked over; `values` are the variables, `last` is that of the last expression."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.last: Any = None
        self.line = 1
        self._left, self._depth = STEPS, 0

    def block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            self.line = statement.lineno
            self._spend(1)
            self._statement(statement)

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _StopError("takes too many steps")

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                found = self._value(value)
                for target in targets:
                    self._assign(target, found)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self.values[name] = self._binary(op, self._named(name), self._value(value))
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, self._value(value))
            case ast.Expr(value=value):
                self.last = self._value(value)
            case ast.If(test=test, body=body, orelse=orelse):
                self._nested(body if self._value(test) else orelse)
            case ast.While(test=test, body=body, orelse=[]):
                while self._value(test) and self._turn(body):
                    pass
            case ast.For(target=target, iter=over, body=body, orelse=[]):
                for one in self._measured(self._value(over)):
                    self._assign(target, one)
                    if not self._turn(body):
                        break
            case ast.Import(names=names) if all(one.name in _MODULES and not one.asname for one in names):
                pass
            case ast.ImportFrom(module=module, names=names) if {one.name for one in names if not one.asname} and all(
                one.name in _MODULES.get(module or "", ()) and not one.asname for one in names
            ):
                pass
            case ast.Pass():
                pass
            case ast.Break():
                raise _BreakError
            case ast.Continue():
                raise _ContinueError
            case _:
                self._refuse(node)

    def _nested(self, body: Sequence[ast.stmt]) -> None:
        self._deeper()
        self.block(body)
        self._depth -= 1

    def _turn(self, body: Sequence[ast.stmt]) -> bool:
        """One turn of a loop; whether it goes on."""
        self._spend(1)
        depth = self._depth
        try:
            self._nested(body)
        except _BreakError:
            return False
        except _ContinueError:
            return True
        finally:
            self._depth = depth
        return True

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEPTH:
            raise _StopError("is nested too deeply")

    def _refuse(self, node: ast.AST) -> Any:
        raise _StopError(f"{type(node).__name__} is not part of the language")

    def _assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.values[target.id] = value
        elif isinstance(target, ast.Tuple) and isinstance(value, list | tuple) and len(target.elts) == len(value):
            for one, part in zip(target.elts, value, strict=True):
                self._deeper()
                self._assign(one, part)
                self._depth -= 1
        else:
            self._refuse(target)

    def _named(self, name: str) -> Any:
        if name not in self.values:
            raise NameError
        return self.values[name]

    def _value(self, node: ast.expr) -> Any:
        self._spend(1)
        self._deeper()
        found = self._measured(self._evaluated(node)) if not isinstance(node, ast.Name) else self._named(node.id)
        self._depth -= 1
        return found

    def _evaluated(self, node: ast.expr) -> Any:
        value = self._value
        match node:
            case ast.Constant(value=found):
                return found
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, value(left), value(right))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
                return _SIGNS[type(op)](value(operand))
            case ast.BoolOp(op=op, values=values):
                found = None
                for one in values:
                    found = value(one)
                    if bool(found) == isinstance(op, ast.Or):
                        break
                return found
            case ast.Compare(left=left, ops=ops, comparators=others):
                found = value(left)
                for sign, one in zip(ops, others, strict=True):
                    before, found = found, value(one)
                    if type(sign) not in _COMPARISONS:
                        self._refuse(sign)
                    if not _COMPARISONS[type(sign)](self._measured(before), self._measured(found)):
                        return False
                return True
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return value(body) if value(test) else value(orelse)
            case ast.List(elts=elements):
                return [value(one) for one in elements]
            case ast.Tuple(elts=elements):
                return tuple(value(one) for one in elements)
            case ast.Dict(keys=keys, values=values) if None not in keys:
                return {value(key): value(one) for key, one in zip(keys, values, strict=True) if key is not None}
            case ast.Subscript(value=held, slice=index) if not isinstance(index, ast.Slice):
                return value(held)[value(index)]
            case ast.Attribute(value=held, attr=part):
                found = value(held)
                return getattr(found, part) if part in _PARTS.get(type(found), ()) else self._refuse(node)
            case ast.Call(func=function, args=arguments, keywords=keywords):
                name = self._function(function)
                named = {str(one.arg): self._measured(value(one.value)) for one in keywords}
                if named and name != "timedelta":
                    self._refuse(keywords[0])
                return FUNCTIONS[name](*[self._measured(value(one)) for one in arguments], **named)
            case _:
                return self._refuse(node)

    def _function(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name) if name in FUNCTIONS:
                return name
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in _MODULES.get(module, ()):
                return name
        raise _StopError("calls what is not part of the language")

    def _binary(self, op: ast.operator, left: Any, right: Any) -> Any:
        """Refused before it is done where the result would be too large."""
        kinds, name = (type(left), type(right)), type(op)
        if name not in _OPERATORS:
            self._refuse(op)
        if all(kind in _NUMBERS for kind in kinds):
            if name is ast.Pow and float not in kinds and right > 0 and int(left).bit_length() * right > BITS:
                raise _StopError("makes a number that is too large")
        elif name is ast.Mult and isinstance(left, str | list | tuple) and kinds[1] is int:
            if len(left) * right > LENGTH:
                raise _StopError("makes a value that is too large")
        elif not (
            (name is ast.Add and kinds[0] is kinds[1] and kinds[0] in (str, list, tuple))
            or (name in (ast.Add, ast.Sub) and all(kind in _TIMES for kind in kinds))
        ):
            raise TypeError
        return self._measured(_OPERATORS[name](self._measured(left), self._measured(right)))

    def _measured(self, value: Any) -> Any:
        """The value, where it is one of the language's and of a size that is allowed; its size is paid for."""
        if type(value) is int:
            if value.bit_length() > BITS:
                raise _StopError("makes a number that is too large")
        elif type(value) is float:
            if not math.isfinite(value):
                raise _StopError("makes a number that is not finite")
        elif type(value) in (*_LISTS, str, range):
            if self._size(value) > LENGTH:
                raise _StopError("makes a value that is too large")
        elif type(value) not in (bool, type(None), *_TIMES):
            raise _StopError("makes a value that is not part of the language")
        return value

    def _size(self, value: Any, depth: int = 0) -> int:
        """Characters and parts that a value holds, keys of dictionaries among them; each costs a step."""
        self._spend(len(value))
        if type(value) not in _LISTS:
            return len(value)
        if depth > 1:
            raise _StopError("nests lists too deeply")
        parts = [*value, *value.values()] if type(value) is dict else value
        return len(value) + sum(self._size(part, depth + 1) for part in parts if type(part) in (*_LISTS, str))


def _text(value: Any) -> str:
    """A result as a verifier reads it: whole floats without a point, others with twelve digits."""
    if value is None:
        raise _StopError("has no result")
    if isinstance(value, float):
        found = str(int(value)) if value.is_integer() and abs(value) < 1e15 else format(value, ".12g")
    elif isinstance(value, datetime.timedelta):
        found = str(value.days)
    else:
        found = str(list(value) if isinstance(value, range) else value)
    if len(found) > _RESULT:
        raise _StopError("has too long a result")
    return found
