"""Figures as files: SVG that any reader takes, PNG that shows it, whatever a figure is called."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from realm.cli.app import app
from realm.errors import ResourceError
from realm.pages.charts import Dot, Row, dot_chart
from realm.pages.experiment import experiment_page, write_experiment_figure
from realm.pages.export import ZOOM, figures_of, save_figures, standalone, to_png
from realm.pages.figures import Figure
from realm.pages.page import run_page
from tests.pages import fake_experiment, fake_run

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '../../<script>alert(1)</script>"\x1b[31m\ud800\u202e ]]> & &amp;'


def figure(title: str = "A figure", caption: str = "row") -> Figure:
    dots = [Dot(3, 0.5, 0.4, 0.6, False, "said"), Dot(3, 0.8, None, None, True, "said")]
    drawing = dot_chart([Row(caption, dots, 3)], width=348, summary=title, domain=(0, 1), axis=str)
    return Figure(title, drawing, note="hollow: without routes")


def test_every_figure_of_a_page_is_written_twice(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "run", steps=100)
    page = run_page(folder).write(folder / "report.html", tmp_path / "figures").read_text(encoding="utf-8")
    files = sorted(path.name for path in (tmp_path / "figures").iterdir())
    vectors = [name for name in files if name.endswith(".svg")]
    assert [name.replace(".svg", ".png") for name in vectors] == [name for name in files if name.endswith(".png")]
    assert len(vectors) == page.count("<figure><figcaption>")
    for start in ("results-", "training-", "kind-", "fade-", "reward-", "calibration-", "copying-"):
        assert any(name.startswith(start) for name in vectors), start


def test_the_command_writes_them_beside_the_page(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "run", "grpo", steps=60)
    result = CliRunner().invoke(app, ["report", str(folder), "--figures", str(tmp_path / "f")])
    assert result.exit_code == 0, result.output
    assert (folder / "report.html").is_file()
    assert (tmp_path / "f" / "training-without-routes.svg").is_file()
    assert (tmp_path / "f" / "training-without-routes.png").is_file()


def test_a_file_stands_by_itself() -> None:
    drawing = standalone(figure())
    root = ET.fromstring(drawing)
    assert root.tag == f"{SVG}svg"
    texts = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert {"A figure", "hollow: without routes", "row"} <= set(texts)
    assert "var(" not in drawing and "url(" not in drawing
    style = root.findtext(f"{SVG}style") or ""
    classes = {name for node in root.iter() for name in node.get("class", "").split()}
    assert all(f".{name}" in style for name in classes - {"row"})


def test_a_note_is_no_wider_than_the_figure() -> None:
    note = "hollow is without routes, solid with routes; bars are 95 % intervals, small dots single seeds " * 3
    without, root = (ET.fromstring(standalone(figure(), note=text)) for text in ("", note))
    lines = [node for node in root.iter(f"{SVG}text") if (node.text or "").strip() and node.text in note]
    assert " ".join(node.text or "" for node in lines) == note.strip() and root.get("width") == without.get("width")
    assert all(7 * len(node.text or "") < float(root.get("width") or 0) for node in lines)  # half an em a letter
    heights = [float(node.get("y") or 0) for node in lines]
    assert heights == sorted(set(heights)) and heights[-1] < float(root.get("height") or 0)


def test_a_png_has_twice_the_size_and_the_text_of_the_figure() -> None:
    drawing = standalone(figure())
    png = to_png(drawing)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (float(value) for value in re.findall(r'(?:width|height)="([\d.]+)"', drawing[:400])[:2])
    assert struct.unpack(">II", png[16:24]) == (round(ZOOM * width), round(ZOOM * height))
    # Text is drawn too: without a font resvg leaves it out in silence.
    assert len(png) > len(to_png(re.sub(r"<text[^>]*>[^<]*</text>", "", drawing))) + 1_000


def test_names_of_files_are_plain_and_no_two_are_the_same(tmp_path: Path) -> None:
    context = {"x_figures": [figure(HOSTILE, HOSTILE), figure("τ"), figure("τ"), figure("W" * 500)], "other": [3, None]}
    names = [name for name, _ in figures_of(context)]
    assert len(set(names)) == len(names) == 4
    assert all(re.fullmatch(r"[a-z0-9-]{1,90}", name) for name in names)
    files = save_figures(context, tmp_path / "new" / "folder")
    assert len(files) == 8
    for path in files:
        assert path.parent == tmp_path / "new" / "folder"
        assert path.stat().st_size > 500
    root = ET.fromstring(files[0].read_text(encoding="utf-8"))
    assert not list(root.iter(f"{SVG}script"))


def test_an_experiments_figures(tmp_path: Path) -> None:
    results = fake_experiment.read(fake_experiment.results())
    experiment_page(results).write(tmp_path / "report.html", tmp_path / "f")
    names = {path.stem for path in (tmp_path / "f").glob("*.png")}
    assert {"headline-test-over-wrong-routes", "curve-50", "pair-test-without-routes", "gap-test"} <= names


def sheet(tmp_path: Path, name: str = "sheet", **changes: Any) -> tuple[list[str], str]:
    """The texts of the one picture of an experiment, and all of it."""
    results = fake_experiment.results(axis="axis" in changes and changes.pop("axis"))
    vectors, pixels = write_experiment_figure(fake_experiment.read({**results, **changes}), tmp_path / name)
    assert (vectors.name, pixels.name) == (f"{name}.svg", f"{name}.png")
    assert pixels.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    drawing = vectors.read_text(encoding="utf-8")
    return ["".join(node.itertext()) for node in ET.fromstring(drawing).iter(f"{SVG}text")], drawing


def test_one_picture_has_a_panel_for_every_split_both_ways(tmp_path: Path) -> None:
    texts, drawing = sheet(tmp_path, "lr-0.1", banks=[])
    assert [text for text in texts if text in ("Test", "Out of distribution")] == ["Test", "Out of distribution"]
    assert any("hollow is without routes, solid with routes" in text for text in texts)
    for kind in ("hollow", "solid"):
        assert len(re.findall(rf'class="mark c\d+ {kind}"', drawing)) == 2 * len(fake_experiment.ARMS)
    assert drawing == sheet(tmp_path, "lr-0.2", banks=[])[1]


def test_one_picture_of_an_axis_has_the_untrained_model_as_a_level(tmp_path: Path) -> None:
    results = fake_experiment.results()
    cells = [{**row, "arm": "base"} for row in results["cells"] if row["arm"] == "0 %"]
    arms = [{"name": "base", "set": {}}, *results["arms"]]
    texts, drawing = sheet(tmp_path, axis=True, banks=[], arms=arms, cells=[*results["cells"], *cells])
    assert {"with", "without", "base, with", "base, without", "wrong routes, %"} <= set(texts)
    assert len(re.findall(r'class="line c\d+ dashed"', drawing)) == 4


def test_one_picture_of_banks_has_the_gain_beside_the_gap(tmp_path: Path) -> None:
    texts, _ = sheet(tmp_path)
    assert {"Gap between teacher and student", "Gain of wrong routes"} <= set(texts)


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="file"):
        save_figures({"x": figure()}, tmp_path / "file")
