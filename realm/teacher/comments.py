"""Expert comments from a file: Markdown as people write it, or JSONL.

Markdown (any name but `*.jsonl`), line by line:

- A heading `# Title [tag, tag]` opens a section; its tags are those in the brackets at its end. A line `tags: a, b`
  adds tags to the section it stands in (before any heading: to the whole file), for what follows it.
- Every list item (`-`, `*`, `+`, `1.`, `1)`, up to three spaces in) is one comment. The lines below it belong to it
  up to a blank line, and behind blank lines as long as they are indented. Items that stand two or more spaces further
  in than it are part of it: nested lists stay inside.
- Every other paragraph is one comment. A fenced code block belongs to the comment it stands in.
- A comment has the tags of all the sections around it. Thematic breaks (`---`) are passed over; everything else, HTML
  and braces among it, is text and stays as it is written.

JSONL: `{"text": …}` and optionally `"tags"` (a list of texts) and `"id"`; other keys are passed over.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from realm.errors import DataError
from realm.tasks.base import Comment
from realm.tasks.jsonl import read_rows

_LOG = logging.getLogger(__name__)
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_TAGS_AT_END = re.compile(r"\[([^\[\]]*)\][ \t#]*$")
_TAG_LINE = re.compile(r" {0,3}tags:(.*)$", re.IGNORECASE)
_ITEM = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)])[ \t]+(?=\S)")
_BREAK = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
_FENCE = re.compile(r"\s*(```|~~~)")


def read_comments(path: str | Path) -> list[Comment]:
    """The comments of a file in their order; see the module for its form. Without an id they are `<stem>-<number>`.

    A text that was there before is left out, and the log says so.

    Raises:
        DataError: the file cannot be read, is not UTF-8, has no comment, or has a JSONL row that is no comment.
    """
    path = Path(path)
    found = list(_rows(path) if path.suffix.lower() == ".jsonl" else _markdown(path))
    kept: dict[str, Comment] = {}
    for comment in found:
        first = kept.setdefault(" ".join(comment.text.split()), comment)
        if first is not comment:
            _LOG.warning("%s: left out comment %s, it says the same as %s", path, comment.id, first.id)
    if not kept:
        raise DataError(f"{path}: expected expert comments, found none; write each as a list item or a paragraph.")
    return list(kept.values())


def _rows(path: Path) -> Iterator[Comment]:
    with suppress(OSError):  # which `read_rows` tells
        if not path.read_bytes().strip():
            return
    for number, row in enumerate(read_rows(path), start=1):
        text, tags = row.content.get("text"), row.content.get("tags", [])
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{path}:{row.line}: expected a text under `text`, found {text!r:.60}.")
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise DataError(f"{path}:{row.line}: expected a list of texts under `tags`, found {tags!r:.60}.")
        name = f"{path.stem}-{number}" if row.content.get("id") is None else row.id
        yield Comment(name, tuple(dict.fromkeys(tags)), text.strip())


def _markdown(path: Path) -> Iterator[Comment]:
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: expected a file of comments, cannot read it ({error.strerror or error}); check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8, found other bytes at {error.start}; save it as UTF-8.") from error
    for number, (text, tags) in enumerate(_entries(lines), start=1):
        yield Comment(f"{path.stem}-{number}", tags, text)


def _entries(lines: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(text, tags) of every comment."""
    sections: list[tuple[int, list[str]]] = [(0, [])]
    block: list[str] = []
    item = gap = fenced = False
    indent = 0  # of the item that the block is

    def tags() -> tuple[str, ...]:
        return tuple(dict.fromkeys(tag for _, found in sections for tag in found))

    def done() -> Iterator[tuple[str, tuple[str, ...]]]:
        text = "\n".join(block).strip()
        block.clear()
        if text:
            yield text, tags()

    for line in lines:
        if _FENCE.match(line):
            fenced = not fenced
            if gap and not (item and line[:1].isspace()):
                yield from done()
                item = False
            gap = False
            block.append(line)
        elif fenced:
            block.append(line)
        elif not line.strip():
            gap = True
        elif heading := _HEADING.match(line):
            yield from done()
            item = gap = False
            while sections[-1][0] >= len(heading[1]):
                sections.pop()
            marked = _TAGS_AT_END.search(heading[2] or "")
            sections.append((len(heading[1]), _split(marked[1]) if marked else []))
        elif _BREAK.match(line):
            yield from done()
            item = gap = False
        elif mark := _TAG_LINE.match(line):
            yield from done()
            item = gap = False
            sections[-1][1].extend(_split(mark[1]))
        else:
            margin = len(line) - len(line.lstrip())
            begins = None if item and margin > indent + 1 else _ITEM.match(line)
            inside = item and margin > 0 and not begins
            if begins or (gap and not inside):
                yield from done()
                item, indent = begins is not None, margin
                block.append(line[begins.end() :] if begins else line.strip())
            else:
                block.extend([""] if gap else [])
                block.append(line.rstrip())
            gap = False
    yield from done()


def _split(tags: str) -> list[str]:
    return [tag for tag in (tag.strip().strip("`") for tag in tags.strip().strip("[]").split(",")) if tag]
