"""The experiment that trains nothing: files are imported once, and every bank gets its verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from realm.bank.store import Bank
from realm.errors import ConfigError, DataError
from realm.experiments import patterns
from realm.experiments.conduct import Order, conduct
from realm.experiments.page import page
from realm.experiments.spec import load

WriteSpec = Callable[..., Path]
QUIET = Console(quiet=True)


def rows(questions: int, answers: Callable[[int, int], str]) -> str:
    """Questions with one right CoT and four that answer as told."""
    lines = []
    for n in range(questions):
        gold = 1000 + 37 * n
        texts = [str(gold), *(answers(gold, sample) for sample in range(4))]
        cots = [
            {"text": f"I think hard. {text}", "answer": text, "correct": int(text) == gold, "source": str(sample)}
            for sample, text in enumerate(texts)
        ]
        lines.append(json.dumps({"id": f"q{n}", "question": f"What is {n}?", "answer": str(gold), "cots": cots}))
    return "\n".join(lines) + "\n"


@pytest.fixture
def spec(tmp_path: Path, write_spec: WriteSpec) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "habit.jsonl").write_text(rows(60, lambda gold, sample: str(gold + 1 + gold % 91)))
    (data / "noise.jsonl").write_text(rows(60, lambda gold, sample: str(gold + 1 + (gold * (sample + 3)) % 97)))
    files = {name: {"file": f"{name}.jsonl", "verifier": "number"} for name in ("habit", "noise")}
    return write_spec(kind="patterns", arms={}, pairs=[], files=files)


def test_files_are_imported_once_and_again_when_they_change(spec: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = patterns.import_files(load(spec), data, tmp_path, QUIET)
    assert len(Bank.open(first["habit"])) == 300
    stamp = (first["habit"] / "bank.json").stat().st_mtime_ns
    assert patterns.import_files(load(spec), data, tmp_path, QUIET) == first
    assert (first["habit"] / "bank.json").stat().st_mtime_ns == stamp
    (data / "habit.jsonl").write_text(rows(50, lambda gold, sample: "5"))
    second = patterns.import_files(load(spec), data, tmp_path, QUIET)
    assert second["habit"] != first["habit"] and second["noise"] == first["noise"]
    (data / "noise.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"expected the files noise\.jsonl there"):
        patterns.import_files(load(spec), data, tmp_path, QUIET)


def test_habits_are_told_from_noise(spec: Path, tmp_path: Path) -> None:
    found = patterns.analyse_banks(patterns.import_files(load(spec), tmp_path / "data", tmp_path, QUIET), 0, QUIET)
    assert [one.verdict for one in found.values()] == ["systematic", "noise"]
    results = patterns.make_results(found, 0)
    means = {row["arm"]: row["mean"] for row in results["cells"]}
    assert means["habit"] > 0.8 > 0.3 > means["noise"]
    whole: dict[str, Any] = {
        **results, "name": "n", "title": "t", "question": "q", "kind": "patterns", "command": "c", "fast": False,
        "seconds": 1.0,
        "finding": patterns.finding(found),
    }  # fmt: skip
    text = page(whole, [patterns.verdicts(results), patterns.kinds(found)], image="i.svg")
    assert "habit: Systematic: two wrong answers of one question are equal in 100.0%" in text
    assert "| habit | **systematic** | 240 | 240 | 100.0 % |" in text
    assert "| noise | **noise** | 240 | 240 |" in text
    assert "Budget" not in text
    first = results["verdicts"][0]
    assert (first["bank"], first["verdict"], first["agree"], results["value"]) == (
        "habit", "systematic", 1.0, "habit share",
    )  # fmt: skip
    assert first["habit_share"][0] == means["habit"]


def test_without_any_pair_there_is_nothing_to_tell(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(rows(1, lambda gold, sample: str(gold)))
    with pytest.raises(DataError, match="no bank has enough wrong CoTs"):
        patterns.make_results({}, 0)


def test_a_bank_of_ones_own_takes_the_place_of_the_desks(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = patterns.import_files(load(spec), tmp_path / "data", tmp_path, QUIET)["habit"]
    order = Order(spec, Path("x"), None, 5, 1, [f"bank.path={own}"], False, None, "realm experiment")
    conduct(order, QUIET)
    results = json.loads(Path("x/mine/results.json").read_text())
    assert [row["arm"] for row in results["cells"]] == [own.name]
    assert results["command"] == "realm experiment"


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("realm experiment x", "realm experiment x --data DIR"),
        ("realm experiment x --data=d", "realm experiment x --data=d"),
    ],
)
def test_the_command_names_the_data_where_the_environment_did(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    own = patterns.import_files(load(spec), tmp_path / "data", tmp_path, QUIET)["habit"]
    page = conduct(Order(spec, Path("x"), None, 5, 1, [f"bank.path={own}"], False, tmp_path / "data", typed), QUIET)
    assert f"Written by `{command}`." in page.read_text()


@pytest.mark.slow
def test_the_desks_own_bank_is_analysed(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    order = Order(spec, Path("x"), None, 5, 1, ["bank.samples=4", "routes.k=2"], False, None, "realm experiment")
    text = conduct(order, QUIET).read_text()
    assert "| desk | **systematic** |" in text
    results = json.loads(Path("x/mine/results.json").read_text())
    assert [row["arm"] for row in results["cells"]] == ["desk"]
    assert results["seeds"] == [0]
