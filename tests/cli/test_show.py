"""`realm train --show-config`: complete, commented, and a configuration file itself."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from realm.cli.app import app
from realm.cli.show import annotate
from realm.config import Config, field_names, load_config


def test_what_is_shown_reads_back_as_the_same_configuration(tmp_path: Path) -> None:
    config = Config()
    config.task.choices = ["yes: #1", "no", "null", "", " x\ny"]
    config.task.name = "jsonl"
    config.task.path = "~"
    config.run.name = "1e5"
    config.prompt.system = "# not a comment: “‹ὅ"
    config.training.rl.learning_rate = 1e-7
    file = tmp_path / "shown.yaml"
    file.write_text(annotate(config), encoding="utf-8")
    assert load_config(file) == config


def test_every_key_is_shown_with_the_values_it_may_have() -> None:
    shown = annotate(Config())
    for name in field_names():
        assert re.search(rf"^ *{name.split('.')[-1]}: ", shown, re.MULTILINE), name
    assert "one of: route | question | count" in shown
    assert "cosine, linear, step, constant, adaptive" in shown and "l1, brier, accuracy, pairwise" in shown


def test_show_config_resolves_file_overrides_and_options_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("routes: {k: 2}\ntraining: {rl: {steps: 7}}\n")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(
        app,
        [
            "train",
            str(file),
            "--set",
            "training.rl.steps=9",
            "--model",
            "m",
            "--out",
            str(tmp_path / "r"),
            "--show-config",
        ],
    )
    assert result.exit_code == 0
    shown = tmp_path / "shown.yaml"
    assert sorted(tmp_path.rglob("*")) == before
    shown.write_text(result.stdout, encoding="utf-8")
    config = load_config(shown)
    assert (config.routes.k, config.training.rl.steps, config.model.path) == (2, 9, "m")
    assert config.run_path == tmp_path / "r"


def test_without_a_file_the_desk_is_configured() -> None:
    result = CliRunner().invoke(app, ["train", "--show-config"])
    assert result.exit_code == 0
    assert re.search(r"^  name: desk\b", result.stdout, re.MULTILINE)
    assert "the values of the embedded desk, as no CONFIG was given" in result.stdout.splitlines()[0]
    assert re.search(r"^    steps: 160  # Optimizer steps; .* default: 200$", result.stdout, re.MULTILINE)
    assert re.search(r"^  k: 4  # Routes per prompt before fading\.$", result.stdout, re.MULTILINE), "the default"


def test_the_shipped_configurations_are_valid(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("REALM_DATA_DIR", raising=False)
    folder = Path(__file__).parents[2] / "configs"
    names = {path.stem: load_config(path).run.name for path in folder.glob("*.yaml")}
    assert set(names) >= {"desk", "gsm8k", "gsm8k-gpu"}
    assert len(set(names.values())) == len(names)
    assert load_config(folder / "gsm8k.yaml").task.path == "data/gsm8k_zeroeval_cots.jsonl"
