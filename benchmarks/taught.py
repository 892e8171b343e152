"""How soundly the CoTs reason that SFT teaches on the desk, by recipe: `python benchmarks/taught.py BANK…`.

Of every bank the CoTs on training questions, weighted as `realm.training.sft` draws them: `sft` one of a question's at
a turn, `rft` every distinct right one in turn, the cold start of realm-r1 and sft+grpo one of a question's right ones,
guided where it has such. A CoT is sound where its sentences state the rules that the shop's book gives.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from slips import rules

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.desk.cases import work_out
from realm.desk.task import DeskTask


def taught(cots: Sequence[CoT]) -> dict[str, tuple[Sequence[CoT], float]]:
    """A question's CoTs and the weight of each, by recipe."""
    right = [cot for cot in cots if cot.label == 1]
    distinct = list({cot.text: cot for cot in reversed(right)}.values())
    best = [cot for cot in right if cot.guided] or right
    found = {"sft": (cots, 1 / max(1, len(cots))), "rft": (distinct, 1.0)}
    return {**found, "realm-r1, sft+grpo": (best, 1 / max(1, len(best)))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("banks", type=Path, nargs="+")
    desk = DeskTask()
    sums: dict[str, list[float]] = {}
    for path in parser.parse_args().banks:
        bank = Bank.open(path)
        for question in desk.rows("train"):
            sound = rules(work_out(desk.case(question.id), desk.book).text)
            usable = [cot for cot in bank.cots(question.id) if cot.usable]
            for recipe, (cots, weight) in taught(usable).items():
                total = sums.setdefault(recipe, [0.0, 0.0, 0.0])
                for cot in cots:
                    total[0] += weight
                    total[1] += weight * (rules(cot.text) == sound)
                    total[2] += weight * cot.guided
    for recipe, (all_, sound_, guided) in sums.items():
        print(f"{recipe:20} sound {100 * sound_ / all_:.0f} %, guided {100 * guided / all_:.0f} %")


if __name__ == "__main__":
    main()
