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
from realm.tasks.spoken import spoken

#: Lines below a mark that are searched for the answer where its own line is empty.
BELOW = 4
#: Statements of one kind that are looked at, from the end of the text.
_LAST = 50
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
_SENTENCE = re.compile(
    r"\banswer(?:[ \t](?:to|for)[ \t][^.\n]{1,60}?)?[ \t]{1,4}(?:is|was|(?:must|should|would|will)[ \t]be|equals)\b"
    r"[ \t]{0,4}:?[ \t]{0,4}"
    r"|\b(?:option|choice)[ \t]{1,4}(?:is|must[ \t]be|would[ \t]be)[ \t]{0,4}:?[ \t]{1,4}"
    r"(?=\(?[A-Za-z0-9]{1,2}\)?(?:[\s.,;:]|$))"
    r"|\bi(?:['’]d|[ \t]would|['’]ll|[ \t]will)?[ \t](?:choose|pick|select|go[ \t]with)[ \t]{1,4}",
    re.IGNORECASE,
)
_CORRECT = re.compile(
    r"(?:\b(?:option|choice|answer)[ \t]{1,4}|^[^\w\n]{0,6}(?:(?:so|thus|hence|therefore)[, \t]{1,3})?)"
    r"(\(?(?:(?-i:[A-Z])|\d{1,2})\)?)"
    r"[ \t]{1,4}is[ \t]{1,4}(?:the[ \t]{1,4})?(?:correct|right|best|true|answer)\b(?![^\n.]{0,20}\?)"
    r"|^[^\w\n]{0,6}(?:so|thus|hence|therefore)[, \t]{1,3}(?:it['’]?s[ \t]|it is[ \t]|option[ \t]|choice[ \t])?"
    r"(\(?(?-i:[A-Z])\)?|[-+]?[$€£]?\d[\d.,]{0,40}%?)(?=[.!]?$)",
    re.IGNORECASE,
)
# Before a statement in its sentence, what makes it none.
_UNSAID = re.compile(
    r"\b(?:not|never|neither|nor|no|false|wrong|incorrect|doubt|maybe|perhaps|suppose|assume|if|whether|unless|first|initial"
    r"|second|original|previous|unlikely|possibly|many|some|people|might|could|note|naive|tempting)\b|n['’]t\b"
    r"|\b(?:common|obvious|intuitive|quick)\s*$",
    re.IGNORECASE,
)
_PICTURES = "[\u2600-\u27bf\U0001f300-\U0001faff\ufe0f]"
_LONE = re.compile(
    rf"(?:{_PICTURES}\s?)*(?:\**\([^\s()]{{1,40}}\)\**\.?|\*\*[^*\n]{{1,60}}\*\*\.?|\$[^$\n]{{1,60}}\$\.?"
    r"|[-+]?[$€£]?\d[\d.,]{0,40}%?|[A-Z]\.?|(?:[Yy]es|[Nn]o|[Tt]rue|[Ff]alse)\.?|\(?[A-Z]\)[ \t][^\n]{1,60})"
)
# NUL and lone surrogates are what no tokenizer and few files take.
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")
_HTML = re.compile(r"</?(?:b|i|em|strong|u|p|span|div|code)\s{0,2}/?>|&nbsp;", re.IGNORECASE)
_BREAK = re.compile(r"<br\s{0,2}/?>", re.IGNORECASE)
_BOLD_MARK = re.compile(r"\\text(?:bf|it)?\s?\{([^{}\n]{1,60}[:：]\s?)\}")

# What is said of an answer, not the answer: `based on rule 3`, `obtained by addition`, `see above`.
_ABOUT = re.compile(
    r"(?:\w{1,20}ly\s)?(?:\w{2,20}ed|found|given|shown|known|written|taken|drawn|made|got|gotten|seen|built|chosen"
    r"|correct|wrong|right|in|on|at|by|from|as|just|simply|therefore|thus|also|not\syet|always)"
    r"\s(?:on|in|by|from|to|above|below|as|using|with|at|that|for|via|through|because|since|here|after|step|the|up)\b"
    r"|(?:see|as|like)\s(?:above|below|stated|shown|follows|before|given|computed|the)\b|(?:above|below)\b"
)
# A word that may be an answer but rarely is; it counts only where nothing else states one.
_DOUBTFUL = re.compile(
    r"(?:\w{3,20}ed|correct|checked|helps?|helpful|key|check|above|below|ok|okay|done|follows|it|this|that|yours|(?:an?|the)(?=\s)"
    r"|reasonable|valid|consistent|plausible)\b"
)
_PRONOUN = re.compile(
    r"(?:it|this|that|which|they|he|she|we|i|because|since|there)\b(?!\s(?:is|are)\s\S{1,12}\.?$)", re.IGNORECASE
)
_ADVERB = re.compile(
    r"(?:simply|clearly|indeed|thus|therefore|obviously|just|of course|then)[, ]\s?(?=\S)", re.IGNORECASE
)
_BULLET = re.compile(r"(?:>\s?){0,4}(?:[-*•]\s+|1[.)]\s+)?")
_ENTRY = re.compile(r"(?:>\s?){0,4}(?:[-*•]|\d{1,2}[.)])\s+")
_REASON = re.compile(r",?\s(?:because|since)\s.*", re.IGNORECASE)
_CITED = re.compile(r"\s\[\d{1,2}\]\.?$")
_SHORT_SENTENCE = re.compile(
    r"((?:\*\*[^*\n]{1,80}\*\*|\$[^$\n]{1,200}\$|`[^`\n]{1,80}`|\(?[A-Za-z]\)?|[-+$€£(]{0,3}\d[^\n]{0,60}?"
    r"|[^\W\d_]{1,20})[*]{0,2})[.!]\*{0,2}\s+(?=[A-Z\"'(][^\s.]*\s+\S+\s+\S)"
)
_ABBREVIATED = re.compile(r"(?:St|Dr|Mr|Mrs|Ms|Mt|No|vs|e|i)\b")
# In a sentence behind a short answer: it is taken back or joined by another one.
_CHANGED = re.compile(
    r"\b(?:no|not|actually|wait|however|but|or|alternatively|instead|also|rather|should be|made an? (?:mistake|error)"
    r"|unless|although|wrong)\b",
    re.IGNORECASE,
)
_FAILED = "forgot|missed|misread|miscounted|miscalculated|overlooked"
# Behind an answer, where its writer thinks again: `Wait, …`, `Actually, …`, `I made an error`.
_WAIT = re.compile(
    r"(?:^|[.!?:][ \t]{1,2})[^\w\n]{0,8}(?:(?:hm+|oh|ah|but|no)\b[,.]?[ \t]{1,2})?"
    r"(?:(?:wait|hold on|oops|actually|correction|scratch that|sorry|(?:my )?apologies|hm+)\b"
    rf"|I (?:just )?(?:made|see|noticed?|realized?|{_FAILED})\b)",
    re.IGNORECASE | re.MULTILINE,
)
_DENIED = re.compile(
    r"\W{0,20}(?:that|this|it|which)(?:['’]s|[ \t](?:is|was))[ \t](?:not[ \t](?:right|correct)|wrong|incorrect)\b",
    re.IGNORECASE,
)
_ADMITS = re.compile(
    r"(?:['’]s|\b(?:is|was))[ \t](?:not[ \t](?:right|correct|true)|wrong|incorrect|an?[ \t](?:mistake|error))"
    r"|\b(?:isn|wasn)['’]t[ \t](?:right|correct)|\b(?:mistake|error)\b|\bshould[ \t](?:have[ \t]been|be)\b"
    rf"|\bI (?:just )?(?:{_FAILED})\b|\b(?:correction|oops|scratch that)\b",
    re.IGNORECASE,
)
#: `The total comes to **58**.`
_BOLD_END = re.compile(r"^([^*\n]{0,200})\*\*([^*\n]{1,40})\*\*[.!]?\s*$")
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
    return bool(_LONE.fullmatch(line) or re.search(r"\d", line) or re.fullmatch(r"[^\W\d_]{3,40}[.!]?", line))


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
        return found[-1].found if found else _weak(text)
    last = solid[-1]
    # A box or a tag on a marked line is a part of what that line states.
    outer = [each for each in solid if each.mark not in ("", last.mark) and each.start <= last.start < each.end]
    last = outer[0] if outer else last
    earlier = [each for each in solid if each.end <= last.start and each.mark and each.mark == last.mark]
    if earlier:
        gap = text[earlier[-1].end : last.start]
        if re.fullmatch(r"\W*(?:or|and)?\W*", gap) and len(gap) < 40 and not _agree(earlier[-1].found, last.found):
            return text[earlier[-1].start : last.end].strip()
    return _taken_back(text[last.end :], last.found)


def _taken_back(behind: str, found: str) -> str:
    """A stated answer, or what the text behind it says instead; "" where that takes it back and states no other."""
    wait = _DENIED.match(behind) or _WAIT.search(behind)
    if wait is None:
        return found
    rest = behind[wait.start() :]
    return _weak(rest) or ("" if _ADMITS.search(rest) else found)


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
    marks = [mark for mark in [*_MARK.finditer(text)][-_LAST:] if _is_mark(mark)]
    starts = {mark.start() for mark in marks}
    marks += [mark for mark in [*_INLINE.finditer(text)][-_LAST:] if mark.start() not in starts]
    for mark in marks:
        statement = _below(text, mark, lines)
        if statement is not None:
            found.append(statement)
    for match in [*_EASTERN.finditer(text)][-_LAST:] if not text.isascii() else []:
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
            begin = position + (_bullet(line) if heading else 0)
            value = _value(text, begin, end)
            if value:
                more, stop = _with_those_below(text, value, end, lines, listed=begin > position)
                statement = _stated(mark.start(), stop, more, colon, name)
                if not heading or "\\boxed" in line:
                    return statement
                first = first or statement
        position = end + 1
        while text.startswith(("\n", "\r"), position):
            position += 1
        if position >= len(text) or (first is None and _MARK.match(text, position)) or not heading:
            break
    return first


def _bullet(line: str) -> int:
    """How far the mark of a quotation or a list goes on a line below a heading."""
    match = _BULLET.match(line)
    return match.end() if match else 0


def _with_those_below(text: str, value: str, end: int, lines: _Lines, *, listed: bool) -> tuple[str, int]:
    """A value with those of the same form on the lines below it, and where the last one's line ends.

    `listed`: it is an entry of a list, so that the entries below it are meant.
    """
    form = next((form for form in (_LONE, _GOES_ON) if form.fullmatch(value)), None)
    found = [value]
    while len(found) < _LAST:
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


def _stated(start: int, end: int, value: str, colon: bool, mark: str) -> _Statement | None:
    plain = value.casefold()
    if _ABOUT.match(plain) and (not colon or not any(sign.isdigit() for sign in plain)):
        return None
    remark = not any(sign.isdigit() for sign in value) and not re.search(r"(?:^|\s|\()[B-HJ-Z](?:$|[\s.),;:])", value)
    few = len(plain.split(maxsplit=12)) <= 12
    doubtful = remark and bool(
        (few and _DOUBTFUL.match(plain) and (not colon or _is_remark(plain))) or _PRONOUN.match(value)
    )
    return _Statement(start, end, value, doubtful, mark)


def _is_remark(plain: str) -> bool:
    """With a colon before it, an article begins an answer; these words do not."""
    return not plain.startswith(("a ", "an ", "the ")) and plain != "correct"


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
    return _narrowed(line)


def _narrowed(line: str) -> str:
    """What a line states: the sentence in it that says what the answer is, else its first, if that is short."""
    if len(line.split(maxsplit=3)) > 3 and (said := _sentence(line)):
        return said
    return clean(_one_sentence(line))


def _one_sentence(line: str) -> str:
    """The line without the sentences or the reason behind a short answer: `12. It is the sum.`, `B. Note that …`"""
    line = line.strip()
    adverb = _ADVERB.match(line)
    line = _CITED.sub("", line[adverb.end() :] if adverb else line)
    match = _SHORT_SENTENCE.match(line)
    if match and not _ABBREVIATED.match(match[1]) and not _CHANGED.search(line[match.end() :]):
        return match[1]
    reason = _REASON.search(line)
    if reason and len(line[: reason.start()].split()) <= 3 and not _CHANGED.search(reason[0]):
        return line[: reason.start()]
    return line


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
                value = (around(content) if "\\boxed" in content else "") or _narrowed(content)
                if value:
                    found.append(_Statement(start.start(), match.end(), value, mark="<answer>"))
                    found = found[-_LAST:]
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
    for match in [*_HASHES.finditer(text)][-_LAST:]:
        end = lines.end(match.end())
        line = text[match.end() : end].strip()
        heading = re.match(r"\d{1,2}[.):]\s+\S", line)
        value_like = re.match(r"[-+$€£(\\*]{0,4}\d", line)
        if len(line) <= LONGEST and (end >= end_of_text or value_like) and not heading:
            value = around(line) if "\\boxed" in line else clean(_one_sentence(line))
            if value:
                found.append(_Statement(match.start(), end, value, mark="####"))
    return found


def _json(text: str) -> list[_Statement]:
    if ":" not in text or not ('"' in text or "'" in text):
        return []
    found = []
    for match in [*_JSON.finditer(text)][-_LAST:]:
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
    value = _narrowed(line[2:])
    return [_Statement(start, len(rest), value)] if value else []


def _sentence(line: str) -> str:
    """What a line says the answer is, in a sentence; "" for none, for what is a remark on it, and for what is denied,
    doubted or supposed."""
    correct = [*_CORRECT.finditer(line)][-_LAST:]
    said = [*_SENTENCE.finditer(line)][-_LAST:]
    if correct and (not said or correct[-1].start() >= said[-1].start()):
        return "" if _unsaid(line, correct[-1].start()) else clean(correct[-1][1] or correct[-1][2])
    if not said or _unsaid(line, said[-1].start()):
        return ""
    rest = line[said[-1].end() :]
    if "\\boxed" in rest:
        return ""
    value = clean(_one_sentence(rest))
    statement = _stated(0, 0, value, colon=False, mark="") if value else None
    return value if statement is not None and not statement.doubtful else ""


def _unsaid(line: str, position: int) -> bool:
    """Whether the words before a statement, in its sentence, make it none."""
    before = re.split(r"[.!?;\n]\s", line[max(0, position - 200) : position])[-1]
    return bool(_UNSAID.search(before))


def _weak(text: str) -> str:
    """Where no line is marked: a last line that is nothing but an answer, or a sentence of one of the last lines."""
    last = [line for line in text[-4 * LONGEST :].split("\n") if line.strip()][-3:]
    lone = len(last[-1]) <= LONGEST and _LONE.fullmatch(last[-1].strip()) if last else None
    # A bare number that is the whole text is no reasoning that ends in an answer.
    if lone and (len(last) > 1 or not last[-1].strip()[0].isdigit()):
        before = last[-2].strip() if len(last) > 1 else ""
        two = before != last[-1].strip() and _LONE.fullmatch(before)
        return f"{before}\n{last[-1].strip()}" if two else clean(re.sub(rf"^(?:{_PICTURES}\s?)+", "", last[-1].strip()))
    for line in reversed(last):
        if len(line) <= LONGEST and (value := _sentence(line)):
            return value
    bold = _BOLD_END.match(last[-1][_bullet(last[-1]) :]) if last and len(last[-1]) <= LONGEST else None
    # What stands before it belongs to it, as with a box: `It is not **12**`, `at least **12**`, `-**12**`.
    return around(f"{bold[1]}\\boxed{{{bold[2]}}}") if bold else ""
