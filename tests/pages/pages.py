"""What the tests of the pages share: a page's parts, its text, and what others could put into it."""

from __future__ import annotations

import html
import random
import re
from html.parser import HTMLParser
from typing import Any

ATTACK = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=1"> <!-- \u2028\u202e {{ 7*7 }} '


class Shape(HTMLParser):
    """Tags, ids, addresses and the two kinds of script of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self._script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "data", "xlink:href"):
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
        self._script = tag == "script"
        if self._script:
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._script = False


def text_of(page: str) -> str:
    """What a reader sees of a page, white space made even."""
    body = re.sub(r"<(style|script)[ >].*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


JUNK: tuple[Any, ...] = (
    None, True, "text", "", [], {}, [[]], {"a": {}}, -1, 0, 1e308, -1e15, 10**30, 0.5, [None, "x", 3], float("nan"),
)  # fmt: skip


def spoil(value: Any, rng: random.Random) -> Any:
    """A copy of a JSON value in which some parts, at any depth, are something else."""
    if rng.random() < 0.06:
        return rng.choice(JUNK)
    if isinstance(value, dict):
        return {key: spoil(item, rng) for key, item in value.items()}
    if isinstance(value, list):
        return [spoil(item, rng) for item in value]
    return value
