"""The markup that models put round an answer, taken off; inner text stays."""

import re

#: A longer text behind a mark is an essay, not an answer, and is passed over.
LONGEST = 10_000
#: Layers of markup that are taken off; more is no answer, and taking off one at a time is slow.
_LAYERS = 16
_WRAPPED = re.compile(r"\\(?:text|textbf|textsf|textit|underline|mathrm|mathbf|mathsf)\s{0,4}\{([^{}]*)\}")
_SIZE = re.compile(r"\\(?:Large|large|Huge|huge|LARGE|displaystyle|bf|rm)\b\s*")
_PAIRS = (("**", "**"), ("*", "*"), ("__", "__"), ("`", "`"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_TICK = re.compile("\\s?[\u2713\u2714\u2705\u2611]\ufe0f?$")
_DECIMAL = re.compile(r"\D{0,8}[\d,]{1,40}\.\d{1,40}\D{0,8}\.")
# Marks alone, rules and the brackets of a formula on lines of their own are no answer; [] and '' are Python's.
_NOTHING = re.compile(r"[*_`$#.:=>|\s]*|-{2,}|[|:\s-]*\|[|:\s-]*|~{3,}|\\[\[\]()]")


def clean(found: str) -> str:
    """The answer without the markup around it and without the full stop of its sentence."""
    for _ in range(_LAYERS):
        before = found
        found = _layer(found.strip())
        if found == before:
            break
    return "" if _NOTHING.fullmatch(found) else found


def _layer(found: str) -> str:
    for start, end in _PAIRS:
        inner = found[len(start) : len(found) - len(end)]
        if (
            found == f"{start}{inner}{end}"
            and start not in inner
            and (start != "__" or not inner.isidentifier())  # __init__ is a name, __7__ is bold
        ):
            found = inner
            break
    wrapped = _WRAPPED.fullmatch(found)
    if wrapped:
        found = wrapped[1]
    found = _SIZE.sub("", found, count=1) if found.startswith("\\") else found
    found = _TICK.sub("", found)
    # What a mark opened before the answer may close behind it: **Final answer: 7**
    for mark in ("**", "__", "`", "*"):
        if found.count(mark) == 1:
            found = found.removesuffix(mark)
    if found.count("$") == 1 and found.endswith("$"):
        found = found[:-1]
    if found.endswith("\\") and not found.endswith("\\\\"):
        found = found[:-1]
    # "7." and "3.5." end a sentence; "U.S." and "…" end in their own dot.
    if found.endswith("。") or (
        found.endswith(".") and ("." not in found[:-1].rpartition(" ")[2] or _DECIMAL.fullmatch(found))
    ):
        found = found[:-1]
    return found
