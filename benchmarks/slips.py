"""Where the desk's students go wrong alone, in the rules or in the sums: `python benchmarks/slips.py SPLIT RUN…`.

Reads predictions.jsonl of runs, takes their last wrong, readable completions without routes of questions whose solution
holds a sum, and compares them with the reasoning that the shop's book gives: where every sentence without a sum agrees,
the rules are right; then either a sum is false ("40 - 15 = 20"), or all are true and a number was misread.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path

from realm.desk.cases import work_out
from realm.desk.task import DeskTask
from realm.files import read_jsonl


def rules(text: str) -> list[str]:
    """The sentences of a reasoning that state rules: all but sums and the conclusion, without its opening words."""
    said = re.sub(r"^(by the book, |usually )", "", text.strip().lower())
    return [one for one in re.split(r"\.\s*", said) if one and "=" not in one and not one.startswith("so ")]


def false_sum(text: str) -> bool:
    """Whether a reasoning states a sum that is false."""
    sums = re.findall(r"(\d+) ([+-]) (\d+) = (-?\d+)", text)
    return any(int(a) + (int(b) if sign == "+" else -int(b)) != int(result) for a, sign, b, result in sums)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split")
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    desk, found = DeskTask(), Counter[str]()
    for run in arguments.runs:
        for row in read_jsonl(run / "predictions.jsonl"):
            if row["split"] != arguments.split or row["routes"] or row["stage"] != "final":
                continue
            sound = work_out(desk.case(row["question_id"]), desk.book).text
            for one in row["completions"]:
                think = _think(one["text"])
                slip = "=" in sound and not one["correct"] and not one["reasons"] and rules(think) == rules(sound)
                found["asked"] += 1
                found["wrong"] += not one["correct"]
                found["rules right, a sum false"] += slip and false_sum(think)
                found["rules right, a number misread"] += slip and not false_sum(think)
    if not found:
        parser.error(f"no completion without routes on the split {arguments.split} in these runs")
    print(", ".join(f"{name} {count}" for name, count in found.items()))


def _think(text: str) -> str:
    return text.partition("<think>")[2].partition("</think>")[0]


if __name__ == "__main__":
    main()
