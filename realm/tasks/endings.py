"""Why the text of a model ended, by the names that servers give it.

Each server has names of its own (`length`, `MAX_TOKENS`, `{"type": "length"}`, `model_context_window_exceeded`), so
they are read by the stems of their words and not looked up in a list. What says nothing of these is a whole text.
"""

import json
import re
from typing import Any, Literal

#: "": the text is whole. `cut`: a limit ended it. `refused`: a filter or the model did. `failed`: the server broke off.
Ending = Literal["", "cut", "refused", "failed"]

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_REFUSED = re.compile(
    r"(?:^|_)(?:filter|safety|unsafe|sensitiv|refus|declin|recitation|block|prohibit|toxic|spii|guardrail|moderat|polic"
    r"|violat|inspect|censor|flagged|harm|armor|language|risk|inappropriate|illegal)"
)
_BUSY = re.compile(r"(?:^|_)(?:rate_?limit|quota)")
_CUT = re.compile(
    r"(?:^|_)(?:max|length|maxlength|limit|token_?limit|truncat|incomplete|unfinished|not_(?:finish|complete)|context"
    r"|exceed|budget|repetit)"
)
_FAILED = re.compile(
    r"(?:^|_)(?:abort|error|insufficient|cancel|time_?d?_?out|unavailable|overload|interrupt|fail|preempt|malform"
    r"|network|disconnect|crash|kill|evict|exception)"
)


def name_of(reason: Any) -> str:
    """A finish reason as a text: itself, the `type` of an object (sglang), "" where there is none."""
    if isinstance(reason, dict):
        reason = next((reason[key] for key in ("type", "reason", "name") if isinstance(reason.get(key), str)), reason)
    return reason if isinstance(reason, str) else "" if reason is None else json.dumps(reason)


def ending(reason: Any) -> Ending:
    """What a finish reason says of the text. A name that is not known is that of a whole text."""
    name = words(name_of(reason))
    if _REFUSED.search(name):
        return "refused"
    if _BUSY.search(name):
        return "failed"
    if _CUT.search(name):
        return "cut"
    return "failed" if _FAILED.search(name) else ""


def words(name: str) -> str:
    """The words of a name however they are set apart, `ContentFilter` and `CONTENT-FILTER` as `content_filter`."""
    return re.sub(r"[^a-z0-9]+", "_", _WORDS.sub("_", name[:200]).lower()).strip("_")
