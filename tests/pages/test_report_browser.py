"""The page in headless Chromium: it fits every width, its filters work, and it asks for nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from realm.pages import write_report
from tests.conftest import read_rows
from tests.pages import fake_run
from tests.pages.chromium import Chromium

pytestmark = pytest.mark.browser

ATTACK = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=1"> \u2028 '
UNBROKEN = "W" * 400 + " "


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(fake_run.training_run(tmp_path_factory.mktemp("run") / "run", steps=120))


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose texts are hostile and never break a line."""
    folder = fake_run.training_run(tmp_path_factory.mktemp("run") / UNBROKEN[:200], steps=120, shout=UNBROKEN + ATTACK)
    meta = {"machine": UNBROKEN, "command": UNBROKEN + ATTACK, "evaluated": UNBROKEN}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    rows = read_rows(folder / "evaluations.jsonl")
    for row in rows:
        row["by_kind"] = {f"{UNBROKEN}{ATTACK}{kind}": value for kind, value in row["by_kind"].items()}
    fake_run.jsonl(folder / "evaluations.jsonl", rows)
    return write_report(folder)


def set_filter(browser: Chromium, name: str, value: str) -> None:
    browser.run(
        f"""(() => {{ const select = document.getElementById("f-{name}"); select.value = {json.dumps(value)};
        if (select.value !== {json.dumps(value)}) throw new Error("no such option");
        select.dispatchEvent(new Event("change", {{ bubbles: true }})); }})()"""
    )


def walk(browser: Chromium) -> list[dict[str, Any]]:
    """Every group the browser shows under the present filters, from the first to the last, as read from the page."""
    shown = []
    while True:
        shown.append(
            browser.run(
                """({ facts: document.querySelector(".facts")?.textContent ?? null,
                badges: [...document.querySelectorAll(".completion > summary .badge")].map((node) => node.textContent),
                open: document.querySelectorAll(".completion[open]").length })"""
            )
        )
        if browser.run('document.getElementById("next").disabled'):
            return [group for group in shown if group["facts"]]
        browser.run('document.getElementById("next").click()')


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 768, 390])
@pytest.mark.parametrize("name", ["run", "awkward"])
def test_nothing_sticks_out_sideways(
    browser: Chromium, name: str, width: int, dark: bool, request: pytest.FixtureRequest
) -> None:
    browser.show(request.getfixturevalue(name), width, dark=dark)
    browser.run('document.querySelectorAll("details").forEach((node) => { node.open = true; })')
    assert browser.run("innerWidth") == width
    assert browser.run("document.documentElement.scrollWidth") <= width
    wide = browser.run(
        f"""[...document.querySelectorAll("body *")].filter((node) => !node.closest(".scroll, pre, caption, svg")
        && node.getBoundingClientRect().right > {width} + 0.5).map((node) => node.outerHTML.slice(0, 200))"""
    )
    assert wide == []


def test_light_and_dark_and_legible_on_a_phone(browser: Chromium, run: Path) -> None:
    grounds = []
    for dark in (False, True):
        browser.show(run, 390, dark=dark)
        grounds.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]
    # A drawing shrinks with its column; what is left of its 11.5 pixels must still be readable.
    scales = browser.run(
        """[...document.querySelectorAll("figure svg")].filter((node) => node.clientWidth && node.querySelector("text"))
        .map((node) => node.getBoundingClientRect().width / node.viewBox.baseVal.width)"""
    )
    assert len(scales) > 15
    assert min(scales) > 0.9


def test_filters_choose_what_they_say(browser: Chromium, run: Path) -> None:
    browser.show(run, 1280)
    groups = browser.run('JSON.parse(document.getElementById("data").textContent)')
    ours, shown = groups, walk(browser)
    assert len(shown) == len(ours)
    assert not browser.run('document.getElementById("f-recipe")'), "a page has one model only"
    assert all(group["facts"].startswith("realm-r1 ") for group in shown)
    assert all(group["open"] == 1 for group in shown)

    set_filter(browser, "correct", "wrong")
    shown = walk(browser)
    assert {badge for group in shown for badge in group["badges"]} == {"✗ wrong"}
    wrong = sum(not item["correct"] for group in ours for item in group["completions"])
    assert sum(len(group["badges"]) for group in shown) == wrong
    assert browser.run('document.getElementById("count").textContent').endswith(f" {wrong} completions")

    set_filter(browser, "correct", "")
    set_filter(browser, "step", "=RL step 40")
    assert len(walk(browser)) == sum(group["step"] == 40 for group in ours)

    set_filter(browser, "step", "")
    kind = ours[0]["kind"]
    set_filter(browser, "kind", f"={kind}")
    shown = walk(browser)
    assert len(shown) == sum(group["kind"] == kind for group in ours)
    assert all(kind in group["facts"] for group in shown)

    set_filter(browser, "kind", "")
    set_filter(browser, "reason", "clean")
    clean = sum(not item["reasons"] for group in ours for item in group["completions"])
    assert sum(len(group["badges"]) for group in walk(browser)) == clean


def test_filters_that_nothing_fits_say_so(browser: Chromium, run: Path) -> None:
    browser.show(run, 1280)
    browser.run('document.getElementById("f-kind").append(new Option("never", "=never"))')
    set_filter(browser, "kind", "=never")
    assert walk(browser) == []
    assert browser.run('document.getElementById("count").textContent') == "No completion fits these filters"


def test_a_group_shows_routes_scores_and_the_reward(browser: Chromium, run: Path) -> None:
    browser.show(run, 1280)
    group = browser.run('JSON.parse(document.getElementById("data").textContent).find((g) => g.routes.length)')
    assert group["routes"]
    words = {1: "✓ right", 0: "✗ wrong"}
    labels = [words[route["label"]] for route in group["routes"]]
    texts = 'Array.from(document.querySelectorAll("{}")).map((node) => node.textContent)'
    assert browser.run(texts.format(".routes .badge")) == labels
    assert browser.run(texts.format(".completion[open] .scores .badge")) == labels
    first = group["completions"][0]
    scores = browser.run(texts.format(".completion[open] .scores td.figure"))
    assert scores == ["none read" if score is None else f"{score:g}" for score in first["scores"]]
    inner = browser.run('document.querySelector(".completion[open] .inner").textContent')
    assert first["think"] in inner
    assert group["gold"] in inner
    assert f"{first['reward']:g} = format {first['parts'][0]:g} + answer {first['parts'][1]:g} + scores" in inner


def test_what_a_model_wrote_stays_text(browser: Chromium, awkward: Path) -> None:
    browser.show(awkward, 1280)
    browser.run('document.querySelectorAll("details").forEach((node) => { node.open = true; })')
    assert browser.run("window.pwned === undefined")
    assert browser.run('document.querySelectorAll("img").length') == 0
    assert browser.run("document.scripts.length") == 2
    question = browser.run('document.querySelector(".question .text").textContent')
    assert question.startswith(UNBROKEN + ATTACK)


def test_a_run_under_way_is_shown(browser: Chromium, tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "going", "realm-zero", steps=60, finished=False)
    (folder / "evaluations.jsonl").unlink()
    browser.show(write_report(folder), 390)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert "no evaluations" in browser.run('document.querySelector(".notes").textContent')
    assert browser.run('document.querySelectorAll("#reward svg").length') == 8
