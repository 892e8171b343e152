"""Writes questions.csv: 150 questions about the price of a parcel, with their gold answers by rules.md."""

from __future__ import annotations

import csv
import random
from pathlib import Path

ZONES = {"the north": 4, "the south": 6, "the islands": 11}


def price(zone: str, weight: int, fragile: bool, express: bool) -> int:
    """In euro, by rules.md."""
    total = ZONES[zone] * (2 if fragile else 1)
    total += 12 if weight > 20 else 5 if weight > 10 else 0
    return total + (7 if express and zone != "the islands" else 0)


def main() -> None:
    source = random.Random(0)
    rows: dict[str, tuple[int, str]] = {}
    while len(rows) < 150:
        zone, weight = source.choice(list(ZONES)), source.randint(1, 30)
        fragile, express = source.random() < 0.4, source.random() < 0.4
        what = ("a fragile parcel" if fragile else "a parcel") + f" of {weight} kg"
        how = " by express" if express else ""
        text = f"A customer sends {what} to {zone}{how}. How many euro does it cost?"
        tags = ["zone", *(["heavy"] if weight > 10 else []), *(["fragile"] if fragile else [])]
        rows[text] = (price(zone, weight, fragile, express), ";".join([*tags, *(["express"] if express else [])]))
    with (Path(__file__).parent / "questions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "question", "answer", "tags"])
        writer.writerows((f"p{number}", text, *row) for number, (text, row) in enumerate(rows.items()))


if __name__ == "__main__":
    main()
