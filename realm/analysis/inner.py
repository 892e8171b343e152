"""The first step of a CoT that contradicts itself: evidence that needs no other CoT and no gold answer.

Every check is a rule of bookkeeping that holds whatever the task is: a stated sum must be true; what is passed on from
step to step must neither get lost nor double; an exchange changes the two that it names and nothing else; a stack gives
back what was put on it last; a sorted chain is sorted; a conclusion must not place what its premises do not mention.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from realm.analysis.arithmetic import equations

#: Characters of a step that are read.
_MAX_STEP = 4_000
#: What a check can find wrong with a step.
SUM, STATE, STACK, ORDER, PLACES = "false sum", "broken state", "broken stack", "broken order", "broken places"


class _Check(Protocol):
    def wrong(self, step: str) -> bool:
        """Whether the step contradicts what the steps before it stated. Called for every step in order."""
        ...


class _Sums:
    """Stated sums are true, and a letter keeps the value it was given."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}

    def wrong(self, step: str) -> bool:
        return any(not equation.true for equation in equations(step, self._known))


_PAIR = re.compile(r"([A-Z][\w'-]*): ([^:;\n]+?)(?=(?:,|;| and)? [A-Z][\w'-]*: |[.;]?\s*$)")
_EXCHANGE = re.compile(r"\b(swap|trade|switch|exchange)", re.IGNORECASE)


class _State:
    """`Alice: red, Bob: blue`: who has what. An exchange swaps two values; otherwise only who is named may change."""

    def __init__(self) -> None:
        self._state: dict[str, str] = {}

    def wrong(self, step: str) -> bool:
        found = {name: value.strip(" ,.") for name, value in _PAIR.findall(step)}
        before = self._state
        if len(found) < 2:
            return self._misread(step)
        if found.keys() < before.keys():
            found = {**before, **found}  # only those that change are told
        self._state = found
        if not before:
            return False
        if found.keys() != before.keys() or Counter(found.values()) != Counter(before.values()):
            return True
        action = step[: _PAIR.search(step).start()]  # type: ignore[union-attr]
        named = [name for name in before if re.search(rf"\b{re.escape(name)}\b", action)]
        if _EXCHANGE.search(action) and len(named) == 2:
            return found != {**before, named[0]: before[named[1]], named[1]: before[named[0]]}
        return any(found[name] != before[name] for name in before if named and name not in named)

    def _misread(self, step: str) -> bool:
        """Whether a step that speaks of one of them gives it what another one has."""
        named = [name for name in self._state if re.search(rf"\b{re.escape(name)}\b", step)]
        if len(named) != 1:
            return False
        there = [value for value in self._state.values() if value and value.casefold() in step.casefold()]
        return bool(there) and self._state[named[0]] not in there


_OPEN, _CLOSE = "([{<", ")]}>"
_BRACKETS = re.compile(r"[\[\](){}<>](?:\s*[\[\](){}<>])*")
_MOVE = re.compile(r"^\s*([\[\](){}<>])\s*[;:,]\s*(?:the )?stack[^:]*:\s*(.*)$", re.IGNORECASE)


class _Stack:
    """`( ; stack: [ (`: an opening bracket is put on the stack, a closing one takes its partner from the top."""

    def __init__(self, question: str) -> None:
        found = [re.sub(r"\s", "", match) for match in _BRACKETS.findall(question)]
        self._input = max(found, key=len, default="")
        self._stack = ""
        self._read = 0

    def wrong(self, step: str) -> bool:
        if move := _MOVE.match(step):
            symbol, after = move[1], re.sub(r"[^\[\](){}<>]", "", move[2])
            before, self._stack = self._stack, after
            expected_symbol = self._input[self._read : self._read + 1]
            self._read += 1
            if symbol != expected_symbol:
                return True
            if symbol in _OPEN:
                return after != before + symbol
            return before[-1:] != _OPEN[_CLOSE.index(symbol)] or after != before[:-1]
        if not self._read:
            return False
        if self._read < len(self._input):
            return True  # the end was reached before all was read
        return self._misread(step)

    def _misread(self, step: str) -> bool:
        """Whether a closing remark names other brackets than those on the stack (opening) or their partners."""
        found = re.sub(r"[^\[\](){}<>]", "", step)
        opening = "".join(sign for sign in found if sign in _OPEN)
        closing = "".join(sign for sign in found if sign in _CLOSE)
        partners = "".join(_CLOSE[_OPEN.index(sign)] for sign in reversed(self._stack) if sign in _OPEN)
        if opening and opening not in (self._stack, self._stack[::-1]):
            return True
        return bool(closing) and closing not in (partners, partners * 2)


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_LETTER = re.compile(r"\"([a-z])\"\s*\((\d+)\)")
_SPELLED = re.compile(r"\"(\w+)\": \"(\w)\"")
_WHICH = re.compile(rf"\b({'|'.join(_ORDINALS)}) letter")
_QUOTED = re.compile(r"\"([^\"\s]+)\"")
_CHAIN = re.compile(r"\w\"\s*\]?\s*<")
_RANK = re.compile(r"\(\s*(\d+)\s*\)")


class _Order:
    """`"ant" < "bee"`: a chain is sorted, holds every word of the list once, and letters have their right numbers."""

    def __init__(self, question: str) -> None:
        self._words = Counter(re.findall(r"[^\s,.;:]+", question.rpartition(":")[2]))

    def wrong(self, step: str) -> bool:
        if any(ord(letter) - 96 != int(number) for letter, number in _LETTER.findall(step)):
            return True
        if which := _WHICH.search(step):
            place = _ORDINALS.index(which[1])
            if any(word[place : place + 1] != letter for word, letter in _SPELLED.findall(step)):
                return True
        return any(self._broken(part) for part in re.split(r"(?:Hence|so|Therefore|Thus)\b|[.:] ", step))

    def _broken(self, chain: str) -> bool:
        if not _CHAIN.search(chain):
            return False
        groups = [_QUOTED.findall(group) for group in chain.split("<")]
        ranks = [int(rank) for rank in _RANK.findall(chain)]
        if any(one >= other for one, other in pairwise(ranks)):
            return True
        groups = [group for group in groups if group]
        for lower, higher in pairwise(groups):
            if max(lower).casefold() > min(higher).casefold():
                return True
        held = Counter(word for group in groups for word in group)
        # A chain of most of the words means to hold them all; a short one is a part of the list.
        return (
            2 * held.total() > self._words.total() and not held.keys().isdisjoint(self._words) and held != self._words
        )


_PLACE = re.compile(rf"\b({'|'.join(_ORDINALS)}) is (?:the |an? )?([^,.;]+)")


class _Places:
    """`first is X, then second is Y`: nobody has two places, keeps changing them, or gets one that nothing led to."""

    def __init__(self, question: str) -> None:
        self._places: dict[str, str] = {}
        number = re.search(r"\b(three|four|five|six|seven|eight|nine|ten)\b", question)
        names = ("three", "four", "five", "six", "seven", "eight", "nine", "ten")
        self._size = names.index(number[1]) + 3 if number else len(_ORDINALS)

    def wrong(self, step: str) -> bool:
        found = {place: who.strip() for place, who in _PLACE.findall(step)}
        if len(found) < 2 or "first" not in step:
            return False
        before, self._places = self._places, found
        people = list(found.values())
        if len(set(people)) < len(people) or any(name in step for name in _ORDINALS[self._size :]):
            return True
        if any(found.get(place, who) != who or place not in found for place, who in before.items()):
            return True
        premise = step[: step.casefold().find("first")].casefold()
        return any(who.casefold() not in premise for place, who in found.items() if place not in before)


def first_contradiction(steps: Sequence[str], question: str = "") -> tuple[int, str] | None:
    """Index (from 0) of the first step that contradicts itself, an earlier step or the question, and what is wrong.

    None where nothing is found: most mistakes are of another kind. Linear in the text.
    """
    checks: tuple[tuple[str, _Check], ...] = (
        (SUM, _Sums()),
        (STATE, _State()),
        (STACK, _Stack(question)),
        (ORDER, _Order(question)),
        (PLACES, _Places(question)),
    )
    for index, step in enumerate(" ".join(step[:_MAX_STEP].split()) for step in steps):
        # Every check reads every step: it keeps its books by it.
        wrong = [kind for kind, check in checks if check.wrong(step)]
        if wrong:
            return index, wrong[0]
    return None
