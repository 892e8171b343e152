"""A short answer in LaTeX or plain text, read as one value: numbers, expressions, units, collections, relations, words.

Nothing is evaluated here and nothing dropped: every token of the text is part of the value, or the text is no value.
A value is a tuple whose first item names its kind:

    scalars      ("num", Fraction) ("sym", name) ("const", "pi" | "e" | "i" | "oo") ("add", …) ("mul", a, b)
                 ("div", a, b) ("neg", a) ("pow", a, b) ("fn", name, …) ("deg", a) ("pm", sign, a) ("opaque", latex)
    with a unit  ("quantity", value, unit) ("compound", quantities)
    collections  ("list", items) ("set", items) ("tuple", opening, closing, items) ("matrix", kind, rows) ("dots",)
    sets         ("named", letter) ("union" | "meet" | "minus", a, b) ("builder", name, where, condition)
    relations    ("rel", first, ((operator, side), …)) ("equal", sides) ("assign", name, sides) ("system", assigns)
                 ("relations", "or" | "and" | ",", relations)
    others       ("terms", items) as 2:3 or 10:30, ("based", number, base), ("date", …), ("words", words)
"""

import itertools
import re
from fractions import Fraction

from realm.formula.expressions import RELATIONS, Expressions, Value, is_product
from realm.formula.text import joined, prepared, without_frames
from realm.formula.tokens import Token
from realm.formula.units import CURRENCIES, SCALES, Unit, unit_named
from realm.formula.words import BASES, BEHIND_UNITS, MONTHS, NO_NOUNS, NoValueError

_SET_OPERATORS = {"cup": "union", "cap": "meet", "setminus": "minus"}


def readings(text: str) -> list[Value]:
    """The values that a text may mean: one, or two where its commas may be thousands (`(1,234)`), each whole.

    Raises `NoValueError` where there is none.
    """
    text = without_frames(text)
    if not text:
        raise NoValueError("no text")
    special = _date(text)
    if special:
        return [special]
    plain = prepared(text)
    based = _based(plain)
    if based:
        return [based]
    forms = dict.fromkeys((joined(plain, commas=True), joined(plain, commas=False)))
    found: list[Value] = []
    problem = NoValueError("no value")
    for form in forms:
        try:
            found.append(_Grammar(form).whole())
        except NoValueError as error:
            problem = error
    if not found:
        raise problem
    return found


def _date(text: str) -> Value | None:
    """A date: three numbers with a year, in the order in which they stand (05/06/2024), or a month and numbers."""
    text = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text)
    match = re.fullmatch(r"(\d{1,4})([/.-])(\d{1,2})\2(\d{1,4})", text, re.ASCII)
    if match and max(len(match[1]), len(match[4])) == 4:
        return ("date", int(match[1]), int(match[3]), int(match[4]))
    words = re.findall(r"[A-Za-z]+|\d+|\S", re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", text), re.ASCII)
    months = [at for at, word in enumerate(words) if len(word) > 2 and _month(word) is not None]
    rest = [
        word for at, word in enumerate(words) if at not in months and word.casefold() not in (",", ".", "of", "the")
    ]
    if len(months) != 1 or not rest or len(rest) > 2 or not all(word.isdigit() and len(word) < 5 for word in rest):
        return None
    numbers = sorted(map(int, rest))
    return ("date", _month(words[months[0]]), *numbers)


def _month(word: str) -> int | None:
    word = word.casefold()
    return next((at for at, month in enumerate(MONTHS) if word in (month, month[:3], month[:4])), None)


def _based(text: str) -> Value | None:
    """A number with its base: 17_8, 1010_{2}, A3F_{16}, 17_{eight}, 17 base 8."""
    text = re.sub(r"\\(?:text|mathrm)\s*\{([^{}]*)\}", r"\1", text)
    match = re.fullmatch(
        r"(-?)\s*\(?\s*([0-9][0-9A-Za-z ]*|[A-F][0-9A-F]*[0-9][0-9A-F]*)\s*\)?"
        r"\s*(?:_|,?\s(?:in )?base(?:\s|-))\s*(?:\{\s*)?([a-z]+|\d+)\s*\}?",
        text,
        re.ASCII,
    )
    if not match:
        return None
    base = int(match[3]) if match[3].isdigit() and len(match[3]) < 3 else BASES.get(match[3], 0)
    digits = match[2].replace(" ", "").lower()
    try:
        if base == 10:
            return ("num", Fraction(match[1] + digits))
        if 2 <= base <= 36:
            return ("based", -int(digits, base) if match[1] else int(digits, base), base)
    except ValueError:
        pass
    # Digits that this base does not have are no number at all.
    raise NoValueError("not a number of that base")


class _Grammar(Expressions):
    def whole(self) -> Value:
        found = self._grouped()
        if self._now.kind != "stop":
            raise NoValueError(f"{self._now.text[:20]!r} was not expected")
        return found

    def _separator(self) -> str:
        """Take `,`, `;`, `and`, `or` or a comma with one of the words; "" where there is none."""
        kind = ""
        if self._is(",", ";", "\ue000"):
            kind = self._next().text
        if self._now.kind == "word" and self._now.text.casefold() in ("and", "or") and self._ahead().kind != "stop":
            kind = self._next().text.casefold()
            self._take(",")
        return kind

    def collection(self) -> Value:
        self._deeper()
        items = [self._item()]
        separators = []
        while separator := self._separator():
            separators.append(separator)
            items.append(self._item())
            if len(items) > 100:
                raise NoValueError("too many items")
        self._depth -= 1
        return self.collected(items, separators)

    def collected(self, items: list[Value], separators: list[str]) -> Value:
        """The items as a list, where `k = 5, 6, 7` names all three, or as relations of which one or all hold."""
        if len(items) == 1:
            return items[0]
        for separator in (";", "or"):
            # Several solutions of several unknowns each: x = 1, y = 2; x = 3, y = 4
            if separator in separators and set(separators) - {separator} and any(item[0] == "assign" for item in items):
                groups: list[list[Value]] = [[items[0]]]
                for item, sign in zip(items[1:], separators, strict=True):
                    if sign == separator:
                        groups.append([])
                    groups[-1].append(item)
                return ("list", tuple(self.collected(group, [","] * (len(group) - 1)) for group in groups))
        name: Value | None = None
        named: list[Value] = []
        items = [part for item in items for part in (item[1] if item[0] == "system" and len(items) > 1 else (item,))]
        for item in items:
            if item[0] == "assign":
                name = item[1]
            elif name is not None and item[0] not in ("rel", "equal", "assign", "words", "dots"):
                item = ("assign", name, (item,))
            named.append(item)
        if all(item[0] == "assign" for item in named):
            names = {item[1] for item in named}
            if len(names) == 1:
                return ("assign", named[0][1], (("list", tuple(_last(item) for item in named)),))
            if len(names) == len(named):
                return ("system", tuple(named))
            rounds = [named[at : at + len(names)] for at in range(0, len(named), len(names))]
            if all({item[1] for item in one} == names for one in rounds):
                return ("list", tuple(("system", tuple(one)) for one in rounds))
        if any(item[0] == "rel" for item in named) and all(item[0] in ("rel", "assign") for item in named):
            return ("relations", "or" if "or" in separators else "and" if "and" in separators else ",", tuple(named))
        for before, item in itertools.pairwise(named):
            if item[0] == "words" and before[0] != "words" and before[0] != "sym":
                raise NoValueError("words behind a value")
        return ("list", tuple(named))

    def ends_item(self, token: Token) -> bool:
        return (
            token.kind in ("stop", "end")
            or (token.kind == "sign" and token.text in (",", ";", "\ue000", ")", "]", "}", r"\}", "&", "\\\\"))
            or (token.kind == "word" and token.text.casefold() in ("and", "or"))
            or (token.kind == "cmd" and token.text in ("rangle", "mid"))
        )

    def _words(self) -> Value | None:
        """An item of words alone: `Tuesday`, `no solution`. One letter is a symbol."""
        end = self._at
        while self._tokens[end].kind == "word" or (
            self._tokens[end].kind == "sign" and self._tokens[end].text in "-'.!" and end > self._at
        ):
            if (
                self._tokens[end].kind == "word"
                and self._tokens[end].text.casefold() in ("and", "or")
                and end > self._at
            ):
                break
            end += 1
        found = self._tokens[self._at : end]
        words = [token for token in found if token.kind == "word"]
        if not words or not self.ends_item(self._tokens[end]) or all(len(word.text) == 1 for word in words):
            return None
        if any(token.kind == "sign" and token.text == "!" for token in found[:-1]) or len(words) > 30:
            return None
        if found[-1].text == "!" or (len(words) == 1 and len(words[0].text) < 3 and is_product(words[0])):
            return None
        self._at = end
        return ("words", tuple(word.text.casefold() if len(word.text) > 1 else word.text for word in words))

    def _item(self) -> Value:
        words = self._words()
        if words:
            return words
        if self._take("ldots"):
            return ("dots",)
        first = self._name_in_words() or self._name_of_call() or self._side()
        links = []
        while (operator := self.relation()) is not None:
            links.append((operator, self._side()))
        if self._is("pmod") and any(operator == "equiv" for operator, _ in links):
            self._next()
            links.append(("mod", self._group()))
        return _related(first, tuple(links)) if links else first

    def relation(self) -> str | None:
        token = self._now
        if token.kind in ("sign", "cmd") and token.text in RELATIONS:
            self._at += 1
            return RELATIONS[token.text]
        return None

    def _name_in_words(self) -> Value | None:
        """`Area` of `Area = 5`."""
        end = self._at
        while self._tokens[end].kind == "word":
            end += 1
        names = self._tokens[self._at : end]
        after = self._tokens[end]
        if not any(len(name.text) > 2 for name in names) or after.kind != "sign" or after.text != "=":
            return None
        words = [name.text.casefold() for name in names]
        if not NO_NOUNS.isdisjoint(word for word in words if len(word) > 1):
            raise NoValueError("words before a sign that are no name")
        self._at = end
        return ("sym", " ".join(words))

    def _name_of_call(self) -> Value | None:
        """`V(r)` of `V(r) = …`."""
        match = re.match(r"[A-Za-z]'*\s?\([A-Za-z](?:,\s?[A-Za-z])*\)\s*(?==)", self._text[self._now.at :], re.ASCII)
        if not match or self._now.kind != "word":
            return None
        end = self._now.at + match.end()
        while self._now.at < end and not self._is("="):
            self._at += 1
        return ("sym", re.sub(r"\s", "", match[0]))

    # -- sides of a relation, with units

    def _side(self) -> Value:
        found = self.term_of_sets()
        terms = [found]
        while self._is(":") or (self._now.kind == "word" and self._now.text == "to"):
            self._next()
            terms.append(self.term_of_sets())
        if len(terms) > 1:
            found = ("terms", tuple(terms))
        return self._with_unit(found)

    def term_of_sets(self) -> Value:
        currency = self._currency()
        found = self._with_unit(self._sum())
        while self._now.kind == "cmd" and self._now.text in _SET_OPERATORS:
            kind = _SET_OPERATORS[self._next().text]
            found = (kind, found, self._sum())
        if currency:
            if found[0] == "quantity" and found[2] != ((currency, 1),):
                raise NoValueError("two units")
            found = found if found[0] == "quantity" else ("quantity", found, ((currency, 1),))
        return found

    def _currency(self) -> str:
        """Take a currency's sign in front of a number, from behind a minus sign too."""
        at = self._at + (self._now.kind == "sign" and self._now.text in "+-")
        token = self._tokens[at]
        name = CURRENCIES.get(token.text) or CURRENCIES.get("\\" + token.text if token.kind == "cmd" else "")
        if token.kind in ("sign", "cmd") and name and self._tokens[at + 1 : at + 2]:
            self._tokens = [*self._tokens[:at], *self._tokens[at + 1 :]]
            return name
        return ""

    def _with_unit(self, value: Value) -> Value:
        parts: list[Value] = []
        while True:
            scaled = False
            while self._now.kind == "word" and self._now.text.casefold() in SCALES:
                value = ("mul", value, ("num", Fraction(SCALES[self._next().text.casefold()])))
                scaled = True
            unit = self._unit()
            if unit is None:
                break
            value, degrees = _without_degrees(value)
            if degrees and unit not in ((("C", 1),), (("F", 1),), (("deg", 1),)):
                raise NoValueError("two units")
            if degrees and unit[0][0] in ("C", "F"):
                unit = ((("degC" if unit[0][0] == "C" else "degF"), 1),)
            parts.append(("quantity", value, unit))
            if self._now.kind != "num":
                break
            value = self._sum()
        if not parts:
            if not scaled:
                bare, degrees = _without_degrees(value)
                if degrees:
                    return ("quantity", bare, (("deg", 1),))
            return value
        if len(parts) == 1:
            return parts[0]
        return ("compound", tuple(parts))

    def _unit(self) -> Unit | tuple[str, ...] | None:
        """Take a unit, or a noun, that fills the rest of the item; None (nothing taken) where there is none."""
        start = self._at
        unit = self._known_unit()
        if unit is not None:
            return unit
        self._at = start
        nouns = []
        while self._now.kind == "word" and not self.ends_item(self._now):
            nouns.append(self._next().text.casefold())
        self._take(".")
        if (
            nouns
            and self.ends_item(self._now)
            and NO_NOUNS.isdisjoint(nouns)
            and all(len(noun) > 2 for noun in nouns)
            and len(nouns) < 5
        ):
            return ("noun", *nouns)
        self._at = start
        return None

    def _known_unit(self) -> Unit | None:
        powers: dict[str, int] = {}
        direction, waiting = 1, False
        start = self._at
        while True:
            token = self._now
            power = 1
            if token.kind == "word" and token.text.casefold() in ("square", "sq", "cubic", "cu"):
                power = 2 if token.text.casefold() in ("square", "sq") else 3
                self._at += 1
                self._take(".")
                token = self._now
            name = self._unit_name(token, bool(powers))
            if name is None:
                if waiting or power != 1 or not powers:
                    return None
                break
            self._at += 1
            if name == "deg" and self._now.kind == "word":
                scale = unit_named(self._now.text)
                if scale in ("degC", "degF", "C", "F"):
                    name = "degC" if scale in ("degC", "C") else "degF"
                    self._at += 1
            if self._is(".") and self.ends_item(self._ahead()):
                self._at += 1
            power *= self._unit_power()
            powers[name] = powers.get(name, 0) + direction * power
            waiting = False
            if self._take("/") or (self._now.kind == "word" and self._now.text in ("per", "a", "an") and self._next()):
                direction, waiting = -1, True
            elif self._take("*", "cdot", "times", "-"):
                waiting = True
        while self._now.kind == "word" and self._now.text.casefold() in BEHIND_UNITS:
            self._at += 1
        if not (self.ends_item(self._now) or self._is(*RELATIONS) or self._now.kind == "num" or self._is(":")):
            self._at = start
            return None
        return tuple(sorted((name, power) for name, power in powers.items() if power))

    def _unit_name(self, token: Token, chained: bool) -> str | None:
        if token.kind == "sign" and token.text in ("%", r"\%"):
            return "%"
        if token.kind == "cmd":
            return unit_named("\\" + token.text) or {"min": "min"}.get(token.text)
        if token.kind == "sign":
            return CURRENCIES.get(token.text)
        if token.kind != "word":
            return None
        name = unit_named(token.text)
        # A bare letter is a variable, unless the unit goes on: `5 m/s`.
        bare = len(token.text) == 1 and not token.upright
        if name is not None and bare and not chained:
            behind = self._ahead()
            further = self._ahead(2)
            goes_on = behind.text == "/" and further.kind == "word" and unit_named(further.text) is not None
            behind_degrees = self._text[: token.at].rstrip(" }").endswith("\\circ") and token.text in "CF"
            return name if goes_on or behind_degrees else None
        return name

    def _unit_power(self) -> int:
        if self._now.kind == "word" and self._now.text.casefold() in ("squared", "cubed"):
            return 2 if self._next().text.casefold() == "squared" else 3
        if not self._is("^"):
            return 1
        match = re.match(r"\^\s*(?:\{\s*(-?\d)\s*\}|(-?\d)(?!\d))", self._text[self._now.at :], re.ASCII)
        if not match:
            raise NoValueError("not a unit")
        end = self._now.at + match.end()
        while self._now.at < end:
            self._at += 1
        return int(match[1] or match[2])

    def is_unit(self) -> bool:
        """Whether a unit that fills the rest of the item stands here."""
        start = self._at
        try:
            return self._known_unit() is not None
        except NoValueError:
            return False
        finally:
            self._at = start


def _without_degrees(value: Value) -> tuple[Value, bool]:
    if value[0] == "deg":
        return value[1], True
    if value[0] == "neg" and value[1][0] == "deg":
        return ("neg", value[1][1]), True
    return value, False


def _is_name(value: Value) -> bool:
    if value[0] == "tuple":
        return all(map(_is_name, value[3]))
    if value[0] == "terms":
        return all(map(_is_name, value[1]))
    if value[0] == "pow":
        # The inverse of a matrix.
        return bool(value[1][0] == "sym" and value[1][1].isupper() and value[2] == ("neg", ("num", Fraction(1))))
    return value[0] == "sym" or (value[0] == "fn" and len(value[1].rstrip("'")) == 1) or _is_points(value)


def _is_points(value: Value) -> bool:
    r"""A segment (`AB`, `|AB|`), or the quotient of two."""
    if value[0] == "div" or value[:2] == ("fn", "abs"):
        return all(map(_is_points, value[-1:] if value[0] == "fn" else value[1:]))
    return value[0] == "mul" and all((part[0] == "sym" and part[1].isupper()) or _is_points(part) for part in value[1:])


def _related(first: Value, links: tuple[tuple[str, Value], ...]) -> Value:
    sides = [first, *(side for _, side in links)]
    if all(operator == "=" for operator, _ in links):
        if _is_name(first):
            names = [side for side in sides[:-1] if _is_name(side)]
            if len(names) == len(sides) - 1 > 1 and not _is_name(sides[-1]):
                # x = y = 4
                return ("system", tuple(("assign", name, (sides[-1],)) for name in names))
            return ("assign", first, tuple(sides[1:]))
        if len(sides) == 2 and _is_name(sides[1]):
            return ("assign", sides[1], (first,))
        if not any(_is_name(side) for side in sides):
            return ("equal", tuple(sides))
    if len(links) == 1 and links[0][0] == "in" and _is_name(first):
        return ("assign", first, (links[0][1],))
    return ("rel", first, links)


def _last(item: Value) -> Value:
    if len(item[2]) != 1:
        raise NoValueError("a chain within a list")
    return item[2][0]
