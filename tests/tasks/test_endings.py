"""Finish reasons by the names of many servers."""

from __future__ import annotations

from typing import Any

import pytest

from realm.tasks.endings import ending, name_of

WHOLE = [
    *(None, "", "stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "endoftext", "tool_calls"),
    *({"type": "stop", "matched": 2}, "FINISH_REASON_UNSPECIFIED", "OTHER", "something_new", 1, ["stop"], {}, {"x": 1}),
]
CUT = [
    *(
        "length",
        "LENGTH",
        "max_tokens",
        "MAX_TOKENS",
        "FinishReason.MAX_TOKENS",
        "FINISH_REASON_MAX_TOKENS",
        "MaxTokens",
    ),
    *(
        "max_output_tokens",
        "maxTokens",
        "max_new_tokens",
        "model_length",
        "max_length",
        "model_context_window_exceeded",
    ),
    *(
        "context_length_exceeded",
        "ERROR_LIMIT",
        "token_limit",
        "TOKEN_LIMIT_REACHED",
        "time_limit",
        "limit",
        "truncated",
    ),
    *("incomplete", "not_finished", "repetition", {"type": "length", "length": 256}, {"reason": "max_output_tokens"}),
]
REFUSED = [
    *("content_filter", "ContentFilter", "CONTENT_FILTER", "content-filtered", "SAFETY", "IMAGE_SAFETY", "sensitive"),
    *(
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "LANGUAGE",
        "MODEL_ARMOR",
        "refusal",
        "guardrail_intervened",
    ),
    *(
        "ERROR_TOXIC",
        "data_inspection_failed",
        "ResponsibleAIPolicyViolation",
        "content_policy_violation",
        "moderation",
    ),
    *({"type": "content_filter"},),
]
FAILED = [
    *("abort", "aborted", {"type": "abort", "message": "oom"}, "error", "ERROR", "insufficient_system_resource"),
    *("network_error", "cancelled", "USER_CANCEL", "timeout", "TIMED_OUT", "MALFORMED_FUNCTION_CALL", "rate_limit"),
    *("quota_exceeded", "server_overloaded", "internal_failure", "interrupted"),
]


@pytest.mark.parametrize(
    ("reason", "how"),
    [
        (reason, how)
        for how, names in (("", WHOLE), ("cut", CUT), ("refused", REFUSED), ("failed", FAILED))
        for reason in names
    ],
    ids=str,
)
def test_endings(reason: Any, how: str) -> None:
    assert ending(reason) == how


@pytest.mark.parametrize(
    ("reason", "name"),
    [("stop", "stop"), (None, ""), ({"type": "length", "length": 3}, "length"), ({"x": 1}, '{"x": 1}'), (2, "2")],
)
def test_names(reason: Any, name: str) -> None:
    assert name_of(reason) == name


def test_a_hostile_name_is_read_in_time() -> None:
    for scrap in ("aA", "_", "time_", "A"):
        ending(scrap * 1_000_000)
