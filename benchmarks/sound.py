"""How many right completions of the desk reason as its rules do: `python benchmarks/sound.py RUNS_FOLDER`.

Reads completions.jsonl of every run below the folder, takes the right, readable completions of RL that were shown
routes, and compares their reasoning with the one that the shop's book gives, but for its opening words: of all, of each
group's distinct ones, and of those that most of the group's right ones read like (what `internalize` moves).
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import Any

from realm.desk.cases import work_out
from realm.desk.task import DeskTask
from realm.files import read_jsonl


def plain(text: str) -> str:
    """A reasoning without its opening words, case and white space."""
    return re.sub(r"\s+", "", re.sub(r"^(by the book, |usually )", "", text.strip().lower()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    desk = DeskTask()
    counts: dict[str, Counter[bool]] = {"all": Counter(), "distinct": Counter(), "agreed": Counter()}
    groups = 0
    for path in sorted(parser.parse_args().runs.rglob("completions.jsonl")):
        for row in read_jsonl(path):
            right = _right(row)
            if not right:
                continue
            groups += 1
            sound = plain(work_out(desk.case(row["question_id"]), desk.book).text)
            texts = Counter(right)
            agreed = [text for text, count in texts.items() if count == max(texts.values())]
            for name, found in (("all", right), ("distinct", list(texts)), ("agreed", agreed)):
                counts[name].update(plain(text) == sound for text in found)
    if not groups:
        parser.error("no run below that folder has logged a right completion of the desk's RL that was shown routes")
    print(f"{groups} groups with right completions that were shown routes")
    for name, found in counts.items():
        print(f"{name:9} {found.total():6}  sound {100 * found[True] / max(1, found.total()):.1f} %")


def _right(row: dict[str, Any]) -> list[str]:
    if row["stage"] != "rl" or not row["routes"]:
        return []
    return [one["think"].strip() for one in row["completions"] if one["correct"] and not one["reasons"]]


if __name__ == "__main__":
    main()
