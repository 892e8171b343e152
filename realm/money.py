"""Prices and sums of money as people write them, with their unit: `0.27 USD per 1M tokens`, `5 USD`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_PRICE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Z]{3})\s*(?:per|/)\s*(1?[kM]|1|1000|1000000|million|)\s*tokens?\s*")
_MONEY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Z]{3})\s*")
_THOUSAND, _MILLION = dict.fromkeys(("k", "1k", "1000"), 1000), dict.fromkeys(("M", "1M", "1000000", "million"), 10**6)
_SCALE = {"": 1, "1": 1, **_THOUSAND, **_MILLION}


@dataclass(frozen=True)
class Money:
    """An amount in a currency (three capital letters); for a price, the amount of one token."""

    amount: Decimal
    currency: str


def parse_price(text: str) -> Money:
    """The price of one token. Raises `ValueError` where number, currency or unit is missing."""
    match = _PRICE.fullmatch(text)
    if not match:
        raise ValueError(f'a price needs its currency and unit, e.g. "0.27 USD per 1M tokens", found {text!r}')
    return Money(Decimal(match[1]) / _SCALE[match[3]], match[2])


def parse_money(text: str) -> Money:
    """A sum of money. Raises `ValueError` where number or currency is missing."""
    match = _MONEY.fullmatch(text)
    if not match:
        raise ValueError(f'a sum of money needs its currency, e.g. "5 USD", found {text!r}')
    return Money(Decimal(match[1]), match[2])
