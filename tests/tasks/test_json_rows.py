"""The rows of JSON files of every shape, and where they are torn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.errors import DataError
from realm.tasks import json_rows as module
from realm.tasks.json_rows import json_rows

A, B = {"question": "a", "x": [1, {"y": "],{"}]}, {"question": 'b "\\ ü'}


def read(path: Path, content: str | bytes) -> list[tuple[int, Any]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def refuse(error: DataError) -> None:
        raise error

    return list(json_rows(path, refuse))


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (f"{json.dumps(A)}\n\n{json.dumps(B)}", [(1, A), (3, B)]),
        (json.dumps([A, B]), [(1, A), (2, B)]),
        (" \n" + json.dumps([A, B], indent=2) + "\n", [(1, A), (2, B)]),
        (b"\xef\xbb\xbf" + json.dumps([A]).encode(), [(1, A)]),
        ("[]", []),
        ("", []),
        (json.dumps({"version": 1, "data": [A, B]}), [(1, A), (2, B)]),
        (json.dumps({"version": 1, "rows": [A, B]}, indent=1), [(1, A), (2, B)]),
        (json.dumps(A, indent=1), [(1, A)]),
        # A row that has a list of objects of its own, and rows of which the first one looks like a holder.
        (json.dumps({"question": "a", "data": [A]}), [(1, {"question": "a", "data": [A]})]),
        (f"{json.dumps({'data': [A]})}\n{json.dumps({'data': [B]})}", [(1, {"data": [A]}), (2, {"data": [B]})]),
        ('{"a": NaN, "b": -Infinity}', [(1, {"a": None, "b": None})]),
    ],
)
def test_rows(tmp_path: Path, content: str | bytes, rows: list[tuple[int, Any]]) -> None:
    assert read(tmp_path / "f.json", content) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"b": ', "f.json:2: expected one JSON object, the line is cut off"),
        ('[{"a": 1}, {"b": "', "f.json:2: expected one JSON object, the entry of the array is cut off"),
        ('[{"a": 1},', "f.json:2: .*the entry of the array is cut off"),
        ('[{"a": 1}', "f.json:1: .*the entry of the array is cut off"),
        ("[", "f.json:1: .*the entry of the array is cut off"),
        ('[{"a": 1}, , {"b": 1}]', "f.json:2: .*the entry of the array is cut off"),
        ('[{"a": 1}}]', "f.json:1: .*the entry of the array is cut off"),
        ('[{"a": 1}]\n{"b": 1}', "f.json:2: .*the entry of the array is cut off"),
        ('{\n"data": [\n', "f.json:1: expected one JSON object, the line is cut off"),
        (b'{"a": "\xff"}', "f.json:1: .*not readable"),
    ],
)
def test_what_is_torn_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "f.json", content)


values = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('ab"\\[]{},:\n é'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values, max_size=4), st.sampled_from([1, 2, 3, 7, 100]), st.sampled_from([None, 1]), st.booleans())
def test_an_array_is_split_wherever_it_is_cut_into_pieces(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], chunk: int, indent: int | None, ascii_only: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        content = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
        found = read(tmp_path_factory.getbasetemp() / "rows.json", content)
    assert [content for _, content in found] == rows
