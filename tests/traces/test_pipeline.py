"""Lists of steps: what they make, when, and what is left of it for a run that is gone on with."""

from __future__ import annotations

import json
import logging
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from realm.bank.cot import CoT
from realm.config import Config, load_config
from realm.errors import ConfigError, DataError
from realm.plugins import trust
from realm.recipes.stage import Recipe, Stage
from realm.rows.run import Left, Taught
from realm.rows.training import Step
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.traces import pipeline
from realm.traces.base import Given, LaterError, Span, Spent, Trace, Voice
from realm.traces.pipeline import bound, made, once, run_steps, spent_in
from tests.tiny import CONTEXT, Killed, TinyTask, go, killed_at, tiny_bank, tiny_config, tiny_tokenizer, weights

PLUGIN = """
    from dataclasses import replace

    from realm.bank.cot import CoT
    from realm.traces.base import Trace


    def short(traces, given, *, most: int = 5):
        return [trace for trace in traces if len(trace.cot.text) <= most]


    def said(traces, given, *, samples: int = 1):
        questions = list(given.renderer.questions.values())
        prompts = [given.renderer.fit(question).ids for question in questions]
        found = given.student().write(prompts, length=6, samples=samples, temperature=1.0, seed=given.round)
        return [
            *traces,
            *(
                Trace(question, CoT(question.id, one.text.strip() or "nothing", "1", 1, "student", sample=number))
                for question, row in zip(questions, found)
                for number, one in enumerate(row)
            ),
        ]


    def kind(job):
        from realm.training.sft import make_sft

        return make_sft(job)
"""


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "tiny_steps.py").write_text(textwrap.dedent(PLUGIN))
    sys.path.insert(0, str(folder))
    trust(["tiny_steps:short", "tiny_steps:said", "tiny_steps:kind"])
    yield
    sys.path.remove(str(folder))


@pytest.fixture
def config(tmp_path: Path, student: Path) -> Config:
    return tiny_config(tmp_path, student, recipe="distill")


def given(config: Config, task: TinyTask, **more: Any) -> Given:
    bank = tiny_bank(task)
    return Given(config, task, bank, Renderer(config, task, bank, tiny_tokenizer(), CONTEXT, k=0), **more)


def test_the_default_is_what_earlier_versions_taught(
    config: Config, task: TinyTask, caplog: pytest.LogCaptureFixture
) -> None:
    assert config.training.sft.traces == ["bank", "right", "fits", "guided_first"]
    with caplog.at_level(logging.INFO, "realm.traces"):
        found = run_steps(config.training.sft.traces, given(config, task))
    assert "bank 48, right 24, fits 24, guided_first 12; short enough 12" in caplog.text
    assert {trace.cot.id for trace in found} == {f"{row.id}/tiny/0" for row in task.rows("train")}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"taught": "positive"}, ["bank", "right", "fits", "guided_first"]),
        ({"guided_first": False}, ["bank", "right", "fits"]),
        ({"taught": "distinct", "guided_first": True}, ["bank", "right", "fits", "distinct"]),
        ({"taught": "all"}, ["bank", "fits"]),
        ({"taught": "contrast"}, [{"tailored": {"contrast": True}}]),
    ],
)
def test_settings_of_before_are_lists(before: dict[str, Any], now: list[Any]) -> None:
    read = Config.model_validate({"training": {"recipe": "distill", "sft": before}})
    assert read.training.sft.traces == now


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[bank, rihgt]", r"training.sft.traces.1: expected adapt.*|.*did you mean right"),
        ("[bank, {right: 3}]", "expected a name, or one name with its options"),
        ("[[bank]]", "expected a name, or one name with its options"),
        ("[]", "at least 1 item"),
        ("bank", "valid list"),
        ("null", "valid list"),
    ],
)
def test_what_is_no_list_of_steps_is_refused(value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        load_config(None, ["training.recipe=distill", f"training.sft.traces={value}"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mots": 3}, "has no option mots; it has most"),
        ({"most": "many"}, "most: Input should be a valid integer"),
    ],
)
def test_options_are_checked(options: dict[str, Any], said: str, config: Config, task: TinyTask) -> None:
    with pytest.raises(ConfigError, match=f"training.sft.traces: tiny_steps:short: {said}"):
        run_steps(["bank", {"tiny_steps:short": options}], given(config, task))
    bound("steps", {"tiny_steps:short": {"most": 3}})


@pytest.mark.parametrize(
    ("point", "name", "options"),
    [
        ("miners", "bank", {"most": -1}),
        ("miners", "rollout", {"samples": 0}),
        ("miners", "corrected", {"tries": 0}),
        ("weighs", "critical", {"most": -1}),
        ("weighs", "critical", {"elsewhere": -1}),
        ("weighs", "mentor", {"model": "m", "top": -1}),
        ("steps", "explain", {"answer": -1}),
        ("steps", "pattern", {"must": "("}),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_before_anything_starts(
    point: str, name: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"training.*: {name}: {[*options][-1]}: Input should be"):
        bound(point, {name: options})


def test_nothing_left_says_which_steps(config: Config, task: TinyTask) -> None:
    with pytest.raises(DataError, match=re.escape("training.sft.traces (bank, tiny_steps:short) leave no CoT")):
        run_steps(["bank", "tiny_steps:short"], given(config, task))


def test_an_entry_without_options_is_a_name() -> None:
    config = load_config(None, ["training.recipe=distill", "training.sft.traces=[bank, {right: }, {fits: {}}]"])
    assert config.training.sft.traces == ["bank", "right", "fits"]


def test_traces_are_read_back_as_they_were(
    config: Config, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Trace(
        Question("q", "what \ud800 <is> it", "1", tags=("a", "b"), difficulty=2),
        CoT("q", "thinking \udfff", "1", None, "someone", comments=("c",), seconds=1.5),
        turn="t", instruction="shortly", weight=0.5, spans=(Span(0, 3, 0.0),), tags={"n": 2.0, "kind": "long"},
    )  # fmt: skip

    def later(entries: Any, given: Given) -> list[Trace]:
        given.student()
        given.spent.teacher_tokens += 7
        return [odd]

    monkeypatch.setattr(pipeline, "run_steps", later)
    here = given(config, task, students=lambda which, spent: None, place=tmp_path)
    assert made(["x"], here, tmp_path / "traces" / "sft-0.json") == [odd]
    monkeypatch.setattr(pipeline, "run_steps", lambda *_: given(config, task).student())
    assert made(["x"], here, tmp_path / "traces" / "sft-0.json") == [odd], "from the file"
    assert spent_in(tmp_path / "traces").teacher_tokens == 7
    assert vars(spent_in(tmp_path / "nowhere")) == vars(Spent())


def test_what_another_model_took_is_counted_once(config: Config, task: TinyTask, tmp_path: Path) -> None:
    """It is there while a run is prepared, so that all is made anew on each start; the last one counts."""

    def by_a_mentor(given: Given) -> list[int]:
        given.spent.tokens += 5
        return [1]

    kept = tmp_path / "traces" / "sft-0-weights.json"
    for _ in range(2):
        assert once(by_a_mentor, given(config, task, place=tmp_path), kept, "targets", str, int) == [1]
    assert spent_in(tmp_path / "traces").tokens == 5
    assert once(lambda _: [1], given(config, task), tmp_path / "none" / "sft-0.json", "targets", str, int) == [1]
    assert not (tmp_path / "none").exists(), "nothing was spent"


def test_other_processes_wait_for_the_file(
    config: Config, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, waits = tmp_path / "sft-0.json", list[float]()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            kept.write_text(json.dumps({"spent": {}, "traces": []}))

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(pipeline.time, "sleep", sleep)
    assert made(["tiny_steps:said"], given(config, task), kept) == []
    assert waits == [1, 1, 1]


def test_a_student_is_there_only_as_the_stage_begins(config: Config, task: TinyTask) -> None:
    for wanted in ("student", "folder", "verifier"):
        with pytest.raises(LaterError):
            found = getattr(given(config, task), wanted)
            found()


def test_what_the_student_writes_is_taught_and_a_resumed_run_learns_the_same(config: Config, tmp_path: Path) -> None:
    """Sampled once: the file is what a run that was killed goes on with."""
    config = config.changed({"training.sft.traces": [{"tiny_steps:said": {"samples": 2}}], "run.name": "straight"})
    straight = go(config, bank=None)
    cut = config.changed({"run.name": "cut"})
    with pytest.raises(Killed):
        go(cut, bank=None, progress=killed_at("sft", 0, 3))
    kept = tmp_path / "cut" / "traces" / "sft-0.json"
    before = kept.stat().st_mtime_ns
    resumed = go(cut, bank=None, resume=True)
    assert kept.stat().st_mtime_ns == before
    one, other = weights(straight.path / "model"), weights(resumed.path / "model")
    assert all(one[name].equal(other[name]) for name in one)
    spent = json.loads(kept.read_text())["spent"]
    assert spent["completions"] == 2 * len(TinyTask().rows("train"))
    cost, left = resumed.meta.cost, spent["completions"]
    assert cost is not None
    assert cost.completions == spent["completions"]
    taught = Taught(round=0, steps=(Left(step="tiny_steps:said", traces=left),), short_enough=left)
    assert resumed.meta.taught == straight.meta.taught == (taught,), "noted as they were made"
    assert cost.tokens > spent["tokens"] > spent["completions"]


def test_a_fresh_stage_is_taught_by_the_student_before_it(
    config: Config, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of its own, an untrained model, a kind of others: it learns from what the first one writes."""
    stages = [
        Stage("rl", 0, 2, 0),
        Stage("tiny_steps:kind", 1, 3, 0, fresh=True, traces=("tiny_steps:said",)),
    ]
    recipe = Recipe("two", lambda _: stages, shows_routes=False)
    monkeypatch.setitem(sys.modules["realm.recipes"].RECIPES, "two", recipe)
    heard: list[Any] = []

    def listen(self: Voice, prompts: Any, **how: Any) -> Any:
        heard.append(next(self.model.parameters()).detach().clone())
        return write(self, prompts, **how)

    write = Voice.write
    monkeypatch.setattr(Voice, "write", listen)
    config = config.changed({"training.recipe": "two", "training.eval_questions": 0, "training.rl.steps": 2})
    run = go(config, bank=None)
    first = weights(run.path / "checkpoints" / "rl" / "round-0" / "model")
    name = "model.embed_tokens.weight"
    assert len(heard) == 1
    assert heard[0].equal(first[name])
    assert not first[name].equal(weights(student)[name])
    assert [(row.stage, row.round, row.step) for row in run.read(Step)] == [
        ("rl", 0, 1), ("rl", 0, 2), ("sft", 1, 1), ("sft", 1, 2), ("sft", 1, 3),
    ]  # fmt: skip
