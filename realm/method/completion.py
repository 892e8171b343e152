"""The parser of the student's completions: it reads what can be read, and names what could not be by a reason code.

The canonical surface (tag names are a setting; without routes in the prompt there is no scores part):

    <think> … </think> <answer> … </answer> <scores>0.9, 0.1, 0.8</scores>

Model text is hostile: `parse` takes any text, raises nothing and needs linear time.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from realm.method.prompt import Tags, tag_head

#: Every reason code, in the order in which `parse` lists them.
REASONS = (
    "think_missing",  # no tag of the thinking at all
    "think_unclosed",  # the thinking is opened, never closed
    "answer_missing",  # no opened answer behind the thinking
    "answer_unclosed",  # the answer ends at another tag or at the end of the text
    "answer_repeated",  # more than one answer; the last counts
    "answer_empty",  # nothing but white space in the answer
    "scores_missing",  # routes were shown, no opened scores behind the thinking
    "scores_unclosed",  # the scores end at another tag or at the end of the text
    "scores_repeated",  # more than one list of scores; the last counts
    "scores_unexpected",  # scores although no route was shown
    "tags_misplaced",  # each part is there, but its tags are out of order, doubled, or inside another part
    "text_outside",  # something but white space before, between or behind the parts
    "scores_unreadable",  # a score is no number, or is labelled with another route's number
    "scores_out_of_range",  # a score is a number outside [0, 1]
    "scores_too_few",  # fewer scores than routes
    "scores_too_many",  # more scores than routes
)

#: Those that leave no answer to pay for: all others may stand beside a right one.
NO_ANSWER = ("answer_missing", "answer_empty")

#: A thought that speaks of the routes makes no sense where there are none; the group is the number of one.
_ROUTE = re.compile(r"\broutes?\b(?:\s*(\d+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Completion:
    """The parts of one completion.

    `answer` is None where there is none. `scores` has exactly one entry per route, in [0, 1], or None where it is
    missing, unreadable or out of range; `surplus` is the number of scores beyond the routes. `reasons` are codes from
    `REASONS`, each at most once, and `format_ok` means that there is none. `executed`: the answer is what a program in
    the thinking came to (never so as `parse` reads it).
    """

    think: str
    answer: str | None
    scores: tuple[float | None, ...]
    surplus: int
    format_ok: bool
    reasons: tuple[str, ...]
    executed: bool = False


class _Tag(NamedTuple):
    name: str
    closing: bool
    start: int
    end: int


@functools.lru_cache(maxsize=16)
def _pattern(tags: Tags) -> re.Pattern[str]:
    # `[^<>]` ends attributes at the next `<`: no part of the text is scanned for two tags.
    return re.compile(rf"<{tag_head(tags.think, tags.answer, tags.scores)}[^<>]*+>", re.IGNORECASE)


def _find(text: str, tags: Tags) -> list[_Tag]:
    """Every tag of ours in `text`, in order; the name is the canonical one whatever the case in the text."""
    names = {name.casefold(): name for name in (tags.think, tags.answer, tags.scores)}
    return [
        # Under IGNORECASE a few letters match without folding alike (a dotless i): such a tag is no tag of ours.
        _Tag(names[folded], bool(match[1]), match.start(), match.end())
        for match in _pattern(tags).finditer(text)
        if (folded := match[2].casefold()) in names
    ]


def speaks_of_routes(think: str, question: str) -> bool:
    """Whether a thinking names routes that are not the question's own (of a bus, say): the word, or one by its number,
    where the question has no such word or number."""
    own = set(_ROUTE.findall(question))
    return not set(_ROUTE.findall(think)) <= own | ({""} if own else set())


def parse(text: str, n_routes: int, tags: Tags = Tags()) -> Completion:  # noqa: B008 (frozen, so shared safely)
    """Read one completion, given the number of routes that its prompt showed.

    Tolerated without a reason: any case, white space and attributes in tags; a missing opening tag of the thinking
    (many chat templates write it into the prompt); scores as `0.9`, `.9`, `90%`, `1e-1`, in brackets or quotes, with a
    bullet or a label that names their own place (`Route 1: 0.9`, `1) 0.9`), separated by commas, semicolons, line
    breaks, or by white space alone. The decimal comma is not: `0,9` is two scores.

    Answer and scores are read behind the last closing tag of the thinking, where there is one, so that drafts in the
    thinking do not count. A part reaches to the next tag of ours, or to the end. Of repeated parts the last counts:
    hedging never pays.
    """
    found = _find(text, tags)
    reasons: set[str] = set()

    closings = [i for i, tag in enumerate(found) if tag.name == tags.think and tag.closing]
    after = closings[-1] + 1 if closings else 0
    think = _think(text, found, tags, after, reasons)
    answer = _part(text, found[after:], tags.answer, "answer", reasons)
    listed = _part(text, found[after:], tags.scores, "scores", reasons)
    if answer == "":
        reasons.add("answer_empty")

    if n_routes == 0:
        reasons -= {"scores_missing", "scores_unclosed", "scores_repeated"}
        if listed is not None:
            reasons.add("scores_unexpected")
    if not reasons and not _canonical(found, tags):
        reasons.add("tags_misplaced")
    if _outside(text, found, tags, after):
        reasons.add("text_outside")

    scores: list[float | None] = [None] * n_routes
    surplus = 0
    if n_routes and listed is not None:
        scores, surplus = _scores(listed, n_routes, reasons)
    ordered = tuple(reason for reason in REASONS if reason in reasons)
    return Completion(think, answer, tuple(scores), surplus, not ordered, ordered)


def _think(text: str, found: list[_Tag], tags: Tags, after: int, reasons: set[str]) -> str:
    """The thinking: up to its last closing tag or, without one, up to the first tag of another part."""
    opened = next((tag for tag in found if tag.name == tags.think and not tag.closing), None)
    start = opened.end if opened else 0
    if after:
        return text[start : found[after - 1].start].strip()
    reasons.add("think_unclosed" if opened else "think_missing")
    stop = next((tag.start for tag in found if tag.start >= start and tag.name != tags.think), len(text))
    return text[start:stop].strip()


def _part(text: str, found: list[_Tag], name: str, code: str, reasons: set[str]) -> str | None:
    """Content of the last opened part `name` among the tags `found`; None where none is opened."""
    opened = [i for i, tag in enumerate(found) if tag.name == name and not tag.closing]
    if not opened:
        reasons.add(f"{code}_missing")
        return None
    if len(opened) > 1:
        reasons.add(f"{code}_repeated")
    following = found[opened[-1] + 1] if opened[-1] + 1 < len(found) else None
    if following is None or following.name != name or not following.closing:
        reasons.add(f"{code}_unclosed")
    return text[found[opened[-1]].end : following.start if following else len(text)].strip()


def _canonical(found: list[_Tag], tags: Tags) -> bool:
    """Whether the tags are exactly those of the canonical surface; the opening of the thinking may be missing."""
    names = [name for name in (tags.think, tags.answer, tags.scores) for _ in range(2)]
    skip = 1 if found and found[0].closing else 0
    wanted = [(name, i % 2 == 1) for i, name in enumerate(names)][skip:]
    return [(tag.name, tag.closing) for tag in found] in (wanted, wanted[:-2])


def _outside(text: str, found: list[_Tag], tags: Tags, after: int) -> bool:
    """Whether text stands before the thinking, or behind a closing tag (from the thinking's last one on)."""
    if found and found[0].name == tags.think and not found[0].closing and text[: found[0].start].strip():
        return True
    for i in range(max(after - 1, 0), len(found)):
        stop = found[i + 1].start if i + 1 < len(found) else len(text)
        if found[i].closing and text[found[i].end : stop].strip():
            return True
    return False


_STATED = re.compile(
    r"\bconfidence(?:\s(?:level|score))?(?:\s\(\d{1,3}%?\s?(?:-|–|to)\s?\d{1,3}%?\))?(?:\s(?:is|of)\b)?[\s:=>*\"'(]{0,9}"
    r"(?P<number>\d+\.?\d*|\.\d+)(?!\d|[.,:]\d|[ ]?(?:[/–-]|out of|of)[ ]?\d)\s?(?P<percent>%|percent\b)?",
    re.IGNORECASE | re.ASCII,
)


def stated_confidence(text: str) -> float | None:
    """The confidence that a completion states last, in [0, 1]: `confidence: 0.9`, `<confidence>90 %</confidence>`.

    None where it states none, one of another scale (`7/10`, `0,9`), or one out of range.
    """
    found = [*_STATED.finditer(text)]
    if not found:
        return None
    value = float(found[-1]["number"]) / (100 if found[-1]["percent"] else 1)
    return value if value <= 1 else None


_NOISE = str.maketrans(dict.fromkeys("[]{}(\"'*`", " "))
_SCORE = re.compile(
    r"""
    (?:-\s+)?                                                   # a bullet
    (?:(?:route\s*)?\#?(?P<place>\d{1,4})\s*(?:[:=)]|\.\s)\s*)? # a label: Route 1: · #1 = · 1) · 1.
    (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<percent>%?)
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
#: Longer than any score; beyond it an item is not even looked at.
_LONGEST_SCORE = 64


def _scores(listed: str, n_routes: int, reasons: set[str]) -> tuple[list[float | None], int]:
    """The scores in the text of the scores part, one entry per route, and the number of surplus ones."""
    items = [item for item in (_trim(part) for part in re.split(r"[,;\n]", listed.translate(_NOISE))) if item]
    if len(items) == 1 and not _SCORE.fullmatch(items[0][:_LONGEST_SCORE]):
        items = [item for item in (_trim(part) for part in items[0].split()) if item]
    if len(items) < n_routes:
        reasons.add("scores_too_few")
    elif len(items) > n_routes:
        reasons.add("scores_too_many")
    scores = [_score(item, place, reasons) for place, item in enumerate(items[:n_routes], start=1)]
    missing: list[float | None] = [None] * (n_routes - len(scores))
    return scores + missing, max(len(items) - n_routes, 0)


def _trim(item: str) -> str:
    return item.strip().rstrip(").").rstrip()


def _score(item: str, place: int, reasons: set[str]) -> float | None:
    """One score, or None with the reason. Words, NaN and infinity are unreadable."""
    match = _SCORE.fullmatch(item) if len(item) <= _LONGEST_SCORE else None
    if match is None or (match["place"] and int(match["place"]) != place):
        reasons.add("scores_unreadable")
        return None
    value = float(match["number"]) / (100 if match["percent"] else 1)
    if not 0 <= value <= 1:
        reasons.add("scores_out_of_range")
        return None
    return value
