"""What an endpoint says is wrong, read from an error's body: its words, and whether they tell what will help.

Statuses alone do not: an account without credit is told with 400, 402, 403, 429 or 200, a content filter with 400,
403 or 451. So the words are read too, in the forms that endpoints have for them; the rest is left to the status.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from realm.tasks.endings import words

#: Characters of an error's text that are read.
READ = 2000
_TEXTS = (
    *("message", "detail", "details", "msg", "error_message", "error_msg", "errorMessage", "error_description"),
    *("status_msg", "title", "reason"),
)
_CODES = ("code", "type", "status", "status_code", "statusCode", "error_code", "reason")
_HOLDERS = ("error", "errors", "base_resp")

_NO_CREDIT_CODE = re.compile(
    r"insufficient_(?:\w+_)?(?:quota|balance|credits?|funds)|billing|arrear|exceeded_current_quota|payment_required"
    r"|(?:credits?|balance)_(?:exhaust|deplet|insufficient|too_low)|not_enough_(?:balance|credit)"
)
_FEW = r"\W+(?:\w+\W+){0,4}?"
_NO_CREDIT = re.compile(
    rf"\b(?:insufficient|not enough|no(?: more)?|zero|negative|low|out of|used(?: up)? all|exhausted|depleted|exceeded"
    rf"|requires more){_FEW}(?:balance|credits?|funds)\b"
    rf"|\b(?:balance|credits?|funds)\b{_FEW}(?:too low|insufficient|exhausted|depleted|not enough|used up|negative"
    r"|exceeded|run out)"
    r"|\bbilling (?:hard limit|is not active|not active)|\bspend(?:ing)? (?:limit|cap)|\bpayment required"
    r"|\barrear|\boverdue|\baccount is not active|\bgood standing|\b(?:top up|recharge) your|余额不足|额度不足|欠费",
    re.IGNORECASE,
)
_FILTER_CODE = re.compile(
    r"content_(?:filter|polic|risk|violat|moderat|block|management)|data_inspection|responsible_ai|prohibited_content"
    r"|(?:^|_)(?:safety|sensitiv|moderat|censor|inappropriate|guardrail)"
)
_FILTER = re.compile(
    r"\bcontent[ _-]?(?:management |safety |moderation )?(?:polic|filter)|\busage (?:polic|guideline)"
    r"|\b(?:prompt|input|output|content|text|data|message|request|response)s?\b[^.]{0,60}"
    r"\b(?:flagged|inappropriate|unsafe|harmful)\b"
    r"|\b(?:inappropriate|sensitive|unsafe|harmful|prohibited) (?:content|text|input|data|prompt|information)"
    r"|\bcontent exists risk|\bconsidered high risk|\brequires moderation|\bsafety (?:system|check|filter|reason)"
    r"|data_?inspection|敏感|违规|不安全",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"\bmodel\b.*\b(?:not found|not exist|does ?n['’]t exist|not supported|not available|unknown|invalid)\b"
    r"|\b(?:no such|unknown|invalid|unsupported|not a valid) model\b|model_not_found",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"unsupported|(?:not|n['’]t)(?: be| \w+)? (?:support|allow|permit)|unrecogni[sz]ed|unknown|unexpected"
    r"|deprecated|\bextra\b",
    re.IGNORECASE,
)
_UNFIT = re.compile(
    r"invalid|must|should|expected|(?:less|greater|larger|more) than|too (?:large|high|big|small|low|many)"
    r"|at (?:most|least)|m(?:ax|in)imum|\brange\b|between|exceed|only|cannot|can't",
    re.IGNORECASE,
)
_LENGTH_KEYS = ("max_tokens", "max_completion_tokens")
# What a provider behind the endpoint calls it.
_LENGTH = re.compile(r"max_?(?:output|new)_?tokens", re.IGNORECASE)
_NO_SYSTEM = re.compile(r"\bsystem\b.{0,20}\brole|\brole.{0,40}\bsystem\b|roles must alternate", re.IGNORECASE)


@dataclass(frozen=True)
class Complaint:
    """What an error's body says.

    Attributes:
        said: its text, not scrubbed, at most `READ` characters; the whole body where it is of no known form.
        codes: its codes and types, as `realm.tasks.endings.words` has them.
        status: the HTTP status that it names, None for none.
        param: the part of the request that it names, "" for none.
    """

    said: str
    codes: tuple[str, ...] = ()
    status: int | None = None
    param: str = ""

    @property
    def no_credit(self) -> bool:
        """Whether the account has nothing left, so that no request will be answered, however long one waits."""
        return any(map(_NO_CREDIT_CODE.search, self.codes)) or bool(_NO_CREDIT.search(self.said))

    @property
    def filtered(self) -> bool:
        """Whether a filter stopped this very request for what it holds."""
        return any(map(_FILTER_CODE.search, self.codes)) or bool(_FILTER.search(self.said))

    @property
    def no_model(self) -> bool:
        """Whether there is no such model."""
        return "model_not_found" in self.codes or bool(_NO_MODEL.search(" ".join(self.said[:300].split())))


def read_complaint(body: str) -> Complaint:
    """The complaint in an error's body of any form."""
    parsed = parse(body)
    if isinstance(parsed, list) and parsed:  # Google wraps its errors in a list
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        title = re.search(r"<title>([^<]{1,200})", body[:10_000], re.IGNORECASE)
        return Complaint((title[1] if title else body)[:READ])
    return _read(_held(parsed))


def complaint_within(parsed: Mapping[str, Any]) -> Complaint | None:
    """The complaint in a body that came with status 200; None where it is none: a completion, or of no known form."""
    choices = parsed.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    for holder in (choice, parsed):
        error = holder.get("error") if isinstance(holder, dict) else None
        if error and isinstance(error, dict | str):
            return _read(error)
    held = _held(parsed)
    if choice is not None or not isinstance(held, str | dict):
        return None
    return _read(held) if isinstance(held, str) or any(isinstance(held.get(name), str) for name in _TEXTS) else None


def advice(complaint: Complaint, where: str, sent: Mapping[str, Any]) -> tuple[str, bool] | None:
    """The setting that mends a refused request, as a sentence, and whether that holds for every request.

    Args:
        where: of the teacher's settings, `teachers.NAME`.
        sent: the body of the request but for its messages.
    """
    said = complaint.said
    unknown = bool(_UNKNOWN.search(said))
    if _NO_SYSTEM.search(said) and (unknown or "alternate" in said):
        return f'set {where}.system to "", which sends none', True
    names = sorted((name for name in sent if name != "model"), key=len, reverse=True)
    named = [name for name in names if complaint.param.rpartition(".")[2] == name]
    if unknown or _UNFIT.search(said):
        named += [name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", said)]
    # A shorter question may do, so that this holds for one request.
    long = "context" in said.casefold()
    if not named and (_LENGTH.search(said) or (long and "completion" in said)):
        named = [name for name in names if name in _LENGTH_KEYS]
    if not named:
        return None
    name = named[0]
    if name in ("temperature", "top_p"):
        return f"set {where}.sampling.{name} to what it takes, or to null, which sends none", True
    if name not in _LENGTH_KEYS:
        return f"mend or remove `{name}` in {where}.sampling.extra", True
    if unknown and not long:
        other = next(key for key in _LENGTH_KEYS if key != name)
        return f"set {where}.sampling.max_tokens_key to {other}", True
    return f"set {where}.sampling.max_tokens, now {sent[name]}, to what it takes", not long


def parse(body: str) -> Any:
    """The JSON in a body, None where it is none (or too deep to read)."""
    try:
        return json.loads(body.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None


def _held(parsed: Mapping[str, Any]) -> Any:
    """The error itself: under `error` and the like, or the whole."""
    for name in _HOLDERS:
        found = parsed.get(name)
        found = found[0] if isinstance(found, list) and found else found
        if found and isinstance(found, dict | str):
            return found
    return parsed


def _read(error: dict[str, Any] | str, depth: int = 0) -> Complaint:
    if isinstance(error, str):
        return Complaint(error[:READ])
    found = next((error[name] for name in _TEXTS if error.get(name)), error)
    said = found if isinstance(found, str) else json.dumps(found)
    codes = list(_codes(error))
    inner = error.get("innererror")  # Azure
    codes += _codes(inner) if isinstance(inner, dict) else []
    numbers = [int(code) for code in codes if re.fullmatch(r"[45]\d\d", code, re.ASCII)]
    param = error.get("param")
    complaint = Complaint(
        said[:READ],
        tuple(words(code) for code in codes if not code.isdigit()),
        numbers[0] if numbers else None,
        param if isinstance(param, str) else "",
    )
    metadata = error.get("metadata")  # OpenRouter: what the provider behind it said
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str) or not raw.strip() or depth:
        return complaint
    parsed = parse(raw)
    behind = _read(_held(parsed), 1) if isinstance(parsed, dict) else Complaint(raw[:READ])
    return replace(
        complaint,
        said=f"{complaint.said}: {behind.said}"[:READ],
        codes=complaint.codes + behind.codes,
        param=complaint.param or behind.param,
    )


def _codes(error: Mapping[str, Any]) -> Iterator[str]:
    for name in _CODES:
        value = error.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= 100:
            yield str(value)
