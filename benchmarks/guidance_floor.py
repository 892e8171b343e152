"""What `guidance.match: retrieval` shows, right and wrong, by the floor of relevance, `guidance.floor`.

    python benchmarks/guidance_floor.py

Sets whose relevant rules are known: yes/no questions of five small offices with their rules, some about none of them
(benchmarks/cases/rules.json, written for this), the parcels of examples/parcels and the desk by their tags. In
`strangers` the questions of each office are asked of the rules of the others: every rule shown is wrong.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from realm.desk.task import DeskTask
from realm.sections import GuidanceConfig
from realm.tasks.base import Comment, Question
from realm.teacher.comments import read_comments
from realm.teacher.guidance import Guidance

HERE = Path(__file__).parent
FLOORS = (0.0, 0.1, 0.15, 0.17, 0.2, 0.25)
Set = list[tuple[list[Comment], list[Question]]]


def sets() -> dict[str, Set]:
    """Comments and questions of each set; they belong together where they share a tag."""
    offices: Set = []
    for name, found in json.loads((HERE / "cases/rules.json").read_text(encoding="utf-8")).items():
        rules = [Comment(f"{name}-{n}", (f"{name}-{n}",), text) for n, text in enumerate(found["rules"])]
        asked = [Question(q, q, "", tags=tuple(f"{name}-{n}" for n in right)) for q, right in found["questions"]]
        offices.append((rules, asked))
    parcels = HERE.parent / "examples" / "parcels"
    with (parcels / "questions.csv").open(encoding="utf-8", newline="") as file:
        rows = [Question(r["id"], r["question"], "", tags=tuple(r["tags"].split(";"))) for r in csv.DictReader(file)]
    desk = DeskTask()
    return {
        "offices": offices,
        "strangers": [(rules, asked) for rules, own in offices for _, asked in offices if asked is not own],
        "parcels": [(read_comments(parcels / "rules.md"), rows)],
        "desk": [(list(desk.comments), list(islice(desk.rows("train"), 300)))],
    }


def count(pairs: Iterable[tuple[list[Comment], list[Question]]], floor: float) -> tuple[int, int]:
    """How many relevant comments are shown, and how many others."""
    right = wrong = 0
    for comments, questions in pairs:
        # Tags are what is known here, nothing to be found by.
        bare = [replace(comment, tags=()) for comment in comments]
        tags = {comment.id: set(comment.tags) for comment in comments}
        made = Guidance(bare, GuidanceConfig(match="retrieval", floor=floor))
        for question in questions:
            for comment in made.matching(question):
                relevant = not tags[comment.id].isdisjoint(question.tags)
                right, wrong = right + relevant, wrong + (not relevant)
    return right, wrong


def main() -> None:
    for name, pairs in sets().items():
        found = {floor: count(pairs, floor) for floor in FLOORS}
        shown = ", ".join(f"{floor:g}: {right} right, {wrong} wrong" for floor, (right, wrong) in found.items())
        print(f"{name} ({sum(len(questions) for _, questions in pairs)} questions): {shown}")


if __name__ == "__main__":
    main()
