"""Confidence on a run's page: where it was asked for there are figures, a table and the words; else nothing of it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from realm.config import Config
from realm.evaluation.confidence import told
from realm.pages.data import read_report
from realm.pages.page import run_page
from realm.pages.trust import trust_figures, trust_table
from realm.rows.base import record
from realm.rows.evaluation import Evaluation, Prediction
from realm.run import RunFolder
from tests.pages import fake_run


def test_confidence_has_a_section_of_the_page(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=60)
    report = read_report(folder)
    assert (trust_figures(report), trust_table(report)) == ([], None)
    assert 'id="trust"' not in run_page(folder).html()

    source, run = random.Random(0), RunFolder(folder)
    predictions = [
        replace(row, completions=tuple(replace(one, confidence=source.random()) for one in row.completions))
        for row in run.read(Prediction)
    ]
    kept = [row for row in run.read(Evaluation) if row.stage != "final" or row.split == "test"]
    finals = [row for row in kept if row.stage == "final"]
    config = Config().changed(
        {"evaluation.confidence": "likelihood", "evaluation.precision_on": "test", "evaluation.precision": 0.3}
    )
    rows = [row for row in kept if row.stage != "final"] + told(finals, predictions, config)
    fake_run.jsonl(folder / "evaluations.jsonl", [record(row) for row in rows])
    fake_run.jsonl(folder / "predictions.jsonl", [record(row) for row in predictions])

    report = read_report(folder)
    titles = [figure.title for figure in trust_figures(report)]
    assert titles == [
        "Test, without routes: right among the surest", "Test, with 4 routes: right among the surest",
        "Test, without routes", "Test, with 4 routes",
    ]  # fmt: skip
    table = trust_table(report)
    assert table is not None and len(table.bodies) == 2
    ece = next(row.confidence.ece for row in rows if row.confidence)
    assert ece is not None and f"{ece.value:.3f}" in "\n".join(table.to_markdown())
    assert 'id="trust"' in run_page(folder).html()
