"""What a row of somebody else's file may hold under each key of ours; anything else is refused with its place."""

import json
import math
import re
from decimal import Decimal
from typing import Any

from realm.bank.cot import unescape
from realm.errors import DataError
from realm.tasks.base import encodable
from realm.tasks.paths import plain

#: What others write for true and false, in any case.
TRUE, FALSE = ("true", "yes", "correct", "right", "1", "1.0"), ("false", "no", "incorrect", "wrong", "0", "0.0")
_HASHES = re.compile(r"(?:[0-9a-f]{12}|[0-9a-f]{16})?")


def identity(where: str, value: Any) -> str:
    """An id, "" where there is none; tables with gaps hold integers as floats."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"{where}: `id` must be a text or an integer, found {value!a:.60}.")
    return plain(where, "id", value) or ""


def texts(where: str, key: str, value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise DataError(f"{where}: expected `{key}` to be a list of texts, found {type(value).__name__}.")
    return tuple(plain(where, key, item) or "" for item in value)


def answer(where: str, value: Any) -> str | None:
    """An answer as a text; a boolean is written out, and the one entry of a list is it."""
    if isinstance(value, list) and len(value) < 2:
        value = value[0] if value else None
    return str(value) if isinstance(value, bool) else plain(where, "answer", value)


def flag(where: str, key: str, value: Any) -> int | None:
    """1 for true, 1 and what `TRUE` lists, 0 for false, 0 and what `FALSE` lists, None for null and an empty text."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == "":
        return None
    if isinstance(value, bool | int | float | Decimal) and value in (0, 1):
        return int(value)
    text = value.strip().lower() if isinstance(value, str) else ""
    if text in TRUE or text in FALSE:
        return int(text in TRUE)
    found = f"a list of {len(value)}" if isinstance(value, list) else f"{value!a:.60}"
    raise DataError(f"{where}: expected `{key}` to be true or false, found {found}.")


def integer(where: str, key: str, value: Any) -> int | None:
    """A whole number from 0; tables with gaps hold theirs as floats."""
    if value is None:
        return None
    # Above that not every reader of JSON and of tables tells one number from the next.
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 53
    if not number or value != int(value):
        raise DataError(f"{where}: expected `{key}` to be a whole number from 0, found {value!a:.60}.")
    return int(value)


def seconds(where: str, value: Any) -> float | None:
    """A duration; tables write none as NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise DataError(f"{where}: expected `seconds` to be a number from 0, found {value!a:.60}.")
    return value


def hashes(value: Any) -> bool:
    """Whether a value is a hash as banks have them, or a list of them. Others use such keys for something else."""
    if isinstance(value, list):
        return all(map(hashes, value))
    return isinstance(value, str) and bool(_HASHES.fullmatch(value))


def unescaped(text: Any, where: str) -> Any:
    """What a bank's row escaped because UTF-8 cannot hold it; what is no text stays."""
    if not isinstance(text, str):
        return text
    try:
        return unescape(text)
    except ValueError as error:
        raise DataError(f"{where}: `escaped` is set, but a text is not escaped ({error}).") from error


def meta_text(value: Any, extras: dict[str, Any]) -> str:
    """Everything else that a row says as JSON text, "" for nothing; a bank's own `meta` stays as it was."""
    if isinstance(value, str) and not extras:
        try:
            json.loads(value or "null")
            return value
        except (ValueError, RecursionError):
            pass
    if value not in (None, ""):
        extras = {**extras, "meta": value}
    if not extras:
        return ""
    content = _finite(extras)
    text = json.dumps(content, ensure_ascii=False, default=str)
    return text if encodable(text) else json.dumps(content, default=str)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
