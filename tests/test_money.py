"""Prices and sums carry their unit."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from realm.config import load_config
from realm.errors import ConfigError
from realm.money import parse_money, parse_price


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0.27 USD per 1M tokens", "0.00000027"),
        ("0.27 USD / M tokens", "0.00000027"),
        ("2 EUR per 1k tokens", "0.002"),
        ("0.27 USD per 1000 tokens", "0.00027"),
        ("0.27 USD per million tokens", "0.00000027"),
        ("1 EUR per token", "1"),
    ],
)
def test_a_price_is_that_of_one_token(text: str, amount: str) -> None:
    assert parse_price(text).amount == Decimal(amount)


@pytest.mark.parametrize(
    "text", ["0.27", "USD", "0.27 USD", "0.27 per 1M tokens", "-1 USD per 1M tokens", "1 usd/1M tokens"]
)
def test_a_price_without_its_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="needs its currency and unit"):
        parse_price(text)


def test_a_sum_needs_its_currency() -> None:
    assert parse_money("5 USD").currency == "USD"
    with pytest.raises(ValueError, match="needs its currency"):
        parse_money("5")


BIG = "teachers: {big: {kind: openai, model: m%s}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BIG % ", price: {input: 0.27}", r"teachers.big.price: a price needs its currency and unit.*found '0.27'"),
        (
            BIG % ", price: {input: 1 USD per 1M tokens, output: 1 EUR per 1M tokens}",
            "in one currency, found EUR and USD",
        ),
        (BIG % "" + "collect: {budget: {cost: 5}}", "a sum of money needs its currency"),
        (BIG % "" + "collect: {budget: {cost: 5 USD}}", "needs both prices of every teacher; big lacks one"),
        (
            BIG % ", price: {input: 1 EUR per 1M tokens, output: 1 EUR per 1M tokens}"
            + "collect: {budget: {cost: 5 USD}}",
            "must be in one currency, found EUR and USD",
        ),
        ("teachers: {big: {kind: openai}}", "a teacher of kind openai needs a `model`"),
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
