from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.method.domains import domain_weights

SETTINGS = {"target": 1.0, "temperature": 0.5, "floor": 0.1}


# Two domains, temperature ½, target 1, floor 0.1: weight = 0.05 + 0.9 · softmax(2 · distance)
#   rewards 0.9, 0.4: e^0.2 and e^1.2, the second e / (1 + e) = 0.7310586 of them -> 0.7079527
#   target 0.8 instead: distances 0 and 0.4, e^0.8 / (1 + e^0.8) = 0.6899745 -> 0.6709770
#   target 0.3: both are mastered                     temperature ¼: e² / (1 + e²) = 0.8807971 -> 0.8427174
@pytest.mark.parametrize(
    ("rewards", "change", "second"),
    [
        ([0.9, 0.4], {}, 0.7079527),
        ([0.9, 0.4], {"target": 0.8}, 0.6709770),
        ([0.9, 0.4], {"target": 0.3}, 0.5),
        ([0.9, 0.4], {"temperature": 0.25}, 0.8427174),
        ([0.9, 0.4], {"temperature": 1e-6}, 0.95),
        ([0.9, 0.4], {"floor": 0.0}, 0.7310586),
        ([0.9, 0.4], {"floor": 1.0}, 0.5),
        ([None, None], {}, 0.5),
        ([0.0, None], {}, 0.5),
    ],
)
def test_weights(rewards: list[float | None], change: dict[str, float], second: float) -> None:
    found = domain_weights(rewards, **{**SETTINGS, **change})
    assert found == pytest.approx([1 - second, second], abs=1e-7)


def test_three_domains() -> None:
    # e^0.4, e^1.2 and e^2 of the distances 0.2, 0.6 and 1 -> shares 0.1236 (…), computed apart: 1.4918247, 3.3201169,
    # 7.3890561, in sum 12.2009977.
    found = domain_weights([0.8, 0.4, None], target=1.0, temperature=0.5, floor=0.0)
    assert found == pytest.approx([1.4918247 / 12.2009977, 3.3201169 / 12.2009977, 7.3890561 / 12.2009977], abs=1e-7)
    golden = domain_weights([1.0, 0.5, 0.0], target=1.0, temperature=0.5, floor=0.0)
    assert golden == pytest.approx([0.090, 0.245, 0.665], abs=5e-4)


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=8),
    st.floats(0, 1),
    st.floats(1e-6, 1e6),
    st.floats(0, 1),
)
def test_nobody_starves_and_the_farther_is_asked_more(
    rewards: list[float | None], target: float, temperature: float, floor: float
) -> None:
    found = domain_weights(rewards, target=target, temperature=temperature, floor=floor)
    assert sum(found) == pytest.approx(1)
    assert min(found) >= floor / len(rewards) - 1e-12
    for one, weight in zip(rewards, found, strict=True):
        for other, another in zip(rewards, found, strict=True):
            if (one or 0.0) <= (other or 0.0):
                assert weight >= another
