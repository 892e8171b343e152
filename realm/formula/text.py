"""The text of a formula without what changes no value: frames, spellings of one sign, grouped thousands."""

import re
import unicodedata

from realm.formula.words import words

_CHARACTERS = {
    "−": "-", "–": "-", "‒": "-", "﹣": "-", "－": "-", "×": r"\cdot ", "·": r"\cdot ", "⋅": r"\cdot ", "∗": "*",
    "÷": r"\div ", "∕": "/", "⁄": "/", "π": r"\pi ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ",
    "∈": r"\in ", "∉": r"\notin ", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "≃": r"\approx ", "∼": r"\sim ", "±": r"\pm ", "∓": r"\mp ",
    "°": r"^\circ ", "º": r"^\circ ", "‰": r"\permil ",
    "√": r"\sqrt ", "∛": r"\sqrt[3] ", "′": "'", "’": "'", "…": r"\ldots ", "⟨": r"\langle ", "⟩": r"\rangle ",
    "∧": r"\land ", "∨": r"\lor ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∣": "|",
    "→": r"\to ", "⇒": r"\to ", "∖": r"\setminus ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "∫": r"\int ", "∑": r"\sum ", "∏": r"\prod ", "≡": r"\equiv ",
    "∠": r"\angle ", "△": r"\triangle ", "“": "", "”": "", "`": "", "∶": ":", "：": ":",
}  # fmt: skip
GREEK = words(
    """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau upsilon
    phi chi psi omega
    """
)
for _at, _name in enumerate(GREEK):
    _CHARACTERS.setdefault(chr(0x3B1 + _at), f"\\{_name} ")
    _CHARACTERS.setdefault(chr(0x391 + _at), f"\\{_name.capitalize()} ")
_TABLE = str.maketrans(_CHARACTERS)
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ"
_RAISED_TABLE = str.maketrans(_RAISED, "0123456789+-()n")
_LOWERED = "₀₁₂₃₄₅₆₇₈₉"
_LOWERED_TABLE = str.maketrans(_LOWERED, "0123456789")

_REWRITES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\\(?:left|right)\s*\.", " "),
        (r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![A-Za-z])", " "),
        (
            r"\\(?:large|Large|LARGE|huge|Huge|small|displaystyle|textstyle|limits|nolimits|allowbreak|nonumber)(?![A-Za-z])",
            " ",
        ),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\(?:leq|leqslant|leqq)(?![A-Za-z])|<=|=<", r"\\le "),
        (r"\\(?:geq|geqslant|geqq)(?![A-Za-z])|>=|=>", r"\\ge "),
        (r"\\neq(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
        (r"\\not\s*\\in(?![A-Za-z])", r"\\notin "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"==", "="),
        (r"\\(?:dots|cdots|dotsc|dotsb)(?![A-Za-z])|\.\.\.+", r"\\ldots "),
        (r"\\(?:lvert|rvert|vert)(?![A-Za-z])", "|"),
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset "),
        (r"\\(?:infin|infty)(?![A-Za-z])", r"\\infty "),
        (r"\\(?:lor|vee)(?![A-Za-z])", r"\\text{ or }"),
        (r"\\(?:land|wedge)(?![A-Za-z])", r"\\text{ and }"),
        (r"\\degree(?![A-Za-z])|\^\s*\{?\s*o\s*\}?(?![A-Za-z])", r"^\\circ "),
        (r"\\colon(?![A-Za-z])", ":"),
        (r"\\(?:var)(theta|phi|epsilon|rho)(?![A-Za-z])", r"\\\1"),
        (r"\\backslash(?![A-Za-z])", r"\\setminus "),
        (r"\{,\}", "\ue000"),
        (r"(?<!\\)\{\s*\}", " "),
        (r"\\(?:text)?color\s*\{\w+\}", ""),
        # A unit as a fraction, and micro as a sign of its own.
        (
            r"\\frac\s*\{\s*\\(?:text|mathrm)\s*\{([^{}]*)\}\s*\}"
            r"\s*\{\s*\\(?:text|mathrm)\s*\{([^{}]*)\}((?:\^\{?\d\}?)?)\s*\}",
            r"\\text{ \1/\2}\3",
        ),
        (r"\\mu\s*\\(?:text|mathrm)\s*\{\s*([a-zA-Z]{1,3})\s*\}", r"\\text{ u\1}"),
        # `~` is a space, but before a number it says "about".
        (r"(?:^|(?<=[\s=(,$]))~(?=\s*[-\d.$])", r"\\sim "),
        (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\cdot "),
        (r"^\s*=", " "),
        (r"\b([aApP])\.\s?[mM]\.?(?![A-Za-z])", r"\1m"),
    )
)
_FRAMES = (
    ("$$", "$$"), ("$", "$"), (r"\[", r"\]"), (r"\(", r"\)"), ("**", "**"), ("__", "__"), ("*", "*"), ('"', '"'),
    (r"\boxed{", "}"), (r"\fbox{", "}"), (r"\text{", "}"), (r"\textbf{", "}"), (r"\mathrm{", "}"), (r"\mathbf{", "}"),
)  # fmt: skip


def _balanced(text: str) -> bool:
    """Whether no brace of the text closes one that it does not open."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def without_frames(text: str) -> str:
    r"""The text, its white space collapsed, without what merely frames it: `$…$`, `\boxed{…}`, `**…**`, a full stop."""
    text = " ".join(text.split())
    before = None
    while before != text:
        before = text
        text = text.strip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1].rstrip()
        text = text.rstrip(",;")
        for opening, closing in _FRAMES:
            inner = text[len(opening) : len(text) - len(closing)]
            if text.startswith(opening) and text.endswith(closing) and len(text) >= len(opening + closing):
                if opening in inner or (opening != closing and closing != "}" and closing in inner):
                    continue
                if (closing != "}" or _balanced(inner)) and not inner.endswith("\\"):
                    text = inner.strip()
        if text.endswith("**") and text.count("**") == 1:
            text = text[:-2]
    return text


def prepared(text: str) -> str:
    for run in re.findall(f"[{_RAISED}]+", text):
        text = text.replace(run, "^{" + run.translate(_RAISED_TABLE) + "}", 1)
    for run in re.findall(f"[{_LOWERED}]+", text):
        text = text.replace(run, "_{" + run.translate(_LOWERED_TABLE) + "}", 1)
    if r"\begin" not in text:
        # As JSON writes LaTeX, where it was not read back.
        text = re.sub(r"\\\\(?=[A-Za-z{}])", r"\\", text)
    text = "".join(map(_one_character, text.translate(_TABLE)))
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    text = re.sub(r"(?:(?<=^)|(?<=\s))\*\*(?=\S)([^*]+)(?<=\S)\*\*", r"\1", text)
    # What stands outside dollars is text all the same: `$5$ cm`. One dollar alone is money.
    bare = re.findall(r"(?<!\\)\$", text)
    if len(bare) % 2 == 0:
        text = re.sub(r"(?<!\\)\$", " ", text)
    elif len(bare) == 1:
        text = re.sub(r"(?<!\\)\$", r"\\$ ", text)
    # So it is outside `\\(…\\)`.
    return re.sub(r"\\[()\[\]]", " ", text)


def _one_character(character: str) -> str:
    if character.isascii():
        return character
    plain = unicodedata.normalize("NFKC", character)
    fraction = re.fullmatch(r"(\d+)⁄(\d+)", plain)
    if fraction:
        return rf"\frac{{{fraction[1]}}}{{{fraction[2]}}}"
    return plain if plain.isascii() else character


_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d]|,\d)")
_SURELY_GROUPED = re.compile(
    r"(?<![\d.,])[1-9]\d{0,2}(?:\ue000\d{3})+(?!\d)"
    r"|(?<![\d.,])(?<!\d )[1-9]\d{0,2}(?:(?: |\\,|~|\\ )\d{3})+(?![\d/])(?! ?[\d/])"
)


def joined(text: str, commas: bool) -> str:
    """The text with thousands that are grouped (1,234 or 1 234) written in one; those with plain commas on demand."""
    text = _SURELY_GROUPED.sub(lambda match: re.sub(r"\D", "", match[0]), text)
    # `{,}` elsewhere between digits is the comma of a decimal.
    text = re.sub(r"(?<=\d)\ue000(?=\d)", ".", text)
    return _GROUPED.sub(lambda match: match[0].replace(",", ""), text) if commas else text
