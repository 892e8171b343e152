"""How fast verdicts are, against an older build in the same run: `python benchmarks/verdicts.py --against PATH`.

PATH is the root of another checkout of this repository. Each build judges the same pairs, drawn by a seed in realistic
shares (plain numbers, money, units, fractions; for `math` LaTeX, lists, intervals, expressions too), in a process of
its own that lives as long as the run. After a warm-up they take turns; what is printed is the median of each and the
ratio of the rates, ours over theirs.

`--cases FILE…` scores verdicts instead: wrong answers judged right and right ones judged wrong, by verifier, in rows
{verifier, gold, answer or text, right, choices?} of JSONL; of a `text` the answer is found first. Beside both builds
stands math-verify by itself, with its default settings, on the rows of `math` (gold and answer each between dollars,
unless they have some). `benchmarks/cases` holds 765 cases whose author had not seen the verifiers.

Writes benchmarks/results/verdicts.json or verdicts_cases.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[1]
Pair = tuple[str, str]


def number_pair(draw: random.Random) -> Pair:
    """(answer, gold): half of the answers are right."""
    gold = draw.choice((draw.randint(0, 200), draw.randint(0, 10**5), round(draw.uniform(0, 500), 2)))
    value = gold if draw.random() < 0.5 else gold + draw.randint(1, 9)
    forms = (f"{value}", f"{value}", f"{value}.", f"${value:,}", f"{value} dollars", f"**{value}**", f"x = {value}")
    return draw.choice(forms), str(gold)


def math_pair(draw: random.Random) -> Pair:
    """(answer, gold): two thirds plain numbers and fractions, the others what else exams ask for."""
    a, b, c = draw.randint(1, 99), draw.randint(2, 30), draw.randint(2, 9)
    off = draw.choice((0, 0, 1))
    golds = {
        "whole": (f"{a}", f"{a + off}"),
        "boxed": (f"{a * b}", rf"\boxed{{{a * b + off}}}"),
        "fraction": (rf"\frac{{{a}}}{{{b}}}", rf"\frac{{{a + off}}}{{{b}}}"),
        "slash": (rf"\frac{{{a}}}{{{b}}}", f"{a * c + off}/{b * c}"),
        "unit": (f"{a}", rf"{a + off} \text{{ cm}}"),
        "degrees": (rf"{a}^\circ", f"{a + off}"),
        "money": (rf"\${a}.50", f"{a + off}.5"),
        "root": (rf"{a}\sqrt{{{c}}}", rf"\sqrt{{{a * a * c + off}}}"),
        "pi": (rf"\frac{{{a}\pi}}{{{b}}}", rf"\frac{{{a + off}}}{{{b}}}\pi"),
        "interval": (rf"[{a}, \infty)", rf"x \ge {a + off}"),
        "union": (rf"(-\infty, {a}) \cup ({a}, \infty)", rf"x \ne {a + off}"),
        "pair": (f"({a}, {b})", rf"\left({a}, {b + off}\right)"),
        "list": (f"{a}, {-b}", f"{-b}, {a + off}"),
        "polynomial": (f"x^2 + {2 * c}x + {c * c}", f"(x+{c + off})^2"),
        "line": (f"y = {a}x + {b}", f"{a}x - y + {b + off} = 0"),
        "word": (r"\text{even}", draw.choice((r"\text{even}", "odd"))),
    }
    shares = [8, 6, 8, 3, 3, 1, 1, 3, 2, 1, 1, 2, 2, 1, 1, 1]
    gold, answer = draw.choices(list(golds.values()), shares)[0]
    return answer, gold


PAIRS = {"number": number_pair, "math": math_pair}


def child() -> None:
    """Read orders from standard input, a line of JSON each, until it ends; answer each with one."""
    import logging

    logging.disable(logging.CRITICAL)
    from realm.tasks.answers import final_answer
    from realm.tasks.verify import judge, verifier
    from realm.tasks.workers import VerifierPool

    for line in sys.stdin:
        order = json.loads(line)
        found: Any
        if order["do"] == "time":
            draw = random.Random(order["seed"])
            pairs = [PAIRS[order["verifier"]](draw) for _ in range(order["count"])]
            check = verifier(order["verifier"])
            start = time.perf_counter()
            right = sum(judge(check, *pair).correct for pair in pairs)
            found = [time.perf_counter() - start, right]
        elif order["do"] == "cases":
            pairs = [(final_answer(said) if whole else said, gold) for said, gold, whole in order["pairs"]]
            with VerifierPool(order["verifier"], order["choices"], timeout=20) as pool:
                found = [verdict.correct for verdict in pool.verify(pairs)]
        else:
            found = [math_verify(answer, gold) for answer, gold, _ in order["pairs"]]
        print(json.dumps(found), flush=True)


def math_verify(answer: str, gold: str) -> bool:
    from math_verify import parse, verify

    read = [parse(text if "$" in text else f"${text}$") for text in (gold, answer)]
    return bool(verify(*read))


class Build:
    """A process that judges with the `realm` of one checkout."""

    def __init__(self, name: str, root: Path) -> None:
        if not (root / "realm" / "tasks" / "verify.py").is_file():
            raise SystemExit(f"{root}: no checkout of realm; expected realm/tasks/verify.py in it")
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).resolve()), "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root.resolve())},
        )

    def ask(self, **order: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.name} ended at {order['do']}")
        return json.loads(line)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def rates(builds: list[Build], counts: dict[str, int], repeats: int) -> list[dict[str, Any]]:
    rows = []
    for verifier, count in counts.items():
        for build in builds:
            build.ask(do="time", verifier=verifier, count=min(count, 200), seed=1)
        seconds: dict[str, list[float]] = {build.name: [] for build in builds}
        right: dict[str, int] = {}
        for _ in range(repeats):
            for build in builds:
                took, right[build.name] = build.ask(do="time", verifier=verifier, count=count, seed=0)
                seconds[build.name].append(took)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        ratio = medians["against"] / medians["ours"] if "against" in medians else None
        rows.append({"verifier": verifier, "verdicts": count, "right": right, "seconds": seconds, "ratio": ratio})
        shown = ", ".join(f"{name} {count / median:,.0f}/s" for name, median in medians.items())
        print(f"{verifier:8} {count:7} verdicts: {shown}" + (f"; ratio {ratio:.2f}" if ratio else ""), flush=True)
    return rows


def scores(builds: list[Build], files: list[Path]) -> list[dict[str, Any]]:
    cases = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines() if line]
    groups: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for case in cases:
        groups.setdefault((case["verifier"], tuple(case.get("choices", ()))), []).append(case)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for (verifier, choices), rows in groups.items():
        pairs = [(row.get("answer", row.get("text")), row["gold"], "text" in row) for row in rows]
        found = {build.name: build.ask(do="cases", verifier=verifier, choices=choices, pairs=pairs) for build in builds}
        if verifier == "math":
            found["math-verify alone"] = builds[0].ask(do="math-verify", pairs=pairs)
        for name, verdicts in found.items():
            count = counts.setdefault((verifier, name), Counter())
            for row, judged in zip(rows, verdicts, strict=True):
                count["right" if row["right"] else "wrong"] += 1
                count["wrong judged right"] += judged and not row["right"]
                count["right judged wrong"] += not judged and bool(row["right"])
    table = []
    for (verifier, name), count in sorted(counts.items()):
        table.append({"verifier": verifier, "build": name, **count})
        print(
            f"{verifier:8} {name:18} {count['wrong judged right']:4} of {count['wrong']:4} wrong judged right, "
            f"{count['right judged wrong']:4} of {count['right']:4} right judged wrong"
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="the root of another checkout")
    parser.add_argument("--number", type=int, default=100_000, help="verdicts of `number` (default: 100000)")
    parser.add_argument("--math", type=int, default=20_000, help="verdicts of `math` (default: 20000)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", type=Path, nargs="+", metavar="FILE", help="score these cases instead")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child()
        return
    builds = [Build("ours", ROOT)] + ([Build("against", arguments.against)] if arguments.against else [])
    try:
        if arguments.cases:
            name, rows = "verdicts_cases", scores(builds, arguments.cases)
        else:
            counts = {"number": arguments.number, "math": arguments.math}
            name, rows = "verdicts", rates(builds, counts, arguments.repeats)
    finally:
        for build in builds:
            build.close()
    RESULTS.mkdir(exist_ok=True)
    from realm.run import machine, versions

    command = shlex.join(["python", "benchmarks/verdicts.py", *sys.argv[1:]])
    result = {"command": command, "machine": machine(), "versions": versions(), "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
