"""The page of an experiment: what the results say, whatever they leave out; nothing that others wrote acts in it."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from realm.cli.app import app
from realm.commands.reporting import report
from realm.errors import DataError
from realm.pages.experiment import experiment_page
from realm.pages.experiment_data import paragraph
from realm.pages.palette import WITHOUT
from realm.pages.svg import interval, percent
from tests.pages import fake_experiment
from tests.pages.chromium import SCALES, Chromium
from tests.pages.pages import ATTACK, Shape, spoil, text_of

UNBROKEN = "W" * 300
RECIPES = {"grpo": (0.47, 0.87), "realm-zero": (0.36, 0.89), "realm-r1": (0.82, 0.92)}
SECTIONS = (
    "result", "spreads", "differences", "measures", "sums", "training", "gaps", "kinds", "judging", "shown", "banks",
    "cost", "arms", "setup",
)  # fmt: skip


def page_of(results: dict[str, Any], folder: Path) -> str:
    page = experiment_page(fake_experiment.read(results)).write(folder / "report.html")
    return page.read_text(encoding="utf-8")


def test_the_finding_stands_first_and_every_figure_is_there(tmp_path: Path) -> None:
    results = fake_experiment.results()
    page = page_of(results, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 1_000_000
    shown = text_of(page)
    assert shown.index(results["finding"]) < shown.index(results["question"]) < shown.index("Accuracy with 95")
    assert [name for name in Shape(page).ids if name in SECTIONS] == list(SECTIONS)
    for cell in results["cells"]:
        assert f"<span>{percent(cell['mean'])}</span><small>{interval(cell['low'], cell['high'])}</small>" in page
        seeds = ", ".join(f"{100 * value:.1f}" for value in cell["seeds"].values())
        assert f"<small>[{seeds}]</small>" in page
    assert "p 0.016" in shown
    assert "1 161 000" in shown.replace("\u202f", " ")
    assert "routes.error_ratio" in shown
    assert results["command"] in shown


def test_arms_lie_on_the_axis_where_there_is_one(tmp_path: Path) -> None:
    page = page_of(fake_experiment.results(), tmp_path)
    assert "Test, over wrong routes, %" in page
    headline = page[page.index('id="result"') : page.index('id="differences"')]
    wide = headline[headline.index('<div class="wide">') : headline.index('<div class="narrow">')]
    # Two lines (without and with routes) through five arms, three seeds beside each.
    assert len(re.findall(r'class="line c\d+"', wide)) == 2
    assert len(re.findall(r'class="mark', wide)) == 10
    assert len(re.findall(r'class="seed', wide)) == 30
    without = page_of(fake_experiment.results(axis=False), tmp_path)
    headline = without[without.index('id="result"') : without.index('id="differences"')]
    assert "over wrong routes" not in headline
    assert len(re.findall(r'class="seed', headline)) == 2 * 5 * 3


def test_groups_of_arms_are_lines_of_their_own(tmp_path: Path) -> None:
    results = fake_experiment.results()
    for arm in results["arms"][:2]:
        arm["group"] = "few <b>"
    page = page_of(results, tmp_path)
    headline = page[page.index('id="result"') : page.index('id="differences"')]
    wide = headline[headline.index('<div class="wide">') : headline.index('<div class="narrow">')]
    styles = re.findall(r'class="line (c\d+)"', wide)
    assert styles[:2] == styles[2:] and len(set(styles)) == 2  # two measures of two groups
    assert len(re.findall(r'class="mark', wide)) == 10
    assert "few &lt;b&gt;, wit" in wide and "<b>" not in wide


def test_how_far_settings_move_it_has_a_section(tmp_path: Path) -> None:
    shown = section(page_of(fake_experiment.results(), tmp_path), "spreads")
    assert re.search(r"wording\s*5\s*0 %\s*25 %\s*14\.0", shown)


def test_recipes_keep_their_colours_and_other_arms_those_of_the_measure(tmp_path: Path) -> None:
    page = page_of(fake_experiment.results(RECIPES, axis=False), tmp_path)
    headline = page[page.index('id="result"') : page.index('id="differences"')]
    assert {*re.findall(r'class="mark (c\d+) hollow', headline)} >= {"c1", "c2", "c3"}
    page = page_of(fake_experiment.results(axis=False), tmp_path)
    headline = page[page.index('id="result"') : page.index("</table>")]
    assert {*re.findall(r'class="whisker (c\d+)', headline)} == {f"c{WITHOUT}"}
    # The untrained model makes no experiment one of recipes, nor does one recipe among arms of other names.
    for arms in ({"base": (0.2, 0.3), "k1": (0.4, 0.5)}, {"realm-r1": (0.4, 0.5), "adaptive": (0.4, 0.5)}):
        page = page_of(fake_experiment.results(arms, axis=False), tmp_path)
        headline = page[page.index('id="result"') : page.index("</table>")]
        assert {*re.findall(r'class="whisker (c\d+)', headline)} == {f"c{WITHOUT}"}


def test_the_curves_are_means_of_whole_sets_of_seeds(tmp_path: Path) -> None:
    results = fake_experiment.results({"a": (0.5, 0.8), "b": (0.6, 0.8)}, axis=False)
    results["curves"] = [
        {"arm": "a", "seed": 0, "measure": "without", "points": [[0, 0.2], [10, 0.4], [20, 0.9]]},
        {"arm": "a", "seed": 1, "measure": "without", "points": [[0, 0.4], [10, 0.6]]},
    ]
    page = page_of(results, tmp_path)
    assert "step 10 · mean of 2 seeds · 50.0\u202f%" in page
    assert "step 20" not in page


def section(page: str, name: str) -> str:
    """What a reader sees of one section."""
    return text_of(page[page.index(f'<section id="{name}">') :].split("</section>")[0])


def test_what_stands_beside_the_accuracies(tmp_path: Path) -> None:
    page = page_of(fake_experiment.results(), tmp_path)
    assert "25 % 40.0 % 66.0 % step 100 60.0 % step 150 −8.0 to −2.0" in section(page, "training")
    assert "picked by these figures, which favours it" in section(page, "training")
    assert "Differences of these gaps" in section(page, "gaps")
    assert "25 % − 0 % · p 0.048 · −5.0 points (95 % interval −9.0 to −1.0)" in section(page, "gaps")
    assert "25 % 4.00 25.0 % 0.50" in section(page, "shown")
    assert "25 % 40.0 % 10.0 % of all 85.0 % 0.90" in section(page, "judging")
    gain = fake_experiment.ARMS["25 %"][0] - fake_experiment.ARMS["0 %"][0]
    assert f"poor 40.0 % 20.0 % +20.0 +10.0 to +30.0 0.42 25 % − 0 % +{100 * gain:.1f}" in section(page, "banks")
    assert "corrected, within each measure, for the number of comparisons" in section(page, "differences")


def test_true_sums_stand_in_a_section_of_their_own(tmp_path: Path) -> None:
    results = fake_experiment.results()
    shown = section(page_of(results, tmp_path), "sums")
    assert "True sums, ood, without routes" in shown
    assert "25 % − 0 % · p 0.020 · −4.0 points (95 % interval −7.0 to −1.0)" in shown
    assert "25 % 37.5 % of 120" in shown
    for arm, (_, helped) in fake_experiment.ARMS.items():
        assert (f"{100 * helped:.1f} %" in shown) == (arm != "0 %")  # which states no sum
    assert "True sums" not in page_of({**results, "sums": [], "sum_pairs": [], "operators": []}, tmp_path)


def test_what_was_unlearned_stands_in_a_section_of_its_own(tmp_path: Path) -> None:
    results = fake_experiment.results()
    arm, against = (one["name"] for one in results["arms"][1::-1])
    ends = {"difference": -0.1, "low": -0.15, "high": -0.04, "p": 0.01, "p_corrected": 0.03}
    pair = {"arm": arm, "against": against, "measure": "sums<b>:test/without", **ends}
    page = page_of({**results, "unlearned": [pair]}, tmp_path)
    shown = section(page, "unlearned")
    assert f"{arm} − {against}" in shown and "sums<b>:test" in shown and "−10.0 −15.0 to −4.0" in shown
    assert 'id="unlearned"' not in page_of(results, tmp_path)


def test_when_to_trust_the_arms_stands_in_a_section_of_its_own(tmp_path: Path) -> None:
    results = fake_experiment.results()
    arm, ends = results["arms"][1]["name"], {"low": 0.125, "high": 0.5}
    figures = {name: {"value": 0.25, **ends} for name in ("ece", "brier", "aurc")}
    trusted = {"threshold": 0.75, "coverage": {"value": 0.4, **ends}, "right": {"value": 0.9, **ends}}
    told = {"by": "stated", "n": 9, "missing": 0, "auroc": None, "aurc_best": 0.0625, "curve": [], "wanted": 0.9}
    told |= {"chosen_on": "validation", "threshold": 0.75, "trusted": trusted, **figures}
    measures = ((results["headline"], {**told, "trusted": None}), ("new<b>", told))
    rows = [{"arm": arm, "measure": measure, "confidence": one} for measure, one in measures]
    shown = section(page_of({**results, "confidence": rows}, tmp_path), "trust")
    assert shown.count(f"{arm} 0.250 0.125 to 0.500 0.250") == 2 and "0.062 0.7500 – – new<b>" in shown
    assert shown.endswith("– 0.250 0.125 to 0.500 0.062 0.7500 40.0 % 12.5–50.0 90.0 % 12.5–50.0")
    assert 'id="trust"' not in page_of(results, tmp_path)


def test_the_page_claims_threads_and_seeds_only_where_they_are(tmp_path: Path) -> None:
    results = fake_experiment.results()
    page = page_of(results, tmp_path)
    assert "intervals over questions and seeds; the small dots" in section(page, "result")
    assert "time 1 h 2 min of processes of one thread" in section(page, "setup")
    page = page_of({**results, "seeds": [0], "threads": None}, tmp_path)
    assert "intervals over questions; one seed" in section(page, "result")
    assert "one thread" not in section(page, "setup")


def test_long_findings_are_cut_visibly(tmp_path: Path) -> None:
    whole = "word " * 1590  # 7950 characters
    assert paragraph(whole) == whole
    assert paragraph(whole * 2) == f"{(whole * 2)[:8000]} …"
    assert f"{(whole * 2)[:8000]} …" in page_of({**fake_experiment.results(), "finding": whole * 2}, tmp_path)


def test_no_markup_of_others_reaches_the_page(tmp_path: Path) -> None:
    calm = Shape(page_of(fake_experiment.results(), tmp_path))
    page = page_of(fake_experiment.results(shout=ATTACK), tmp_path)
    shape = Shape(page)
    assert "img" not in shape.tags
    assert shape.handlers == []
    assert shape.scripts == calm.scripts
    assert all(address.startswith("#") for address in shape.addresses)
    assert not re.search(r"https?://|@import|url\(", page)


@pytest.mark.parametrize("seed", range(15))
def test_damaged_results_are_told_with_their_field(tmp_path: Path, seed: int) -> None:
    results = spoil(fake_experiment.results(seed=seed), random.Random(seed))
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    try:
        page = report(tmp_path)
    except DataError as error:
        assert "results.json: " in str(error) and "\n" not in str(error)
    else:
        assert not re.search(r'="-?(nan|inf)', page.read_text(encoding="utf-8"))


def test_a_large_experiment_stays_small(tmp_path: Path) -> None:
    arms = {f"arm {index} {UNBROKEN}": (0.5, 0.8) for index in range(60)}
    results = fake_experiment.results(arms)
    for curve in results["curves"]:
        curve["points"] = [[step, 0.5] for step in range(500)]
    results["kinds"] = [{"arm": arm, "kind": f"kind {n}", "mean": 0.5} for arm in arms for n in range(60)]
    experiment_page(fake_experiment.read(results)).write(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "60 arms" in text_of(page)
    assert "The first 24 of 60, by name." in section(page, "kinds")


def test_the_first_sentence_of_the_finding_is_its_headline(tmp_path: Path) -> None:
    finding = "On test mid has 90.6 % (85.5 to 95.5). No difference is shown. The rest."
    page = page_of({**fake_experiment.results(), "finding": finding}, tmp_path)
    assert '<p class="verdict">On test mid has 90.6 % (85.5 to 95.5).</p>' in page
    assert '<p class="more">No difference is shown. The rest.</p>' in page
    page = page_of({**fake_experiment.results(), "finding": f"{finding}\n\n- One.\n- Another. More."}, tmp_path)
    assert '<p class="more">One.</p>\n<p class="more">Another. More.</p>' in page


def test_gap_and_gain_of_every_bank_are_drawn(tmp_path: Path) -> None:
    page = page_of(fake_experiment.results(), tmp_path)
    drawn = section(page, "banks")
    assert "poor · +20.0 points (95 % interval +10.0 to +30.0)" in drawn
    assert "Gain of wrong routes" in drawn


@pytest.mark.parametrize(
    "left",
    [
        "cells",
        "gaps",
        "pairs",
        "kinds",
        "cost",
        "curves",
        "axis",
        "finding",
        "versions",
        "kind",
        "gap_pairs",
        "training",
        "judging",
        "shown",
        "banks",
        "threads",
    ],
)
def test_what_is_missing_is_left_out(tmp_path: Path, left: str) -> None:
    results = fake_experiment.results()
    del results[left]
    assert "<h2>Result</h2>" in page_of(results, tmp_path)


def test_results_without_arms_or_measures_are_refused(tmp_path: Path) -> None:
    for key in ("arms", "measures"):
        (tmp_path / "results.json").write_text(json.dumps({**fake_experiment.results(), key: []}), encoding="utf-8")
        with pytest.raises(DataError, match=f"{key}: tuple should have at least 1 item"):
            report(tmp_path)


def test_realm_report_writes_the_page_of_a_folder_with_results(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(fake_experiment.results()), encoding="utf-8")
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "How many wrong routes" in (tmp_path / "report.html").read_text(encoding="utf-8")
    for content in ("[]", "{", '{"arms": []}'):
        (tmp_path / "results.json").write_text(content, encoding="utf-8")
        result = CliRunner().invoke(app, ["report", str(tmp_path)])
        assert result.exit_code == 2
        assert "expected" in result.output or "name: field required" in result.output


@pytest.mark.browser
@pytest.mark.parametrize("shout", ["", ATTACK, UNBROKEN], ids=["plain", "attack", "unbroken"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_nothing_in_it_acts(browser: Chromium, tmp_path: Path, shout: str, width: int) -> None:
    experiment_page(fake_experiment.read(fake_experiment.results(shout=shout))).write(tmp_path / "report.html")
    for dark in (False, True):
        browser.show(tmp_path / "report.html", width, dark=dark)
        browser.run('document.querySelectorAll("details").forEach((node) => { node.open = true; })')
        assert browser.run("document.documentElement.scrollWidth") <= width
    scales = browser.run(SCALES)
    assert len(scales) >= 10 and min(scales) > 0.9
    assert browser.run("window.pwned === undefined && document.images.length === 0 && document.scripts.length === 1")
