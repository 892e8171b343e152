"""Which model is best on validation: what the rule may name, and the accuracies that it weighs."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.config import Config
from realm.errors import UserError
from realm.evaluation.choosing import accuracies, find_rule
from realm.evaluation.evaluate import evaluate_directory
from realm.student.load import load_tokenizer, resolve
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Two tasks, both of the desk, of six questions a split."""
    other = "task: {name: desk, max_test: 5}\nrun: {seed: 1}\ntraining: {rl: {max_completion_length: 99}}\n"
    (tmp_path / "other.yaml").write_text(other, encoding="utf-8")
    asked = {"task.max_test": 6, "training.rl.max_completion_length": 120, "routes.k": 0}
    return Config().changed({**asked, "evaluation.also": str(tmp_path / "other.yaml")})


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"test": 1}, r"not what results are told of \(desk has validation, validation_ood, validation_uncommented\)"),
        ({"validation_odd": 1}, "found validation_odd"),
        ({"other:test": 1}, "found other:test"),
        ({"another:validation": 1}, "evaluation.also names no task another; it names other"),
    ],
)
def test_what_a_rule_may_not_name_is_told(config: Config, rule: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_rule(config.changed({"training.best": rule}), load_task(config))
    with pytest.raises(UserError, match="names no task other, nor any other"):
        find_rule(Config().changed({"training.best": {"other:validation": 1}}), load_task(config))
    assert find_rule(config, load_task(config)) == []


def test_accuracies_are_those_of_an_evaluation(config: Config, tmp_path: Path) -> None:
    config = config.changed({"training.best": {"validation_uncommented": 1, "other:validation_ood": 3}})
    rule = find_rule(config, load_task(config))
    assert [(part.name, part.weight, len(part.questions)) for part in rule] == [
        ("validation_uncommented", 1.0, 6),
        ("other:validation_ood", 3.0, 5),
    ]
    base = Path(resolve("desk-base"))
    found = list(accuracies(rule, [base, base], load_tokenizer(base, config.model), config))
    for name, split, part in (("validation_uncommented",) * 2 + (0,), ("other:validation_ood", "validation_ood", 1)):
        settings = rule[part].config.changed({"evaluation.splits": [split]})
        with VerifierPool(rule[part].task.verifier.name) as pool:
            (row,) = evaluate_directory(base, settings, rule[part].task, None, pool, out=tmp_path / split)
        assert found[0][name] == row.accuracy
    assert found[0] == found[1]
