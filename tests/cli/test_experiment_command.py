"""`realm experiment` at the command line: the list, mistakes, and how it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.experiments.conduct import Order
from realm.experiments.spec import packaged
from tests.cli.conftest import Realm


def test_the_list_names_every_experiment_with_its_cells(realm: Realm) -> None:
    result = realm("experiment", "--list", "--seeds", "2")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert lines.keys() == packaged().keys()
    assert "(8 cells with 2 seeds)" in lines["mrpv-alone"]


def test_mistakes_end_in_one_line_and_leave_nothing(
    realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("title: t\nquestion: q\narms: {a: {sett: {}}}\n")
    for arguments, words in (
        ([], "NAME is missing: realm experiment --list"),
        (["zzz"], "no experiment 'zzz'; there are autonomy"),
        (["bad.yaml"], "bad.yaml: unknown key arms.a.sett; did you mean set?"),
        (["mrpv-alone", "--set", "routes.kk=3"], "--set routes.kk=3: unknown key routes.kk"),
    ):
        result = realm("experiment", *arguments)
        assert result.exit_code == 2
        assert words in result.stderr
        assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_a_stopped_experiment_goes_on_with_the_same_command(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(order: Order, console: object) -> None:
        assert (order.name, order.seeds, order.command) == ("routes", 3, "realm experiment routes --seeds 3")
        raise KeyboardInterrupt

    monkeypatch.setattr("realm.experiments.conduct.conduct", stop)
    result = realm("experiment", "routes", "--seeds", "3")
    assert result.exit_code == 130
    assert result.stderr.strip().endswith("To go on where it was: realm experiment routes --seeds 3")


def test_words_of_a_users_file_are_no_markup(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    title = "title: [/a] and [bold]b"
    monkeypatch.setattr("realm.experiments.conduct.conduct", lambda order, console: console.print(title))
    result = realm("experiment", "routes")
    assert result.exit_code == 0
    assert title in result.output
