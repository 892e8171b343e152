"""A verifier for each kind of question: what it takes for right, in every room that judges, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realm.analysis.patterns import analyse
from realm.analysis.stats import statistics
from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.bank.labelling import label_bank
from realm.bank.validate import validate
from realm.cli.bank_common import verifier_pool
from realm.cli.show import annotate
from realm.config import Config, load_config
from realm.errors import ConfigError
from realm.method.routes import Route
from realm.pages.card import surface
from realm.plugins import named
from realm.student.judging import classes, copied
from realm.student.scoring import Asked, Judge
from realm.tasks.base import Question, Task
from realm.tasks.hints import answer_hint
from realm.tasks.registry import load_task
from realm.tasks.verify import verifier
from realm.tasks.workers import VerifierPool
from tests.tiny import tiny_tokenizer

BY = {"default": "exact", "sum": "number", "vote": "choice"}
NAME = json.dumps(BY)
CHOICES = ["yes", "no"]
SUM, VOTE, OTHER = (
    Question(f"q{kind}", f"a {kind}", gold, kind=kind) for kind, gold in (("sum", "18"), ("vote", "no"), ("", "3"))
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for number in range(10):
        rows += [
            {"question": f"{number} plus 1", "answer": str(number + 1), "kind": "sum"},
            {"question": f"is {number} even", "answer": CHOICES[number % 2], "kind": "vote"},
            {"question": f"spell {number}", "answer": f"word {number}"},
        ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(file: Path, by: Any = BY, **more: Any) -> Config:
    return Config.model_validate(
        {"task": {"name": "jsonl", "path": str(file), "verifier": by, "choices": CHOICES, **more}}
    )


def loaded(file: Path, by: Any = BY) -> Task:
    return load_task(config(file, by))


def test_each_kind_is_judged_by_its_own(file: Path) -> None:
    found = config(file)
    by = load_task(found).verifier
    name = by.name
    assert json.loads(name) == BY and name == found.task.verifier_name
    assert by("3", "3") and not by("3.0", "3") and by.key("3.0") == "3.0", "no kind is told"
    claims = [
        SUM.claim("18.0"), SUM.claim("eighteen"),
        VOTE.claim("**No.**"), VOTE.claim("yes"),
        OTHER.claim("3"), OTHER.claim("3.0"),
    ]  # fmt: skip
    with VerifierPool(name, CHOICES) as pool:
        verdicts = pool.verify(claims)
        assert pool.verify([("3", "3"), ("3.0", "3", "a sum")]) == [verdicts[4], verdicts[5]], "no kind is told"
    assert [(one.correct, one.reason) for one in verdicts] == [
        (True, ""), (False, "unreadable"), (True, ""), (False, ""), (True, ""), (False, ""),
    ]  # fmt: skip


def test_commands_on_a_bank_give_it_its_choices(file: Path) -> None:
    for name, choices in ((NAME, CHOICES), ("choice", CHOICES), ("exact", [])):
        with verifier_pool(name, config(file)) as pool:
            assert list(getattr(pool.verifier, "choices", ())) == choices and pool.verify([VOTE.claim("no")])[0].correct


def test_one_that_needs_a_process_takes_the_others_with_it() -> None:
    by = json.dumps({"default": "exact", "sum": "python"})
    with VerifierPool(by) as pool:
        verdicts = pool.verify([SUM.claim("18.0"), OTHER.claim("3.0"), OTHER.claim("3")])
        assert [one.correct for one in verdicts] == [True, False, True]
        assert any(pool._workers), "a literal is never read in this process"


def test_rewards_copies_and_classes_follow_the_kind() -> None:
    texts = ["<think> x </think> <answer> 18.0 </answer>"] * 2
    asked = [Asked("a sum", "18", kind="sum"), Asked("a sum", "18")]
    with VerifierPool(NAME, CHOICES) as pool:
        assert [item.correct for item in Judge(pool)(texts, asked)] == [True, False]
        routes = [Route("a", "", "17", 0)]
        assert copied(pool, [("17.0", False, routes, SUM), ("17.0", False, routes, OTHER)]) == [True, False]
        said = classes(pool, ["NO", "no", "no"], CHOICES, [VOTE, OTHER, SUM])
    assert said == ["no", None, None], "macro-F1 is of the kinds that have classes"


def test_labels_and_figures_of_a_bank_follow_the_kind(tmp_path: Path) -> None:
    folder = BankFolder.create(tmp_path / "bank", {}, [SUM, OTHER, replace(VOTE, id="bad", answer="V")])
    with folder.lock(), folder.writer() as writer:
        cots = [
            CoT(one.id, "t", answer, None, id=f"{one.id}{answer}")
            for one in (SUM, OTHER)
            for answer in ("18.0", "3.0", "3")
        ]
        writer.write([*cots, CoT("bad", "t", "eighteen", None, id="bad")])
    with VerifierPool(NAME, CHOICES) as pool:
        outcomes = label_bank(folder, pool, choices=CHOICES)["outcomes"]
        assert outcomes == {"right": 2, "wrong": 4, "unreadable gold": 1}, "as a text V is a gold"
        assert {cot.id: cot.label for cot in folder.scan()} == {
            "qsum18.0": 1, "qsum3.0": 0, "qsum3": 0, "q18.0": 0, "q3.0": 0, "q3": 1, "bad": None,
        }  # fmt: skip
        assert "contradiction" not in {one.kind for one in validate(folder, pool=pool)}
        with pytest.raises(ConfigError, match=r"others of .* would be mixed"):
            label_bank(folder, pool, choices=["yes", "never"])
    assert BankFolder.open(folder.path).info["verifier"] == NAME
    groups = [(one, [cot for cot in folder.scan() if cot.question_id == one.id]) for one in (SUM, OTHER)]
    told = statistics(groups, verifier=verifier(NAME, CHOICES))["redundancy"]
    assert told["distinct_answers_histogram"] == {"2": 1, "3": 1}, "3 and 3.0 are one number, and two texts"
    patterns = analyse(groups, verifier=verifier(NAME, CHOICES), permutations=20, minimum=1)
    assert patterns.text_agreement == 0.5, "of two pairs of wrong answers the sums agree"


def test_the_configuration_is_read_back_as_it_was(file: Path, tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(annotate(config(file)))
    assert load_config(tmp_path / "shown.yaml").task == config(file).task
    set_here = load_config(tmp_path / "shown.yaml", ["task.verifier={vote: choice, default: exact, sum: number}"])
    assert set_here.task.verifier_name == config(file).task.verifier_name, "the order says nothing"


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ({"sum": "number"}, "task.verifier: expected a name, or {KIND: NAME, default: NAME}"),
        ({"default": "exact", 1: "number"}, "every KIND and NAME a text in quotes"),
        (3, "task.verifier: expected a name, or {KIND: NAME, default: NAME}"),
        ({"default": "exact", "sum": "numbr"}, r"task.verifier.sum: expected exact, number, .*did you mean number"),
        ({"default": "exact", "sums": "number"}, r"no question is of the kind 'sums'; the kinds are 'sum', 'vote'"),
        ({"default": "number", "sum": "exact"}, "the gold '.*' does not verify .*, verifier number"),
    ],
)
def test_what_cannot_work_is_told(file: Path, tmp_path: Path, by: Any, message: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(json.dumps({"task": {"name": "jsonl", "path": str(file)}}))
    text = json.dumps(by) if not (isinstance(by, dict) and 1 in by) else "{default: exact, 1: number}"
    with pytest.raises(Exception, match=message.replace("{", r"\{")) as found:
        load_task(load_config(path, [f"task.verifier={text}"]))
    assert getattr(found.value, "__module__", "") == "realm.errors" and "\n" not in str(found.value)


def test_a_kind_may_be_of_the_held_out_questions_alone(file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.jsonl"
    plain.write_text("".join(json.dumps({"question": f"say {one}", "answer": one}) + "\n" for one in "abcde"))
    assert {one.kind for one in load_task(config(plain, test_path=str(file))).rows("test")} == {"sum", "vote", ""}


def test_plugins_among_them_are_known(file: Path) -> None:
    by = {"default": "exact", "sum": "my_parts:near"}
    named_here = [(key, one) for key, point, one in named(config(file, by).model_dump()) if point == "verifiers"]
    assert named_here == [("task.verifier", "exact"), ("task.verifier", "my_parts:near")]


def test_choices_are_needed_and_said(file: Path) -> None:
    with pytest.raises(ValueError, match="at least two entries for the verifier `choice`"):
        config(file, choices=[])
    task = loaded(file)
    assert surface(config(file), task, tiny_tokenizer()).choices == CHOICES, "what its card says"
    assert task.labels == ("yes", "no") and "number" not in task.wording.question, "one of them takes any form"
    assert answer_hint('{"a": "number", "b": "number", "default": "choice"}', CHOICES) == (
        "The answer is one number, written in digits, or one of: yes, no."
    )


@pytest.mark.parametrize("name", ["{", '{"sum": "number"}', '{"default": 1}', '{"a":' * 100_000, '{"default": "{}"}'])
def test_a_name_that_files_hold_may_be_anything(name: str) -> None:
    with pytest.raises(ConfigError, match=r"task\.verifier"):
        verifier(name)
