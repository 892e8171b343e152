"""`realm ask`: the prompt of training, the answer of an evaluation, and a confidence that is counted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import realm
from realm.cli.app import app
from realm.cli.ask import _lines
from realm.commands.asking import Answer, Student
from realm.commands.configuring import config_of
from realm.commands.evaluating import evaluate
from realm.commands.training import made_ready
from realm.config import Config, dump_config, load_config
from realm.errors import ConfigError, DataError, ModelError
from realm.files import read_jsonl, to_line
from realm.rows.evaluation import Confidence, Estimate
from realm.run import RunFolder
from realm.student.generate import Generation
from tests.tiny import WORDS, TinyTask


def cli(*arguments: object, stdin: str = "") -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), input=stdin)


@pytest.fixture(scope="module")
def student(trained: Path) -> Student:
    return Student(trained)


def test_a_model_is_shown_the_examples_that_its_run_showed(config: Config, trained: Path, tmp_path: Path) -> None:
    """Whatever configuration asks it, unless that words its own."""
    shown, other = ([{"question": "1 plus 1", "think": "is even", "answer": one}] for one in "01")
    run = RunFolder.create(config.changed({"run.dir": str(tmp_path), "prompt.examples": shown}))
    model = shutil.copytree(trained / "model", run.path / "model")
    assert config.prompt.examples == "auto"
    for name, asking, wanted in (("auto", config, shown), ("own", config.changed({"prompt.examples": other}), other)):
        evaluate(asking, model, out=tmp_path / name)
        assert load_config(tmp_path / name).prompt.examples == wanted
        assert Student(model, asking).config.prompt.examples == wanted
        further = asking.changed({"model.path": str(model), "run.name": "further", "training.recipe": "realm-zero"})
        with made_ready(further) as (prepared, _):
            assert prepared.config.prompt.examples == wanted, "trained further, too"
    evaluate(config, config.model.path, out=tmp_path / "base")
    assert load_config(tmp_path / "base").prompt.examples == "auto"


def test_a_model_without_its_run_is_shown_the_examples_that_its_card_says(
    config: Config, trained: Path, tmp_path: Path
) -> None:
    """By an evaluation and by a question alike, unless the configuration words its own."""
    shown, other = ([{"question": "1 plus 1", "think": "is even", "answer": one}] for one in "01")
    model = shutil.copytree(trained / "model", tmp_path / "model")
    file = model / "README.md"
    text = file.read_text()
    assert text.count("    examples: none\n") == 1
    file.write_text(text.replace("    examples: none\n", f"    examples: {json.dumps(shown)}\n"))
    for name, asking, wanted in (("auto", config, shown), ("own", config.changed({"prompt.examples": other}), other)):
        evaluate(asking, model, out=tmp_path / name)
        assert load_config(tmp_path / name).prompt.examples == wanted
        assert Student(model, asking).config.prompt.examples == wanted
    assert Student(model).config.prompt.examples == shown
    file.write_text(text.replace("    examples: none\n", "    examples: 7\n"))
    with pytest.raises(DataError, match=r"README\.md: realm\.prompt\.examples: .*; mend that section or remove it\.$"):
        evaluate(config, model, out=tmp_path / "broken")
    file.write_text(text.partition("realm:")[0] + "---\n")
    evaluate(config, model, out=tmp_path / "untold")
    assert load_config(tmp_path / "untold").prompt.examples == "auto"


def predictions(run: Path, routes: int) -> list[dict[str, Any]]:
    return [row for row in read_jsonl(run / "predictions.jsonl") if row["routes"] == routes]


@pytest.mark.parametrize("routes", [0, 4])
def test_it_answers_as_in_the_evaluation(trained: Path, student: Student, routes: int) -> None:
    for row in predictions(trained, routes)[:3]:
        found = student.ask(row["question"], routes=routes > 0, samples=0)
        (told,) = row["completions"]
        assert (found.text, found.answer, list(found.scores)) == (told["text"], told["answer"], told["scores"])
        assert [route.id for route in found.routes] == [route["id"] for route in row["shown"]]
        assert found.confidence is None


def test_the_prompt_is_that_of_training(trained: Path, student: Student) -> None:
    groups = read_jsonl(trained / "completions.jsonl")
    (alone,) = [row for row in groups if not row["routes"]][:1]
    question = next(one for one in TinyTask().rows("train") if one.id == alone["question_id"])
    assert student.ask(question.question, samples=0).prompt == alone["prompt"]


def test_the_confidence_counts_answers_that_the_verifier_takes_for_the_same(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["<think> x </think> <answer> Yes </answer>"]
    more = ["yes.", "YES", "no", ""]

    def generate(*_: object, samples: int = 1, **__: object) -> list[list[Generation]]:
        said = texts if samples == 1 else [f"<think> x </think> <answer>{one}</answer>" for one in more]
        return [[Generation(one, 3, False) for one in said]]

    monkeypatch.setattr("realm.commands.asking.generate", generate)
    assert student.ask("3 plus 4", samples=4).confidence == 0.5
    texts[0] = "no tags"
    found = student.ask("3 plus 4", samples=4)
    assert (found.answer, found.confidence, found.think) == (None, None, "no tags")


def test_thinking_stops_as_in_the_evaluation(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = []

    def generate(*_: object, stop: Any, **__: object) -> list[list[Generation]]:
        stops.append(stop)
        return [[Generation("no tags", 2, False)]]

    monkeypatch.setattr("realm.commands.asking.generate", generate)
    for temperature in (None, 0.5):
        monkeypatch.setattr(student.config.evaluation, "stop_temperature", temperature)
        student.ask("3 plus 4")
    assert stops == [None, (WORDS.index("</think>"), 0.5)]


def test_programs_are_run_where_the_card_says_so(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(trained / "model", tmp_path / "copy")
    card = copy / "README.md"
    card.write_text(card.read_text().replace("    execute: false", "    execute: true"))

    def generate(*_: object, samples: int = 1, **__: object) -> list[list[Generation]]:
        texts = [f"<think> answer = (3 + {n}) % 2 </think> <answer> 5 </answer>" for n in (4, 6, 5, "x")[:samples]]
        return [[Generation(one, 3, False) for one in texts]]

    monkeypatch.setattr("realm.commands.asking.generate", generate)
    found = Student(copy).ask("3 plus 4", samples=4)
    assert (found.answer, found.executed, found.confidence) == ("1", True, 0.5)
    assert "the program in its thinking, run" in cli("ask", copy, "3 plus 4", "--samples", 0).stdout
    found = Student(trained).ask("3 plus 4", samples=4)
    assert (found.answer, found.executed, found.confidence) == ("5", False, 1.0)


def test_an_answer_depends_on_the_question_alone(student: Student) -> None:
    first = student.ask("3 plus 4")
    student.ask("1 plus 2")
    assert student.ask("3 plus 4") == first
    assert first.confidence is not None and 0 <= first.confidence <= 1


def test_a_model_that_lies_elsewhere_is_asked_by_its_card(trained: Path, student: Student, tmp_path: Path) -> None:
    copy = shutil.copytree(trained / "model", tmp_path / "copy")
    found = Student(copy)
    assert found.ask("3 plus 4") == replace(student.ask("3 plus 4"))
    with pytest.raises(ConfigError, match="lies in no run"):
        found.ask("3 plus 4", routes=True)
    with pytest.raises(ConfigError, match="its base is not known"):
        Student(copy, base=True)
    (copy / "README.md").write_text("# Mine")
    with pytest.raises(ConfigError, match="nowhere: there is no such folder"):
        Student("nowhere")
    with pytest.raises(ConfigError, match=r"copy: nothing tells the prompt .* --config"):
        Student(copy)
    assert Student(copy, realm.load_config(trained)).ask("3 plus 4").text == student.ask("3 plus 4").text


@pytest.fixture(scope="module")
def sure(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model was evaluated anew, with a confidence, where `realm evaluate RUN` leaves that."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("sure") / "run", ignore=lambda *_: ["checkpoints"])
    settings = {"evaluation.confidence": "likelihood", "evaluation.precision": 0.75}
    evaluate(config_of(run).changed(settings), run / "model")
    return run


def with_threshold(run: Path, level: float | None, *passes: int) -> Path:
    """The run, its threshold another one, in all passes or those with so many routes; in others there is none."""
    path = run.with_name("run-evaluation") / "evaluations.jsonl"
    rows = read_jsonl(path)
    for row in rows:
        row["confidence"]["threshold"] = level if row["routes"] in (passes or (0, 4)) else None
    path.write_text("".join(map(to_line, rows)))
    return run


@pytest.mark.parametrize("routes", [0, 4])
def test_it_tells_whether_an_answer_may_be_trusted(sure: Path, routes: int) -> None:
    rows = [row for row in predictions(sure.with_name("run-evaluation"), routes) if row["split"] == "test"]
    levels = {row["question"]: row["completions"][0].get("confidence") for row in rows}
    rated = sorted(level for level in levels.values() if level is not None)
    student = Student(with_threshold(sure, (rated[0] + rated[-1]) / 2, routes) / "model")
    for question, level in levels.items():
        found = student.ask(question, routes=routes > 0, samples=0).trust
        assert found is not None
        assert (found.by, found.precision, found.chosen_on) == ("likelihood", 0.75, "validation")
        assert found.confidence == (level if level is None else pytest.approx(level, rel=1e-3))
        assert found.trusted == (level is not None and level > (rated[0] + rated[-1]) / 2)


def test_whether_to_trust_is_told_on_the_command_line(trained: Path, sure: Path) -> None:
    question = predictions(sure, 0)[0]["question"]

    def told(level: float | None, *options: str) -> str:
        return " ".join(cli("ask", with_threshold(sure, level), question, "--samples", 0, *options).stdout.split())

    from_on = "from which on 75 % of the answers were right on validation"
    assert "trust trusted: 0." in (low := told(0.0001)) and f"at least 0.0001, {from_on}" in low
    assert (
        "trust not trusted: 0." in (high := told(1.0))
        and f"by the mean likelihood of an answer's tokens, below 1.0000, {from_on}" in high
    )
    assert "not trusted: with no confidence 75 % of the answers were right" in told(None)
    assert json.loads(told(None, "--json"))["trust"]["trusted"] is False
    found = json.loads(told(1.0, "--json"))["trust"]
    assert found["trusted"] is False and 0 < found["confidence"] < found["threshold"] == 1.0
    # Nothing is said of the base, by another prompt, of another model, and where nothing was evaluated so.
    assert "trust" not in cli("ask", shutil.copytree(sure / "model", sure / "step-1"), question, "--samples", 0).stdout
    assert told(0.5, "--base").count("not told") == 3, "nor any confidence, of no sample"
    assert "trust" not in told(0.5, "--config", str(sure))
    assert "trust" not in cli("ask", trained, question, "--samples", 0).stdout
    assert "trust" not in json.loads(cli("ask", trained, question, "--samples", 0, "--json").stdout)
    beside, own = sure.with_name("run-evaluation"), sure / "evaluations.jsonl"
    meta, settings, finals = (path.read_text() for path in (beside / "meta.json", beside / "config.yaml", own))
    for name, kept, other in (
        ("meta.json", meta, meta.replace(f"{sure}/model", f"{trained}/model")),
        ("meta.json", meta, ""),
        ("config.yaml", settings, dump_config(realm.load_config(beside).changed({"evaluation.samples": 2}))),
    ):
        (beside / name).write_text(other)
        assert "trust" not in told(0.5)
        (beside / name).write_text(kept)
    # That of the run itself comes first, where it has chosen a threshold.
    shutil.copy(with_threshold(sure, 0.0001).with_name(beside.name) / own.name, own)
    assert "trust trusted" in told(1.0)
    own.write_text(own.read_text().replace('"chosen_on": "validation"', '"chosen_on": null'))
    assert "trust not trusted" in told(1.0)
    own.write_text(finals)


def test_votes_and_what_is_stated_are_held_against_the_threshold(
    trained: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, more = ["<answer> 8 </answer> confidence: 0.6"], ["3", "8", "8.", "8"]
    any_ = Estimate(value=0.5, low=0.5, high=0.5)
    likely = Confidence(
        by="votes", n=1, missing=0, ece=None, brier=None, auroc=None, aurc=any_, aurc_best=0.5, curve=(), wanted=0.9,
        chosen_on="validation", threshold=0.5,
    )  # fmt: skip

    def generate(*_: object, samples: int = 1, **__: object) -> list[list[Generation]]:
        said = texts if samples == 1 else [f"<think> x </think> <answer>{one}</answer>" for one in more[:samples]]
        return [[Generation(one, 3, False) for one in said]]

    monkeypatch.setattr("realm.commands.asking.generate", generate)

    def trust(by: str, evaluated: int, **how: Any) -> Any:
        settings = config.evaluation.model_copy(update={"samples": evaluated})
        found = settings, {False: replace(likely, by=by)}
        monkeypatch.setattr("realm.commands.asking._sure", lambda *_: found)
        return Student(trained).ask("3 plus 4", **how).trust

    found = trust("stated", 1)
    assert (found.confidence, found.trusted) == (0.6, True)
    found = trust("votes", 4)
    assert (found.confidence, found.trusted) == (0.5, True), "8. is the same, but another vote"
    assert trust("votes", 4, samples=3) is None, "so many were not the evaluation's"
    more[0] = more[1] = "3"
    found = trust("votes", 4)
    assert (found.confidence, found.trusted) == (None, False), "most say otherwise"
    assert "most of its samples have another" in cli("ask", trained, "3 plus 4").stdout.replace("\n", " ")
    assert trust("stated", 2) is None, "of sampled answers"
    texts[0] = "<answer> 8 </answer>"
    assert not trust("stated", 1).trusted and "no confidence (it states none)" in cli("ask", trained, "3 plus 4").stdout
    texts[0] = "no tags 0.6"
    assert trust("votes", 4).confidence is None and "(no answer)" in cli("ask", trained, "3 plus 4").stdout


def test_no_card_names_code_to_be_run(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained / "model", tmp_path / "copy")
    card = copy / "README.md"
    text, other = card.read_text(), '{"default": "number", "odd": "antigravity:nothing"}'
    for name, by in (
        ("antigravity:nothing", "exact"),
        (other, "exact"),
        (other.replace("antigravity:nothing", "exact"), None),
    ):
        card.write_text(text.replace("  verifier: exact", f"  verifier: '{name}'"))
        found = Student(copy)
        assert found.ask("3 plus 4", samples=0).answer and found._pool.verifier.name == (by or name)


def test_a_plug_in_that_selects_routes_is_not_wanted_where_none_are_shown(
    trained: Path, config: Config, student: Student
) -> None:
    other = config.model_copy(deep=True)
    other.routes.selection = "nobodys:selection"
    assert Student(trained, other).ask("3 plus 4").text == student.ask("3 plus 4").text


def test_a_card_that_unfolds_without_end(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained / "model", tmp_path / "copy")
    laughs = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(30))
    card = copy / "README.md"
    told = card.read_text().replace("template_arguments: {}", "template_arguments: {unread: *a29}")
    card.write_text(told.replace("---\n", f"---\n{laughs}", 1))
    with pytest.raises(ConfigError, match="unread"):
        Student(copy)


def test_a_model_of_a_run_without_a_card(trained: Path, tmp_path: Path, student: Student) -> None:
    """As earlier versions left it."""
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "model" / "README.md").unlink()
    for place in (run, run / "model"):
        assert Student(place).ask("3 plus 4") == student.ask("3 plus 4")


def test_the_base_is_asked_in_the_same_prompt(trained: Path, config: Config) -> None:
    found = Student(trained, base=True)
    assert found.path == config.model.path
    row = predictions(trained, 0)[0]
    assert found.ask(row["question"], samples=0).prompt == Student(trained).ask(row["question"], samples=0).prompt


def test_what_is_refused(trained: Path, student: Student, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`3 plus 9`: is no question of the bank"):
        student.ask("3 plus 9", routes=True)
    with pytest.raises(ConfigError, match="empty"):
        student.ask(" \n")
    with pytest.raises(ConfigError, match="samples: expected a whole number, 0 or more, found '3'"):
        student.ask("3 plus 4", samples="3")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"question `1 1 1 .*…`: its prompt needs"):
        student.ask("1 " * 500)
    with pytest.raises(ModelError, match="no such model directory"):
        Student(tmp_path / "nothing")
    run = shutil.copytree(trained, tmp_path / "run", ignore=lambda *_: ["model", "checkpoints"])
    with pytest.raises(ConfigError, match=r"run has no model yet.* --resume"):
        Student(run)


def test_one_question_on_the_command_line(trained: Path) -> None:
    question = predictions(trained, 0)[0]["question"]
    told = cli("ask", trained, question, "--base", "--routes", "--show-prompt")
    assert told.exit_code == 0, told.output
    for part in ("trained", "base", "thinking", "judged ", "answer", "of 10 sampled", "user:", "prompt:\n<|user|> "):
        assert part in told.stdout
    refused = cli("ask", trained, "3 plus 9", "--routes")
    assert refused.exit_code == 2 and refused.output.count("\n") == 1 and "no question of the bank" in refused.output


def test_questions_from_stdin(trained: Path) -> None:
    told = cli("ask", trained, "--json", "--samples", 2, stdin=f"3 plus 4\n\n  \n{'1 ' * 500}\n1 plus 2")
    assert told.exit_code == 2, "one of them was refused"
    first, second, third = map(json.loads, told.stdout.splitlines())
    assert (first["model"], first["question"], third["question"]) == ("trained", "3 plus 4", "1 plus 2")
    assert "its prompt needs" in second["error"] and "prompt" not in first
    assert cli("ask", trained, stdin="\n").exit_code == 0
    plain = cli("ask", trained, "--samples", 0, stdin="3 plus 4\n1 plus\x1b 2").stdout
    assert "\n3 plus 4\nthinking" in plain and "\n1 plus\\x1b 2\nthinking" in plain, "each answer below its question"
    assert "3 plus 4" not in cli("ask", trained, "3 plus 4", "--samples", 0).stdout.partition("thinking")[0]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ConfigError, match="stdin is closed"):
        patch.setattr("sys.stdin", None)  # as Python leaves it for `<&-`
        list(_lines())


def test_what_a_model_wrote_does_not_act_on_the_terminal(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b[2J[bold]\u202ex"
    made = Answer("q", evil, evil, 0.5, 2, (), (), evil, (), True, ({"role": "user", "content": evil},), evil)
    monkeypatch.setattr("realm.commands.asking.Student.ask", lambda *_, **__: made)
    for options in ((), ("--json",), ("--show-prompt",), ("--base",)):
        told = cli("ask", trained, "q", *options)
        assert told.exit_code == 0 and "\x1b" not in told.output and "\u202e" not in told.output
    assert "\\x1b[2J[bold]\\u202ex" in cli("ask", trained, "q").stdout
