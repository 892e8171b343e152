"""What is run and what is kept: sharing, resuming after a stop, failures, and what comes out in the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from rich.console import Console

from realm.desk.task import DeskTask
from realm.errors import ConfigError, DataError, ModelError, ResourceError, UserError
from realm.exchange.importing import import_cots
from realm.experiments.conduct import Order, conduct
from realm.experiments.results import RESAMPLES
from realm.run import versions
from realm.stopping import Stopped
from realm.tasks.base import Question
from realm.tasks.workers import VerifierPool
from tests.conftest import read_rows
from tests.holding import another_holds

WriteSpec = Callable[..., Path]
Started = Callable[[], list[str]]


def order(file: Path, **more: Any) -> Order:
    settings: dict[str, Any] = {
        "out": Path("x"), "folder": Path("x") / file.stem, "docs": None, "seeds": 2, "workers": 2, "fast": False,
        "overrides": ["evaluation.bootstrap=200"], "command": "realm experiment mine.yaml",
    }  # fmt: skip
    return Order(file, **{**settings, **more})


def run(file: Path, **more: Any) -> dict[str, Any]:
    one = order(file, **more)
    conduct(one, Console(quiet=True))
    content: dict[str, Any] = json.loads((one.folder / "results.json").read_text())
    return content


def arms_started(lines: list[str]) -> list[str]:
    return sorted(line.rpartition("-")[0] for line in lines if not line.startswith("collect"))


def test_everything_is_run_once_and_then_kept(write_spec: WriteSpec, started: Started) -> None:
    file = write_spec()
    assert run(file)["seconds"] > 0
    lines = started()
    assert sum(line.startswith("collect") for line in lines) == 2
    assert arms_started(lines) == [
        "evaluate cells-base-seed0", "evaluate cells-base-seed1",
        "train plain-seed0", "train plain-seed1", "train r1-seed0", "train r1-seed1",
    ]  # fmt: skip
    cells = list(Path("x/cells").glob("*-seed*"))
    assert len(cells) == 6 and not any((cell / "checkpoints").exists() for cell in cells), "nobody resumes them"
    again = run(file)
    assert started() == []
    assert again["seconds"] > 0
    run(file, seeds=3)
    assert arms_started(started()) == ["evaluate cells-base-seed2", "train plain-seed2", "train r1-seed2"]


def test_kept_cells_of_other_sources_are_told(write_spec: WriteSpec, started: Started) -> None:
    file, words = write_spec(), Console(record=True, file=StringIO(), width=200)
    run(file, seeds=1)  # by the stand-in, whose meta.json names no sources
    conduct(order(file, seeds=1), words)
    assert "finished cells that other sources of realm trained: 3; they stay" in words.export_text()
    for meta in Path("x/cells").glob("*/meta.json"):
        content = json.loads(meta.read_text())
        meta.write_text(json.dumps(content | {"versions": {"realm-slm": versions()["realm-slm"]}}))
    conduct(order(file, seeds=1), words)
    assert "other sources" not in words.export_text()


def test_another_experiment_trains_only_what_is_new(write_spec: WriteSpec, started: Started) -> None:
    run(write_spec(), seeds=1)
    started()
    arms = {"grpo": {"set": {"training.recipe": "grpo"}}, "zero": {"set": {"training.recipe": "realm-zero"}}}
    found = run(write_spec("other.yaml", arms=arms, pairs=[["zero", "grpo"]]), seeds=1)
    assert arms_started(started()) == ["train zero-seed0"]
    assert {row["arm"] for row in found["cells"]} == {"base", "grpo", "zero"}


def test_an_arm_with_routes_of_its_own_is_trained_and_then_evaluated(write_spec: WriteSpec, started: Started) -> None:
    arms = {"two": {"set": {"training.recipe": "realm-zero", "routes.k": 2}}}
    found = run(write_spec(arms=arms, pairs=[["two", "base"]]), seeds=1)
    assert arms_started(started()) == ["evaluate cells-base-seed0", "evaluate evaluations-two-seed0", "train two-seed0"]
    cell = next(row for row in found["cells"] if (row["arm"], row["measure"]) == ("two", "test/without"))
    assert cell["mean"] == pytest.approx(0.55, abs=0.25)


def test_a_stopped_experiment_goes_on_where_it_was(
    write_spec: WriteSpec, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_SLOW", "r1-seed0")
    file = write_spec()

    def stop_when_half_done() -> None:
        while not any(path.name == "metrics.jsonl" for path in Path("x").glob("cells/r1-seed0-*/*")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=stop_when_half_done)
    watcher.start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        conduct(order(file), Console(quiet=True))
    watcher.join()
    assert time.monotonic() - began < 300  # the cell itself would have taken ten minutes
    (half,) = Path("x").glob("cells/r1-seed0-*")
    assert json.loads((half / "meta.json").read_text())["status"] == "running"
    assert len((half / "metrics.jsonl").read_text().splitlines()) == 4 and (half / "checkpoints").is_dir()
    monkeypatch.delenv("STAND_IN_SLOW")
    started()
    run(file)
    resumed = [line for line in started() if "r1-seed0" in line]
    assert len(resumed) == 1 and resumed[0].endswith("--resume")
    assert json.loads((half / "meta.json").read_text())["resumed_at"] == 4
    straight = run(file, out=Path("straight"))
    assert straight["cells"] == json.loads(Path("x/mine/results.json").read_text())["cells"]


def test_a_failed_cell_lets_the_others_finish_and_is_tried_again(
    write_spec: WriteSpec, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_FAILS", "plain-seed0")
    file = write_spec()
    with pytest.raises(UserError, match=r"(?s)1 of 6 jobs failed.*logs/plain-seed0-\w+\.log.*no luck.*same command"):
        conduct(order(file, workers=1), Console(quiet=True))
    assert len(arms_started(started())) == 6
    assert not Path("x/mine").exists()
    monkeypatch.delenv("STAND_IN_FAILS")
    assert len(run(file)["cells"]) == 3 * 4
    assert arms_started(started()) == ["train plain-seed0"]


def test_evaluations_that_could_not_start_are_named(
    write_spec: WriteSpec, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_FAILS", "two-seed0")
    arms = {"two": {"set": {"training.recipe": "realm-zero", "routes.k": 2}}}
    with pytest.raises(UserError, match=r"(?s)1 of 3 jobs failed.*not started.*: evaluations-two-seed0-\w+; logs"):
        conduct(order(write_spec(arms=arms, pairs=[]), seeds=1), Console(quiet=True))


def test_different_versions_are_all_told(write_spec: WriteSpec, started: Started) -> None:
    file = write_spec()
    run(file, seeds=1)
    (meta,) = Path("x").glob("cells/r1-*/meta.json")
    meta.write_text(meta.read_text().replace("3.11", "3.12"))
    assert run(file, seeds=1)["versions"] == {"python": "3.11 and 3.12"}


def test_p_values_rest_on_enough_resamples_whatever_is_configured(
    write_spec: WriteSpec, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert RESAMPLES == 2000
    monkeypatch.setattr("realm.experiments.results.RESAMPLES", 700)
    found = run(write_spec(measures=[["test", "without"]]), seeds=1)
    assert found["pairs"][0]["p"] == 2 / 701  # 80 % against 40 %: no resample of the 700 is below zero


def test_a_pair_may_be_compared_in_one_measure_alone(write_spec: WriteSpec, started: Started) -> None:
    file = write_spec(pairs=[["r1", "plain"], ["r1", "base", "test/with"]], also=[["ood", "without"]])
    found = run(file, seeds=1)
    where = [row["measure"] for row in found["pairs"] if row["against"] == "base"]
    assert where == ["test/with"]
    assert "r1 − base (test, with routes)" in found["finding"]
    assert "On ood, without routes:" in found["finding"]
    with pytest.raises(ConfigError, match="no split 'odd' is evaluated"):
        conduct(order(write_spec(also=[["odd", "without"]])), Console(quiet=True))


def test_seeds_asked_other_questions_are_refused_before_anything_is_trained(
    write_spec: WriteSpec, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm.experiments.conduct.load_task", lambda config: SeededTask(config.run.seed))
    with pytest.raises(DataError, match=r"split 'test': seed 1 would be asked other questions"):
        conduct(order(write_spec()), Console(quiet=True))
    assert started() == []


class SeededTask(DeskTask):
    """The desk, its test questions others for every seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(max_train=4, max_test=8)
        self.seed = seed

    def rows(self, split: str) -> list[Question]:
        return super().rows(split)[self.seed :]


def test_what_cannot_be_compared_is_refused_before_anything_is_written(write_spec: WriteSpec, started: Started) -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml: no split 'tset' is evaluated; there are test, ood, unc"):
        conduct(order(write_spec(headline=["tset", "without"])), Console(quiet=True))
    with pytest.raises(ConfigError, match="no split 'validation_ood' is evaluated"):
        conduct(order(write_spec(also=[["validation_ood", "without"]])), Console(quiet=True))
    for changes in ({"untrained": False}, {"pairs": []}, {"pairs": [["r1", "plain", "ood/with"]]}):
        with pytest.raises(ConfigError, match=r"the kind `bound` needs .* in the headline \(test/without\)"):
            conduct(order(write_spec(kind="bound", **changes)), Console(quiet=True))
    for base in ({"collect.splits": ["train"]}, {"routes.k": 0}):
        with pytest.raises(ConfigError, match="test/with is asked for, but there will be no routes for split 'test'"):
            conduct(order(write_spec(base=base, also=[["test", "with"]])), Console(quiet=True))
    Path("student").mkdir()
    Path("student/config.json").write_text('{"model_type": "llama", "quantization_config": {"quant_method": "awq"}}')
    Path("student/model.safetensors").touch()
    with pytest.raises(ModelError, match=r"student: the weights are quantized \(awq\)"):
        conduct(order(write_spec(base={"model.path": "student"})), Console(quiet=True))
    assert started() == []
    assert not Path("x").exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_routes_that_a_bank_of_ones_own_lacks_are_told_before_anything_is_trained(
    write_spec: WriteSpec, started: Started, kind: str
) -> None:
    one = DeskTask(max_train=4, max_test=8).rows("train")[0]
    cots = [{"text": "It is so.", "answer": one.answer}]
    row = {"id": one.id, "question": one.question, "answer": one.answer, "cots": cots}
    Path("bank.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    if kind == "folder":
        with VerifierPool("desk") as pool:
            import_cots("bank.jsonl", pool)[0].save(Path("bank"))
    path = "bank" if kind == "folder" else "bank.jsonl"
    file = write_spec(base={"bank.path": path}, headline=["test", "with"])
    with pytest.raises(ConfigError, match=r"mine\.yaml: test/with is asked for"):
        conduct(order(file), Console(quiet=True))
    assert started() == []


def test_a_run_that_was_deleted_is_owed_though_its_evaluation_is_there(write_spec: WriteSpec, started: Started) -> None:
    file = write_spec(arms={"two": {"set": {"training.recipe": "realm-zero", "routes.k": 2}}}, pairs=[])
    whole = run(file, seeds=1)
    started()
    (trained,) = Path("x").glob("cells/two-*")
    shutil.rmtree(trained)
    assert run(file, seeds=1)["cells"] == whole["cells"]
    assert arms_started(started()) == ["train two-seed0"]


def test_weights_that_were_deleted_are_trained_again_for_one_more_evaluation(
    write_spec: WriteSpec, started: Started
) -> None:
    run(write_spec(arms={"zero": {"set": {"training.recipe": "realm-zero"}}}, pairs=[]), seeds=1)
    started()
    (trained,) = Path("x").glob("cells/zero-*")
    shutil.rmtree(trained / "model")
    other = write_spec(
        "other.yaml",
        base={"collect.splits": ["train", "test"]},
        arms={"zero": {"set": {"training.recipe": "realm-zero", "collect.splits": []}}},
        pairs=[],
        untrained=False,
    )
    run(other, seeds=1)
    assert arms_started(started()) == ["evaluate evaluations-zero-seed0", "train zero-seed0"]
    run(other, seeds=1)
    assert started() == []


def test_resamples_suffice_for_the_tests_that_are_corrected_over(write_spec: WriteSpec, started: Started) -> None:
    settings = [{"training.recipe": "realm-r1", "training.rl.steps": n} for n in range(1, 7)]
    arms = {f"a{n}": {"set": one} for n, one in enumerate(settings)}
    axis = {"label": "steps", "values": {name: n for n, name in enumerate(arms)}}
    file = write_spec(arms=arms, axis=axis, pairs=[["a0", "base"]], untrained=True, measures=[["test", "without"]])
    found = run(file, seeds=1)
    # 15 pairs of arms: the smallest p there can be must stay below 0.05 when it is multiplied by their number, which it
    # does not with the 200 of these tests.
    assert 15 * found["pairs"][0]["p"] < 0.05 < 15 * 2 / 201


def test_a_measure_that_no_cell_took_is_told(write_spec: WriteSpec, started: Started) -> None:
    with pytest.raises(DataError, match=r"uncommented/with: not every cell has it; all have test/without, "):
        conduct(order(write_spec(headline=["uncommented", "with"]), seeds=1), Console(quiet=True))


def test_two_experiments_never_work_in_one_folder(write_spec: WriteSpec, started: Started) -> None:
    with another_holds(Path("x")), pytest.raises(ResourceError, match="is working in this folder"):
        conduct(order(write_spec()), Console(quiet=True))


def test_true_sums_are_compared_where_the_file_asks_for_them(write_spec: WriteSpec, started: Started) -> None:
    pairs = [["r1", "base"], ["r1", "plain"]]
    found = run(write_spec(pairs=pairs, measures=[["test", "without"]], true_sums=[["test", "without"]]))
    right = {row["arm"]: row for row in found["cells"]}
    # Every completion states two sums, one of them true where it is right; `plain` states none and has no share.
    assert [row["arm"] for row in found["sums"]] == ["base", "r1"]
    for row in found["sums"]:
        assert row["mean"] == pytest.approx((1 + right[row["arm"]]["mean"]) / 2)
        assert row["low"] <= row["mean"] <= row["high"] and list(row["seeds"]) == ["0", "1"]
    (one,), (two, _) = found["sum_pairs"], found["pairs"]
    assert (one["arm"], one["against"], one["p_corrected"]) == ("r1", "base", one["p"])
    assert one["difference"] == pytest.approx(two["difference"] / 2)
    operators = {(row["arm"], row["operator"]): row for row in found["operators"]}
    assert list(operators) == [("base", "+"), ("base", "-"), ("r1", "+"), ("r1", "-")]
    assert (operators["r1", "+"]["n"], operators["r1", "+"]["true"]) == (80, 1.0)
    assert operators["r1", "-"]["true"] == pytest.approx(right["r1"]["mean"])
    assert "True sums, of those stated on test, without routes: r1 has " in found["finding"]
    page = (Path("x") / "mine" / "mine.md").read_text()
    assert "## True sums by operator" in page and "+, test, without routes" in page
    assert "True sums" not in run(write_spec())["finding"]


def test_what_was_unlearned_is_told_against_the_untrained_model(write_spec: WriteSpec, started: Started) -> None:
    Path("sums.yaml").write_text("task: {name: desk}\nevaluation: {splits: [test]}\n", encoding="utf-8")
    base = {"evaluation.also": str(Path("sums.yaml").resolve())}
    found = run(write_spec(base=base, measures=[["test", "without"]]))
    right: dict[str, list[bool]] = {}
    for path in Path("x").glob("cells/*/predictions.jsonl"):
        rows = [row for row in read_rows(path) if row["split"] == "sums:test"]
        each = right.setdefault(path.parent.name.partition("-")[0], [])
        each += [row["completions"][0]["correct"] for row in rows]
    assert [(row["arm"], row["against"], row["measure"]) for row in found["unlearned"]] == [
        (arm, "base", "sums:test/without") for arm in ("plain", "r1")
    ]
    for row in found["unlearned"]:
        assert row["difference"] == pytest.approx(fmean(right[row["arm"]]) - fmean(right["base"]))
        assert row["low"] < row["difference"] < row["high"] and row["p"] <= row["p_corrected"]
    page = (Path("x") / "mine" / "mine.md").read_text()
    assert "## What was unlearned" in page and "| sums:test |" in page and "plain − base" in page
    assert "sums:test" in run(write_spec(base=base, headline=["sums:test", "without"]))["headline"]
    with pytest.raises(ConfigError, match=r"no split 'sums:test' is evaluated; .* sums:test without routes"):
        conduct(order(write_spec(base=base, also=[["sums:test", "with"]])), Console(quiet=True))
    assert run(write_spec())["unlearned"] == []


def test_progress_without_a_terminal(
    write_spec: WriteSpec, started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("realm.experiments.jobs.PLAIN_EVERY", 0.0)
    conduct(order(write_spec(), workers=1), Console(width=100, force_terminal=False))
    printed = " ".join(capsys.readouterr().out.split())
    assert "banks: 1 of 2 collected" in printed
    assert "6 cells, 6 of them owed" in printed
    # Which states are looked at depends on what else runs.
    assert re.search(r"[1-5] of 6 cells done, 1 running, [0-4] left", printed)
    assert "elapsed" in printed


def test_results_hold_what_readers_rely_on(write_spec: WriteSpec, started: Started) -> None:
    found = run(write_spec(measures=[["test", "without"], ["ood", "with"]]))
    assert list(found) == [
        "name", "title", "question", "kind", "command", "fast", "seconds", "seeds", "threads", "machine",
        "versions", "budget", "equal_budget", "arms", "measures", "headline", "also", "cells", "gaps",
        "gap_pairs", "pairs", "sums", "sum_pairs", "operators", "unlearned", "axis", "spreads", "kinds", "judging",
        "confidence", "memory", "cost", "curves", "training", "shown", "banks", "finding",
    ]  # fmt: skip
    assert (found["name"], found["seeds"], found["headline"]) == ("mine", [0, 1], "test/without")
    assert (found["kind"], found["threads"]) == ("train", 1)
    assert found["machine"] == "a machine"
    assert found["budget"] == {"steps": 8, "completions_per_step": 96, "examples_per_step": 32}
    assert [row["name"] for row in found["measures"]] == ["test/without", "ood/with"]
    assert found["measures"][1]["label"] == "ood, with routes"
    assert found["arms"][1] == {"name": "plain", "set": {"training.recipe": "grpo"}, "group": ""}
    for cell in found["cells"]:
        assert cell["mean"] == pytest.approx(sum(cell["seeds"].values()) / 2)
        assert cell["low"] <= cell["mean"] <= cell["high"]
    (first, _) = found["pairs"]
    assert first["p_corrected"] == first["p"]  # one pair: nothing to correct
    assert 0.05 < first["p"] < 0.2  # 80 % against 40 %, yet two seeds show little
    assert found["gaps"] == []  # no split has both
    assert {row["kind"] for row in found["kinds"]} == {"bin"}
    figures = {"steps": 8, "completions": 96, "tokens": 1000, "teacher_tokens": None, "seconds": 1.0}
    assert found["cost"][0] == {"arm": "plain", "seed": 0, **figures, "sampled": 0, "sampled_tokens": 0}
    assert found["cost"][1] == {"arm": "r1", "seed": 0, **figures, "sampled": 16, "sampled_tokens": 100}
    # Steps are counted on over the stages.
    assert found["curves"][0] == {
        "arm": "plain", "seed": 0, "measure": "without", "points": [[0, 0.5], [4, 0.5], [8, 0.5]],
    }  # fmt: skip
    level = {"start": {"step": 0, "mean": 0.5}, "best": {"step": 0, "mean": 0.5}, "end": {"step": 8, "mean": 0.5}}
    assert found["training"][0] == {"arm": "plain", "measure": "without", "seeds": 2, **level, "falls": None}
    assert "While training" not in found["finding"]


def test_the_finding_tells_of_the_curves_where_the_file_asks_for_it(write_spec: WriteSpec, started: Started) -> None:
    assert "no arm is shown to fall from its best" in run(write_spec(tell="curves"))["finding"]


def test_gaps_are_paired(write_spec: WriteSpec, started: Started) -> None:
    found = run(write_spec())
    gap = next(row for row in found["gaps"] if (row["arm"], row["split"]) == ("r1", "ood"))
    means = {row["measure"]: row["mean"] for row in found["cells"] if row["arm"] == "r1"}
    assert gap["mean"] == pytest.approx(means["ood/with"] - means["ood/without"])
    gaps = {row["arm"]: row["mean"] for row in found["gaps"] if row["split"] == "test"}
    between = next(row for row in found["gap_pairs"] if row["split"] == "test")
    assert between["difference"] == pytest.approx(gaps[between["arm"]] - gaps[between["against"]])
    assert between["low"] <= between["difference"] <= between["high"]


def test_pages_go_where_they_belong(write_spec: WriteSpec, started: Started, tmp_path: Path) -> None:
    file = write_spec()
    conduct(order(file, seeds=1), Console(quiet=True))
    assert Path("x/mine/mine.md").exists()
    Path("docs/results").mkdir(parents=True)
    conduct(order(file, seeds=1), Console(quiet=True))
    assert Path("docs/results/mine.md").exists()
    conduct(order(file, seeds=1, fast=True), Console(quiet=True))
    assert Path("x/mine/mine.md").exists()
    conduct(order(file, seeds=1, docs=tmp_path / "here"), Console(quiet=True))
    assert (tmp_path / "here" / "mine.md").exists()
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"mine.md", "mine.svg", "mine.png"}


def test_what_the_teacher_wrote_may_be_the_axis(write_spec: WriteSpec, started: Started) -> None:
    recipes = {"few": ("grpo", 12), "some": ("realm-zero", 25), "many": ("realm-r1", 50)}
    arms = {
        name: {"group": "by size", "set": {"training.recipe": recipe, "task.max_train": count}}
        for name, (recipe, count) in recipes.items()
    }
    axis = {"label": "teacher tokens", "by": "teacher_tokens"}
    file = write_spec(arms=arms, axis=axis, pairs=[], base={"task.max_train": 50})
    found = run(file, seeds=1)
    assert found["axis"] == axis | {"values": {"few": 120.0, "some": 250.0, "many": 500.0}}
    assert "Along teacher tokens, the best is at many (500); every other value is shown to be worse" in found["finding"]
    page = (Path("x") / "mine" / "mine.md").read_text()
    assert "|  | teacher tokens | test, without routes |" in page
    assert "| some | 250 | **" in page and "| base |  | **" in page
    assert page.count("|  | teacher tokens |") == 1  # no table of true sums, which were not asked for
    # Each group is a line of its own, and has its own best.
    arms["many"]["group"] = "all"
    text = run(write_spec(arms=arms, axis=axis, pairs=[], base={"task.max_train": 50}), seeds=1)["finding"]
    assert "Along teacher tokens (by size), the best is at some (250)" in text
    assert "Along teacher tokens (all), the best is at many (500), the only value." in text


def test_a_cost_that_nobody_knows_is_no_axis(write_spec: WriteSpec, started: Started) -> None:
    axis = {"label": "cost", "by": "teacher_cost"}
    with pytest.raises(
        ConfigError, match=r"mine\.yaml: axis\.by: teacher_cost needs the prices teachers\.scripted-clerk\.price"
    ):
        conduct(order(write_spec(axis=axis)), Console(quiet=True))
    assert started() == []
    with pytest.raises(DataError, match=r"axis\.by: teacher_cots is not known of plain, r1"):
        run(write_spec(axis=axis | {"by": "teacher_cots"}), seeds=1)


def test_settings_of_one_model_are_told_by_how_far_they_move_it(write_spec: WriteSpec, started: Started) -> None:
    arms = {
        "hot": {"group": "decoding", "set": {"evaluation.samples": 4}},
        "polite": {"group": "wording", "set": {"prompt.system": "Please."}},
        "other": {"group": "wording", "set": {"model.path": "elsewhere"}},
    }
    Path("elsewhere").mkdir()
    for name in ("config.json", "model.safetensors"):
        (Path("elsewhere") / name).write_text('{"model_type": "llama"}')
    file = write_spec(kind="models", arms=arms, pairs=[], base={"routes.k": 0}, measures=[["test", "without"]])
    found = run(file, seeds=1)
    rows = {row["group"]: row for row in found["spreads"]}
    assert {name: row["arms"] for name, row in rows.items()} == {"decoding": 2, "wording": 2}  # `other` is none of them
    means = {row["arm"]: row["mean"] for row in found["cells"]}
    for arm, row in (("hot", rows["decoding"]), ("polite", rows["wording"])):
        assert row["difference"] == pytest.approx(abs(means[arm] - means["base"]))
        assert 0 <= row["low"] <= row["difference"] <= row["high"]
    assert "On test, without routes, other has the highest accuracy" in found["finding"]
    assert "what is to be reported is base, the choice made before" in found["finding"]
    assert "## How far the settings move it" in (Path("x") / "mine" / "mine.md").read_text()
