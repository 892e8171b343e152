"""A teacher's own final answer, read from the text of its CoT, and what is wrong with a CoT as an answer.

The teacher is asked for a last line `Final answer: …`, but models answer in the forms they were trained on, so these
are read too. Time is linear in the length of the text, whatever it holds.
"""

from __future__ import annotations

import re
from typing import Any

from realm.tasks.endings import ending

#: A longer text behind a mark is an essay, not an answer, and is passed over.
LONGEST = 10_000
#: Lines below a mark that are searched for the answer where its own line is empty.
BELOW = 4

# `Final answer: 7`, `**The final answer is:** 7`, `### Answer: 7`; whatever marks up the start of the line is bounded,
# so that no line is read twice. Only `final answer` may do without a colon (`is`, or a heading of its own), and, with a
# colon, stand within a line.
_MARK = re.compile(
    r"^[^\w\n]{0,16}(?:(?:so|thus|hence|therefore)[ \t,]{1,4})?(?:(?:the|my|our)[ \t]{1,4})?"
    r"(?:final[ \t_-]{1,4}answer\b[ \t]{0,4}[*_`]{0,4}[ \t]{0,4}(?:is\b)?"
    r"|answer[ \t]{0,4}[*_`]{0,4}(?=[ \t]{0,4}[:：]))"
    r"[ \t]{0,4}[:：]?[ \t]{0,4}(?:[*_`]{1,4}(?=[ \t\n]|$))?"
    r"|\bfinal[ \t]answer(?:[ \t]is)?[ \t]{0,2}[:：]",
    re.IGNORECASE | re.MULTILINE,
)
_TAG = re.compile(r"<(/?)answer\s{0,8}>", re.IGNORECASE)
_BRACE = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{|\\[\\{}]|[{}]")
_SENTENCE = re.compile(r"\banswer[ \t]{1,4}is\b[ \t]{0,4}:?", re.IGNORECASE)
_LINE = re.compile(r"[^\n]*")
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s{0,4}\{([^{}]*)\}")
_PAIRS = (("**", "**"), ("*", "*"), ("__", "__"), ("`", "`"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_DECIMAL = re.compile(r"\D{0,8}[\d,]{1,40}\.\d{1,40}\D{0,8}\.")
# Marks alone, rules and the brackets of a formula on lines of their own are no answer; [] and '' are Python's.
_NOTHING = re.compile(r"[*_`$#.:=\s]*|-{2,}|~{3,}|\\[\[\]()]")
# NUL and lone surrogates are what no tokenizer and few files take.
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")


def final_answer(text: str) -> str:
    """The final answer that a CoT states, without markup, "" where it states none.

    In this order: the last line that begins with `Final answer` or `Answer:` (markup before it, any case; where the
    line ends there, what stands below it); the last `<answer>…</answer>`; the last `\\boxed{…}`; a last line
    `#### x`; a last line `A: x`; a last line that says `answer is x`.
    """
    for found in (_marked(text), _tagged(text), boxed(text), _last_line(text)):
        if found:
            return found
    return ""


def problem_of(text: str, answer: str, finish_reason: Any = None, refusal: str | None = None) -> str:
    """What is wrong with a teacher's answer, one of `realm.bank.cot.PROBLEMS`, or "".

    `refused`: it says so, or a filter stopped it. `cut`: it ended at a limit. `empty`: no text. `malformed`:
    characters that cannot be written (NUL, lone surrogates). `no_answer`: no final answer in it. The finish reason is
    a server's, in whatever form (`realm.tasks.endings`).
    """
    how = ending(finish_reason)
    if refusal or how == "refused":
        return "refused"
    if how == "cut":
        return "cut"
    if not text.strip():
        return "empty"
    if _UNWRITABLE.search(text):
        return "malformed"
    return "" if answer else "no_answer"


def boxed(text: str) -> str:
    r"""The content of the last `\boxed{…}` whose braces are balanced, "" for none."""
    open_braces: list[int | None] = []
    last: tuple[int, int] | None = None
    for match in _BRACE.finditer(text):
        token = match[0]
        if token == "}":
            start = open_braces.pop() if open_braces else None
            if start is not None and (last is None or start > last[0]):
                last = (start, match.start())
        elif token == "{":
            open_braces.append(None)
        elif len(token) > 2:
            open_braces.append(match.end())
    return _clean(text[slice(*last)]) if last and last[1] - last[0] <= LONGEST else ""


def _marked(text: str) -> str:
    for match in reversed(list(_MARK.finditer(text))):
        position = match.end()
        for _ in range(1 + BELOW):
            line = _LINE.match(text, position)
            if line is None:
                break
            found = _value(text, line)
            if found:
                return found
            position = line.end() + 1
            while text.startswith(("\n", "\r"), position):
                position += 1
            if position >= len(text) or _MARK.match(text, position):
                break
    return ""


def _value(text: str, line: re.Match[str]) -> str:
    """The answer on a line; one in a box may go on below it."""
    found = line[0].strip()
    if len(found) > LONGEST or found.startswith("```"):
        return ""
    if r"\boxed" in found:
        return boxed(text[line.start() : line.start() + LONGEST])
    return _tagged(found) or _clean(found)


def _tagged(text: str) -> str:
    start: int | None = None
    found = ""
    for match in _TAG.finditer(text):
        if not match[1]:
            start = match.end()
        elif start is not None:
            if match.start() - start <= LONGEST:
                content = text[start : match.start()]
                found = boxed(content) or _clean(content) or found
            start = None
    return found


def _last_line(text: str) -> str:
    line = text.rstrip().rpartition("\n")[2].strip()
    for mark in ("####", "A:"):
        if line.startswith(mark) and len(line) <= LONGEST:
            return _clean(line.removeprefix(mark))
    said = None
    for said in _SENTENCE.finditer(line):  # noqa: B007 - the last one counts
        pass
    rest = line[said.end() :] if said else ""
    return _clean(rest) if len(rest) <= LONGEST else ""


def _clean(found: str) -> str:
    """The answer without the markup around it and without the full stop of its sentence; inner text stays."""
    before = None
    while before != found:
        before = found = found.strip()
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
        # What a mark opened before the answer may close behind it: **Final answer: 7**
        for mark in ("**", "__", "`", "*"):
            if found.count(mark) == 1:
                found = found.removesuffix(mark)
        found = found.removesuffix("$") if found.count("$") == 1 else found
        # "7." and "3.5." end a sentence; "U.S." and "…" end in their own dot.
        if found.endswith(".") and ("." not in found[:-1].rpartition(" ")[2] or _DECIMAL.fullmatch(found)):
            found = found[:-1]
    return "" if _NOTHING.fullmatch(found) else found
