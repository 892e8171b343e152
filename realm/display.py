"""Text of others, made safe to show in a terminal."""

import unicodedata

#: Categories that act instead of showing: controls, formats (direction overrides, zero width), surrogates, private use.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, width: int | None = None) -> str:
    """`text` on one line: a line break becomes ⏎, and what would act on the terminal becomes its number.

    Nothing that is left can move the cursor, change colours or the direction of writing. With `width` it is cut to
    that many characters, the last of which is then `…`.
    """
    # The cut comes first too, so that a line of a megabyte costs what is shown of it.
    shown = "".join(map(_visible, text if width is None else text[: width + 1]))
    return shown if width is None or len(shown) <= width else shown[: max(0, width - 1)] + "…"


def printable_lines(text: str) -> str:
    """As `printable`, but with its line breaks and tabs."""
    return "\n".join("    ".join(map(printable, line.split("\t"))) for line in text.replace("\r\n", "\n").split("\n"))


def _visible(character: str) -> str:
    if character == "\n":
        return "⏎"
    if character == "\t":
        return " "
    if unicodedata.category(character) not in _ACTING:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
