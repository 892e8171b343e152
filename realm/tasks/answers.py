"""A teacher's own final answer, read from the text of its CoT, and what is wrong with a CoT as an answer.

The teacher is asked for a last line `Final answer: …`, but models answer in the forms they were trained on, so these
are read too. What is thought aloud is a draft: an answer is read behind the end of the thinking, up to the end mark
of the model's template (`realm.tasks.spoken`), and there the last statement that states one counts. Time is linear in
the length of the text, whatever it holds.
"""

import json
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from realm.tasks.boxes import around, last_group, spans_of, with_braces
from realm.tasks.endings import ending
from realm.tasks.markup import LONGEST, clean
from realm.tasks.sentences import LAST, LONE, bullet, doubtful, narrowed, one_sentence, taken_back, unmarked
from realm.tasks.spoken import spoken

#: Lines below a mark that are searched for the answer where its own line is empty.
BELOW = 4
#: Characters of a container that may hold an essay too, as `<solution>` may.
_SHORT = 200

_DECOR = r"[^\w\n\\{]{0,16}(?:\d{1,2}[.)][ \t]{1,2}[*_]{0,3})?"
_NAMES = (
    r"final[ \t_-]{0,4}(?:answer|result)|answer|ans|result|solution"
    r"|(?:correct|right|best|chosen|selected)[ \t](?:answer|option|choice)|(?:my|final)[ \t](?:choice|pick|selection)"
    r"|choice"
    r"|(?:richtige[ \t]|endgültige[ \t])?antwort|endergebnis|réponse(?:[ \t](?:finale|correcte))?"
    r"|respuesta(?:[ \t](?:final|correcta))?|risposta(?:[ \t](?:finale|corretta))?|resposta(?:[ \t](?:final|correta))?"
    r"|(?:итоговый[ \t]|правильный[ \t])?ответ|odpowiedź|cevap|svar|antwoord"
)
#: Names that need a colon: otherwise they are words of a sentence.
_NEEDS_COLON = frozenset({"ans", "result", "solution", "choice"})
_IS = r"(?:is|ist|est|es|è|é|lautet)"
# `Final answer: 7`, `**The final answer is:** 7`, `### Answer: 7`, `Final answer - 7`, `| Final answer | 7 |`; whatever
# marks up the start of the line is bounded, so that no line is read twice.
_MARK = re.compile(
    rf"^{_DECOR}(?:(?:so|thus|hence|therefore|and)[ \t,]{{1,4}})?(?:(?:the|my|our|die|la|el|le|a|o)[ \t]{{1,4}})?"
    rf"(?P<name>{_NAMES})(?![^\W_])[ \t\u00a0]{{0,4}}(?P<close>[*_`\"']{{0,4}})[ \t]{{0,4}}"
    rf"(?:{_IS}?(?![^\W\d_])[ \t\u00a0]{{0,4}}(?:[:：=→⇒|]|[-–—](?=[ \t])|->)[ \t]{{0,4}}"
    r"(?:[*_`]{1,4}(?=[ \t\n]|$))?"
    rf"|{_IS}\b[ \t]{{0,4}}"
    rf"|(?:for|to|of|in)\b[^:\n]{{1,60}}?(?:[:：]|\b{_IS}\b)[ \t]{{0,4}}"
    r"|[*_`]{0,4}[ \t]*(?=$)|(?=\([A-Za-z0-9]{1,3}\)[ \t]*\.?[ \t]*$)|(?<=\*\*|__)[ \t]{1,4}(?=[A-Z0-9]\b))",
    re.IGNORECASE | re.MULTILINE,
)
# Within a line only with a colon, and where a sentence begins.
_INLINE = re.compile(
    r"(?:^|[.!?;:)\]*][ \t]{1,4})(?:(?:so|thus|hence|therefore)[ \t,]{1,4})?(?:(?:the|my|our)[ \t]{1,4})?"
    r"[*_]{0,4}final[ \t_-]answer(?:[ \t]is)?[*_]{0,4}[ \t]{0,2}[:：][*_]{0,4}[ \t]{0,4}",
    re.IGNORECASE | re.MULTILINE,
)
# Scripts without spaces: `所以答案是12。`, `故选B`, `答えは12です`, `정답은 B입니다`.
_EASTERN = re.compile(
    r"(?:答案|答え|解答|正解)[ \t]?(?:应该是|应为|是|为|為|は|[:：])[ \t]?(?P<a>[^\n。，]{1,200}?)"
    r"(?:です|になります)?(?=[。，\n]|$)"
    r"|(?:故选|应选|选择|选)[ \t]?[:：]?[ \t]?(?P<b>[(（]?[A-Z][)）]?)(?![A-Za-z])"
    r"|(?:정답|답)(?:은|는)?[ \t]?[:：]?[ \t]?(?P<c>[^\n。]{1,200}?)(?:입니다|이다)?(?=[.。\n]|$)"
)
_JSON = re.compile(
    r"[\"'](?:(?:final[_ -]?)?answer|result)[\"']\s{0,8}:\s{0,8}"
    r"(?:(?=\[)|\"((?:[^\"\\\n]|\\.){0,2000})\"|'([^'\n]{0,200})'|([^\s\",{}\[\]'][^\",{}\n\]]{0,200}))",
    re.IGNORECASE,
)
_HASHES = re.compile(r"(?:^|[ \t])####[ \t]{0,4}(?=[^\s#])", re.MULTILINE)
_TAG = re.compile(
    r"(?:<(?P<end>/?)(?P<name>(?:final[_ ]?)?answer|solution|output)(?:\s[^<>\n]{0,80})?>)|\[(?P<close>/?)ANSWER\]"
    r"|<\|(?P<box>begin|end)_of_box\|>",
    re.IGNORECASE,
)
# NUL and lone surrogates are what no tokenizer and few files take.
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")
_HTML = re.compile(r"</?(?:b|i|em|strong|u|p|span|div|code)\s{0,2}/?>|&nbsp;", re.IGNORECASE)
_BREAK = re.compile(r"<br\s{0,2}/?>", re.IGNORECASE)
_BOLD_MARK = re.compile(r"\\text(?:bf|it)?\s?\{([^{}\n]{1,60}[:：]\s?)\}")

_ENTRY = re.compile(r"(?:>\s?){0,4}(?:[-*•]|\d{1,2}[.)])\s+")
_GOES_ON = re.compile(r"\w\s?=\s?\S{1,20}")


@dataclass(frozen=True)
class _Statement:
    """An answer that a text states, where it was stated, whether it may be a remark on the answer instead, and what
    marks it."""

    start: int
    end: int
    found: str
    doubtful: bool = False
    mark: str = ""


def final_answer(text: str, *, thought: bool = False) -> str:
    """The final answer that a CoT states, without markup, "" where it states none. `thought`: the text is what was said
    after a thought that is kept apart.

    Behind the thinking and before a leaked end mark, the last of: a line `Final answer: x` or `Answer: x` (markup
    before it, any case, in several languages; where the line ends there, what stands below it), `<answer>x</answer>`,
    `\\boxed{x}` with what stands close round it (`not \\boxed{x}`, `\\boxed{x} million`), `#### x`, `"answer": "x"` of
    JSON. Where there is none: a last sentence `the answer is x`, a last line `A: x`, or one that is nothing but
    `**x**`, `(x)` or a number. Of two boxes that are joined, or two lines with the same mark one below the other that
    differ, both belong to the answer, which no verifier reads as one. An answer that the text behind it takes back is
    none.
    """
    said, whole = spoken(text)
    if not whole:
        # A thought that was not ended: only what it ends with may be an answer, everything else is a draft.
        rest = said.rstrip()
        said = rest[rest.rfind("\n") + 1 :] if len(rest) - rest.rfind("\n") <= LONGEST else ""
    if "<" in said or "&" in said:
        said = _HTML.sub(" ", _BREAK.sub("\n", said))
    if "\\" in said:
        said = _BOLD_MARK.sub(r"\1", with_braces(said))
    found = _answer_of(said)
    if len(found) > LONGEST:
        return ""
    if not found and whole and (thought or len(said) < len(text)) and len(said) <= _SHORT:
        # Behind a thought, what is said without any mark is the answer.
        lines = [line for line in said.splitlines() if line.strip()]
        return clean(lines[0]) if len(lines) == 1 and _is_value(lines[0].strip()) else ""
    return found


def _is_value(line: str) -> bool:
    """Whether a line that is all there is states an answer: it has a digit, or is one word or label."""
    return bool(LONE.fullmatch(line) or re.search(r"\d", line) or re.fullmatch(r"[^\W\d_]{3,40}[.!]?", line))


def _answer_of(text: str) -> str:
    lines = _Lines(text)
    every = [
        *_marked(text, lines),
        *_tagged(text),
        *_boxes(text),
        *_hashed(text, lines),
        *_json(text),
        *_last_line(text),
    ]
    found = sorted(every, key=lambda statement: (statement.start, statement.end))
    solid = [statement for statement in found if not statement.doubtful]
    if not solid:
        return found[-1].found if found else unmarked(text)
    last = solid[-1]
    # A box or a tag on a marked line is a part of what that line states.
    outer = [each for each in solid if each.mark not in ("", last.mark) and each.start <= last.start < each.end]
    last = outer[0] if outer else last
    earlier = [each for each in solid if each.end <= last.start and each.mark and each.mark == last.mark]
    if earlier:
        gap = text[earlier[-1].end : last.start]
        if re.fullmatch(r"\W*(?:or|and)?\W*", gap) and len(gap) < 40 and not _agree(earlier[-1].found, last.found):
            return text[earlier[-1].start : last.end].strip()
    return taken_back(text[last.end :], last.found)


def _agree(one: str, other: str) -> bool:
    """Whether two statements in a row say the same, or one says more of it."""
    one, other = (text.strip("$ *").removeprefix("\\$") for text in (one, other))
    return other.startswith(one) or one.startswith(other)


class _Lines:
    """Where the lines of a text end, found once."""

    def __init__(self, text: str) -> None:
        self._ends = [match.start() for match in re.finditer(r"\n|\Z", text)]

    def end(self, position: int) -> int:
        return self._ends[bisect_left(self._ends, position)]


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


def _marked(text: str, lines: _Lines) -> list[_Statement]:
    found = []
    marks = [mark for mark in [*_MARK.finditer(text)][-LAST:] if _is_mark(mark)]
    starts = {mark.start() for mark in marks}
    marks += [mark for mark in [*_INLINE.finditer(text)][-LAST:] if mark.start() not in starts]
    for mark in marks:
        statement = _below(text, mark, lines)
        if statement is not None:
            found.append(statement)
    for match in [*_EASTERN.finditer(text)][-LAST:] if not text.isascii() else []:
        said = match["a"] or match["b"] or match["c"]
        value = around(said) if "\\boxed" in said else clean(said)
        if value:
            found.append(_Statement(match.start(), match.end(), value, mark="答案"))
    return found


def _is_mark(mark: re.Match[str]) -> bool:
    return mark["name"].casefold() not in _NEEDS_COLON or mark[0].rstrip(" *_`\t").endswith((":", "：", "|"))


def _below(text: str, mark: re.Match[str], lines: _Lines) -> _Statement | None:
    """What a mark's own line states, or where it ends there, what one of the next lines does."""
    position = mark.end()
    colon = mark[0].rstrip(" *_`\t")[-1:] in ":：=→⇒|-–—>"
    heading = not text[position : lines.end(position)].strip(" *_`\t\r|")
    name = mark.groupdict().get("name", "final answer").casefold()
    first: _Statement | None = None
    for _ in range(1 + BELOW):
        end = lines.end(position)
        line = text[position:end]
        if len(line) <= LONGEST and not line.strip().startswith("```"):
            begin = position + (bullet(line) if heading else 0)
            value = _value(text, begin, end)
            if value:
                more, stop = _with_those_below(text, value, end, lines, listed=begin > position)
                doubt = doubtful(more, colon)
                statement = None if doubt is None else _Statement(mark.start(), stop, more, doubt, name)
                if not heading or "\\boxed" in line:
                    return statement
                first = first or statement
        position = end + 1
        while text.startswith(("\n", "\r"), position):
            position += 1
        if position >= len(text) or (first is None and _MARK.match(text, position)) or not heading:
            break
    return first


def _with_those_below(text: str, value: str, end: int, lines: _Lines, *, listed: bool) -> tuple[str, int]:
    """A value with those of the same form on the lines below it, and where the last one's line ends.

    `listed`: it is an entry of a list, so that the entries below it are meant.
    """
    form = next((form for form in (LONE, _GOES_ON) if form.fullmatch(value)), None)
    found = [value]
    while len(found) < LAST:
        stop = lines.end(min(end + 1, len(text)))
        line = text[end + 1 : stop].strip()
        entry = _ENTRY.match(line) if listed else None
        below = clean(line[entry.end() if entry else 0 :]) if len(line) <= _SHORT else ""
        same = form is not None and form.fullmatch(below) and below not in found and (entry or not listed)
        if not below or not (same or found[-1].endswith(",")):
            break
        found[-1] = found[-1].removesuffix(",")
        found.append(below)
        end = stop
    return ", ".join(found), end


def _value(text: str, start: int, end: int) -> str:
    """The answer on a line; one in a box may go on below it."""
    line = text[start:end].strip().removesuffix("|").strip()
    again = _MARK.match(line)
    if again and _is_mark(again) and line[again.end() :].strip():
        line = line[again.end() :]
    if "\\boxed" in line or "\\fbox" in line or "\\framebox" in line:
        block = text[start : start + LONGEST]
        spans = spans_of(block)
        inside = [span for span in spans if span[0] < end - start]
        return around(block[: max(end - start, inside[-1][3])]) if inside else ""
    tags = _tagged(line)
    if tags:
        return tags[-1].found if len(tags) == 1 else line
    return narrowed(line)


def _tagged(text: str) -> list[_Statement]:
    start: re.Match[str] | None = None
    found = []
    for match in _TAG.finditer(text):
        if not (match["end"] or match["close"] or match["box"] == "end"):
            start = match
        elif start is not None:
            content = text[start.end() : match.start()]
            essay = (start["name"] or "").casefold() in ("solution", "output")
            if len(content) <= (_SHORT if essay else LONGEST):
                value = (around(content) if "\\boxed" in content else "") or narrowed(content)
                if value:
                    found.append(_Statement(start.start(), match.end(), value, mark="<answer>"))
                    found = found[-LAST:]
            start = None
    return found


def _boxes(text: str) -> list[_Statement]:
    """The last box of the text and those joined to it, with what stands round them."""
    spans = spans_of(text)
    if not spans:
        return []
    first, last = spans[last_group(text, spans)], spans[-1]
    # A box may stand far out on a line without end: what is near it counts.
    start = max(text.rfind("\n", 0, first[0]) + 1, first[0] - LONGEST)
    end = text.find("\n", last[3])
    value = around(text[start : min(end if end >= 0 else len(text), last[3] + LONGEST)])
    return [_Statement(first[0], last[3], value)] if value else []


def _hashed(text: str, lines: _Lines) -> list[_Statement]:
    """Lines `#### x`; a heading has words, so that one stands for an answer only where it is the last line."""
    found = []
    end_of_text = len(text.rstrip())
    for match in [*_HASHES.finditer(text)][-LAST:]:
        end = lines.end(match.end())
        line = text[match.end() : end].strip()
        heading = re.match(r"\d{1,2}[.):]\s+\S", line)
        value_like = re.match(r"[-+$€£(\\*]{0,4}\d", line)
        if len(line) <= LONGEST and (end >= end_of_text or value_like) and not heading:
            value = around(line) if "\\boxed" in line else clean(one_sentence(line))
            if value:
                found.append(_Statement(match.start(), end, value, mark="####"))
    return found


def _json(text: str) -> list[_Statement]:
    if ":" not in text or not ('"' in text or "'" in text):
        return []
    found = []
    for match in [*_JSON.finditer(text)][-LAST:]:
        part = next((part for part in match.groups() if part is not None), None)
        said = _list(text[match.end() : match.end() + LONGEST]) if part is None else part
        value = clean(said).replace("\\\\", "\\").replace('\\"', '"')
        if value:
            found.append(_Statement(match.start(), match.end(), value))
    return found


def _list(text: str) -> str:
    """The list that a text begins with, whole: one of its items is not the answer. Of a list of one text, that text."""
    try:
        found, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return text[: text.find("]", 0, _SHORT) + 1]  # of Python, or of LaTeX that JSON cannot hold
    return str(found[0]) if len(found) == 1 and isinstance(found[0], str) else text[:end]


def _last_line(text: str) -> list[_Statement]:
    """A last line `A: x`."""
    rest = text.rstrip()
    start = rest.rfind("\n") + 1
    line = rest[start:].strip()
    if not line.startswith("A:") or len(line) > LONGEST:
        return []
    value = narrowed(line[2:])
    return [_Statement(start, len(rest), value)] if value else []
