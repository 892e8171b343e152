"""What a reader does with the page in headless Chromium: search, compare two moments, share an address, read values."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from realm.pages import write_report
from tests.conftest import read_rows
from tests.pages import fake_run
from tests.pages.chromium import Chromium

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(fake_run.training_run(tmp_path_factory.mktemp("run") / "run", steps=100))


def groups_of(browser: Chromium) -> list[dict[str, Any]]:
    return list(browser.run('JSON.parse(document.getElementById("data").textContent)'))


def choose(browser: Chromium, **values: str) -> None:
    """Set filters as a reader does: a value, then the event of its kind."""
    for name, value in values.items():
        kind = "input" if name == "text" else "change"
        browser.run(
            f"""(() => {{ const field = document.getElementById("f-{name}"); field.value = {json.dumps(value)};
            if (field.value !== {json.dumps(value)}) throw new Error("no such option");
            field.dispatchEvent(new Event("{kind}", {{ bubbles: true }})); }})()"""
        )


def count(browser: Chromium) -> str:
    return str(browser.run('document.getElementById("count").textContent'))


def press(browser: Chromium, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, **({"text": key} if len(key) == 1 else {}))


def until(browser: Chromium, script: str) -> None:
    """Wait until an expression holds."""
    end = time.monotonic() + 30
    while not browser.run(script):
        assert time.monotonic() < end, script
        time.sleep(0.02)


def test_copied_and_truncated_answers_are_found(browser: Chromium, page: Path) -> None:
    browser.show(page, 1280)
    groups = groups_of(browser)
    for name in ("copied", "truncated"):
        choose(browser, correct=name)
        wanted = [item for group in groups for item in group["completions"] if item[name]]
        assert wanted
        assert count(browser).endswith(f" {len(wanted)} completion{'s' if len(wanted) > 1 else ''}")
        assert browser.run('document.querySelector(".completion .flag").textContent') in ("copied", "truncated")
    # A copied answer is wrong, and is that of a wrong route in the prompt.
    for group in groups:
        wrong = {route["answer"] for route in group["routes"] if route["label"] == 0}
        for item in group["completions"]:
            assert item["copied"] == (not item["correct"] and item["answer"] in wrong)


def test_the_share_of_right_ones_is_that_of_all_completions(browser: Chromium, tmp_path: Path) -> None:
    """Of many completions the first alone are on the page."""
    run = fake_run.training_run(tmp_path / "run", steps=100)
    row = read_rows(run / "completions.jsonl")[0]
    row["completions"] = [{**row["completions"][0], "correct": number >= 10} for number in range(40)]
    fake_run.jsonl(run / "completions.jsonl", [row])
    browser.show(write_report(run), 1280)
    title = browser.run('document.querySelector(".side h3").textContent')
    assert title == "Completions (30 of 40 right; the first 16 are on this page)"


def test_the_search_looks_into_questions_and_texts(browser: Chromium, page: Path) -> None:
    browser.show(page, 1280)
    groups = groups_of(browser)
    choose(browser, text="CASE 31.")
    wanted = [group for group in groups if "Case 31." in group["question"]]
    assert len(wanted) == 2  # without and with routes
    assert count(browser).startswith("Group 1 of 2,")
    choose(browser, text="code 114")
    items = [
        item
        for group in groups
        for item in group["completions"]
        if "code 114" in f"{item['answer']}{item['text']}{item['think']}"
        or any("code 114" in route["answer"] for route in group["routes"])
    ]
    assert count(browser).endswith(f" {len(items)} completions")
    choose(browser, text="<no such text>")
    assert count(browser) == "No completion fits these filters"
    browser.run('document.getElementById("clear").click()')
    assert count(browser).startswith(f"Group 1 of {len(groups)},")


def test_the_questions_that_changed_most_come_first(browser: Chromium, page: Path) -> None:
    browser.show(page, 1280)
    groups = groups_of(browser)
    moments = ("Final, Test, without routes", "Final, Test, with routes")
    choose(browser, **{"from": f"=realm-r1: {moments[0]}", "to": f"=realm-r1: {moments[1]}"})
    before, after = ({g["id"]: g["completions"][0]["correct"] for g in groups if g["when"] == when} for when in moments)
    assert count(browser) == f"Question 1 of {len(before)}, by change of accuracy"
    changed = sum(before[key] != after[key] for key in before)
    assert changed > 3
    seen = []
    for _ in range(len(before)):
        seen.append(browser.run('document.querySelector(".facts").textContent'))
        browser.run('document.getElementById("next").click()')
    gains = [fact.split(" · ")[0] for fact in seen]
    assert all(gain in ("accuracy +100 points", "accuracy −100 points") for gain in gains[:changed])
    assert all(gain == "accuracy 0 points" for gain in gains[changed:])
    heads = browser.run('[...document.querySelectorAll(".side > h3")].map((node) => node.textContent)')
    assert [head.split(" (")[0] for head in heads] == [f"realm-r1: {when}" for when in moments]
    assert browser.run('document.getElementById("f-step").disabled')


def test_a_step_stands_for_those_before_and_after_it(browser: Chromium, tmp_path: Path) -> None:
    run = fake_run.training_run(tmp_path / "r", "grpo", steps=100, finished=False)
    rows = read_rows(run / "completions.jsonl")
    for row in rows:  # one question is sampled at every step, and learned between 40 and 60
        if row["question_id"].endswith("-0"):
            row |= {"question_id": "always", "question": "Always the same?", "gold": "1"}
            for item in row["completions"]:
                item["correct"] = row["step"] > 40
    fake_run.jsonl(run / "completions.jsonl", rows)
    browser.show(write_report(run), 1280)
    choose(browser, **{"from": "=grpo: RL step 40", "to": "=grpo: RL step 60"})
    assert count(browser) == "Question 1 of 1, by change of accuracy"
    assert browser.run('document.querySelector(".facts").textContent').startswith("accuracy +100 points")
    choose(browser, **{"from": "=grpo: RL step 60", "to": "=grpo: RL step 80"})
    assert browser.run('document.querySelector(".facts").textContent').startswith("accuracy 0 points")


def test_the_address_holds_what_was_chosen(browser: Chromium, page: Path) -> None:
    browser.show(page, 1280)
    assert browser.run("location.hash") == ""
    choose(browser, correct="wrong", text="case")
    browser.run('document.getElementById("next").click()')
    until(browser, 'location.hash.includes("at=1")')
    address, shown = browser.run("location.href"), count(browser)
    assert shown.startswith("Group 2 of ")
    facts = browser.run('document.querySelector(".facts").textContent')
    browser.show(page, 1280)
    assert count(browser) != shown
    browser.run(f"location.href = {json.dumps(address)}")
    until(browser, f'document.getElementById("count").textContent === {json.dumps(shown)}')
    assert browser.run('document.querySelector(".facts").textContent') == facts
    # What no option offers is passed over, and so is a place beyond the last.
    browser.run('location.hash = "#browse?step=%3Dnone&correct=wrong&kind=<b>&at=99999"')
    until(browser, 'document.getElementById("f-text").value === ""')
    assert browser.run('document.getElementById("f-step").value') == ""
    assert browser.run('document.getElementById("f-correct").value') == "wrong"
    assert browser.run('document.getElementById("next").disabled')
    browser.run('document.getElementById("clear").click()')
    until(browser, 'location.hash === "#completions"')


def test_the_browser_works_by_keyboard(browser: Chromium, page: Path) -> None:
    browser.show(page, 1280)
    browser.run('document.getElementById("next").focus({ preventScroll: false })')
    press(browser, "ArrowRight")
    press(browser, "ArrowRight")
    assert count(browser).startswith("Group 3 of ")
    press(browser, "ArrowLeft")
    assert count(browser).startswith("Group 2 of ")
    press(browser, "/")
    assert browser.run("document.activeElement.id") == "f-text"
    for key in "case 7.":
        press(browser, key)
    assert browser.run('document.getElementById("f-text").value') == "case 7."
    assert count(browser).startswith("Group 1 of 2,")
    press(browser, "ArrowRight")  # moves the caret, not the groups
    assert count(browser).startswith("Group 1 of 2,")


MARK = """(() => { const marks = [...document.querySelectorAll("#training .mark")];
    const mark = marks.find((node) => node.getClientRects().length);
    mark.scrollIntoView({ block: "center", behavior: "instant" }); const box = mark.getBoundingClientRect();
    return { x: box.left + box.width / 2, y: box.top + box.height / 2, said: mark.getAttribute("data-said") }; })()"""


def tip(browser: Chromium) -> str | None:
    return browser.run(
        '(() => { const tip = document.getElementById("tip"); return tip.hidden ? null : tip.textContent })()'
    )


def test_values_appear_on_hover(browser: Chromium, page: Path) -> None:
    browser.show(page, 1280)
    browser.run(MARK)
    time.sleep(0.2)  # the scroll has ended
    mark = browser.run(MARK)
    assert "95 % interval" in mark["said"]
    assert tip(browser) is None
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=mark["x"] + 2, y=mark["y"] + 2)
    until(browser, '!document.getElementById("tip").hidden')
    said = tip(browser)
    assert said is not None and "95 % interval" in said
    assert browser.run('document.querySelectorAll("svg title").length') == 0
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
    until(browser, 'document.getElementById("tip").hidden')


def test_values_appear_on_a_tap_within_the_screen_of_a_phone(browser: Chromium, page: Path) -> None:
    browser.show(page, 390)
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        browser.run(MARK)
        time.sleep(0.2)
        mark = browser.run(MARK)
        # A finger is not exact.
        where = [{"x": mark["x"] + 9, "y": mark["y"] + 6}]
        browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=where)
        browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        until(browser, '!document.getElementById("tip").hidden')
        box = browser.run(
            '(() => { const b = document.getElementById("tip").getBoundingClientRect(); return [b.left, b.right] })()'
        )
        assert box[0] >= 0 and box[1] <= 390
    finally:
        browser.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_values_appear_with_the_arrow_keys(browser: Chromium, page: Path) -> None:
    browser.show(page, 1280)
    browser.run('document.querySelector("#result figure svg").focus()')
    said = []
    for _ in range(3):
        press(browser, "ArrowRight")
        said.append(tip(browser))
    assert None not in said
    assert len(set(said)) == 3
    press(browser, "ArrowLeft")
    assert tip(browser) == said[1]
    press(browser, "Escape")
    assert tip(browser) is None


def test_print_shows_the_figures_and_not_the_controls(browser: Chromium, page: Path) -> None:
    browser.show(page, 700, dark=True)
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        shown = 'getComputedStyle(document.querySelector("{}")).display'
        assert browser.run(shown.format("#filters")) == browser.run(shown.format("nav")) == "none"
        assert browser.run(shown.format("#result svg")) != "none"
        assert browser.run("document.documentElement.scrollWidth") <= 700
        # Paper is white, whatever the screen prefers.
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
