"""A teacher's own final answer, read from the text of its CoT, and what is wrong with a CoT as an answer.

The teacher is asked for a last line `Final answer: …`, but models answer in the forms they were trained on, so these
are read too. What is thought aloud is a draft: an answer is read behind the end of the thinking, up to the end mark
of the model's template, and there the last statement that states one counts. Time is linear in the length of the text,
whatever it holds.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from realm.tasks.endings import ending
from realm.tasks.units import CHANGES, SCALES, known_unit

#: A longer text behind a mark is an essay, not an answer, and is passed over.
LONGEST = 10_000
#: Lines below a mark that are searched for the answer where its own line is empty.
BELOW = 4
#: Statements of one kind that are looked at, from the end of the text.
_LAST = 50

# --- Where the answer stands: behind the thinking, before the end mark ---

_THOUGHT = r"(?:[a-z]{1,10}:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis|inner_monologue)"
_THOUGHT_END = re.compile(
    rf"</{_THOUGHT}\s{{0,4}}>|◁/think▷|\[/THINK\]|<\|/?(?:end_of_thought|end_think(?:ing)?|/think(?:ing)?)\|>|</\|think\|>"
    r"|<\|END_THINKING\|>|<｜end▁of▁think(?:ing)?｜>|</details>(?=\s*\S)",
    re.IGNORECASE,
)
_THOUGHT_START = re.compile(
    rf"\s{{0,8}}(?:<{_THOUGHT}\s{{0,4}}>|◁think▷|\[THINK\]|<\|(?:begin_of_thought|start_thinking|think(?:ing)?)\|>)",
    re.IGNORECASE,
)
# gpt-oss' channels, with their special tokens and without.
_FINAL_CHANNEL = re.compile(r"<\|channel\|>\s{0,4}final[^<\n]{0,40}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>")
_CHANNEL = re.compile(r"\s{0,8}(?:<\|start\|>assistant)?<\|channel\|>")
_BARE_CHANNELS = re.compile(r"\s{0,8}(?:assistant)?analysis(?=[A-Z\W])")
_BARE_FINAL = re.compile(r"assistantfinal\b|assistantfinal(?=[A-Z\d\W])|assistant\s?final\s?(?=\n)")
# What closes a turn, or opens the next one, in the usual chat templates.
_END = re.compile(
    r"<\|(?:im_end|im_start|im_sep|eot_id|eom_id|end_of_text|endoftext|end_of_turn|endofturn|end_of_role|return|end|eos|eot"
    r"|start_header_id|start_of_role|user|observation|endofprompt|END_OF_TURN_TOKEN|START_OF_TURN_TOKEN|endofmessage"
    r"|end_of_message|end_of_sentence|message_end|assistant_end|call|diff_marker)\|>"
    r"|<｜(?:end▁of▁sentence|User|Assistant|begin▁of▁sentence)｜>|</s>|<eos>|<end_of_turn>|<start_of_turn>|\[/?INST\]|<\|END\|>"
    r"|\[EOS\]|\[\|endofturn\|\]|<\[end▁of▁sentence\]>|<\|endofsystem\|>|<｜end｜>|<\|eou\|>|</?s>(?=\s*(?:<s>|\[INST\]|$))"
)
_TURN_HEAD = re.compile(
    r"\s{0,8}(?:<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>|<｜begin▁of▁sentence｜>|<｜Assistant｜>"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>|<\|im_start\|>assistant|<start_of_turn>model|<\|assistant\|>"
    r"|<\|start\|>assistant(?!<\|channel))"
)
_NO_TURN = re.compile(r"\s*(?:user|assistant|system|model|tool)?(?:<\|end_header_id\|>|<\|end_of_role\|>|\s)*")


def without_run_on(text: str) -> tuple[str, bool]:
    """The text up to the first leaked end mark of a chat template, and whether anything but marks stood behind it.

    What comes behind is a run-on: the model went on with another turn, whose answer is not the question's.
    """
    start = 0
    while head := _TURN_HEAD.match(text, start):
        start = head.end()
    final = _FINAL_CHANNEL.search(text, start)
    end = _END.search(text, final.end() if final else start)
    if end is None or (final is None and _CHANNEL.match(text, start) and "final" in text[end.end() : end.end() + 60]):
        return text[start:], False
    return text[start : end.start()], not _NO_TURN.fullmatch(_END.sub("", text[end.end() :]))


def halves(text: str) -> tuple[str, str]:
    """The thinking of a text, without its tags, and what is said after it; a text without thinking is all said."""
    said, whole = spoken(text)
    if not whole or len(said) == len(text):
        return ("", text)
    thought = text[: len(text) - len(said)]
    thought = _THOUGHT_END.sub("", _THOUGHT_START.sub("", thought, count=1)) if text.endswith(said) else ""
    return thought.strip(), said.strip()


def spoken(text: str) -> tuple[str, bool]:
    """The part of a text in which an answer is to be looked for, and whether it is spoken: not so where a thought was
    never ended, or nothing follows it."""
    text, _ = without_run_on(text)
    final = _FINAL_CHANNEL.search(text)
    if final:
        return text[final.end() :], True
    if _BARE_CHANNELS.match(text):
        bare = None
        for bare in _BARE_FINAL.finditer(text):  # noqa: B007 - the last one counts
            pass
        return (text[bare.end() :], True) if bare else (text, False)
    end = None
    for end in _THOUGHT_END.finditer(text):  # noqa: B007 - the last one counts
        pass
    if end is None:
        return text, not (_THOUGHT_START.match(text) or _CHANNEL.match(text))
    if text[end.end() :].strip():
        return text[end.end() :], True
    return text[: end.start()], False


# --- Statements ---

_DECOR = r"[^\w\n\\{]{0,16}"
_WORDS_FOR_ANSWER = (
    r"final[ \t_-]{0,4}answer|answer|(?:correct|right|best|chosen|selected)[ \t](?:answer|option|choice)"
    r"|(?:my|final)[ \t](?:choice|pick|selection)"
    r"|(?:最终|最后|正确)?答案|答え|解答|정답|답"
    r"|antwort|endergebnis|endgültige[ \t]antwort|réponse(?:[ \t]finale)?"
    r"|respuesta(?:[ \t]final)?|risposta(?:[ \t]finale)?"
    r"|resposta(?:[ \t]final)?|ответ|итоговый[ \t]ответ|odpowiedź|cevap|svar|antwoord"
)
# `Final answer: 7`, `**The final answer is:** 7`, `### Answer: 7`, `Final answer - 7`, `| Final answer | 7 |`; whatever
# marks up the start of the line is bounded, so that no line is read twice.
_MARK = re.compile(
    rf"^{_DECOR}(?:(?:so|thus|hence|therefore|and)[ \t,]{{1,4}})?(?:(?:the|my|our|die|la|el|le|a|o)[ \t]{{1,4}})?"
    rf"(?P<name>{_WORDS_FOR_ANSWER})(?![^\W_])[ \t]{{0,4}}[*_`\"']{{0,4}}[ \t]{{0,4}}"
    r"(?P<said>(?:is|ist|est|es|è|é|lautet|是|为|는|은)?(?![^\W\d_])[ \t]{0,4}(?:[:：=→⇒|]|[-–—](?=[ \t])|->)[ \t]{0,4}"
    r"(?:[*_`]{1,4}(?=[ \t\n]|$))?"
    r"|(?:is|ist|est|es|è|é|lautet|是|为)\b[ \t]{0,4}"
    r"|(?:for|to|of|in)\b[^:\n]{1,60}[:：][ \t]{0,4}"
    r"|[*_`]{0,4}[ \t]*(?=$)|(?=\([A-Za-z0-9]{1,3}\)[ \t]*\.?[ \t]*$))",
    re.IGNORECASE | re.MULTILINE,
)
# Within a line only with a colon, and where a sentence begins.
_INLINE = re.compile(
    r"(?:^|[.!?;:)\]*][ \t]{1,4})(?:(?:so|thus|hence|therefore)[ \t,]{1,4})?(?:(?:the|my|our)[ \t]{1,4})?"
    r"[*_]{0,4}final[ \t_-]answer(?:[ \t]is)?[*_]{0,4}[ \t]{0,2}[:：][*_]{0,4}[ \t]{0,4}",
    re.IGNORECASE | re.MULTILINE,
)
_JSON = re.compile(
    r'"(?:final[_ -]?)?answer"\s{0,8}:\s{0,8}(?:"((?:[^"\\\n]|\\.){0,2000})"|([^\s",{}\[\]][^",{}\n]{0,200}))',
    re.IGNORECASE,
)
_HASHES = re.compile(r"^####[ \t]{0,4}(?=[^\s#])", re.MULTILINE)
_TAG = re.compile(r"<(/?)(?:final[_ ]?)?answer\s{0,8}>", re.IGNORECASE)
_BRACE = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{|\\[\\{}]|[{}]")
_SENTENCE = re.compile(
    r"\b(?:answer|option|choice)[ \t]{1,4}(?:is|was|(?:must|should|would|will)[ \t]be|equals)\b[ \t]{0,4}:?[ \t]{0,4}"
    r"|\bi(?:['’]d|[ \t]would|['’]ll|[ \t]will)?[ \t](?:choose|pick|select|go[ \t]with|answer)[ \t]{1,4}",
    re.IGNORECASE,
)
_CORRECT = re.compile(
    r"\b(?:option|choice|answer)[ \t]{1,4}(\(?[A-Za-z0-9]{1,3}\)?)[ \t]{1,4}is[ \t]{1,4}(?:the[ \t]{1,4})?"
    r"(?:correct|right|best|true|answer)\b",
    re.IGNORECASE,
)
_LONE = re.compile(
    r"\**\([^\s()]{1,40}\)\**\.?|\*\*[^*\n]{1,60}\*\*\.?|\$[^$\n]{1,60}\$\.?|[-+]?[$€£]?\d[\d.,]{0,40}%?|[A-Z]\.?"
)
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s{0,4}\{([^{}]*)\}")
_PAIRS = (("**", "**"), ("*", "*"), ("__", "__"), ("`", "`"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_HTML_PAIR = re.compile(r"<(b|i|em|strong|u|code|span|p)>(.*)</\1>", re.IGNORECASE | re.DOTALL)
_DECIMAL = re.compile(r"\D{0,8}[\d,]{1,40}\.\d{1,40}\D{0,8}\.")
# Marks alone, rules and the brackets of a formula on lines of their own are no answer; [] and '' are Python's.
_NOTHING = re.compile(r"[*_`$#.:=>|\s]*|-{2,}|~{3,}|\\[\[\]()]")
# NUL and lone surrogates are what no tokenizer and few files take.
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")

# What is said of an answer, not the answer: `based on rule 3`, `obtained by addition`, `see above`.
_ABOUT = re.compile(
    r"(?:\w{1,20}ly\s)?(?:\w{2,20}ed|found|given|shown|known|written|taken|drawn|made|got|gotten|seen|built|chosen|correct|wrong|"
    r"right|in|on|at|by|from|as|just|simply|therefore|thus|also|not\syet|always)"
    r"\s(?:on|in|by|from|to|above|below|as|using|with|at|that|for|via|through|because|since|here|above|after|step|the|up)\b"
    r"|(?:see|as|like)\s(?:above|below|stated|shown|follows|before|given|computed|the)\b|(?:above|below)\b"
)
# A word that may be an answer but rarely is; it counts only where nothing else states one.
_DOUBTFUL = re.compile(
    r"(?:\w{3,20}ed|checked|helps?|key|check|above|below|ok|okay|done|follows|it|this|that)\b[\s.!]*(?:\S+\s?){0,8}"
)
_PRONOUN = re.compile(
    r"(?:it|this|that|which|they|he|she|we|i|because|since|there)\b(?!\s(?:is|are)\s\S{1,12}\.?$)", re.IGNORECASE
)


@dataclass(frozen=True)
class _Statement:
    """An answer that a text states, where it was stated, whether it may be a remark on the answer instead, and the
    words that mark its line."""

    start: int
    end: int
    found: str
    doubtful: bool = False
    mark: str = ""


def final_answer(text: str) -> str:
    """The final answer that a CoT states, without markup, "" where it states none.

    Behind the thinking and before a leaked end mark, the last of: a line `Final answer: x` or `Answer: x` (markup
    before it, any case, in several languages; where the line ends there, what stands below it), `<answer>x</answer>`,
    `\\boxed{x}` with what stands close round it (`not \\boxed{x}`, `\\boxed{x} million`), `#### x`, `"answer": "x"` of
    JSON. Where there is none: a last sentence `the answer is x`, a last line `A: x`, or one that is nothing but
    `**x**`, `(x)` or a number. Of two boxes that are joined, or two lines with the same mark one below the other that
    differ, both belong to the answer, which no verifier reads as one.
    """
    said, whole = spoken(text)
    if not whole:
        # A thought that was not ended: only what it ends with may be an answer, everything else is a draft.
        rest = said.rstrip()
        said = rest[rest.rfind("\n") + 1 :] if len(rest) - rest.rfind("\n") <= LONGEST else ""
    return _answer_of(said)


def _answer_of(text: str) -> str:
    lines = _Lines(text)
    found = sorted(
        [
            *_marked(text, lines),
            *_tagged(text),
            *_boxes(text, lines),
            *_hashed(text, lines),
            *_json(text),
            *_last(text),
        ],
        key=lambda statement: (statement.start, statement.end),
    )
    solid = [statement for statement in found if not statement.doubtful]
    if not solid:
        return found[-1].found if found else _weak(text)
    last = solid[-1]
    # A box or a tag on a marked line is a part of what that line states.
    outer = [statement for statement in solid if statement.mark and statement.start <= last.start < statement.end]
    last = outer[-1] if outer else last
    earlier = [statement for statement in solid if statement.end <= last.start]
    if earlier and last.mark and earlier[-1].mark == last.mark:
        before = earlier[-1]
        if not text[before.end : last.start].strip() and not _agree(before.found, last.found):
            return text[before.start : last.end].strip()
    return last.found


def _agree(one: str, other: str) -> bool:
    """Whether two statements in a row say the same, or one says more of it."""
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


def boxed(text: str) -> str:
    r"""The content of the last `\boxed{…}` whose braces are balanced, "" for none."""
    found = _box_spans(text)
    return _clean(text[found[-1][1] : found[-1][2]]) if found else ""


def _box_spans(text: str) -> list[tuple[int, int, int, int]]:
    """(start of the command, of the content, end of the content, of the box) of the outermost balanced boxes."""
    open_braces: list[tuple[int, int] | None] = []
    found: list[tuple[int, int, int, int]] = []
    for match in _BRACE.finditer(text):
        token = match[0]
        if token == "}":
            start = open_braces.pop() if open_braces else None
            if start is not None and match.start() - start[1] <= LONGEST:
                while found and found[-1][0] > start[0]:
                    found.pop()
                found.append((*start, match.start(), match.end()))
        elif token == "{":
            open_braces.append(None)
        elif len(token) > 2:
            open_braces.append((match.start(), match.end()))
    return found


def _marked(text: str, lines: _Lines) -> list[_Statement]:
    found = []
    marks = [*_MARK.finditer(text)][-_LAST:]
    starts = {mark.start() for mark in marks}
    marks += [mark for mark in [*_INLINE.finditer(text)][-_LAST:] if mark.start() not in starts]
    for mark in marks:
        statement = _below(text, mark, lines)
        if statement is not None:
            found.append(statement)
    return found


def _below(text: str, mark: re.Match[str], lines: _Lines) -> _Statement | None:
    """What a mark's own line states, or where it ends there, what one of the next lines does."""
    position = mark.end()
    colon = not mark[0].rstrip(" *_`\t").casefold().endswith(("is", "answer", "option", "choice"))
    heading = not text[position : lines.end(position)].strip(" *_`\t\r|")
    name = mark.groupdict().get("name", "final answer").casefold()
    first: _Statement | None = None
    for _ in range(1 + BELOW):
        end = lines.end(position)
        line = text[position:end]
        if len(line) <= LONGEST and not line.strip().startswith("```"):
            value = _value(text, position, end)
            if value:
                statement = _stated(mark.start(), end, value, colon, name)
                if not heading or "\\boxed" in line:
                    return statement
                first = first or statement
        position = end + 1
        while text.startswith(("\n", "\r"), position):
            position += 1
        if position >= len(text) or (first is None and _MARK.match(text, position)) or not heading:
            break
    return first


def _stated(start: int, end: int, value: str, colon: bool, mark: str) -> _Statement | None:
    plain = value.casefold()
    if _ABOUT.match(plain) and (not colon or not any(sign.isdigit() for sign in plain)):
        return None
    remark = not any(sign.isdigit() for sign in value) and not re.search(r"(?:^|\s|\()[B-HJ-Z](?:$|[\s.),;:])", value)
    doubtful = remark and bool(_DOUBTFUL.fullmatch(plain) or _PRONOUN.match(value))
    return _Statement(start, end, value, doubtful, mark)


def _value(text: str, start: int, end: int) -> str:
    """The answer on a line; one in a box may go on below it."""
    line = text[start:end].strip().removesuffix("|").strip()
    again = _MARK.match(line)
    if again and line[again.end() :].strip():
        line = line[again.end() :]
    line = re.sub(r"^(?:>\s?)+", "", line)
    if "\\boxed" in line or "\\fbox" in line:
        block = text[start : start + LONGEST]
        spans = _box_spans(block)
        return _around(block[: max(end - start, spans[-1][3] if spans else 0)]) if spans else ""
    tags = _tagged(line)
    if tags:
        return tags[-1].found if len(tags) == 1 else line
    return _clean(_one_sentence(line))


_SHORT_SENTENCE = re.compile(
    r"((?:\*\*[^*\n]{1,80}\*\*|\$[^$\n]{1,200}\$|`[^`\n]{1,80}`|\(?[A-Za-z]\)?|[-+$€£(]{0,3}\d[^\n]{0,60}?|[^\W\d_]{1,20})[*]{0,2})[.!]\*{0,2}\s+"
    r"(?=[A-Z\"'(][^\s.]*\s+\S+\s+\S)"
)


def _one_sentence(line: str) -> str:
    """The line without the sentences behind a short answer: `12. It is the sum.`, `B. Note that …`"""
    line = line.strip()
    match = _SHORT_SENTENCE.match(line)
    return match[1] if match and not re.match(r"(?:St|Dr|Mr|Mrs|Ms|Mt|No|vs|e|i)\b", match[1]) else line


def _tagged(text: str) -> list[_Statement]:
    start: re.Match[str] | None = None
    found = []
    for match in _TAG.finditer(text):
        if not match[1]:
            start = match
        elif start is not None:
            if match.start() - start.end() <= LONGEST:
                content = text[start.end() : match.start()]
                value = (_around(content) if "\\boxed" in content else "") or _clean(content)
                if value:
                    found.append(_Statement(start.start(), match.end(), value))
            start = None
    return found


def _hashed(text: str, lines: _Lines) -> list[_Statement]:
    """Lines `#### x`; a heading has words, so that one stands for an answer only where it is the last line."""
    found = []
    end_of_text = len(text.rstrip())
    for match in [*_HASHES.finditer(text)][-_LAST:]:
        end = lines.end(match.end())
        line = text[match.end() : end].strip()
        if len(line) <= LONGEST and (end >= end_of_text or re.match(r"[-+$€£(\\]{0,3}\d", line)):
            value = _around(line) if "\\boxed" in line else _clean(_one_sentence(line))
            if value:
                found.append(_Statement(match.start(), end, value))
    return found


def _json(text: str) -> list[_Statement]:
    if '"' not in text:
        return []
    found = []
    for match in [*_JSON.finditer(text)][-_LAST:]:
        value = _clean((match[1] if match[1] is not None else match[2]).replace("\\\\", "\\").replace('\\"', '"'))
        if value:
            found.append(_Statement(match.start(), match.end(), value))
    return found


def _last(text: str) -> list[_Statement]:
    """What the last line says in a form that counts only there."""
    rest = text.rstrip()
    start = rest.rfind("\n") + 1
    line = rest[start:]
    if len(line) > LONGEST:
        return []
    value = _clean(_one_sentence(line.strip()[2:])) if line.strip().startswith("A:") else _sentence(line)
    return [_Statement(start, len(rest), value)] if value else []


def _sentence(line: str) -> str:
    """What a line says the answer is, in a sentence; "" for none, and for what is a remark on it."""
    correct = [*_CORRECT.finditer(line)]
    said = [*_SENTENCE.finditer(line)]
    if correct and (not said or correct[-1].start() >= said[-1].start()):
        return _clean(correct[-1][1])
    if not said:
        return ""
    rest = line[said[-1].end() :]
    if "\\boxed" in rest:
        return ""
    value = _clean(_one_sentence(rest))
    statement = _stated(0, 0, value, colon=False, mark="") if value else None
    return value if statement is not None and not statement.doubtful else ""


def _weak(text: str) -> str:
    """Where no line is marked: a sentence of one of the last lines, or a last line that is nothing but an answer."""
    last = [line for line in text[-4 * LONGEST :].split("\n") if line.strip()][-3:]
    lone = len(last[-1]) <= LONGEST and _LONE.fullmatch(last[-1].strip()) if last else None
    # A bare number that is the whole text is no reasoning that ends in an answer.
    if lone and (len(last) > 1 or not last[-1].strip()[0].isalnum()):
        return _clean(last[-1])
    for line in reversed(last):
        if len(line) <= LONGEST and (value := _sentence(line)):
            return value
    return ""


# --- Boxes: what stands round them ---

_JOINED = re.compile(r"[\s$,;&]*(?:\\text\s?\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|[,;&]|\\quad|\\lor|\\cup)?[\s$]*")
_BEFORE = re.compile(
    r"(?:[-+−–*/^≈~<>≤≥≠±√×]|\\(?:pm|mp|approx|sim|simeq|neq?|le|leq|ge|geq|lt|gt|times|cdot|sqrt))\s?$"
)
_BEHIND = re.compile(
    r"(?:\s?[/^*+×·÷!‰]|\s?[-−](?=\s?[\d\w])|\\?%|\s?\\(?:times|cdot|div|pm|permil)|\s?\d)[^\s$.,;]{0,20}"
)
_JOINS = frozenset({"or", "nor", "than"})
#: Words that name a unit or scale but are mostly something else in a sentence.
_PLAIN_WORDS = frozenset(
    {"in", "a", "am", "pm", "as", "at", "is", "e", "i", "some", "before", "after", "up", "over", "more", "t"}
)


def _boxes(text: str, lines: _Lines) -> list[_Statement]:
    """The last box of the text, with what stands round it on its line."""
    spans = _box_spans(text)
    if not spans:
        return []
    last = spans[-1]
    line = text.rfind("\n", 0, last[0]) + 1
    # A box may stand far out on a line without end: what is near it counts.
    start = max(line, last[0] - LONGEST)
    end = min(lines.end(last[3]), last[3] + LONGEST)
    value = _around(text[start:end])
    return [_Statement(last[0], last[3], value)] if value else []


def _around(text: str) -> str:
    r"""The last box of a text with what belongs to it: a sign, a negation, a scale, a unit, and boxes joined to it.

    `so $x = \boxed{12}$.` is `12`; `not \boxed{12}` is `not 12`, `\boxed{12} million` is `12 million`, `\boxed{2} and
    \boxed{3}` is `2 and 3`.
    """
    spans = _box_spans(text)
    if not spans:
        return ""
    first = last = len(spans) - 1
    while first and _JOINED.fullmatch(text[spans[first - 1][3] : spans[first][0]]):
        first -= 1
    inner = ""
    for number in range(first, last + 1):
        content = _clean(text[spans[number][1] : spans[number][2]])
        content = boxed(content) or content if "\\boxed" in content else content
        gap = text[spans[number - 1][3] : spans[number][0]] if number > first else ""
        inner += (gap.replace("$", "") or " ") * bool(number > first) + content
    before = _prefix(text[max(0, spans[first][0] - 120) : spans[first][0]])
    behind = _suffix(text[spans[last][3] : spans[last][3] + 120])
    if first == last and not before and not behind:
        return inner
    return f"{before}{inner}{behind}".strip()


def _prefix(text: str) -> str:
    """What stands before a box and changes it."""
    text = re.sub(r"\\text\s?\{([^{}]*)\}", r"\1", text)
    plain = text.rstrip().removesuffix("$").removesuffix(r"\(").removesuffix(r"\[").removesuffix("{").rstrip(" *")
    inside = text.rstrip().endswith(("$", r"\(", r"\["))
    operator = _BEFORE.search(plain)
    if operator:
        # `Final answer - \boxed{12}`: a dash between blanks is no sign, unless it stands within the formula.
        dash = re.search(r"\w\s[-–−]$", plain) and text[-1:].isspace() and "$" not in plain
        if not dash:
            return operator[0].strip() + (" " if operator[0].strip()[-1].isalpha() else "")
    factor = re.search(r"(?<![A-Za-z])(?:\d[\d.,]*|[A-Za-z]|\w*[)}])$", plain)
    if factor and not text[-1:].isspace() and not inside:
        return factor[0]
    sentence = re.split(r"[.;:!?=\n]\s?", plain)[-1]
    words = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d[\d.,]*|\S", sentence)[-4:]
    for place, word in enumerate(words):
        folded = word.casefold().replace("’", "'")
        number = folded == "and" and place and words[place - 1][:1].isdigit()
        if place + 3 >= len(words) and (
            folded in _JOINS or number or (folded in CHANGES and folded not in _PLAIN_WORDS)
        ):
            begin = place - 1 if (number or folded in ("or", "than")) and place else place
            return " ".join(words[begin:]) + " "
    return ""


def _suffix(text: str) -> str:
    """What stands behind a box and changes it: an operator, a scale, a unit, another candidate."""
    text = re.sub(r"\\(?:text|mathrm|textbf)\s?\{([^{}]*)\}", r"\1", text)
    closed = text.lstrip()
    for closing in ("$$", "$", r"\)", r"\]", "**"):
        closed = closed.removeprefix(closing)
    attached = _BEHIND.match(text) or _BEHIND.match(closed)
    if attached:
        return attached[0]
    word = re.match(r"(?:\\[,; ]|~|\s)*([^\W\d_]+|[$€£°])((?:\^\{?\d\}?)?(?:/[^\W\d_]+(?:\^\{?\d\}?)?)?)", closed)
    if word is None:
        return ""
    name = word[1].casefold()
    if name in _PLAIN_WORDS and not (name == "more" or word[2]):
        return ""
    if name in SCALES or known_unit(word[1]) is not None:
        return f" {word[1]}{word[2]}"
    if name in (
        "or",
        "factorial",
        "squared",
        "cubed",
        "halved",
        "halves",
        "thirds",
        "tenths",
        "lakh",
        "plus",
        "minus",
        "times",
    ):
        return " " + " ".join(closed.split()[:3])
    return ""


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
        html = _HTML_PAIR.fullmatch(found)
        if html:
            found = html[2]
        found = re.sub(r"\s{0,4}<br\s?/?>$", "", found)
        # What a mark opened before the answer may close behind it: **Final answer: 7**
        for mark in ("**", "__", "`", "*"):
            if found.count(mark) == 1:
                found = found.removesuffix(mark)
        if found.count("$") == 1 and found.endswith("$"):
            found = found[:-1]
        if found.endswith("\\") and not found.endswith("\\\\"):
            found = found[:-1]
        # "7." and "3.5." end a sentence; "U.S." and "…" end in their own dot.
        if found.endswith(".") and ("." not in found[:-1].rpartition(" ")[2] or _DECIMAL.fullmatch(found)):
            found = found[:-1]
    return "" if _NOTHING.fullmatch(found) else found
