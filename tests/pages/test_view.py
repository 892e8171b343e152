"""`realm view`: what it serves, to whom, and that the page follows the files without moving its reader."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from realm.bank.cot import CoT
from realm.cli.app import app
from realm.commands import viewing
from realm.commands.viewing import Server, View
from realm.errors import DataError, ResourceError
from tests.pages import fake_run
from tests.pages.chromium import BROWSER, Chromium
from tests.pages.test_bank_page import ATTACK, make_bank


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A server of this folder on a free port, which draws as often as it is asked."""
    with Server(View(folder, share=1.0), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: Server, method: str = "GET", path: str = "/", **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), dict(answer.getheaders())
    connection.close()
    return found


def version(page: str) -> str:
    return f'"{page.partition("data-version=")[2][1:].partition(chr(34))[0]}"'


def grown(folder: Path, steps: int) -> None:
    """Let a fake run go on to that many steps: its files are appended to."""
    longer = fake_run.training_run(folder.parent / f"to-{steps}", steps=steps, finished=False, every=10)
    for name in ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl"):
        rows = (longer / name).read_bytes().splitlines(keepends=True)
        with (folder / name).open("ab") as file:
            file.writelines(rows[len((folder / name).read_bytes().splitlines()) :])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return fake_run.training_run(tmp_path / "run", steps=90, finished=False, every=10)


def test_the_page_is_the_report_and_follows_the_files(run: Path) -> None:
    with served(run) as server:
        status, page, headers = ask(server)
        assert status == 200
        assert "Reward by component" in page and "RL step 30" in page and "RL step 40" not in page
        assert headers["Cache-Control"] == "no-store"
        assert "connect-src &#39;self&#39;" in page or "connect-src 'self'" in page
        assert ask(server, If_None_Match=version(page))[:2] == (304, "")
        assert ask(server, "HEAD")[:2] == (200, "")
        grown(run, 120)
        status, newer, _ = ask(server, If_None_Match=version(page))
        assert status == 200
        assert version(newer) != version(page)
        assert "RL step 40" in newer
    assert not (run / "report.html").exists()


def test_only_this_machine_is_answered_and_only_one_address(run: Path) -> None:
    with served(run) as server:
        assert server.server_address[0] == "127.0.0.1"
        for host in ("localhost", "localhost:8000", "127.0.0.1:1", "[::1]:80"):
            assert ask(server, Host=host)[0] == 200
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost:8000@evil.example", ""):
            assert ask(server, Host=host)[0] == 403
        for path in ("/meta.json", "/..", "/?", "/../../etc/passwd", "/%2e%2e/", "http://127.0.0.1/"):
            assert ask(server, path=path)[0] == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, body, _ = ask(server, method)
            assert status == 501
            assert "<" not in body


def test_a_run_that_is_still_to_come_is_waited_for(tmp_path: Path) -> None:
    with served(tmp_path / "runs" / "new") as server:
        page = ask(server)[1]
        assert "waiting for its first row" in page
        make_bank(tmp_path / "runs" / "new" / "bank")
        assert ask(server, If_None_Match=version(page))[0] == 304
        assert "waiting for its first row" in View(tmp_path / "runs" / "new").state().html.decode()
        fake_run.training_run(tmp_path / "runs" / "new", steps=70, finished=False)
        assert "Reward by component" in ask(server, If_None_Match=version(page))[1]


def test_what_cannot_be_shown_now_is_told_and_passes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(run) as server:
        page = ask(server)[1]

        def torn(*_: Any, **__: Any) -> Any:
            raise DataError("row 3 is\x1b[31m half")

        with monkeypatch.context() as patched:
            patched.setattr(viewing, "page_of", torn)
            grown(run, 100)
            assert ask(server, If_None_Match=version(page))[:2] == (503, "row 3 is\\x1b[31m half")
            assert ask(server)[1] == page
        grown(run, 110)
        assert ask(server, If_None_Match=version(page))[0] == 200
        # A row that is being written is passed over.
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"stage": "rl", "st')
        assert "left out" not in ask(server)[1]
        (run / "meta.json").write_text('{"format": 99}')
        assert ask(server)[0] == 200


def test_a_bank_shows_its_cots_as_they_come(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank")
    with served(bank.path) as server:
        page = ask(server)[1]
        assert "All 60 that have CoTs." in page and "By split" in page and "cannot be read" not in page
        with bank.lock(), bank.writer() as writer:
            writer.write([CoT("q5", "Fif<b>teen", "fifteen", None, teacher="new", reason="unreadable")])
        newer = ask(server, If_None_Match=version(page))[1]
        assert "Fif\\u003cb\\u003eteen" in newer and "1 of 361 whole answers" in newer
        bank.path.rename(tmp_path / "elsewhere")
        status, said, _ = ask(server, If_None_Match=version(newer))
        assert status == 503
        assert "found nothing there" in said


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x")
    fake_run.training_run(tmp_path / "many" / "cells" / "one", steps=70)
    for folder, said in (("", "expected a run folder"), ("file.txt", "Not a directory"), ("many", "cells/one")):
        result = CliRunner().invoke(app, ["view", str(tmp_path / folder)])
        assert result.exit_code == 2
        assert said in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_port_that_is_taken(run: Path) -> None:
    view = View(run)
    with Server(view) as first, Server(view) as second:
        ports = first.server_address[1], second.server_address[1]
        assert viewing.PORT <= ports[0] < ports[1]
        with pytest.raises(ResourceError, match="--port"):
            Server(view, ports[0])


def test_ctrl_c_ends_it_well(run: Path) -> None:
    command = [sys.executable, "-m", "realm", "view", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium found (chromium, chromium-browser, google-chrome)"
)


@contextmanager
def opened(server: Server, height: int = 700) -> Iterator[Chromium]:
    with Chromium() as browser:
        browser.call("Emulation.setDeviceMetricsOverride", width=1280, height=height, deviceScaleFactor=1, mobile=False)
        browser.call("Page.navigate", url=server.address)
        until(browser, "document.readyState === 'complete' && location.href.startsWith('http')")
        yield browser


def until(browser: Chromium, condition: str) -> None:
    """Wait for a condition of the page."""
    end = time.monotonic() + 60
    while not browser.run(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


@pytest.mark.browser
@needs_browser
def test_the_open_page_grows_and_its_reader_stays(run: Path) -> None:
    with served(run) as server, opened(server) as browser:
        browser.run("window.kept = document.getElementById('browser')")
        browser.run(
            """(() => { const field = document.getElementById("f-text"); field.focus(); field.value = "refund";
            field.dispatchEvent(new Event("input", { bubbles: true })); field.setSelectionRange(2, 4);
            document.getElementById("next").click(); document.getElementById("next").click();
            document.querySelector("#training details").open = true;
            [...document.querySelectorAll(".completion")].slice(0, 3).forEach((node) => { node.open = true; });
            document.querySelector("#group").scrollIntoView({ behavior: "instant" }); })()"""
        )
        place = """({ text: document.getElementById("f-text").value,
            caret: document.getElementById("f-text").selectionStart,
            focus: document.activeElement.id, facts: document.querySelector(".facts").textContent,
            open: [...document.querySelectorAll("details")].map((node) => node.open),
            top: document.getElementById("group").getBoundingClientRect().top, same: window.kept.isConnected })"""
        before = browser.run(place)
        count = browser.run("document.getElementById('count').textContent")
        grown(run, 120)
        until(browser, f"document.getElementById('count').textContent !== {json.dumps(count)}")
        after = browser.run(place)
        assert abs(after.pop("top") - before.pop("top")) < 2
        assert after == before
        assert browser.run("document.querySelector('#f-step').textContent.includes('RL step 50')")
        assert "60 RL steps" in browser.run("document.querySelector('.run').textContent")
        assert browser.run("document.querySelectorAll('svg title').length") == 0
        assert browser.errors == []
        assert all(url.startswith(server.address) for url in browser.requests)


@pytest.mark.browser
@needs_browser
def test_the_question_in_view_takes_in_its_new_cots(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank", ATTACK)
    with served(bank.path) as server, opened(server) as browser:
        with bank.lock(), bank.writer() as writer:
            writer.write([CoT(question, "zebra", "1", 0, teacher="z") for question in ("q9", "q20")])
        until(browser, "[...document.getElementById('f-by').options].some((one) => one.value === '=z')")
        browser.run(
            """(() => { const field = document.getElementById("f-text"); field.value = "zebra";
            field.dispatchEvent(new Event("input", { bubbles: true })); document.getElementById("next").click(); })()"""
        )
        shown = "[document.querySelector('.facts').textContent, document.getElementById('count').textContent]"
        facts, count = browser.run(shown)
        assert facts.endswith("q20")
        assert count == "Question 2 of 2, 2 CoTs"
        # Another question comes before it: the reader does not move.
        with bank.lock(), bank.writer() as writer:
            writer.write([CoT("q3", "zebra", "1", 0, teacher="z")])
        until(browser, f"document.getElementById('count').textContent !== {json.dumps(count)}")
        assert browser.run(shown) == [facts, "Question 3 of 3, 3 CoTs"]

        browser.run("document.getElementById('clear').click()")
        browser.run("document.getElementById('next').click()")
        browser.run("document.querySelectorAll('.completion')[3].open = true")
        browser.run("window.seen = document.querySelector('.facts').textContent")
        with bank.lock(), bank.writer() as writer:
            writer.write([CoT("q3", ATTACK, "ni<i>ne", None, teacher="new", reason="unreadable")])
        until(browser, "document.querySelectorAll('.completion').length === 8")
        assert browser.run("document.querySelector('.facts').textContent === window.seen")
        opened_now = "[...document.querySelectorAll('.completion')].map((node) => node.open)"
        assert browser.run(opened_now) == [True, False, False, True, False, False, False, False]
        last = browser.run("document.querySelectorAll('.completion')[7].querySelector('summary').textContent")
        assert "? not judgedni<i>nenewunreadable" in last
        assert browser.run("[...document.getElementById('f-by').options].some((one) => one.value === '=new')")
        browser.run("document.getElementById('f-by').value = '=new'")
        browser.run("document.getElementById('f-by').dispatchEvent(new Event('change', { bubbles: true }))")
        assert browser.run("document.getElementById('count').textContent") == "Question 1 of 1, 1 CoT"
        assert browser.run("window.pwned === undefined")
        assert browser.errors == []


@pytest.mark.browser
@needs_browser
def test_a_page_that_waited_becomes_a_run_and_says_when_it_ends(tmp_path: Path) -> None:
    with served(tmp_path / "new") as server, opened(server) as browser:
        longer = fake_run.training_run(tmp_path / "longer", steps=90, finished=False, every=10)
        rows = (longer / "completions.jsonl").read_text(encoding="utf-8")
        (longer / "completions.jsonl").unlink()
        longer.rename(tmp_path / "new")
        until(browser, "document.getElementById('reward') !== null")
        assert browser.run("document.getElementById('browser') === null")
        (tmp_path / "new" / "completions.jsonl").write_text(rows, encoding="utf-8")
        until(browser, "document.querySelector('#group .question') !== null")
        assert browser.errors == []
        assert browser.run("document.getElementById('live').hidden")
        server.shutdown()
        server.server_close()
        until(browser, "document.getElementById('live').textContent.startsWith('realm view has ended')")
