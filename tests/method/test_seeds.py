from __future__ import annotations

import pytest

from realm.method import seeds


def test_derive_is_the_first_63_bits_of_sha256_over_json() -> None:
    # printf '[7, "select", "q1", 3]' | sha256sum  ->  10d6176333d7de6e…
    # printf '[0]' | sha256sum                     ->  d0bca111f8628137…
    assert seeds.derive(7, "select", "q1", 3) == 0x10D6176333D7DE6E >> 1
    assert seeds.derive(0) == 0xD0BCA111F8628137 >> 1


def test_derive_keeps_seed_order_type_and_borders_of_the_parts_apart() -> None:
    ways = [(0, "a", "b"), (0, "b", "a"), (1, "a", "b"), (0, "ab"), (0, "a,b"), (0, "1"), (0, 1), (0, '"1"'), (0, "")]
    assert len({seeds.derive(*way) for way in ways}) == len(ways)  # type: ignore[arg-type]


def test_derive_takes_any_text_and_refuses_other_types() -> None:
    assert 0 <= seeds.derive(0, "naïve \ud800 \u2028 𝕏") < 2**63
    with pytest.raises(TypeError):
        seeds.derive(0, b"bytes")  # type: ignore[arg-type]


def test_rng_repeats_and_is_its_own() -> None:
    assert [seeds.rng(1, "x").random() for _ in range(2)] == [seeds.rng(1, "x").random()] * 2
    assert seeds.rng(1, "x").random() != seeds.rng(1, "y").random()
