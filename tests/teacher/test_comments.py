"""Expert comments from Markdown and JSONL."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.errors import DataError
from realm.teacher.comments import _entries, read_comments

MARKDOWN = """\
tags: shop

# Returns [refund, bin]

Intro of the section
in two lines.

- Fragile goods go to bin 7.
  They are wrapped.
  - nested, part of it

  behind a blank line, still part of it
- Opened goods: half the price.
1. Numbered rule.
2) Another one.

## Rare cases
Tags: [rare, refund]

A paragraph with <b>HTML</b>, {braces} and `code`.

```
# no heading
- no item
```

---
# Other ##
* Last rule
"""


def texts(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(comment.text, comment.tags) for comment in read_comments(path)]


def test_markdown(tmp_path: Path) -> None:
    path = tmp_path / "rules.md"
    path.write_text(MARKDOWN, encoding="utf-8-sig")
    section, rare = ("shop", "refund", "bin"), ("shop", "refund", "bin", "rare")
    assert texts(path) == [
        ("Intro of the section\nin two lines.", section),
        (
            "Fragile goods go to bin 7.\n  They are wrapped.\n  - nested, part of it\n\n"
            "  behind a blank line, still part of it",
            section,
        ),
        ("Opened goods: half the price.", section),
        ("Numbered rule.", section),
        ("Another one.", section),
        ("A paragraph with <b>HTML</b>, {braces} and `code`.", rare),
        ("```\n# no heading\n- no item\n```", rare),
        ("Last rule", ("shop",)),
    ]
    assert [comment.id for comment in read_comments(path)] == [f"rules-{number}" for number in range(1, 9)]


def test_windows_lines_and_no_final_newline(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_bytes(b"# A [x]\r\n- one\r\n- two")
    assert texts(path) == [("one", ("x",)), ("two", ("x",))]


def test_jsonl(write: Callable[..., str]) -> None:
    rows = [{"text": " a ", "tags": ["x", "x", "y"], "other": 1}, {"text": "b", "id": "mine"}, {"text": "# c\n- d"}]
    found = read_comments(write(rows, "rules.jsonl"))
    assert [(one.id, one.tags, one.text) for one in found] == [
        ("rules-1", ("x", "y"), "a"),
        ("mine", (), "b"),
        ("rules-3", (), "# c\n- d"),
    ]


def test_what_is_said_twice_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rules.md"
    path.write_text("- same  rule\n- other\n- same rule\n")
    with caplog.at_level(logging.WARNING):
        assert [comment.id for comment in read_comments(path)] == ["rules-1", "rules-2"]
    assert "left out comment rules-3, it says the same as rules-1" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rules.md", b"", "expected expert comments, found none"),
        ("rules.md", b"# Only a heading [x]\n\ntags: a\n---\n", "expected expert comments, found none"),
        ("rules.md", b"caf\xe9", "expected UTF-8"),
        ("rules.jsonl", b"\n", "expected expert comments, found none"),
        ("rules.jsonl", b'{"text": ""}\n', "rules.jsonl:1: expected a text under `text`"),
        ("rules.jsonl", b'{"text": "a"}\n{"tags": []}\n', "rules.jsonl:2: expected a text under `text`, found None"),
        ("rules.jsonl", b'{"text": "a", "tags": "x"}\n', "rules.jsonl:1: expected a list of texts under `tags`"),
        ("rules.jsonl", b'{"text": "a", "tags": [1]}\n', "rules.jsonl:1: expected a list of texts under `tags`"),
        ("rules.jsonl", b"- no json\n", "rules.jsonl:1: expected one JSON object"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_comments(tmp_path / name)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    for name in ("none.md", "none.jsonl", ""):
        with pytest.raises(DataError, match="cannot read"):
            read_comments(tmp_path / name)


LINES = st.lists(
    st.sampled_from(["# a [b]", "## c", "- x", "  - y", "  z", "", "```", "tags: t", "---", "text"]), max_size=12
)


@given(LINES)
def test_every_line_of_text_is_in_one_comment(lines: list[str]) -> None:
    found = list(_entries(lines))
    assert all(text.strip() == text and text for text, _ in found)
    kept = "\n".join(text for text, _ in found)
    assert kept.count("text") == lines.count("text")
    assert kept.count("z") == lines.count("  z")


@given(st.text(max_size=100))
def test_any_text_is_read(text: str) -> None:
    assert all(found for found, _ in _entries(text.splitlines()))
