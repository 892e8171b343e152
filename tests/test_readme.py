"""The README names every command and what it links to is there; the map and the columns are what the docstrings say."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

import realm
from realm.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("maker", ["make_map.py", "make_config_reference.py", "make_run_reference.py", "make_step.py"])
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


def test_what_the_pages_show_as_yaml_is_yaml() -> None:
    """Such as a configuration, which is pasted into a file as it stands."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = [re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S) for page in pages]
    assert sum(map(len, shown)) > 10 and all(isinstance(yaml.safe_load(one), dict) for found in shown for one in found)


def test_every_key_has_a_meaning() -> None:
    page = (ROOT / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `\w+` \|.*\|\s*\|$", page, re.MULTILINE) == []


def test_the_reference_of_the_interface_names_all_of_it() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\.\. auto\w+:: realm\.(\w+)(?:\(\))?$", page, re.MULTILINE)) == set(realm.__all__)


def test_version_and_citation_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == realm.__version__
    assert f"## [{realm.__version__}] - {cited['date-released']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_workflow_runs_the_check_that_anybody_can_run() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert [step["run"] for step in jobs["check"]["steps"] if "run" in step] == [".ci/run"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used and all(re.search(r"@(release/)?v\d+$", name) for name in used), used
    assert jobs["publish"]["permissions"] == {"id-token": "write"} and jobs["build"]["if"].startswith("startsWith(")
