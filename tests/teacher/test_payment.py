"""Who is asked can be paid, in one currency."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.config import load_config
from realm.errors import ConfigError

BIG = "teachers: {big: {kind: openai, model: m%s}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BIG % ", price: {input: 1 USD}", r"teachers.big.price.input: Input should be a valid number.*found '1 USD'"),
        (BIG % ", price: {input: 1, currency: usd}", "teachers.big.price.currency: String should match pattern"),
        (BIG % ", price: {input: 1}" + "collect: {budget: {cost: 5}}", "both prices of every teacher; big lacks one"),
        (
            "teachers:\n  a: {kind: openai, model: m, price: {input: 1}}\n"
            "  b: {kind: openai, model: m, price: {input: 1, currency: EUR}}\n",
            "must be in one currency, found EUR and USD",
        ),
        ("teachers: {big: {kind: openai}}", "a teacher of kind openai needs a `model`"),
        (
            "teachers: {big: {kind: transformers, model: m, batch: 24h}}",
            "only a teacher of kind openai is asked by `batch`",
        ),
        (BIG % ", batch: soon", "teachers.big.batch: String should match pattern"),
        ("teachers: {}", "at least one with a share above 0"),
        ("teachers: {big: {modell: x}}", r"unknown key teachers.big.modell; did you mean teachers.NAME.model\?"),
        ("teacher: {kind: scripted}", r"unknown key teacher; did you mean teachers\?"),
    ],
)
def test_a_teacher_that_cannot_be_paid_or_asked_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)
