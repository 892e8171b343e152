"""Arithmetic and functions of a formula, read from its tokens."""

import re
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any

from realm.formula.tokens import FUNCTIONS, NAMED_SIGNS, Token, tokens
from realm.formula.words import SMALL_WORDS, NoValueError, words

Value = tuple[Any, ...]

_DEEPEST = 40
_LONGEST_NUMBER = 1000
RELATIONS = {
    "=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "in": "in", "notin": "notin", "equiv": "equiv",
    "subseteq": "subseteq", "subset": "subset", "perp": "perp", "parallel": "parallel", "cong": "cong",
}  # fmt: skip
_OPENERS = {"(": "(", "[": "[", "langle": "("}
_CLOSERS = {")": ")", "]": "]", "rangle": ")"}
# Beyond arithmetic and elementary functions: a library's to read.
_OPAQUE = frozenset(words("int iint oint sum prod lim limsup liminf det partial nabla"))
_ACCENTS = frozenset(words("vec hat bar overline tilde widehat overrightarrow mathcal mathscr mathfrak"))
_SHAPES = frozenset(words("angle triangle measuredangle widehat odot square"))
_INVERSES = {name: "a" + name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")}
_SAME_FUNCTION = {
    "arc" + name: "a" + name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")
} | {"lg": "log"}


class Expressions(ABC):
    """A reader of tokens, and what it reads of them as arithmetic; collections, relations and units are `Grammar`'s."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0
        # How many bars are open: the next one closes.
        self._bars = 0

    # -- tokens

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _ahead(self, count: int = 1) -> Token:
        return self._tokens[min(self._at + count, len(self._tokens) - 1)]

    def _is(self, *texts: str) -> bool:
        token = self._now
        return token.kind in ("sign", "cmd") and token.text in texts

    def _next(self) -> Token:
        token = self._now
        if token.kind != "stop":
            self._at += 1
        return token

    def _take(self, *texts: str) -> bool:
        if self._is(*texts):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise NoValueError(f"expected {text!r}, found {self._now.text[:20]!r}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NoValueError("too deep")

    # -- what Grammar reads

    @abstractmethod
    def collection(self) -> Value:
        """Items, one or several, as they stand in brackets too."""

    @abstractmethod
    def collected(self, items: list[Value], separators: list[str]) -> Value:
        """The items as one value; a single one is itself."""

    @abstractmethod
    def term_of_sets(self) -> Value:
        """One side of a relation without its unit."""

    @abstractmethod
    def relation(self) -> str | None:
        """Take the sign of a relation; None where there is none."""

    @abstractmethod
    def is_unit(self) -> bool:
        """Whether a unit that fills the rest of the item stands here."""

    @abstractmethod
    def ends_item(self, token: Token) -> bool:
        """Whether an item ends before that token."""

    # -- expressions

    def _sum(self) -> Value:
        self._deeper()
        parts = [self._signed()]
        while self._is("+", "-", "pm", "mp"):
            sign = self._next().text
            part = self._product()
            parts.append({"+": part, "-": ("neg", part), "pm": ("pm", 1, part), "mp": ("pm", -1, part)}[sign])
        self._depth -= 1
        return parts[0] if len(parts) == 1 else ("add", *parts)

    def _signed(self) -> Value:
        if self._take("pm"):
            return ("pm", 1, self._product())
        if self._take("mp"):
            return ("pm", -1, self._product())
        if self._take("-"):
            return ("neg", self._product())
        self._take("+")
        return self._product()

    def _product(self) -> Value:
        if self._now.kind == "cmd" and self._now.text in _OPAQUE:
            return self._opaque()
        found = self._factor()
        before = self._tokens[self._at - 1]
        while True:
            if self._take("*", "cdot", "times", "ast"):
                found = ("mul", found, self._signed_factor())
            elif self._is("/", "div"):
                self._next()
                found = ("div", found, self._signed_factor())
            elif self._starts_factor(before):
                mixed = self._mixed(found, before)
                found = mixed or ("mul", found, self._factor())
            else:
                return found
            before = self._tokens[self._at - 1]

    def _signed_factor(self) -> Value:
        if self._take("-"):
            return ("neg", self._factor())
        self._take("+")
        if self._now.kind == "cmd" and self._now.text in _OPAQUE:
            return self._opaque()
        return self._factor()

    def _opaque(self) -> Value:
        """The rest of the item, for a library to read."""
        start = self._now.at
        depth = 0
        while self._now.kind != "stop":
            token = self._now
            if token.kind == "sign" and token.text in "([{":
                depth += 1
            elif token.kind == "sign" and token.text in ")]}":
                if depth == 0:
                    break
                depth -= 1
            elif depth == 0 and (self.ends_item(token) or (token.text in RELATIONS and token.kind != "word")):
                break
            self._at += 1
        # Without spaces that mean nothing, so that one text has one form.
        text = re.sub(r"\s+", " ", self._text[start : self._now.at]).strip()
        return ("opaque", re.sub(r" ?([^A-Za-z\\]) ?", r"\1", text))

    def _mixed(self, whole: Value, before: Token) -> Value | None:
        """`2 1/2` and `2\\frac{1}{2}` are sums; None where a product stands there."""
        last = whole
        while last[0] in ("mul", "div"):
            last = last[2]
        if before.kind != "num" or (last[0] == "pow" and last[1][0] != "num"):
            return None
        if whole[0] != "num" and (self._now.kind == "num" or (last[0] == "num" and self._is("frac"))):
            raise NoValueError("two numbers side by side")
        if whole[0] != "num":
            return None
        start = self._at
        if self._now.kind == "num":
            top = self._next()
            if not (top.space and self._take("/") and self._now.kind == "num"):
                raise NoValueError("two numbers side by side")
            below = self._next()
            fraction: Value = ("div", _number(top.text), _number(below.text))
        elif self._is("frac"):
            self._next()
            fraction = self._fraction()
        else:
            return None
        if fraction[1][0] == fraction[2][0] == "num" and whole[1].denominator == 1:
            if not 0 < fraction[1][1] < fraction[2][1]:
                raise NoValueError("a mixed number whose fraction is not one")
            return ("add", whole, fraction)
        self._at = start
        return None

    def _starts_factor(self, before: Token) -> bool:
        token = self._now
        if token.kind == "stop" or token.space == "wide":
            return False
        if token.kind == "num":
            # 2 3 is no product; nor is x2. (…)^4 4! is.
            return before.kind == "num" or (bool(token.space) and before.text in (")", "}", "!"))
        if token.kind in ("word", "cmd") and self.is_unit():
            return False
        if token.kind == "word":
            return is_product(token)
        if token.kind == "cmd":
            return token.text in FUNCTIONS or self._is_atom_command(token.text)
        if token.kind == "begin":
            return True
        return token.text in ("(", "{", "[") or (token.text == "|" and not self._bars)

    @staticmethod
    def _is_atom_command(name: str) -> bool:
        return (
            name in NAMED_SIGNS
            or name in _ACCENTS
            or name in _SHAPES
            or name in ("infty", "mathbb", "emptyset", "lfloor", "lceil", "ell", "hbar", "langle", "imath", "Re", "Im")
        )

    def _factor(self) -> Value:
        self._deeper()
        found = self._powers(self._letters() if self._now.kind == "word" else self._atom())
        self._depth -= 1
        return found

    def _letters(self) -> Value:
        """A run of letters: the symbols of a product, of which the last may carry a subscript, primes and a power."""
        token = self._next()
        if not is_product(token):
            raise NoValueError(f"the word {token.text[:20]!r} among numbers")
        first, last = token.text[:-1], token.text[-1]
        end = self._symbol(last)
        if not first:
            return end
        end = self._powers(end)
        found: Value = _letter(first[0])
        for letter in first[1:]:
            found = ("mul", found, _letter(letter))
        return ("mul", found, end)

    def _symbol(self, name: str) -> Value:
        """The symbol with the subscript and the primes that follow, or the function with its argument."""
        found = name
        if self._take("_"):
            found += "_" + self._subscript()
        while self._is("'") or (self._is("^") and self._ahead().text == "prime"):
            if self._next().text == "^":
                self._next()
            found += "'"
        if found[0] in "fghFGH" and self._is("(") and not self._now.space:
            self._next()
            inner = self.collection()
            self._expect(")")
            return ("fn", found, inner)
        at_number = self._is("(") and not self._now.space and self._ahead().kind == "num" and self._ahead(2).text == ")"
        if at_number and (found[0].isupper() or self._ahead().text == "0"):
            # I(0): a value of a function; nobody writes such a product.
            return ("sym", found + self._raw_group())
        if found[0] == "P" and self._is("(") and self._ahead().kind == "word" and self._ahead().text[0].isupper():
            return ("sym", found + self._raw_group())
        return _letter(found)

    def _subscript(self) -> str:
        token = self._now
        if token.kind in ("num", "word", "cmd") and not token.upright:
            self._next()
            return token.text
        if self._is("{"):
            return self._raw_group("{", "}", "an open brace")[1:-1]
        if token.kind in ("num", "word"):
            self._next()
            return token.text
        raise NoValueError("no subscript")

    def _raw_group(self, opening: str = "(", closing: str = ")", torn: str = "an open bracket") -> str:
        start = self._at
        depth = 0
        while True:
            token = self._next()
            if token.kind == "stop":
                raise NoValueError(torn)
            depth += (token.text == opening) - (token.text == closing) if token.kind == "sign" else 0
            if not depth:
                return "".join(token.text for token in self._tokens[start : self._at])

    def _powers(self, base: Value) -> Value:
        raised = False
        while True:
            if self._is("!"):
                if raised:
                    raise NoValueError("a factorial of a power or a power of a factorial?")
                self._next()
                double = self._take("!")
                base = ("fn", "factorial2" if double else "factorial", base)
            elif self._is("^") or (self._is("*") and self._ahead().text == "*" and not self._ahead().space):
                if self._next().text == "*":
                    self._next()
                if self._is("circ") or (self._is("{") and self._ahead().text == "circ" and self._ahead(2).text == "}"):
                    self._at += 3 if self._is("{") else 1
                    base = ("deg", base)
                    continue
                if raised:
                    raise NoValueError("a power of a power without braces")
                base = ("pow", base, self._exponent())
                raised = True
            else:
                return base

    def _exponent(self) -> Value:
        sign = self._take("-")
        if not sign:
            self._take("+")
        if self._is("{"):
            found = self._braced()
        elif self._now.kind == "word":
            token = self._next()
            if len(token.text) > 1:
                raise NoValueError("an exponent of several letters without braces")
            found = _letter(token.text)
        else:
            found = self._atom()
            if self._is("^"):
                self._next()
                found = ("pow", found, self._exponent())
        return ("neg", found) if sign else found

    def _braced(self) -> Value:
        """`{…}` of LaTeX, which groups without being seen."""
        self._expect("{")
        bars, self._bars = self._bars, 0
        found = self._grouped()
        self._bars = bars
        self._expect("}")
        return found

    def _grouped(self) -> Value:
        found = self.collection()
        if self._is("over", "choose"):
            kind = self._next().text
            below = self.collection()
            return ("div", found, below) if kind == "over" else ("fn", "binom", found, below)
        return found

    def _group(self) -> Value:
        """An argument of a command: a group in braces, else one digit or letter."""
        if self._is("{"):
            return self._braced()
        if self._is("(") and not self._is("\\("):
            return self._bracket()
        return self._atom()

    def _fraction(self) -> Value:
        """The two arguments of `\\frac`, which may be digits without braces: `\\frac12`."""
        if self._now.kind == "num" and len(self._now.text) == 2 and self._now.text.isdigit():
            digits = self._next().text
            return ("div", _number(digits[0]), _number(digits[1]))
        if self._now.kind == "num" and len(self._now.text) > 1:
            raise NoValueError("a fraction without braces")
        if self._now.kind == "word" and len(self._now.text) == 2:
            letters = self._next().text
            return ("div", _letter(letters[0]), _letter(letters[1]))
        above = self._argument()
        return ("div", above, self._argument())

    def _argument(self) -> Value:
        if self._is("{"):
            return self._braced()
        if self._now.kind == "num" and len(self._now.text) > 1:
            raise NoValueError("an argument without braces")
        return self._atom()

    def _atom(self) -> Value:
        token = self._now
        if token.kind == "num":
            self._next()
            if self._is("overline") and "." in token.text and not self._now.space:
                self._next()
                return self._repeating(token.text)
            if self._is("_"):
                raise NoValueError("a base within an expression")
            return _number(token.text)
        if token.kind == "word":
            self._next()
            if len(token.text) > 1:
                raise NoValueError("a word where a value was expected")
            return self._symbol(token.text)
        if token.kind == "begin":
            return self._environment()
        if token.kind == "cmd":
            return self._command()
        if token.text == "{":
            return self._braced()
        if token.text == r"\{":
            return self._set()
        if token.text in ("(", "["):
            return self._bracket()
        if token.text == "|":
            self._next()
            self._bars += 1
            inner = self._sum()
            self._bars -= 1
            self._expect("|")
            return ("fn", "abs", inner)
        raise NoValueError(f"{token.text[:20]!r} where a value was expected")

    def _repeating(self, shown: str) -> Value:
        self._expect("{")
        token = self._next()
        self._expect("}")
        if token.kind != "num" or not token.text.isdigit():
            raise NoValueError("no digits to repeat")
        whole, _, fixed = shown.partition(".")
        scale = 10 ** len(fixed)
        repeated = Fraction(int(token.text), 10 ** len(token.text) - 1) / scale
        return ("num", Fraction(int((whole or "0") + fixed), scale) + repeated)

    def _bracket(self) -> Value:
        opening = _OPENERS[self._next().text]
        bars, self._bars = self._bars, 0
        inner = self.collection()
        self._bars = bars
        if not (self._now.kind in ("sign", "cmd") and self._now.text in _CLOSERS):
            raise NoValueError("an open bracket")
        closing = _CLOSERS[self._next().text]
        if inner[0] in ("list", "system"):
            if inner[0] != "list":
                raise NoValueError("relations in brackets")
            return ("tuple", opening, closing, inner[1])
        if opening + closing not in ("()", "[]"):
            raise NoValueError("brackets that do not match")
        return inner

    def _set(self) -> Value:
        self._next()
        if self._take(r"\}"):
            return ("set", ())
        bars, self._bars = self._bars, 1
        name = self.term_of_sets() if self._builds() else None
        if name is not None:
            where: Value = ("name", name)
            if self.relation() == "in":
                where = self.term_of_sets()
            if not self._take("|", "mid", ":"):
                raise NoValueError("no set")
            found: Value = ("builder", name, where, self.collection())
        else:
            inner = self.collection()
            found = ("set", inner[1] if inner[0] == "list" else (inner,))
        self._bars = bars
        self._expect(r"\}")
        return found

    def _builds(self) -> bool:
        """Whether a set is given by a condition, `\\{x \\mid …\\}`."""
        depth = 0
        for token in self._tokens[self._at :]:
            if token.kind == "stop" or (token.kind == "sign" and token.text == r"\}" and not depth):
                return False
            if token.kind in ("sign", "cmd") and not depth and token.text in ("|", "mid", ":"):
                return True
            if token.kind == "sign":
                depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        return False

    def _environment(self) -> Value:
        name = self._next().text
        if name == "array" and self._is("{"):
            self._subscript()
        elif name not in ("pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "smallmatrix", "cases"):
            raise NoValueError(f"the environment {name[:20]!r}")
        bars, self._bars = self._bars, 0
        rows: list[list[Value]] = [[]]
        while self._now.kind != "end":
            if self._take("\\\\"):
                rows.append([])
            elif self._take("&"):
                if not rows[-1]:
                    raise NoValueError("an empty cell")
            else:
                if self._now.kind == "stop" or (rows[-1] and self._tokens[self._at - 1].text not in ("&",)):
                    raise NoValueError("no matrix")
                rows[-1].append(self._cell())
        self._bars = bars
        if self._next().text != name:
            raise NoValueError("an environment that does not end")
        rows = [row for row in rows if row]
        if name == "cases" and all(len(row) == 1 for row in rows):
            return self.collected([row[0] for row in rows], [","] * (len(rows) - 1))
        if not rows or len({len(row) for row in rows}) > 1:
            raise NoValueError("rows of different lengths")
        kind = name if name in ("vmatrix", "cases") else "matrix"
        return ("matrix", kind, tuple(map(tuple, rows)))

    def _cell(self) -> Value:
        if self._now.kind == "word" and self._now.text.casefold() in ("otherwise", "else"):
            self._next()
            return ("words", ("otherwise",))
        if self._now.kind == "word" and self._now.text.casefold() in ("if", "when", "for"):
            self._next()
        found = self.collection()
        self._take(",")
        return found

    def _command(self) -> Value:
        name = self._next().text
        if name in NAMED_SIGNS:
            if name == "pi":
                return ("const", "pi")
            return self._symbol_named(name)
        if name == "infty":
            return ("const", "oo")
        if name in ("boxed", "fbox"):
            return self._braced()
        if name == "emptyset":
            return ("set", ())
        if name == "mathbb":
            letter = self._subscript_of_group()
            return ("named", letter)
        if name == "langle":
            self._at -= 1
            return self._bracket()
        if name in ("lfloor", "lceil"):
            inner = self.collection()
            closing = "rfloor" if name == "lfloor" else "rceil"
            self._expect(closing)
            return ("fn", "floor" if name == "lfloor" else "ceil", inner)
        if name in ("ell", "hbar", "imath"):
            return ("sym", name)
        if name in _ACCENTS:
            return self._symbol_named(f"{name} {self._subscript_of_group()}")
        if name in _SHAPES:
            if self._now.kind not in ("word", "cmd", "num"):
                raise NoValueError("a figure without a name")
            return ("sym", f"{name} {self._next().text}")
        if name in FUNCTIONS:
            return self._function(name)
        raise NoValueError(f"the command {name[:20]!r}")

    def _symbol_named(self, name: str) -> Value:
        if self._take("_"):
            name += "_" + self._subscript()
        while self._take("'"):
            name += "'"
        return ("sym", name)

    def _subscript_of_group(self) -> str:
        if self._now.kind == "sign" and not self._is("{"):
            raise NoValueError("no letter")
        return self._subscript()

    def _function(self, name: str) -> Value:
        if name == "frac":
            return self._fraction()
        if name == "binom":
            above = self._argument() if not self._is("(") else self._bracket()
            if above[0] == "tuple" and len(above[3]) == 2:
                return ("fn", "binom", *above[3])
            return ("fn", "binom", above, self._argument())
        if name == "sqrt":
            return self._root()
        power: Value | None = None
        base: Value | None = None
        if name in ("log", "lg") and self._take("_"):
            base = self._group()
        if self._take("^"):
            power = self._exponent()
        if name in ("min", "max", "gcd", "lcm"):
            inner = self._group() if self._is("(") else self._set() if self._is(r"\{") else None
            if inner is None or power is not None or inner[0] not in ("tuple", "set"):
                raise NoValueError("a function without arguments")
            return ("fn", name, *(inner[3] if inner[0] == "tuple" else inner[1]))
        inner = self._function_argument()
        if inner[0] == "quantity" and inner[2] == (("deg", 1),):
            inner = ("deg", inner[1])
        inverse = power == ("neg", ("num", Fraction(1)))
        if inverse and name in _INVERSES:
            name, power = _INVERSES[name], None
        name = _SAME_FUNCTION.get(name, name)
        found: Value = ("fn", "log", inner, base) if base is not None else ("fn", name, inner)
        return ("pow", found, power) if power is not None else found

    def _root(self) -> Value:
        degree: Value | None = None
        if self._is("["):
            self._next()
            degree = self._sum()
            self._expect("]")
        letter = self._now.kind == "word" and len(self._now.text) == 1
        inner = _letter(self._next().text) if letter else self._group()
        if degree is None or degree == ("num", Fraction(2)):
            return ("fn", "sqrt", inner)
        return ("fn", "root", inner, degree)

    def _function_argument(self) -> Value:
        if self._is("(", "[", "{", "|"):
            return self._atom()
        found = self._powers(self._single())
        while True:
            token = self._now
            letter = token.kind == "word" and len(token.text) == 1 and not self.is_unit()
            if not letter and not (token.kind == "cmd" and token.text in NAMED_SIGNS):
                return found
            found = ("mul", found, self._factor())

    def _single(self) -> Value:
        if self._now.kind == "word":
            return self._letters()
        if self._is("-"):
            self._next()
            return ("neg", self._single())
        return self._atom()


def is_product(token: Token) -> bool:
    """Whether a run of letters is a product of variables, such as `xy`, and no word."""
    if len(token.text) == 1:
        return True
    if token.upright or len(token.text) > 3 or token.text.casefold() in SMALL_WORDS:
        return False
    return (
        len(token.text) == 2
        or token.text.isupper()
        or not set(token.text) & set("aeiou")
        or sorted(token.text) == list(token.text)
    )


def _letter(name: str) -> Value:
    return ("const", name) if name in ("e", "i") else ("sym", name)


def _number(text: str) -> Value:
    if len(text) > _LONGEST_NUMBER:
        raise NoValueError("a number of too many digits")
    mantissa, _, exponent = text.casefold().partition("e")
    if len(exponent) > 4:
        raise NoValueError("a power of ten that is too large")
    return ("num", Fraction(mantissa.removesuffix(".") + ("e" + exponent if exponent else "")))
