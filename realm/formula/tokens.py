"""The tokens of a formula in LaTeX or plain text."""

import re
from typing import NamedTuple

from realm.formula.text import GREEK
from realm.formula.words import NoValueError, words

_MOST_TOKENS = 600


class Token(NamedTuple):
    """`kind`: num, word, cmd, sign, begin, end or stop. `space` before it: "", " " or "wide". `upright`: in text."""

    kind: str
    text: str
    at: int
    space: str = ""
    upright: bool = False


_TOKEN = re.compile(
    r"(?P<space>(?:\s|~|\\[,;:! ]|\\(?:quad|qquad|enspace|thinspace|hspace\s*\{[^{}]*\})(?![A-Za-z]))+)"
    r"|(?P<num>\d+\.(?=\s*\\overline)|\d*\.?\d+(?:[eE][+-]?\d+(?![\w.]))?|\d+\.(?!\d))"
    r"|\\(?P<wrap>text|textbf|textit|textrm|textsf|mathrm|mbox|textnormal|textup|operatorname|rm)\*?\s*(?=\{)"
    r"|\\(?P<style>mathbf|mathit|mathsf|bold|boldsymbol|underline|bf|bm)\s*(?=\{)"
    r"|\\(?P<edge>begin|end)\s*\{(?P<name>[a-z]+)\*?\}"
    r"|(?P<cmd>\\[A-Za-z]+)"
    r"|(?P<row>\\\\(?:\[[^\]]*\])?)"
    r"|(?P<escaped>\\[{}|$%&#_])"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<char>.)",
    re.ASCII | re.DOTALL,
)
FUNCTIONS = frozenset(
    words(
        """
    sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc asin acos atan sinh cosh tanh coth sech csch
    arcsinh arccosh arctanh asinh acosh atanh ln log lg exp sqrt abs floor ceil min max gcd lcm binom frac
    """
    )
)
NAMED_SIGNS = frozenset(GREEK) | frozenset(name.capitalize() for name in GREEK) - {"Pi"}
_INFINITY = frozenset(("inf", "infinity", "oo", "infty", "Infinity"))


def tokens(text: str) -> list[Token]:
    found: list[Token] = []
    space = ""
    depth = 0
    # Depths of the braces of `\\text{…}`, which are no tokens: what is in them is upright.
    upright: list[int] = []
    wrapping = False
    for match in _TOKEN.finditer(text):
        whole, at = match[0], match.start()
        if match["space"]:
            space = "wide" if "quad" in whole else " "
            continue
        if match["style"]:
            continue
        if match["wrap"]:
            wrapping = True
            continue
        if whole == "{":
            depth += 1
            if wrapping:
                upright.append(depth)
                wrapping = False
                continue
        elif whole == "}":
            depth -= 1
            if upright and upright[-1] == depth + 1:
                upright.pop()
                space = space or " "
                continue
        if match["edge"]:
            token = Token(match["edge"], match["name"], at, space)
        elif match["num"]:
            token = Token("num", whole, at, space, bool(upright))
        elif match["cmd"]:
            token = Token("cmd", whole[1:], at, space)
        elif match["word"]:
            token = _word(whole, at, space, bool(upright))
        else:
            token = Token("sign", "\\\\" if match["row"] else whole, at, space)
        found.append(token)
        space = ""
        if len(found) > _MOST_TOKENS:
            raise NoValueError("too long")
    if depth != 0:
        raise NoValueError("unbalanced braces")
    found.append(Token("stop", "", len(text), space))
    return found


def _word(text: str, at: int, space: str, upright: bool) -> Token:
    if text in FUNCTIONS or text in NAMED_SIGNS:
        return Token("cmd", text, at, space)
    if text in _INFINITY:
        return Token("cmd", "infty", at, space)
    return Token("word", text, at, space, upright)
