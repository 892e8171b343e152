"""The page as text: complete, self-contained, bounded, and safe against what a model wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from realm.errors import DataError, ResourceError
from realm.pages import write_report
from realm.pages.completions import script_json
from realm.pages.data import read_report
from realm.pages.figures import reward_figures
from realm.pages.page import run_page
from realm.pages.svg import interval, percent
from realm.rows.evaluation import Evaluation
from realm.run import RunFolder
from tests.conftest import read_rows
from tests.pages import fake_run
from tests.pages.pages import ATTACK, Shape, spoil, text_of

SECTIONS = (
    "result", "training", "kinds", "fade", "reward", "parse", "calibration", "copying", "completions",
    "cost", "setup",
)  # fmt: skip


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_a_run_has_every_section_and_the_figures_of_its_evaluation(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=100)
    page = page_of(folder)
    shape = Shape(page)
    assert [name for name in shape.ids if name in SECTIONS] == list(SECTIONS)
    assert set(shape.addresses) == {f"#{name}" for name in SECTIONS}
    assert "What is missing" not in page
    for row in RunFolder(folder).read(Evaluation):
        figure = f"<span>{percent(row.accuracy)}</span><small>{interval(row.accuracy_low, row.accuracy_high)}</small>"
        assert figure in page


def test_what_each_step_of_what_is_taught_left_is_told(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=60)
    assert 'id="taught"' not in page_of(folder)
    meta, step = json.loads((folder / "meta.json").read_text()), ATTACK
    rounds = [
        {"round": n, "steps": [{"step": "bank", "traces": 4800}, {"step": step, "traces": 41 + n}], "short_enough": 37}
        for n in (0, 1)
    ]
    for taught, heads in ((rounds[:1], []), (rounds, ["Round 1", "Round 2"])):
        (folder / "meta.json").write_text(json.dumps({**meta, "taught": taught}))
        section = text_of(page_of(folder)).partition("What was taught")[2].partition("Accuracy over training")[0]
        assert [head for head in ("Round 1", "Round 2") if head in section] == heads
        assert "bank 4 800" in section and "short enough 37" in section
        assert [str(41 + n) in section for n in (0, 1)] == [True, len(taught) > 1]
    assert step not in page_of(folder)


def test_a_run_without_routes_has_faded_none(tmp_path: Path) -> None:
    shape = Shape(page_of(fake_run.training_run(tmp_path / "r", "grpo", steps=60)))
    assert [name for name in shape.ids if name in SECTIONS] == [name for name in SECTIONS if name != "fade"]


@pytest.mark.parametrize("kept", [(), ("metrics.jsonl",), ("evaluations.jsonl",), ("completions.jsonl",)])
def test_a_run_with_hardly_anything_is_reported(tmp_path: Path, kept: tuple[str, ...]) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=80, finished=False)
    for file in ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl"):
        if file not in kept:
            (folder / file).unlink()
    page = page_of(folder)
    assert "What is missing" in page
    assert "realm-r1" in page


def test_what_stood_beside_the_reward_is_shown_by_the_users_names(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=70)
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["training"]["rl"] |= {"shapes": [{"overlong": {}}], "companions": ["my_parts:Repeat", "red"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    told = {"shaped": -0.1, "companions": {"repeat": 0.5, "red": 0.25, "red_clipped": 0.0}}
    rows = [row | told if row["stage"] == "rl" else row for row in read_rows(folder / "metrics.jsonl")]
    fake_run.jsonl(folder / "metrics.jsonl", [*rows, rows[0] | {"round": 1, "step": 7}])
    titles = {figure.title for figure in reward_figures(read_report(folder))}
    assert titles >= {
        "Added by shapes: overlong",
        "my_parts:Repeat: completions to learn beside",
        "red: completions to learn beside",
        "red clipped",
    }
    assert "steps: SFT 60, RL 10, SFT 7" in page_of(folder), "stages in their order"


def test_the_same_folder_gives_the_same_page(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=80)
    first = write_report(folder).read_bytes()
    assert run_page(folder).write(tmp_path / "other.html").read_bytes() == first


def test_no_markup_of_a_model_reaches_the_page(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "x'><img src=x>", "grpo", steps=80, shout=ATTACK)
    calm = Shape(page_of(fake_run.training_run(tmp_path / "calm", "grpo", steps=80)))
    (folder / "meta.json").write_text(json.dumps({"command": ATTACK, "versions": {ATTACK: ATTACK}}))
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    config["model"]["path"] = config["task"]["name"] = ATTACK
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    rows = read_rows(folder / "evaluations.jsonl")
    for row in rows:
        row["by_kind"] = {f"{ATTACK}{kind}": value for kind, value in row["by_kind"].items()}
    fake_run.jsonl(folder / "evaluations.jsonl", rows)
    page = page_of(folder)
    shape = Shape(page)
    assert "img" not in shape.tags
    assert shape.handlers == []
    assert len(shape.scripts) == 2
    assert shape.scripts[1] == calm.scripts[1]
    assert all(address.startswith("#") for address in shape.addresses)
    groups = json.loads(shape.scripts[0])
    assert groups[0]["question"].startswith(ATTACK)
    assert "49" not in re.findall(r"<title>(.*?)</title>", page)[0]


def test_a_page_is_titled_by_the_file_that_its_user_knows(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=80)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["task"] = {"name": "jsonl", "path": "my/herbarium.csv"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert re.search(r"<title>[\w-]+ on herbarium\.csv", page_of(folder))


def test_the_policy_admits_the_one_script_and_no_network(tmp_path: Path) -> None:
    page = page_of(fake_run.training_run(tmp_path / "r", steps=80))
    script = Shape(page).scripts[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page
    assert not re.search(r"https?://", page)
    assert "@import" not in page
    assert "url(" not in page


def test_script_json_has_nothing_that_html_or_javascript_reads() -> None:
    text = "</script><!--&\u2028\u2029é\ud800"
    dumped = script_json({"text": text})
    assert re.fullmatch(r"[ -~]*", dumped)
    assert not set("<>&") & set(dumped)
    assert json.loads(dumped) == {"text": text}
    with pytest.raises(ValueError, match="JSON"):
        script_json(float("nan"))


def test_half_a_surrogate_pair_does_not_stop_the_page(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=80)
    meta = RunFolder(folder).meta
    RunFolder(folder).write_meta(replace(meta, command="\ud800 train"))
    assert "? train" in page_of(folder)
    (folder / "meta.json").write_text('{"command": "\\ud800 train"}', encoding="utf-8")
    assert "r/meta.json: expected one JSON object." in page_of(folder)


def test_long_runs_stay_small_and_say_what_is_left_out(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", "grpo", steps=3_000, every=20, shout="<x" * 6_000)
    path = write_report(folder)
    assert path.stat().st_size < 5_000_000
    page = path.read_text(encoding="utf-8")
    shown = re.search(r"(\d+) of 300 saved groups", page)
    assert shown
    groups = [group for group in json.loads(Shape(page).scripts[0]) if not group["final"]]
    assert len(groups) == int(shown[1])
    steps = [group["step"] for group in groups]
    assert steps[0] == 20
    assert steps[-1] > 2_000
    assert "[6" in groups[0]["question"]


def test_many_predictions_are_cut_to_the_same_questions_without_and_with_routes(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=70)
    fake_run.jsonl(folder / "predictions.jsonl", fake_run.predictions(random.Random(0), "realm-r1", 6_000))
    path = write_report(folder)
    assert path.stat().st_size < 5_000_000
    page = path.read_text(encoding="utf-8")
    groups = [group for group in json.loads(Shape(page).scripts[0]) if group["final"]]
    assert f"{len(groups)} of 12000 answered questions" in page
    shown = [{group["id"] for group in groups if bool(group["routes"]) == routes} for routes in (False, True)]
    assert len(shown[0]) > 100
    assert shown[0] == shown[1]


def sampled(page: str) -> list[dict[str, Any]]:
    """The completions of training on a page."""
    groups = json.loads(Shape(page).scripts[0])
    return [item for group in groups if not group["final"] for item in group["completions"]]


def test_the_reward_split_is_the_files_own_or_left_out(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=100)
    items = sampled(page_of(folder))
    assert all(sum(item["parts"]) == pytest.approx(item["reward"]) for item in items)
    assert {item["parts"][1] for item in items} == {0.0, 1.0}
    path = folder / "completions.jsonl"
    rows = read_rows(path)
    for row in rows:  # as an earlier version left them
        row["completions"] = [{key: item[key] for key in item if key != "parts"} for item in row["completions"]]
    fake_run.jsonl(path, rows)
    assert all(item["parts"] is None for item in sampled(page_of(folder)))


def test_answers_that_the_verifier_could_not_read_are_told_and_marked(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", steps=100)
    assert "could not read" not in page_of(folder)
    for name, more in (("metrics", {"unreadable_answers": 0.125}), ("evaluations", {"unreadable_answers": 0.25})):
        path = folder / f"{name}.jsonl"
        rows = read_rows(path)
        fake_run.jsonl(path, [{**row, **more} for row in rows])
    path = folder / "completions.jsonl"
    rows = read_rows(path)
    for row in rows:
        row["completions"][0] |= {"answer": "seven<b>", "verdict": "unreadable"}
    fake_run.jsonl(path, rows)
    page = page_of(folder)
    assert (
        "could not read 12.5% of the answers towards the end of RL, e.g. “seven&lt;b&gt;”; they count as wrong." in page
    )
    assert "Answers not read by the verifier" in page and "25.0" in page
    assert [item["answer"] for item in sampled(page) if "the verifier cannot read the answer" in item["reasons"]]


@pytest.mark.parametrize("seed", range(25))
def test_damaged_files_never_stop_the_page(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    folder = fake_run.training_run(tmp_path / "r", steps=70, seed=seed)
    for path in sorted(folder.rglob("*.json*")):
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("".join(json.dumps(spoil(json.loads(line), rng)) + "\n" for line in lines), encoding="utf-8")
    page = page_of(folder)
    groups = Shape(page).scripts
    assert not groups or json.loads(groups[0])
    assert not re.search(r'="-?(nan|inf)', page)


def test_what_cannot_be_read_or_written_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        write_report(tmp_path / "missing")
    folder = fake_run.training_run(tmp_path / "r", steps=80)
    with pytest.raises(ResourceError, match="cannot write"):
        run_page(folder).write(tmp_path / "no" / "such" / "folder.html")
