"""The experiment that trains nothing: are the wrong CoTs of banks systematic or noise (`realm.analysis.patterns`)?

The effect is the habit share h: the part of the wrong CoTs that would have to follow one habit to agree as often as
they do. What is plotted is that of answers to one question; the verdict also weighs rules and sizes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from realm.analysis.agreement import Test
from realm.analysis.answers import verifier_of
from realm.analysis.patterns import COVERAGE, Patterns, analyse
from realm.bank.folder import BankFolder
from realm.bank.scan import groups
from realm.errors import ConfigError, DataError
from realm.exchange.importing import Source, import_file
from realm.experiments.page import Section
from realm.experiments.spec import File, Spec
from realm.files import writing
from realm.run import machine, versions
from realm.tasks.workers import VerifierPool

DESK = "desk"
MEASURE = "habit share"


def import_files(spec: Spec, data: Path | None, out: Path, console: Console) -> dict[str, Path]:
    """Banks of the experiment's files below `out`/banks, by name; none without `data`.

    Raises:
        ConfigError: a file is not in the folder.
        DataError, ResourceError: see `import_file`.
    """
    if data is None:
        return {}
    missing = [one.file for one in spec.files.values() if not (data / one.file).is_file()]
    if missing:
        raise ConfigError(f"--data {data}: expected the files {', '.join(missing)} there; leave --data away without.")
    return {name: _imported(data, one, out / "banks", console) for name, one in spec.files.items()}


def _imported(data: Path, one: File, banks: Path, console: Console) -> Path:
    path = data / one.file
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    folder = banks / f"{path.stem}-{digest}"
    if not folder.exists():
        console.print(f"importing {path}")
        with writing(banks):
            banks.mkdir(parents=True, exist_ok=True)
        with VerifierPool(one.verifier, workers=2) as pool:
            import_file(Source(path, {}), folder, pool)
    return folder


def analyse_banks(banks: Mapping[str, Path], seed: int, console: Console) -> dict[str, Patterns]:
    """The error patterns of every bank, by name."""
    found = {}
    for name, path in banks.items():
        console.print(f"analysing the wrong CoTs of {name}")
        folder = BankFolder.open(path)
        found[name] = analyse(groups(folder), verifier=verifier_of(folder.info), seed=seed)
    return found


def _test(one: Patterns) -> Test | None:
    """Do wrong answers of one question agree? None where that cannot be told."""
    test = one.answers.overall if one.answers is not None else None
    return test if test is not None and test.habit_share is not None else None


def make_results(found: Mapping[str, Patterns], seed: int) -> dict[str, Any]:
    """As `realm.experiments.results.make_results`: banks as arms, the habit share as the one measure.

    Banks whose CoTs allow no test have no cell and are left to the page.

    Raises:
        DataError: no bank allows a test.
    """
    shares = {name: test.habit_share for name, one in found.items() if (test := _test(one)) and test.habit_share}
    if not shares:
        raise DataError("no bank has enough wrong CoTs of one question to be analysed.")
    return {
        "value": MEASURE,
        "seeds": [seed],
        "threads": None,
        "machine": machine(),
        "versions": versions(),
        "budget": {},
        "arms": [{"name": name, "set": {}} for name in shares],
        "measures": [
            {"name": MEASURE, "split": MEASURE, "routes": False, "label": "wrong CoTs that follow a habit, share"}
        ],
        "headline": MEASURE,
        "cells": [
            {"arm": name, "measure": MEASURE, "mean": mean, "low": low, "high": high, "seeds": {str(seed): mean}}
            for name, (mean, low, high) in shares.items()
        ],
        "gaps": [],
        "gap_pairs": [],
        "pairs": [],
        "axis": None,
        "kinds": [
            {"arm": name, "kind": kind, "mean": count / found[name].analysed}
            for name in shares
            for kind, count in found[name].kinds.items()
        ],
        "cost": [],
        "curves": [],
        "verdicts": [_verdict(name, one) for name, one in found.items()],
    }


def _verdict(name: str, one: Patterns) -> dict[str, Any]:
    """The figures behind a verdict; None for what the CoTs do not allow to tell. Habit shares are [mean, low, high]."""
    test, rules = _test(one), one.rules
    return {
        "bank": name,
        "verdict": one.verdict,
        "wrong": one.wrong,
        "analysed": one.analysed,
        "agree": test.observed if test else None,
        "by_chance": test.null if test else None,
        "habit_share": test.habit_share if test else None,
        "p": test.p if test else None,
        # Too few wrong CoTs may stand against a right step that several questions share.
        "by_rules": rules.across.habit_share if rules is not None and one.coverage >= COVERAGE else None,
    }


def finding(found: Mapping[str, Patterns]) -> str:
    """The verdict on every bank, as the analysis words it."""
    return " ".join(f"{name}: {one.sentence}" for name, one in found.items())


def verdicts(results: Mapping[str, Any]) -> Section:
    """The figures behind every verdict."""
    rows = [
        [
            row["bank"],
            f"**{row['verdict']}**",
            f"{row['wrong']:,}",
            f"{row['analysed']:,}",
            *("–" if row[key] is None else f"{100 * row[key]:.1f} %" for key in ("agree", "by_chance")),
            _share(row["habit_share"]),
            "–" if row["p"] is None else f"{row['p']:.3f}" if row["p"] >= 0.001 else "< 0.001",
            _share(row["by_rules"]),
        ]
        for row in results["verdicts"]
    ]
    text = (
        "Wrong CoTs in all and those analysed; the share of pairs of wrong answers to one question that are equal, and "
        "what independent near misses would give; habit share by answers with its 95 % interval and p-value; habit "
        "share by rules, where wrong statements replace a right one that several questions share. The strongest "
        "decides; at least 100 wrong CoTs are needed for a verdict."
    )
    header = ["", "verdict", "wrong", "analysed", "agree", "by chance", "habit share", "p", "by rules"]
    return Section("Verdicts", text, header, rows)


def _share(found: Sequence[float] | None) -> str:
    """A habit share with its interval; a dash where there is none."""
    return "–" if found is None else f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"


def kinds(found: Mapping[str, Patterns]) -> Section:
    """How the wrong CoTs of every bank leave the right ones."""
    names = sorted({kind for one in found.values() for kind in one.kinds})
    rows = [
        [name, *(f"{100 * one.kinds[kind] / one.analysed:.1f}" if kind in one.kinds else "" for kind in names)]
        for name, one in found.items()
    ]
    text = "The first step that goes wrong, by what differs from the right CoTs; per cent of the wrong CoTs analysed."
    return Section("How they go wrong", text, ["", *names], rows)
