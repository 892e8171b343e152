"""Headless Chromium, started once a file: what tests of other processes count is not disturbed by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pages.chromium import BROWSER, Chromium


@pytest.fixture(scope="module")
def _chromium() -> Iterator[Chromium]:
    if BROWSER is None:
        pytest.skip("no Chromium found (chromium, chromium-browser or google-chrome)")
    with Chromium() as found:
        yield found


@pytest.fixture
def browser(_chromium: Chromium) -> Iterator[Chromium]:
    """No page of any test may complain on the console or ask for anything but its own file."""
    _chromium.errors.clear()
    _chromium.requests.clear()
    yield _chromium
    assert _chromium.errors == []
    assert set(_chromium.requests) <= set(_chromium.shown)
