"""What came back from an OpenAI-compatible endpoint, read: a `Reply`, or a `Failure` that says what may be done.

Pure functions over status, headers and body; `realm.teacher.client` does the talking. Servers differ and proxies lie,
so nothing is taken for granted: a body of any shape gives one of the two.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from realm.tasks.answers import final_answer, problem_of
from realm.teacher.base import Failure, Kind, Reply

#: Statuses after which the same request may well succeed; so are all of 500 and above but `_NEVER`.
_TRANSIENT = frozenset({408, 409, 425, 429})
#: Statuses that refuse this very request: malformed for this model, too long, filtered.
_REQUEST = frozenset({400, 413, 422, 451})
_NEVER = frozenset({501, 505})
#: Statuses below 500 that are about the account or the address, whatever the request holds.
_FATAL = frozenset({401, 402, 404})
#: A gateway gave up on the endpoint, which may have done the work and charge for it.
_GATEWAY_TIMEOUT = frozenset({504, 524})
#: Codes of an error body that no waiting mends: the account has nothing left.
_OUT_OF_CREDIT = frozenset(
    {"insufficient_quota", "insufficient_balance", "billing_hard_limit_reached", "billing_not_active"}
)
_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]+")
_NO_MODEL = re.compile(
    r"\bmodel\b.*\b(?:not found|not exist|does ?n['’]t exist|not supported|not available|unknown|invalid)\b"
    r"|\b(?:no such|unknown|invalid|unsupported) model\b|model_not_found",
    re.IGNORECASE,
)
_SANE_TOKENS = 10**9

Scrub = Callable[[str], str]


@dataclass(frozen=True)
class Answer:
    """A whole HTTP response. `headers` are read by their lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def scrubber(key: str) -> Scrub:
    """A function that takes the key out of a text: whole, in part, or masked as endpoints echo it (`sk-ab…wxyz`).

    Of keys of fewer than 8 characters, which people give to servers that want none, only the whole word is taken out.
    """
    if not key:
        return lambda text: text
    if len(key) < 8:
        word = re.compile(rf"(?<!\w){re.escape(key)}(?!\w)")
        return lambda text: word.sub("[key]", text)
    pieces = list(dict.fromkeys(key[start : start + 8] for start in range(len(key) - 7)))
    # The rest of a word that begins like the key may be the rest of the key.
    parts = re.compile(rf"(?:{'|'.join(map(re.escape, pieces))})[\w*.…-]*+")
    masked = re.compile(
        rf"{re.escape(key[:6])}[\w-]{{0,64}}(?:\*+|\.{{2,}}|…)[\w*.…-]*+|(?:\*|\.\.|…){re.escape(key[-4:])}"
    )

    def scrub(text: str) -> str:
        if any(piece in text for piece in pieces):  # far faster than the expression on what is long and harmless
            text = parts.sub("[key]", text)
        return masked.sub("[key]", text)

    return scrub


def content_scrubber(key: str) -> Scrub:
    """A function that takes the key out of what a model wrote: the whole key alone, and only one that looks like one.

    What people give to servers that want no key (`x`, `sk-no-key-required`) is made of words that a CoT may hold too.
    """
    if len(key) < 16 or (key.lower() == key and not any(map(str.isdigit, key))):
        return lambda text: text
    return lambda text: text.replace(key, "[key]")


def one_line(text: str, length: int = 300) -> str:
    """The beginning of a server's text, fit for a terminal: on one line, without control characters."""
    found = _CONTROL.sub(" ", text[: 4 * length]).strip()
    return found if len(found) <= length else f"{found[: length - 1]}…"


def read_reply(answer: Answer, scrub: Scrub, clean: Scrub) -> Reply:
    """The reply in a body of status 2xx. `scrub` holds for what is no reply, `clean` for what the model wrote.

    Raises:
        Failure: it is not JSON, of another shape, or an error after all. The endpoint may charge for it.
    """
    body = answer.body.decode("utf-8", "replace")
    parsed = _parse(body)
    if not isinstance(parsed, dict):
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if "json" in kind or not kind:
            raise _unusable("not_json", f"expected JSON, found {_described(body, scrub)}", body, scrub)
        found = f"{scrub(one_line(kind, 60))}: {_described(body, scrub)}"
        raise _unusable("content_type", f"expected JSON, found {found}; check the base_url", body, scrub)
    choices = parsed.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    for holder in (choice, parsed):
        if isinstance(holder, dict) and isinstance(holder.get("error"), dict):
            raise _disguised(holder["error"], answer, body, scrub)
    message = choice.get("message") if isinstance(choice, dict) else None
    content = _content(message.get("content")) if isinstance(message, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict) or content is None:
        raise _unusable("shape", f"expected choices[0].message.content, found {_described(body, scrub)}", body, scrub)
    return _reply(parsed, choice, message, content, clean)


def _reply(
    parsed: dict[str, Any], choice: dict[str, Any], message: dict[str, Any], content: str, clean: Scrub
) -> Reply:
    finish, refusal = _text(choice.get("finish_reason")), _text(message.get("refusal"))
    if not content.strip() and finish == "length":
        # A reasoning model that never came to its answer; what it thought is the CoT, cut.
        content = _text(message.get("reasoning_content")) or _text(message.get("reasoning")) or content
    found = final_answer(content)
    prompt_tokens, completion_tokens = _usage(parsed.get("usage"))
    said = {"finish_reason": finish, "model": _text(parsed.get("model")), "refusal": refusal}
    return Reply(
        text=clean(content),
        answer=clean(found),
        problem=problem_of(content, found, finish, refusal),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        meta={name: clean(one_line(value)) for name, value in said.items() if value},
    )


def refusal(answer: Answer, scrub: Scrub) -> Failure:
    """The failure that a status other than 2xx means."""
    body = answer.body.decode("utf-8", "replace")
    said, code = _error_text(body), _error_code(body)
    status = answer.status
    kind = _kind(status, code)
    if 300 <= status < 400:
        target = scrub(one_line(answer.headers.get("location", ""), 200))
        message = f"the endpoint redirects to {target or 'nowhere'}; set the base_url to where it really is"
        return Failure("redirect", message, kind="fatal", body=scrub(body[: Failure.BODY_LIMIT]))
    return Failure(
        str(status),
        f"the endpoint answered {status}: {scrub(one_line(said)) or 'no explanation'}",
        kind=kind,
        retry_after=retry_after(answer.headers) if kind == "transient" else None,
        billed=status in _GATEWAY_TIMEOUT,
        body=scrub(body[: Failure.BODY_LIMIT]),
    )


def names_no_model(answer: Answer) -> bool:
    """Whether a refusal (400, 404) says that there is no such model."""
    body = answer.body.decode("utf-8", "replace")
    return "model_not_found" in _error_code(body) or bool(_NO_MODEL.search(one_line(_error_text(body))))


def model_names(answer: Answer) -> list[str] | None:
    """The names in an answer to GET /models; None where it is no list of models."""
    parsed = _parse(answer.body.decode("utf-8", "replace"))
    data = parsed.get("data") if isinstance(parsed, dict) else None
    if not 200 <= answer.status < 300 or not isinstance(data, list):
        return None
    return [entry["id"] for entry in data if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds the server asks to wait: `retry-after-ms`, else `Retry-After` in seconds or as an HTTP date."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / scale
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        moment = parsedate_to_datetime(headers.get("retry-after", "")).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def _kind(status: int, code: str) -> Kind:
    if code in _OUT_OF_CREDIT:
        return "fatal"
    if status in _TRANSIENT or (status >= 500 and status not in _NEVER):
        return "transient"
    if status in _REQUEST:
        return "request"
    return "denied" if 400 <= status < 500 and status not in _FATAL else "fatal"


def _unusable(reason: str, message: str, body: str, scrub: Scrub) -> Failure:
    return Failure(reason, message, billed=True, body=scrub(body[: Failure.BODY_LIMIT]))


def _disguised(error: dict[str, Any], answer: Answer, body: str, scrub: Scrub) -> Failure:
    """An error that came with status 200, as routers of several providers send it; its code is a status, or 502."""
    code = error.get("code")
    status = code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600 else 502
    found = refusal(Answer(status, answer.headers, json.dumps({"error": error}).encode()), scrub)
    found.body, found.billed = scrub(body[: Failure.BODY_LIMIT]), True
    return found


def _parse(body: str) -> Any:
    try:
        return json.loads(body.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _content(value: Any) -> str | None:
    """The text of a message: a text, nothing, or a list of parts of which some are text; None for anything else."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return "".join(_text(part.get("text")) for part in value if part.get("type") in ("text", "output_text", None))
    return None


def _usage(usage: Any) -> tuple[int | None, int | None]:
    """Tokens of prompt and answer. Some servers leave those of a thought out of the answer's, not out of `total`."""
    prompt, completion, total = (_count(usage, f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if prompt is not None and total is not None and total - prompt > (completion or 0):
        completion = total - prompt
    return prompt, completion


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _SANE_TOKENS else None


def _described(body: str, scrub: Scrub) -> str:
    return repr(scrub(one_line(body, 80))) if body.strip() else "nothing"


def _error_text(body: str) -> str:
    """What an error body says: the usual places of a message, or the body itself."""
    parsed = _parse(body)
    if isinstance(parsed, list) and parsed:  # Google wraps its errors in a list
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        title = re.search(r"<title>([^<]{1,200})", body[:10_000], re.IGNORECASE)
        return title[1] if title else body
    error = parsed.get("error", parsed)
    if isinstance(error, dict):
        error = next((error[name] for name in ("message", "detail", "msg") if error.get(name)), error)
    return error if isinstance(error, str) else json.dumps(error)


def _error_code(body: str) -> str:
    """`code` or `type` of an error body, whichever is one of those that matter."""
    parsed = _parse(body)
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        return ""
    codes = [_text(error.get("code")), _text(error.get("type"))]
    return next((code for code in codes if code in _OUT_OF_CREDIT or code == "model_not_found"), codes[0])
