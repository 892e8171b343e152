"""Whatever a file holds: it becomes CoTs that a bank keeps, or an error that the user can read."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm.bank.store import Bank
from realm.errors import DataError
from realm.exchange.importing import import_cots
from realm.exchange.shapes import KEYS
from realm.tasks.workers import VerifierPool
from tests.conftest import write_rows

NAMES = [*KEYS, "id", "messages", "role", "content", "gold", "label", "x"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(anything, max_size=4))
def test_no_row_whatever_raises_anything_but_data_errors(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("any") / "rows.jsonl"
    write_rows(path, rows)
    for relabel in (True, False):
        with VerifierPool("exact") as exact, suppress(DataError):
            bank, _ = import_cots(path, exact, relabel=relabel, skip=True)
            bank.save(path.parent / f"bank-{relabel}")
            assert Bank.open(path.parent / f"bank-{relabel}").all() == bank.all()
