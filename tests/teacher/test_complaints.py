"""What endpoints complain of, in their own words: no credit, a filter, a refused setting; each read for what helps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realm.teacher.complaints import advice, read_complaint
from realm.teacher.outcomes import Answer, filtered, refusal


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def answer(status: int, content: Any) -> Answer:
    return Answer(status, {}, content.encode() if isinstance(content, str) else json.dumps(content).encode())


def same(text: str) -> str:
    return text


NO_CREDIT = [
    (402, error("Insufficient Balance")),
    (429, error("You exceeded your current quota, please check your plan.", code="insufficient_quota")),
    (429, error("Your account org-1 is suspended", type="exceeded_current_quota_error")),
    (429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}),
    (429, error("Insufficient balance or no resource package. Please recharge.", code="1113")),
    (400, error("Your credit balance is too low to access the API. Please go to Plans & Billing.", type="invalid")),
    (400, {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."}),
    (403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
    (403, error("Your team has either used all available credits or reached its monthly spending limit.")),
    (403, error("quota is not enough", code="insufficient_user_quota", type="new_api_error")),
    (402, error("This request requires more credits, or fewer max_tokens. You can only afford 24.")),
    (402, error("Credit limit exceeded, please navigate to the billing page.")),
    (403, "Your account has run out of funds"),
]
PASSING = [
    (424, {"error": "Request failed during generation: Server error", "error_type": "generation"}),
    (498, error("Flex tier capacity exceeded", code="capacity_exceeded")),
    (
        429,
        error(
            "You exceeded your current quota, please check your plan and billing details.", status="RESOURCE_EXHAUSTED"
        ),
    ),
    (429, error("Rate limit reached for requests per min. Limit: 3", code="rate_limit_exceeded")),
    (429, error("Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 requests per day")),
    (503, error("no balancer has capacity")),
]
FILTERED = [
    (
        400,
        error(
            "The response was filtered due to the prompt triggering our content management policy.",
            code="content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
    ),
    (400, error("no", code=None, innererror={"code": "ResponsibleAIPolicyViolation"})),
    (400, error("Input data may contain inappropriate content.", code="data_inspection_failed")),
    (400, error("<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content.")),
    (400, error("Content Exists Risk", code="invalid_request_error")),
    (400, error("The request was rejected because it was considered high risk", type="content_filter")),
    (400, error("系统检测到输入或生成内容可能包含不安全或敏感内容", code="1301")),
    (
        400,
        error(
            "The request failed because the input text may contain sensitive information.",
            code="InputTextSensitiveContentDetected",
        ),
    ),
    (
        400,
        error(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"
        ),
    ),
    (400, error("Output blocked by content filtering policy")),
    (
        403,
        {
            "error": {
                "code": 403,
                "message": "Your input was flagged",
                "metadata": {"reasons": ["harassment"], "flagged_input": "x"},
            }
        },
    ),
    (
        400,
        {
            "error": {
                "code": 400,
                "message": "Provider returned error",
                "metadata": {"raw": json.dumps(error("x", code="content_filter"))},
            }
        },
    ),
    (451, error("Unavailable")),
]
NOT_FILTERED = [
    (400, error("This model's maximum context length is 4096 tokens.", code="context_length_exceeded")),
    (400, error("The name is case sensitive: unknown field `Messages` in the request")),
    (401, error("Your account was flagged", code="content_policy")),
    (403, error("Your IP address was blocked", code="blocked")),
    (403, error("Request is prohibited by organization's policy")),
    (500, error("the content filter crashed", code="content_filter")),
    (400, error("Your credit balance is too low", code="content_filter")),
]


@pytest.mark.parametrize(("status", "content"), NO_CREDIT, ids=str)
def test_an_account_without_credit_stops_with_the_endpoint_s_reason(status: int, content: Any) -> None:
    found = refusal(answer(status, content), same)
    assert found.kind == "fatal"
    said = content if isinstance(content, str) else content.get("message") or content["error"]["message"]
    assert said in found.message and found.message.endswith("no credit left")


@pytest.mark.parametrize(("status", "content"), PASSING, ids=str)
def test_a_limit_that_passes_is_waited_for(status: int, content: Any) -> None:
    assert refusal(answer(status, content), same).kind == "transient"


@pytest.mark.parametrize(("status", "content"), FILTERED, ids=str)
def test_a_filter_s_error_is_a_refused_answer(status: int, content: Any) -> None:
    found = filtered(answer(status, content), same)
    assert found is not None
    assert (found.text, found.answer, found.problem, found.completion_tokens) == ("", "", "refused", 0)
    assert found.meta["failure"] == str(status) and found.meta["refusal"]


@pytest.mark.parametrize(("status", "content"), NOT_FILTERED, ids=str)
def test_other_errors_are_none(status: int, content: Any) -> None:
    assert filtered(answer(status, content), same) is None


KEY = "teachers.big.sampling.max_tokens_key to max_completion_tokens"
LOWER = "teachers.big.sampling.max_tokens, now 2048"


@pytest.mark.parametrize(
    ("content", "helps", "always"),
    [
        (
            error(
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                param="max_tokens",
                code="unsupported_parameter",
            ),
            KEY,
            True,
        ),
        (error("Unknown parameter: max_tokens"), KEY, True),
        (
            error(
                "max_tokens is too large: 2048. This model supports at most 1024 completion tokens", param="max_tokens"
            ),
            LOWER,
            True,
        ),
        (error("max_output_tokens must be between 1 and 1024"), LOWER, True),
        # How much room there is depends on the question.
        (
            error(
                "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum context length is "
                "2048 tokens and your request has 40 input tokens."
            ),
            LOWER,
            False,
        ),
        (
            error(
                "This model's maximum context length is 2048 tokens. However, you requested 2100 tokens "
                "(52 in the messages, 2048 in the completion)."
            ),
            LOWER,
            False,
        ),
        (
            error(
                "Unsupported value: 'temperature' does not support 0.8 with this model. "
                "Only the default (1) value is supported.",
                param="temperature",
                code="unsupported_value",
            ),
            "teachers.big.sampling.temperature to what it takes, or to null",
            True,
        ),
        (
            {"detail": [{"loc": ["body", "temperature"], "msg": "Input should be less than 1"}]},
            "sampling.temperature",
            True,
        ),
        (error("`temperature` and `top_p` cannot both be specified for this model"), "sampling.temperature", True),
        (error("top_p must be in (0, 1]"), "sampling.top_p", True),
        (error("Extra inputs are not permitted: top_k"), "mend or remove `top_k` in teachers.big.sampling.extra", True),
        (
            {
                "error": {
                    "code": 400,
                    "message": "Provider returned error",
                    "metadata": {"raw": json.dumps(error("Unsupported parameter: 'top_k'", param="top_k"))},
                }
            },
            "`top_k`",
            True,
        ),
        (error("System role not supported"), 'teachers.big.system to ""', True),
        (
            error("Conversation roles must alternate user/assistant/user/assistant/..."),
            'teachers.big.system to ""',
            True,
        ),
    ],
    ids=str,
)
def test_the_setting_that_helps(content: Any, helps: str, always: bool) -> None:
    sent = {"model": "m", "temperature": 0.8, "top_p": 0.9, "max_tokens": 2048, "top_k": 7}
    found = advice(read_complaint(json.dumps(content)), "teachers.big", sent)
    assert found is not None and helps in found[0]
    assert found[1] == always


@pytest.mark.parametrize(
    "content",
    [
        error("context too long"),
        error("Something about the temperature of water"),
        error("Invalid value for n"),
        error("min_tokens must be positive", param="min_tokens"),
        error("Unsupported parameter: seed", param="messages"),
        "nonsense",
        [],
        {"error": {"metadata": {"raw": "{"}, "message": None}},
    ],
    ids=str,
)
def test_no_setting_is_named_for_what_is_not_known(content: Any) -> None:
    assert advice(read_complaint(json.dumps(content)), "teachers.big", {"temperature": 0.8, "max_tokens": 9}) is None


def test_hostile_complaints_are_read_in_time() -> None:
    for scrap in ("no ", "balance ", "model ", "content ", "role system ", "max_", "a.", "prompt "):
        complaint = read_complaint(scrap * 300_000)
        assert len(complaint.said) <= 2000
        assert complaint.no_model is complaint.filtered is complaint.no_credit is False
        assert advice(complaint, "teachers.big", {"temperature": 1}) is None
