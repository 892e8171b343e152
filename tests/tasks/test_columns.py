"""Questions under other names, in Parquet, and in data sets that `datasets` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from realm.config import load_config
from realm.errors import ConfigError, DataError
from realm.exchange.importing import import_cots
from realm.sections import TaskConfig
from realm.tasks.base import Question
from realm.tasks.jsonl import load_jsonl
from realm.tasks.workers import VerifierPool

ROWS = [{"nr": n, "Frage": f"{n} + 1?", "Lösung": {"wert": str(n + 1)}, "Thema": ["plus"]} for n in range(20)]
COLUMNS: Any = {"question": "Frage", "answer": "Lösung.wert", "id": "nr", "tags": "Thema"}


def questions(path: Path | str, **values: Any) -> dict[str, Question]:
    task = load_jsonl(TaskConfig(name="jsonl", path=str(path), **{"verifier": "number", **values}), seed=0)
    return {question.id: question for split in task.splits() for question in task.rows(split)}


def jsonl(folder: Path, rows: list[Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check(found: dict[str, Question]) -> None:
    assert len(found) == 20
    assert (found["3"].question, found["3"].answer, found["3"].tags) == ("3 + 1?", "4", ("plus",))


def test_columns_of_other_names_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    check(questions(jsonl(tmp_path, ROWS), columns=COLUMNS))
    datasets.Dataset.from_list(ROWS).to_parquet(tmp_path / "rows.parquet")
    check(questions(tmp_path / "rows.parquet", columns=COLUMNS))
    (tmp_path / "rows.csv").write_text(
        "nr;Frage;Wert;Thema\n" + "".join(f"{n};{n} + 1?;{n + 1};plus\n" for n in range(20))
    )
    check(questions(tmp_path / "rows.csv", columns={**COLUMNS, "answer": "Wert"}))


def test_a_question_may_be_joined_with_its_choices(tmp_path: Path) -> None:
    rows = [{"stem": f"Which, {n}?", "choices": {"text": ["dog", "cat"]}, "key": "AB"[n % 2]} for n in range(20)]
    columns = {"question": "stem+choices", "answer": "key"}
    found = questions(jsonl(tmp_path, rows), columns=columns, verifier="choice", choices=["A", "B"])
    assert "Which, 3?\n\nA. dog\nB. cat" in {question.question for question in found.values()}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, r"no row has a column `question`; the columns are nr, Frage, L\\xf6sung, Thema\. .*task\.columns"),
        ({"question": "Frage"}, r"no row has a column `answer`; the columns are nr, .*task\.columns=\{answer: NAME\}"),
        ({"question": "Frage", "answer": "Gold"}, r"no row has a column `Gold` \(answer, as task\.columns has it\)"),
    ],
)
def test_a_missing_column_is_one_line(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl: {message}") as found:
        questions(jsonl(tmp_path, ROWS), columns=columns)
    assert "\n" not in str(found.value)


def test_columns_that_are_none_of_ours_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.columns\.gold.*'question', 'answer'"):
        load_config(None, ["task.columns={gold: x}"])


def test_a_gold_that_is_no_choice_is_named_with_them(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": "maybe" if n == 7 else "yes"} for n in range(20)]
    with pytest.raises(DataError, match=r"rows\.jsonl:8: the gold 'maybe' is none of yes, no, verifier choice"):
        questions(jsonl(tmp_path, rows), verifier="choice", choices=["yes", "no"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that `datasets.load_dataset` reads, of two splits."""
    path = tmp_path_factory.mktemp("set")
    datasets.Dataset.from_list(ROWS).to_parquet(path / "train.parquet")
    datasets.Dataset.from_list(ROWS[:9]).to_parquet(path / "test.parquet")
    return path


def test_a_directory_is_read_as_a_data_set(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    check(questions(f"hf:{folder}", columns=COLUMNS))
    assert len(questions(f"hf:{folder}:test", columns=COLUMNS)) == 9
    assert len(questions(f"hf:{folder}:train[:15]", columns=COLUMNS)) == 15
    with pytest.raises(DataError, match=r"cannot load this data set: Unknown split \"dev\".*test.*:SPLIT"):
        questions(f"hf:{folder}:dev", columns=COLUMNS)


def test_cots_are_imported_from_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [
        {"question": f"{n} + 1?", "gold": str(n + 1), "text": f"The answer is {n + 1}.", "model": "m"} for n in range(3)
    ]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "set" / "train.parquet")
    with VerifierPool("number") as pool:
        bank, _ = import_cots(f"hf:{tmp_path / 'set'}", pool)
    assert [cot.label for cot in bank.all()] == [1, 1, 1]


def test_a_name_of_the_hub_is_handed_on_and_classes_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = datasets.Dataset.from_dict({"text": [f"t{n}" for n in range(20)], "label": [0, 1] * 10}, features=features)

    def load_dataset(*given: Any, **more: Any) -> datasets.Dataset:
        asked.append((*given, *more.values()))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    columns = {"question": "text", "answer": "label"}
    found = questions("hf:owner/na.me/main@v1:train[:20]", columns=columns, verifier="choice", choices=["bad", "good"])
    assert {question.answer for question in found.values() if question.question == "t3"} == {"good"}
    questions("hf:owner/name", columns=columns, verifier="exact")
    assert asked == [("owner/na.me", "main", "train[:20]", "v1"), ("owner/name", None, "train", None)]


def test_what_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach 'o/n' on the Hub\n(LocalEntryNotFound)")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"hf:o/n: cannot load this data set.*Couldn't reach") as found:
        questions("hf:o/n")
    assert "\n" not in str(found.value)
    with pytest.raises(DataError, match=r"expected hf:OWNER/NAME"):
        questions("hf:../../etc/passwd")
