"""The README names every command and what it links to is there; the map and the columns are what the docstrings say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from typer.main import get_command

from realm.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("maker", ["make_map.py", "make_run_reference.py", "make_step.py"])
def test_a_page_that_is_written_by_a_command_is_current(maker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    made = runpy.run_path(str(ROOT / "docs" / maker))
    assert made["PAGE"].read_text(encoding="utf-8") == made["text"](), f"run python docs/{maker}"


def test_the_table_names_every_command() -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    table = README.split("## Commands")[1].split("\n## ")[0]
    assert set(re.findall(r"`realm (\w+)", table)) == commands


def test_every_link_leads_to_a_file() -> None:
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
