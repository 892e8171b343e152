"""Figures of a stream whose length is not known, and of a sample of it."""

from __future__ import annotations

import random
from typing import Any, Generic, TypeVar

import numpy as np

from realm.method.seeds import rng

T = TypeVar("T")


class Reservoir(Generic[T]):
    """An even sample of a stream of unknown length (Vitter's algorithm R), seeded."""

    def __init__(self, size: int, seed: int, name: str) -> None:
        self.items: list[T] = []
        self.seen = 0
        self._size = size
        self._source: random.Random = rng(seed, "reservoir", name)

    def add(self, item: T) -> None:
        self.seen += 1
        if len(self.items) < self._size:
            self.items.append(item)
        elif (place := self._source.randrange(self.seen)) < self._size:
            self.items[place] = item


def spread(values: list[int] | list[float], mean: float | None = None) -> dict[str, Any]:
    """{"mean", "p5", "median", "p95", "max"} of a sample; `mean` where it is known better. All None for none."""
    if not values:
        return dict.fromkeys(("mean", "p5", "median", "p95", "max"))
    low, middle, high = (float(value) for value in np.quantile(values, [0.05, 0.5, 0.95]))
    found = float(np.mean(values)) if mean is None else mean
    return {"mean": found, "p5": low, "median": middle, "p95": high, "max": max(values)}
