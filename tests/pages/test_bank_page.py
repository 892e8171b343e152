"""The page of a bank: it tells what the bank's own figures are, and what others wrote cannot act in it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from realm.analysis.patterns import analyse
from realm.analysis.stats import statistics
from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.bank.scan import groups
from realm.pages import write_report
from realm.pages.bank import bank_page
from realm.tasks.base import Question
from tests.pages import fake_run
from tests.pages.chromium import SCALES, Chromium
from tests.pages.pages import text_of

ATTACK = (
    '</title></script><script>window.pwned=1</script><img src=x onerror="window.pwned=1">{{ 7*7 }} \x1b[31m\u202e\ud800'
)
UNBROKEN = "W" * 400


def make_bank(path: Path, shout: str = "") -> BankFolder:
    """60 questions of 6 CoTs each; a guided one is right more often, and the wrong ones share one mistake."""
    source = random.Random(0)
    questions = [
        Question(f"q{n}", f"{shout}How much is {n} times 3?", str(3 * n), tags=("odd" if n % 2 else "even",))
        for n in range(2, 62)
    ]
    folder = BankFolder.create(path, {"task": "jsonl", "verifier": "number", "note": shout[:300]}, questions)
    with folder.lock(), folder.writer() as writer:
        for question in questions:
            for sample in range(6):
                guided = sample % 2 == 0
                right = source.random() < (0.8 if guided else 0.4)
                number = int(question.id[1:])
                value = 3 * number if right else number + 3
                step = f"{number} * 3 = {value}" if right else f"Times means plus: {number} + 3 = {value}"
                cot = CoT(
                    question.id,
                    f"{shout}We compute.\n{step}.\nSo it is {value}.",
                    str(value),
                    int(right),
                    teacher=f"t{sample % 3}{shout[:200]}".encode("utf-8", "replace").decode(),
                    guided=guided,
                    sample=sample,
                )
                writer.write([cot])
    return folder


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> BankFolder:
    return make_bank(tmp_path_factory.mktemp("bank") / "times")


def test_the_page_tells_the_banks_own_figures(bank: BankFolder, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    page = bank_page(bank.path, lambda done, total: seen.append((done, total))).write(tmp_path / "page.html")
    found, patterns = statistics(groups(bank)), analyse(groups(bank))
    shown = text_of(page.read_text(encoding="utf-8"))
    assert f"{100 * found['teaches_contrast_share']:.1f} % of the questions can teach contrast" in shown
    assert f"{100 * found['usable_error_ratio']:.1f} % of the usable CoTs are wrong" in shown
    assert "of all labelled ones" not in shown
    assert f"mixed {found['mixed']} " in shown
    assert patterns.sentence in shown
    assert patterns.verdict == "systematic"
    assert "What guidance changed" in shown
    assert "Times means plus" in shown
    assert seen[-1] == (120, 120)
    assert page.stat().st_size < 500_000


def test_a_bank_without_labels_says_what_to_do(tmp_path: Path) -> None:
    folder = BankFolder.create(tmp_path / "new", {}, [Question("q", "Who?", "I")])
    assert "No CoT is labelled yet" in text_of(bank_page(folder.path).html())
    with folder.lock(), folder.writer() as writer:
        writer.write([CoT("q", "text", "I", None)])
    with folder.lock(), folder.writer() as writer:
        writer.write([CoT("q", "text", "I", 1, sample=1), CoT("q", "", "", 0, sample=2, problem="refused")])
    shown = text_of(bank_page(folder.path).html())
    assert "0.0 % of the questions can teach contrast" in shown
    assert "0.0 % of the usable CoTs are wrong, and 50.0 % of all labelled ones" in shown
    assert "cannot be read" not in shown
    assert "without a label 1" in text_of(bank_page(folder.path).html())


def test_what_no_verifier_could_read_is_told_with_examples(tmp_path: Path) -> None:
    questions = [Question("q", "Who?", "1"), Question("r", "Which?", "V<b>")]
    folder = BankFolder.create(tmp_path / "new", {}, questions)
    with folder.lock(), folder.writer() as writer:
        writer.write([CoT("q", "t", "1", 1), CoT("q", "t", "one<i>ish", None, sample=1, reason="unreadable")])
        writer.write([CoT("r", "t", "1", None, reason="unreadable gold")])
    page = bank_page(folder.path).html()
    assert (
        "1 of 3 whole answers (33.3%) cannot be read by the verifier and have no label, e.g. “one&lt;i&gt;ish”" in page
    )
    assert "1 gold cannot be read by the verifier" in page and "r: “V&lt;b&gt;”" in page
    run = fake_run.training_run(tmp_path / "run", "realm-r1")
    found = statistics(groups(folder))
    (run / "bank_stats.json").write_text(json.dumps(found))
    page = write_report(run).read_text(encoding="utf-8")
    assert "e.g. “one&lt;i&gt;ish”" in page and "task.verifier" in page
    for junk in ([], {"answers": 1}, {**found["unreadable"], "gold_examples": 3}, None):
        (run / "bank_stats.json").write_text(json.dumps({**found, "unreadable": junk}))
        assert "one&lt;i&gt;ish" not in write_report(run).read_text(encoding="utf-8")


def test_the_page_of_a_run_shows_what_it_learned_from(bank: BankFolder, tmp_path: Path) -> None:
    run = fake_run.training_run(tmp_path / "run", "realm-r1")
    assert 'id="bank"' not in write_report(run).read_text(encoding="utf-8")
    found = statistics(groups(bank))
    (run / "bank_stats.json").write_text(json.dumps(found))
    shown = text_of(write_report(run).read_text(encoding="utf-8"))
    assert "The bank What the CoTs of this run are." in shown
    assert "Guidance changes the share of right CoTs by" in shown
    assert "habits or noise" not in shown
    patterns = analyse(groups(bank))
    (run / "bank_stats.json").write_text(json.dumps({**found, "patterns": patterns.as_dict()}))
    shown = text_of(write_report(run).read_text(encoding="utf-8"))
    assert f"Are its errors habits or noise? {patterns.sentence}" in shown
    assert "Times means plus" in shown


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"error_ratio": "high"}', '{"cots": 1'])
def test_unreadable_figures_of_a_bank_are_left_out(tmp_path: Path, content: str) -> None:
    run = fake_run.training_run(tmp_path / "run", "realm-r1")
    (run / "bank_stats.json").write_text(content)
    assert 'id="bank"' not in write_report(run).read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.parametrize("shout", ["", ATTACK, UNBROKEN], ids=["plain", "attack", "unbroken"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_nothing_in_it_acts(browser: Chromium, tmp_path: Path, shout: str, width: int) -> None:
    page = bank_page(make_bank(tmp_path / "bank", shout).path).write(tmp_path / "page.html")
    browser.show(page, width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("window.pwned === undefined && document.images.length === 0 && document.scripts.length === 2")
    assert browser.run("document.querySelectorAll('svg').length") >= 4
    assert min(browser.run(SCALES)) > 0.9
