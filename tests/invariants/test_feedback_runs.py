"""Runs whose prompts and questions depend on what came before: resumed equals straight, two processes equal one."""

from pathlib import Path

import pytest

from realm.config import Config
from realm.method.schedule import Schedule
from realm.run import RunFolder
from realm.training.grpo import RouteTrainer
from tests.invariants.test_processes import DICTATED, PROGRAM, two_processes
from tests.invariants.test_resume import assert_resumed
from tests.tiny import Killed, figures, go, killed_at, tiny_config, weights
from tests.training import dictated
from tests.training.two_kinds import TwoKinds

FADE = {"schedule": "adaptive", "per": "kind", "probe": 0.3, "floor": 0.05, "memory": 0.5, "target": 0.6}


def config_of(folder: Path, student: Path, **training: object) -> Config:
    config = tiny_config(folder, student, **training)
    return Config.model_validate({**config.model_dump(), "fade": FADE})


def assert_fed_back(run: RunFolder) -> None:
    """p is below the cosine's where it can be told, and the weights move: the run is one to compare by."""
    metrics = [row for row in figures(run.path, "metrics.jsonl") if row["tau"] is not None]  # the steps that generate
    cosine = [Schedule().p(row["tau"]) for row in metrics]
    assert all(row["p"] <= most + 1e-6 for row, most in zip(metrics, cosine, strict=True))
    assert any(row["p"] < most - 0.05 for row, most in zip(metrics[2:], cosine[2:], strict=True))
    assert 0 <= metrics[-1]["route_free_success"] <= 1
    assert metrics[0]["domain_weights"] == {"easy": 0.5, "hard": 0.5}
    assert len({row["domain_weights"]["hard"] for row in metrics}) > 2


@pytest.mark.parametrize(
    "rl", [{}, {"num_iterations": 2, "micro_batch_size": 8}], ids=["default", "a-batch-used-twice"]
)
def test_resumed_is_straight(tmp_path: Path, student: Path, rl: dict[str, int]) -> None:
    options = {"rl": {"steps": 10, "sampler": "dynamic", **rl}, "eval_questions": 0, "sample_every": 1}
    straight = go(config_of(tmp_path / "straight", student, **options), TwoKinds())
    assert_fed_back(straight)
    stopped = config_of(tmp_path / "stopped", student, **options)
    with pytest.raises(Killed):
        go(stopped, TwoKinds(), progress=killed_at("rl", 0, 7))
    assert_resumed(go(stopped, TwoKinds(), resume=True), straight)


def test_a_resumed_run_rests_on_the_state_in_the_checkpoint(tmp_path: Path, student: Path) -> None:
    """The test above could not fail otherwise."""
    options = {"rl": {"steps": 10, "sampler": "dynamic"}, "eval_questions": 0}
    straight = go(config_of(tmp_path / "straight", student, **options), TwoKinds())
    stopped = config_of(tmp_path / "stopped", student, **options)
    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        patch.setattr("realm.training.feedback.Feedback.learn", lambda *_: None)
        go(stopped, TwoKinds(), progress=killed_at("rl", 0, 7))
    resumed = go(stopped, TwoKinds(), resume=True)
    assert figures(resumed.path, "metrics.jsonl")[-1] != figures(straight.path, "metrics.jsonl")[-1]


def test_the_hard_kind_is_asked_more_than_its_share(tmp_path: Path, student: Path) -> None:
    """A quarter of the questions is hard; even sampling asks them a quarter of the time."""
    rl = {"steps": 24, "sampler": "dynamic", "sampler_temperature": 0.1, "sampler_memory": 0.5}
    options = {"eval_questions": 0, "sample_every": 1, "sample_groups": 4, "save_every": 99}
    run = go(config_of(tmp_path, student, rl=rl, **options), TwoKinds())
    asked = [row["kind"] for row in figures(run.path, "completions.jsonl") if row["step"] > 6]
    assert len(asked) == 18 * 4
    assert asked.count("hard") > 0.6 * len(asked)
    assert asked.count("easy") > 0


@pytest.mark.slow
def test_two_processes_do_what_one_does(tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same completions and groups that are cut over the processes: questions, routes, p and weights."""
    rl = {"steps": 8, "batch_size": 12, "micro_batch_size": 12, "sampler": "dynamic"}
    options = {"rl": rl, "eval_questions": 0, "sample_every": 1, "sample_groups": 1}
    monkeypatch.setattr(RouteTrainer, "_generate_single_turn", dictated.completions())
    one = go(config_of(tmp_path / "one", student, **options), TwoKinds())
    assert_fed_back(one)
    apart = {**options, "rl": {**rl, "micro_batch_size": 3}}
    program = (
        PROGRAM.replace('recipe="realm-r1", **MICRO)', f"**{apart!r})\nconfig = type(config).model_validate("
                        f"{{**config.model_dump(), 'fade': {FADE!r}}})")
        .replace("config = tiny", DICTATED.replace("ENDS_FROM", "None") + "config = tiny")
        .replace("task = TinyTask()", "from tests.training.two_kinds import TwoKinds\ntask = TwoKinds()")
    )  # fmt: skip
    two = two_processes(program, tmp_path, student)
    for alone, shared in zip(figures(one.path, "metrics.jsonl"), figures(two.path, "metrics.jsonl"), strict=True):
        for name in ("route_free_success", "domain_weights"):
            assert shared.get(name) == alone.get(name), (name, alone["step"])
        for name in ("reward", "accuracy", "completion_tokens", "tokens"):
            assert shared[name] == pytest.approx(alone[name], abs=1e-6), name
    alone, shared = figures(one.path, "completions.jsonl"), figures(two.path, "completions.jsonl")
    for name in ("question_id", "prompt", "p"):
        assert [row[name] for row in shared] == [row[name] for row in alone], name
    wanted, found = weights(one.path / "model"), weights(two.path / "model")
    for name, tensor in wanted.items():
        assert (found[name] - tensor).norm() <= 1e-3 * tensor.norm(), name
