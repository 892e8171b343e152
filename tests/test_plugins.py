"""What another package brings is found by its name, trains, and is reported."""

from __future__ import annotations

import difflib
import functools
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from realm.analysis.answers import verifier_of
from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.cli.app import app
from realm.commands.collecting import collect
from realm.commands.reporting import report
from realm.commands.training import train
from realm.config import dump_config, field_names, load_config
from realm.errors import ConfigError
from realm.experiments.contents import contents
from realm.plugins import _NAMED, POINTS, _entry, _import, check, entry, files, find, named, take, trust
from realm.recipes import plan
from realm.student.prompts import make_selection
from realm.student.scoring import RewardFunction
from realm.tasks.base import Question
from realm.tasks.registry import load_task
from realm.tasks.verify import verifier
from realm.tasks.workers import VerifierPool
from realm.training.feedback import make_feedback
from tests.method import hostile

ROOT = Path(__file__).parent.parent
EXAMPLE, PACKAGED = ROOT / "examples" / "plugin", ROOT / "realm" / "desk" / "base"
MODULE = """
from realm.recipes.stage import Recipe, Stage

def stages(config):
    return [Stage("rl", 0, config.training.rl.steps, 0), Stage("sft", 0, config.training.sft.steps, config.routes.k)]

CHAIN = Recipe(
    "chain",
    lambda _: [Stage("others_stage:make", 0, 1, 0, traces=("bank", "others_step:step"))],
    {"fade.schedule": "others_step:even"},
)
MINE = Recipe("mine", stages, {"training.sft.empty_share": 0.0})
NUMBER = 3

class Yes:
    name = "others_recipes:yes"
    warm = False
    def __call__(self, answer, gold, question=""):
        warm, self.warm = self.warm, True
        return warm and answer == "yes"
    def key(self, answer):
        return answer

def yes(choices):
    return Yes()

def late(tau, schedule, success):
    return schedule.p_start if tau < 0.5 else 1 - success

def steep(tau, schedule):
    return 2.0 * tau

def strict(scores, labels):
    return float(all(score == label for score, label in zip(scores, labels)))

def questions(settings, seed):
    from realm.tasks.jsonl import load_jsonl
    return load_jsonl(settings, seed)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with a module, and with what pip leaves of a package that declares an entry point for it."""
    folder = tmp_path / "site"
    info = folder / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[realm.recipes]\nmine = others_recipes:MINE\nbroken = others_gone:MINE\n")
    (folder / "others_recipes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    _entry.cache_clear()
    named = set(_NAMED)
    yield folder
    _entry.cache_clear()
    _import.cache_clear()
    _NAMED.intersection_update(named)
    for module in ("others_recipes", "others_evil", "others_stage", "others_step", "realm_clock", "my_parts"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize("name", ["mine", "others_recipes:MINE"])
def test_a_recipe_of_another_package_is_planned_with_its_settings(package: Path, name: str) -> None:
    config = load_config(None, [f"training.recipe={name}"])
    assert [stage.kind for stage in plan(config)] == ["rl", "sft"] and config.training.sft.empty_share == 0.0
    with pytest.raises(ConfigError, match=f"the recipe {name} fixes training.sft.empty_share at 0.0"):
        load_config(None, [f"training.recipe={name}", "training.sft.empty_share=0.5"])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("realm-r2", r"expected grpo, .*, broken, mine or a package\.module:attribute \(did you mean realm-r1\?\)"),
        ("mein", "did you mean mine"),
        ("nothing-like-it", r"expected grpo, .* or a package\.module:attribute, found"),
        ("broken", r"others_gone:MINE cannot be imported \(ModuleNotFoundError: No module named 'others_gone'\)"),
        ("others_recipes:YOURS", r"others_recipes:YOURS cannot be imported \(AttributeError: .*YOURS"),
        ("others_recipes:NUMBER", "others_recipes:NUMBER is int, expected Recipe"),
        (":", "cannot be imported"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(package: Path, name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--set training\.recipe={name}: training\.recipe: .*{told}") as caught:
        load_config(None, [f"training.recipe={name}"])
    assert "\n" not in str(caught.value)


def test_without_a_kind_it_has_to_be_called(package: Path) -> None:
    trust(["others_recipes:stages", "others_recipes:NUMBER"])
    assert find("verifiers", "others_recipes:stages").__name__ == "stages"
    with pytest.raises(ValueError, match="is int, expected a function"):
        find("verifiers", "others_recipes:NUMBER")


@pytest.mark.parametrize("by", ["others_recipes:yes", "{default: exact, odd: 'others_recipes:yes'}"])
def test_a_task_and_a_verifier_of_another_package(package: Path, tmp_path: Path, by: str) -> None:
    """What it does first is no answer: that is for what takes long the first time."""
    rows = (json.dumps({"question": f"{n}?", "answer": "yes", "kind": "odd"}) + "\n" for n in range(400))
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    here = [f"task.path={tmp_path / 'rows.jsonl'}", f"task.verifier={by}", "routes.k=4"]
    task = load_task(load_config(None, ["task.name=others_recipes:questions", *here]))
    assert task.rows("train")
    with VerifierPool(task.verifier.name) as pool:
        claims = [("yes", "no", "?", "odd"), ("no", "no", "?", "odd")]
        assert [verdict.correct for verdict in pool.verify(claims)] == [True, False]
    with pytest.raises(
        ConfigError, match=r"^task\.name: expected desk, desk-hard, gsm8k, .* \(did you mean jsonl\?\), found 'josnl'"
    ):
        load_task(load_config(None, ["task.name=josnl", *here]))
    with pytest.raises(ConfigError, match=r"^task\.verifier: expected exact, .* \(did you mean exact\?\)"):
        verifier("exakt")


@given(st.sampled_from([*POINTS]), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.none()), st.just(sys)))
def test_what_is_no_function_is_refused(point: str, thing: object) -> None:
    sys.modules["others_thing"] = types.ModuleType("others_thing")
    sys.modules["others_thing"].thing = thing  # type: ignore[attr-defined]
    try:
        _import.cache_clear()
        trust("others_thing:thing")
        expected = "Recipe" if point == "recipes" else "a function"
        with pytest.raises(ValueError, match=f"^others_thing:thing is {type(thing).__name__}, expected {expected}$"):
            find(point, "others_thing:thing")
    finally:
        del sys.modules["others_thing"]
        _import.cache_clear()


@given(st.sampled_from([*POINTS]), st.data())
def test_a_slip_of_the_pen_is_told_with_the_name_that_is_near(point: str, data: st.DataObject) -> None:
    names = [name for name in POINTS[point].table if len(name) > 4] or [*POINTS[point].table]
    name = data.draw(st.sampled_from(names))
    place = data.draw(st.integers(0, len(name) - 1))
    slip = name[:place] + data.draw(st.sampled_from(["", "x", name[place] * 2])) + name[place + 1 :]
    if slip not in POINTS[point].table:
        near = difflib.get_close_matches(slip, [*POINTS[point].table], 1, 0.5)
        hint = f" (did you mean {near[0]}?)" if near else ""
        told = re.escape(f"expected {', '.join(POINTS[point].table)} or a package.module:attribute{hint}")
        with pytest.raises(ValueError, match=f"^{told}$"):
            check(point, slip)


@given(st.sampled_from([*POINTS]), st.one_of(st.text(), hostile.text, st.text().map(lambda text: f"{text}:{text}")))
def test_any_text_is_a_name_or_refused_in_one_line(point: str, name: str) -> None:
    if name not in POINTS[point].table:
        with pytest.raises(ConfigError) as caught:
            take(point, name)
        assert len(str(caught.value).splitlines()) == 1
        assert not files(point, name)


def test_a_schedule_of_another_package(package: Path) -> None:
    config = load_config(None, ["fade.schedule=others_recipes:late", "fade.p_start=0.75"])
    made = make_selection(config).schedule
    assert [made.p(0.25), made.p(0.75, 0.5)] == [0.75, 0.5]
    questions = {"one": Question("one", "?", "1")}
    feedback = make_feedback(config, questions, 0, k=4)
    assert feedback is not None and feedback.success("one") == 0.0, "it follows success"
    assert make_feedback(config, questions, 0, k=0) is None
    with pytest.raises(ConfigError, match=r"schedule others_recipes:steep gave 1\.02 at τ = 0\.51, expected a number"):
        make_selection(load_config(None, ["fade.schedule=others_recipes:steep"]))
    with pytest.raises(ConfigError, match=r"^--set fade.schedule=cosin: .*did you mean cosine\?\), found 'cosin'"):
        load_config(None, ["fade.schedule=cosin"])


def test_a_rule_of_another_package_also_in_another_process(package: Path) -> None:
    asked = {"completions": ["<think> </think> <answer> 4 </answer> <scores> 1, 0 </scores>"] * 2, "answer": ["4"] * 2}
    judged = RewardFunction("number", rule="others_recipes:strict")
    assert judged(**asked, labels=[[1, 0], [1, 1]]) == pytest.approx([1.6, 1.1])
    program = f"import pickle; print(pickle.loads({pickle.dumps(judged)!r})(**{asked!r}, labels=[[1, 0], [1, 1]]))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == pytest.approx([1.6, 1.1])
    broken = RewardFunction("number", rule=lambda scores, labels: -1.0)
    with pytest.raises(ConfigError, match=r"the rule .*<lambda> gave -1\.0 at scores \[1\.0, 0\.0\] and labels"):
        broken(**asked, labels=[[1, 0], [1, 1]])


EVIL = """
from pathlib import Path
(Path(__file__).parent / "imported").touch()
"""


CLERK = "teachers.scripted-clerk.kind"
#: The keys at which a plug-in may be named.
KEYS = {point.key.replace("NAME", "scripted-clerk") for point in POINTS.values()} & {CLERK, *field_names()}
#: The keys that commands need: every one those of the task, but the two that only read what is there.
TASK = {"task.name", "task.verifier", "training.recipe"}
NEEDED = {
    "train": KEYS - {CLERK, "training.pairs.miner"},  # no stage of this recipe learns from pairs
    "collect": {*TASK, CLERK},
    "evaluate": {*TASK, "routes.selection"},
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped, with a model, and a bank beside it."""
    folder = tmp_path_factory.mktemp("found")
    rows = [{"question": f"{number}?", "answer": "yes"} for number in range(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        **{"run.dir": folder, "task.name": "jsonl", "task.path": folder / "rows.jsonl", "task.max_test": 2},
        **{"bank.path": folder / "bank", "routes.k": 1, "evaluation.bootstrap": 100},
        **{"training.rl.max_completion_length": 16, "training.rl.steps": 1, "training.sft.steps": 1},
    }
    config = load_config(None, [f"{key}={value}" for key, value in settings.items()])
    task, bank = load_task(config), Bank()
    bank.append([CoT(one.id, "Yes.", "yes", 1) for split in task.splits() for one in task.rows(split)])
    bank.save(folder / "bank")
    shutil.copytree(PACKAGED, folder / "run" / "model")
    (folder / "run" / "config.yaml").write_text(dump_config(config))
    (folder / "run" / "meta.json").write_text('{"name": "run", "status": "interrupted"}')
    (folder / "run" / "metrics.jsonl").write_text("")
    return folder / "run"


def naming(found: Path, folder: Path, keys: Iterable[str]) -> Path:
    """A copy of the run that names a module which leaves a trace where it is imported."""
    shutil.copytree(found, folder)
    text = yaml.safe_load((folder / "config.yaml").read_text())
    for key in keys:
        *section, last = key.split(".")
        held = functools.reduce(dict.__getitem__, section, text)
        held[last] = (
            [*held[last][:1], {"others_evil:thing": {"n": 1}}] if isinstance(held[last], list) else "others_evil:thing"
        )
    (folder / "config.yaml").write_text(yaml.safe_dump(text))
    return folder


@pytest.mark.parametrize("key", sorted(KEYS))
def test_what_a_run_of_others_names_is_not_imported(package: Path, tmp_path: Path, found: Path, key: str) -> None:
    (package / "others_evil.py").write_text(EVIL)
    run, other = naming(found, tmp_path / "run", [key]), str(tmp_path / "other")
    told = f"error: {key}: others_evil:thing is no installed plug-in, and what only the files of a run or a bank name"
    for command, more in {
        "train": ["--resume", "--out", str(run)],
        "collect": ["--dry-run", "--out", other],
        "evaluate": ["--out", other],
    }.items():
        if key in NEEDED[command]:
            said = CliRunner().invoke(app, [command, str(run), *more])
            (line,) = (line for line in said.stderr.splitlines() if line.startswith("error"))
            assert said.exit_code == 2 and line.replace(f"{run}/config.yaml: ", "").startswith(told), line
            assert "if you trust it, name it yourself (--set" in line
    assert not (package / "imported").exists()
    trust("others_evil:thing")
    with pytest.raises(ConfigError, match="cannot be imported"):
        point = next(name for name, point in POINTS.items() if point.key.split(".")[-1] == key.split(".")[-1])
        take(point, "others_evil:thing")
    assert (package / "imported").exists(), "it would have told"


@pytest.mark.parametrize("key", sorted(NEEDED["train"] | {CLERK}))
def test_a_command_that_is_given_no_function_says_so_in_one_line(
    package: Path, tmp_path: Path, found: Path, key: str
) -> None:
    lists = ("traces", "shapes", "companions")
    value = "[others_recipes:NUMBER]" if key.endswith(lists) else "others_recipes:NUMBER"
    command = ["collect", "--dry-run"] if key == CLERK else ["train"]
    said = CliRunner().invoke(
        app, [*command, str(found / "config.yaml"), "--out", str(tmp_path / "new"), "--set", f"{key}={value}"]
    )
    (line,) = (line for line in said.stderr.splitlines() if not line.startswith("INFO"))
    assert said.exit_code == 2 and f"{key}: others_recipes:NUMBER is int, expected " in line, line
    assert not (tmp_path / "new").exists(), "before anything is written"


def test_what_commands_do_not_need_may_be_anybodys(package: Path, tmp_path: Path, found: Path) -> None:
    (package / "others_evil.py").write_text(EVIL)
    whole, asked = naming(found, tmp_path / "whole", KEYS), naming(found, tmp_path / "asked", KEYS - TASK)
    run = naming(found, tmp_path / "run", KEYS - NEEDED["evaluate"])
    evaluated = ["evaluate", run, "--out", tmp_path / "out"]
    for command in (["report", whole], ["doctor", whole], ["ask", asked, "1?"], ["compare", run, run], evaluated):
        said = CliRunner().invoke(app, list(map(str, command)))
        assert said.exit_code == 0, (command, said.output)
    assert not (package / "imported").exists()
    assert "cannot be read" not in (whole / "report.html").read_text()


def test_what_only_a_bank_names_is_not_imported(package: Path) -> None:
    (package / "others_evil.py").write_text(EVIL)
    assert verifier_of({"verifier": "others_evil:thing"}).name == "exact"
    assert not (package / "imported").exists()
    with pytest.raises(ConfigError, match="cannot be imported"):
        RewardFunction("others_evil:thing")
    assert (package / "imported").exists()


def test_another_source_of_a_plug_in_is_another_content(package: Path) -> None:
    others: dict[str, Any] = dict.fromkeys(KEYS, "others_recipes:yes")
    others |= {"training.recipe": "mine", "training.sft.traces": ["bank", {"others_recipes:yes": {"n": 1}}]}
    others |= {f"training.rl.{key}": ["others_recipes:yes"] for key in ("shapes", "companions")}
    config = load_config().changed(others)
    before = contents(config)
    assert before.keys() >= KEYS and KEYS.isdisjoint(contents(load_config()))
    (package / "others_recipes.py").write_text(MODULE + "# changed")
    assert all(contents(config)[key] != before[key] for key in KEYS)
    also = package / "also.yaml"
    also.write_text("task: {name: others_recipes:questions}\n")
    assert "evaluation.also.task.name" in contents(load_config(None, [f"evaluation.also={also}"]))


def test_another_content_of_what_an_option_names_is_another_content(tmp_path: Path) -> None:
    (tmp_path / "book.md").write_text("Chapter one.")
    config = load_config(None, [f"training.sft.traces=[bank, {{passages: {{file: {tmp_path / 'book.md'}}}}}]"])
    before = contents(config)["training.sft.traces.passages.file"]
    (tmp_path / "book.md").write_text("Chapter two.")
    assert contents(config)["training.sft.traces.passages.file"] != before


def test_what_a_recipe_of_others_names_is_theirs_too(package: Path) -> None:
    """Its stages and their steps may be imported, as the recipe is, and their source is in the hash of a cell."""
    (package / "others_stage.py").write_text("def make(job): ...\n")
    (package / "others_step.py").write_text("def even(tau, schedule): return 0.5\n")
    config = load_config(None, ["training.recipe=others_recipes:CHAIN"])
    before = contents(config)
    assert [take("stages", stage.kind).__name__ for stage in plan(config)] == ["make"]
    assert make_selection(config).schedule.p(0.0) == 0.5
    for changed in ("others_stage.py", "others_step.py"):
        (package / changed).write_text("# changed")
        assert contents(config)["training.recipe"] not in before.values()
        before = contents(config)


@pytest.fixture
def clock(tmp_path: Path, package: Path) -> Path:
    """The example's folder, its package installed as pip leaves one."""
    for path in EXAMPLE.iterdir():
        shutil.copy(path, tmp_path)
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = package / "realm_clock-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))
    shutil.copy(EXAMPLE / "realm_clock.py", package)
    return tmp_path


def test_the_example_collects_trains_and_is_evaluated(clock: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "realm")
    config = load_config(
        clock / "clock.yaml",
        [
            *(
                f"run.dir={clock}",
                f"task.path={clock / 'questions.csv'}",
                "task.max_test=4",
                "evaluation.bootstrap=100",
            ),
            *("training.sft.steps=1", "training.rl.steps=2", "training.eval_questions=0", "task.max_train=8"),
            *(f"training.{key}_size=4" for key in ("sft.batch", "sft.micro_batch", "rl.batch", "rl.micro_batch")),
        ],
    )
    collect(config, out=clock / "clock" / "bank")
    before = contents(config)
    labels = [cot.label for cot in Bank.open(clock / "clock" / "bank")]
    assert set(labels) == {0, 1} and config.fade.fade_end == 0.5
    trained = train(config)
    assert trained is not None and {row.n for row in trained.evaluations} == {4}
    told = {record.getMessage().partition(":")[0] for record in caplog.records if record.name == "realm.plugins"}
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    assert told == {f"{group} {name}" for group, names in project["entry-points"].items() for name in names}
    assert "brief" in report(trained.path).read_text()
    with (clock / "site" / "realm_clock.py").open("a") as file:
        file.write("# changed\n")
    changed = {key for key, digest in contents(config).items() if digest != before[key]}
    assert changed == {key for key, point, one in named(config.model_dump()) if files(point, entry(one)[0])}
    assert len(changed) == len(told)


def test_the_page_has_the_fields_of_what_is_given() -> None:
    page = (ROOT / "docs" / "reference" / "plugins.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([\w/]+)\.py` \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == 12
    for name, place, told in rows:
        kind = getattr(import_module(f"realm.{place.replace('/', '.')}"), name)
        known = {one.name: one.default is MISSING and one.default_factory is MISSING for one in fields(kind)}
        required, _, optional = told.partition("[")
        assert set(re.findall(r"`(\w+)", optional)) <= {*known, *dir(kind)}, name
        listed = re.findall(r"`(\w+)", required)
        assert {one for one, needed in known.items() if needed} <= {*listed} <= {*known, *dir(kind)}, name


def merged(tree: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """One mapping over the other, section by section."""
    both = {key: merged(tree[key], value) for key, value in more.items() if isinstance(tree.get(key), dict)}
    return {**tree, **more, **both}


def test_the_page_names_every_point_and_its_examples_train(
    package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    page = (ROOT / "docs" / "reference" / "plugins.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `([^|]*)` (?:of a recipe )?\| `realm\.(\w+)` \|", page, re.MULTILINE)
    assert table == [(point.key or "Stage.kind", name) for name, point in POINTS.items()]
    parts = re.findall(r"^```(python|yaml)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (package / "my_parts.py").write_text("\n".join(text for language, text in parts if language == "python"))
    tree = functools.reduce(merged, [yaml.safe_load(text) for language, text in parts if language == "yaml"])
    caplog.set_level("INFO", "realm")
    sizes = {"batch_size": 4, "micro_batch_size": 4}
    small = {
        "run": {"dir": str(tmp_path)},
        "bank": {"samples": 4},
        "training": {
            "eval_questions": 0,
            "sft": sizes,
            "pairs": {**sizes, "steps": 1},
            "rl": {**sizes, "steps": 2, "num_generations": 2, "max_completion_length": 40},
        },
        "evaluation": {"bootstrap": 100},
    }
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(merged(tree, small)))
    config = load_config(tmp_path / "my.yaml")
    mine = {key for key, _, one in named(config.model_dump()) if entry(one)[0].startswith("my_parts:")}
    assert mine == {*KEYS} - {CLERK} | {"teachers.adder.kind"}
    collect(config, out=tmp_path / "run" / "bank")
    trained = train(config)
    assert trained is not None and {row.n for row in trained.evaluations} == {8}
    told = {record.getMessage().split()[0] for record in caplog.records if record.name == "realm.plugins"}
    assert told == {f"realm.{name}" for name in POINTS}
