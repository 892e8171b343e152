"""What came back from an OpenAI-compatible endpoint, read: a `Reply`, or a `Failure` that says what may be done.

Pure functions over status, headers and body; `realm.teacher.client` does the talking. Servers differ and proxies lie,
so nothing is taken for granted: a body of any shape gives one of the two.
"""

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from realm.tasks.answers import final_answer, problem_of
from realm.tasks.endings import Ending, ending, name_of
from realm.tasks.messages import Said, Shows, read_message
from realm.teacher.base import Failure, Kind, Reply
from realm.teacher.complaints import READ, Complaint, complaint_within, parse, read_complaint

#: Statuses after which the same request may well succeed (424: text-generation-inference, where the model failed; 498:
#: Groq, where there was no capacity); so are all of 500 and above but `_NEVER`.
_TRANSIENT = frozenset({408, 409, 424, 425, 429, 498})
#: Statuses that refuse this very request: malformed for this model, too long, filtered.
_REQUEST = frozenset({400, 413, 422, 451})
_NEVER = frozenset({501, 505})
#: Statuses below 500 that are about the account or the address, whatever the request holds.
_FATAL = frozenset({401, 402, 404})
#: A gateway gave up on the endpoint, which may have done the work and charge for it.
_GATEWAY_TIMEOUT = frozenset({504, 524})
_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]+")
#: Statuses with which endpoints say that a filter stopped a request.
_FILTERING = frozenset({400, 403, 422, 451})
_STREAM = re.compile(r"\s*(?:data|event|id|retry)?:")
_SANE_TOKENS = 10**9
#: The `system_fingerprint` of Ollama.
OLLAMA = "fp_ollama"
#: Where endpoints tell how many tokens of a prompt they had in their cache: OpenAI and most others in the details of
#: the prompt's tokens, DeepSeek, Moonshot and LiteLLM (of Anthropic's models) beside them.
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")

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


def read_replies(
    answer: Answer, wanted: int, scrub: Scrub, clean: Scrub, shows: Shows = "both"
) -> list[Reply | Failure | None]:
    """The replies in a body of status 2xx to a request for so many choices; None for each that did not come.

    Each choice is read as if it had come alone. The tokens of the prompt are the first one's, those of all answers,
    which nobody tells apart, are shared out evenly. Raises as `read_reply`, where there is no second choice.
    """
    parsed = parse(answer.body.decode("utf-8", "replace")) if wanted > 1 else None
    choices = parsed.get("choices") if isinstance(parsed, dict) else None
    if not isinstance(parsed, dict) or not isinstance(choices, list) or len(choices) < 2:
        return [read_reply(answer, scrub, clean, shows), *[None] * (wanted - 1)]
    choices = choices[:wanted]
    prompt, completion = _usage(parsed.get("usage"))
    found: list[Reply | Failure | None] = []
    for number, choice in enumerate(choices):
        one = replace(answer, body=json.dumps({**parsed, "choices": [choice]}).encode())
        try:
            reply = read_reply(one, scrub, clean, shows)
        except Failure as failure:
            found.append(failure)
            continue
        if completion:
            each, more = divmod(completion, len(choices))
            reply = replace(reply, completion_tokens=each + (number < more))
        found.append(replace(reply, prompt_tokens=0, cached_tokens=0) if number and prompt is not None else reply)
    return found + [None] * (wanted - len(choices))


def read_reply(answer: Answer, scrub: Scrub, clean: Scrub, shows: Shows = "both") -> Reply:
    """The reply in a body of status 2xx. `scrub` holds for what is no reply, `clean` for what the model wrote.

    `shows`: what of a model's message is the CoT; see `realm.tasks.messages.Said.text`.

    Raises:
        Failure: it is not JSON, of another shape, or an error after all. The endpoint may charge for it.
    """
    body = answer.body.decode("utf-8", "replace")
    parsed = parse(body)
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return _without_json(answer, body, scrub)
    complaint = complaint_within(parsed)
    if complaint is not None:
        return _disguised(complaint, answer, body, scrub)
    choices = parsed.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    finish, how = _finish(choice) if isinstance(choice, dict) else ("", "")
    if how == "failed":
        named = scrub(one_line(finish, 60))
        raise _unusable("broken_off", f"the server broke the answer off (finish_reason {named})", body, scrub)
    if not finish and _looped(parsed):
        finish, how = "repetition", "cut"
    message = choice.get("message") if isinstance(choice, dict) else None
    if message is None and how:
        message = {}  # cut or refused, and nothing came that could be in it
    try:
        said = read_message(message) if isinstance(message, dict) else None
    except TypeError:
        said = None
    if not isinstance(message, dict) or said is None:
        raise _unusable("shape", f"expected choices[0].message.content, found {_described(body, scrub)}", body, scrub)
    return _reply(parsed, said, finish, _text(message.get("refusal")), clean, shows)


def _reply(parsed: dict[str, Any], said: Said, finish: str, refused: str, clean: Scrub, shows: Shows) -> Reply:
    text, found = said.text(shows), final_answer(said.stated, thought=said.thought)
    prompt_tokens, completion_tokens = _usage(parsed.get("usage"))
    if text.strip():
        completion_tokens = completion_tokens or None
    noted = {"finish_reason": finish, "model": _text(parsed.get("model")), "refusal": refused}
    meta: dict[str, Any] = {name: clean(one_line(value)) for name, value in noted.items() if value}
    cached = _cached(parsed.get("usage"), prompt_tokens or 0)
    if said.reasoning:
        meta["reasoning"] = len(said.reasoning)  # characters, shown or not
    if said.run_on:
        meta["run_on"] = True  # another turn stood behind a leaked end mark, and is left out
    return Reply(
        text=clean(text),
        answer=clean(found),
        problem=problem_of(text, found, finish, refused),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=cached,
        meta=meta,
    )


def _finish(choice: dict[str, Any]) -> tuple[str, Ending]:
    """Why the text ended: as the server names it, and what that means. A router adds the provider's own name for it."""
    names = [
        name_of(choice.get(key)) for key in ("finish_reason", "native_finish_reason", "finishReason", "stop_reason")
    ]
    # Only where nothing else is said: to some `stop_reason` is the stop string that was met.
    names = [name for name in names[:2] if name] or [name for name in names[2:] if name][:1]
    return next(((name, how) for name in names if (how := ending(name))), (names[0] if names else "", ""))


def _looped(parsed: dict[str, Any]) -> bool:
    """Whether Ollama stopped a text that gave one token more than 30 times in a row: it then counts nothing, and names
    no reason."""
    return parsed.get("system_fingerprint") == OLLAMA and not any(_usage(parsed.get("usage")))


def refusal(answer: Answer, scrub: Scrub) -> Failure:
    """The failure that a status other than 2xx means."""
    body = answer.body.decode("utf-8", "replace")
    return _failure(answer.status, read_complaint(body), answer.headers, body, scrub)


def filtered(answer: Answer, scrub: Scrub) -> Reply | None:
    """The reply in a status other than 2xx that says a filter stopped the request; None where it does not say so.

    Asked again it would be stopped again, so it is kept, as an answer that was refused. Some endpoints charge for the
    prompt, none says how many tokens it had.
    """
    complaint = read_complaint(answer.body.decode("utf-8", "replace"))
    return _filtered(answer.status, complaint, scrub)


def complaint_of(answer: Answer) -> Complaint:
    """What a response of whatever status complains of."""
    body = answer.body.decode("utf-8", "replace")
    parsed = parse(_first_event(body) or body)
    within = complaint_within(parsed) if 200 <= answer.status < 300 and isinstance(parsed, dict) else None
    return within or read_complaint(body)


def _filtered(status: int, complaint: Complaint, scrub: Scrub) -> Reply | None:
    if status != 451 and (status not in _FILTERING or complaint.no_credit or not complaint.filtered):
        return None
    meta = {"failure": str(status), "refusal": scrub(one_line(complaint.said))}
    return Reply("", "", "refused", completion_tokens=0, meta=meta)


def _failure(status: int, complaint: Complaint, headers: Mapping[str, str], body: str, scrub: Scrub) -> Failure:
    kind = _kind(status, complaint)
    kept = scrub(body[: Failure.BODY_LIMIT])
    if 300 <= status < 400:
        target = scrub(one_line(headers.get("location", ""), 200))
        message = f"the endpoint redirects to {target or 'nowhere'}; set the base_url to where it really is"
        return Failure("redirect", message, kind="fatal", body=kept)
    said = scrub(one_line(complaint.said)) or "no explanation"
    empty = "; its account has no credit left" if complaint.no_credit else ""
    return Failure(
        str(status),
        f"the endpoint answered {status}: {said}{empty}",
        kind=kind,
        retry_after=retry_after(headers) if kind == "transient" else None,
        billed=status in _GATEWAY_TIMEOUT,
        body=kept,
    )


def model_names(answer: Answer) -> list[str] | None:
    """The names in an answer to GET /models; None where it is no list of models."""
    parsed = parse(answer.body.decode("utf-8", "replace"))
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
        moment = parsedate_to_datetime(headers.get("retry-after", ""))
        until = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(0.0, until - (time.time() if now is None else now))


def _kind(status: int, complaint: Complaint) -> Kind:
    if status < 500 and complaint.no_credit:
        return "fatal"
    if status in _TRANSIENT or (status >= 500 and status not in _NEVER):
        return "transient"
    if status in _REQUEST:
        return "request"
    return "denied" if 400 <= status < 500 and status not in _FATAL else "fatal"


def _unusable(reason: str, message: str, body: str, scrub: Scrub) -> Failure:
    return Failure(reason, message, billed=True, body=scrub(body[: Failure.BODY_LIMIT]))


def _without_json(answer: Answer, body: str, scrub: Scrub) -> Reply:
    """What a body that is no JSON object means: a stream, an error in plain words, or something else altogether."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    first = _first_event(body)
    if first is not None or kind == "text/event-stream":
        parsed = parse(first or "")
        complaint = complaint_within(parsed) if isinstance(parsed, dict) else None
        if complaint is not None:
            return _disguised(complaint, answer, body, scrub)
        message = f"a stream came where none was asked for: {_described(body, scrub)}"
        raise Failure("stream", message, kind="denied", billed=True, body=scrub(body[: Failure.BODY_LIMIT]))
    plain = not kind.endswith("html") and body.lstrip()[:1] not in ("", "<", "{", "[")
    complaint = read_complaint(body[:READ])
    if plain and (complaint.no_credit or complaint.no_model or complaint.filtered):
        return _disguised(complaint, answer, body, scrub)
    found = _described(body, scrub)
    if "json" not in kind and kind:
        message = f"expected JSON, found {scrub(one_line(kind, 60))}: {found}; check the base_url"
        raise _unusable("content_type", message, body, scrub)
    raise _unusable("not_json", f"expected JSON, found {found}{'; check the base_url' if plain else ''}", body, scrub)


def _first_event(body: str) -> str | None:
    """The data of the first event of a stream (`data: …`), "" where it has none yet; None where it is no stream."""
    if not _STREAM.match(body):
        return None
    found = re.search(r"^data:(.*)", body, re.MULTILINE)
    return found[1].strip() if found else ""


def _disguised(complaint: Complaint, answer: Answer, body: str, scrub: Scrub) -> Reply:
    """An error that came with status 200, as routers and proxies send it. Raises what its status means, if it has one.

    Gives a reply where a filter stopped the request.
    """
    named = complaint.status or (404 if complaint.no_model else 402 if complaint.no_credit else None)
    if found := _filtered(named or 400, complaint, scrub):
        return found
    failure = _failure(named or 502, complaint, answer.headers, body, scrub)
    if complaint.status is None:
        said = failure.message.partition(": ")[2]
        failure.message = f"the endpoint answered {answer.status} with an error: {said}"
        failure.args = (failure.message,)
        failure.reason = failure.reason if named else "error_text"
    failure.billed = True
    raise failure


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _usage(usage: Any) -> tuple[int | None, int | None]:
    """Tokens of prompt and answer. Some servers leave those of a thought out of the answer's, not out of `total`.

    No prompt has none: who says so (a proxy that does not count, Ollama of one it had in its cache) has not told.
    """
    prompt, completion, total = (_count(usage, f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if prompt is not None and total is not None and total - prompt > (completion or 0):
        completion = total - prompt
    return prompt or None, completion


def _cached(usage: Any, most: int) -> int:
    """Tokens of the prompt, `most` of them, that the endpoint had in its cache."""
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    counts = (_count(details, "cached_tokens"), *(_count(usage, name) for name in _CACHED))
    return min(most, max(filter(None, counts), default=0))


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _SANE_TOKENS else None


def _described(body: str, scrub: Scrub) -> str:
    return repr(scrub(one_line(body, 80))) if body.strip() else "nothing"
