"""What comes back from an endpoint, whatever it is, is a reply or a failure; a key is taken out of every text."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.tasks.endings import name_of
from realm.tasks.messages import Shows
from realm.teacher.base import Failure, Reply
from realm.teacher.outcomes import (
    Answer,
    content_scrubber,
    read_replies,
    read_reply,
    refusal,
    retry_after,
    scrubber,
)

KEY = "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z"


def body(message: dict[str, Any] | None = None, finish: Any = "stop", **parts: Any) -> dict[str, Any]:
    return {"choices": [{"message": message or {"content": "Final answer: 4"}, "finish_reason": finish}], **parts}


def test_a_date_without_a_zone_is_no_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ+7")
    time.tzset()
    try:
        assert retry_after({"retry-after": formatdate(1_000_030)}, now=1_000_000) == 30
    finally:
        monkeypatch.undo()
        time.tzset()


def test_retry_after_in_every_form() -> None:
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after": "9", "retry-after-ms": "1500"}) == 1.5
    assert retry_after({"retry-after": formatdate(1_000_030, usegmt=True)}, now=1_000_000) == 30
    assert retry_after({"retry-after": formatdate(999_000, usegmt=True)}, now=1_000_000) == 0
    assert retry_after({"retry-after": "-4"}) == 0
    for nonsense in ("", "soon", "nan", "inf", "1e999", "Mon, 99 Foo 2020"):
        assert retry_after({"retry-after": nonsense}) is None
    assert retry_after({}) is None


def text(words: str, finish: str = "stop", **parts: Any) -> dict[str, Any]:
    return {"message": {"content": words, **parts}, "finish_reason": finish}


def test_each_of_several_choices_is_read_as_if_it_had_come_alone() -> None:
    choices = [
        text("Final answer: 4"), text("I ", "length"), text("", refusal="I cannot."), text("I", "error"),
        {"finish_reason": "stop"}, text("Final answer: 5"), text("Final answer: one too many"),
    ]  # fmt: skip
    usage = {"prompt_tokens": 50, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 30}}
    answer = Answer(200, {}, json.dumps({"choices": choices, "usage": usage, "model": "m"}).encode())
    found = read_replies(answer, 6, str, str)
    assert [one.problem if isinstance(one, Reply) else one and one.reason for one in found] == [
        "", "cut", "refused", "broken_off", "shape", "",
    ]  # fmt: skip
    first, last = found[0], found[-1]
    assert isinstance(first, Reply) and isinstance(last, Reply)
    assert (first.answer, first.prompt_tokens, first.cached_tokens, first.completion_tokens) == ("4", 50, 30, 4)
    assert (last.answer, last.prompt_tokens, last.cached_tokens, last.completion_tokens) == ("5", 0, 0, 3)
    assert last.meta["model"] == "m"
    assert read_replies(answer, 9, str, str)[7:] == [None, None]
    untold = read_replies(Answer(200, {}, json.dumps({"choices": choices}).encode()), 2, str, str)
    assert [(one.prompt_tokens, one.completion_tokens) for one in untold if isinstance(one, Reply)] == [
        (None, None)
    ] * 2


@pytest.mark.parametrize(
    ("usage", "cached"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 7}}, 7),  # OpenAI, vLLM, xAI, Groq, …
        ({"prompt_cache_hit_tokens": 7, "prompt_cache_miss_tokens": 3}, 7),  # DeepSeek
        ({"cached_tokens": 7}, 7),  # Moonshot
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cache_read_input_tokens": 7}, 7),  # LiteLLM
        ({"prompt_tokens_details": {"cached_tokens": 99}}, 10),  # no more than there are
        ({"prompt_tokens_details": {"cached_tokens": True}}, 0),
        ({"prompt_tokens_details": None, "cached_tokens": -3}, 0),
        ({}, 0),
    ],
)
def test_cached_tokens_by_every_name(usage: dict[str, Any], cached: int) -> None:
    parsed = body(usage={"prompt_tokens": 10, "completion_tokens": 5, **usage})
    assert read_reply(Answer(200, {}, json.dumps(parsed).encode()), str, str).cached_tokens == cached


@pytest.mark.parametrize(
    "said",
    [
        f"Incorrect API key provided: {KEY}.",
        f"Incorrect: {KEY[:20]}",
        f"Incorrect: {KEY[15:]}!",
        f"Incorrect: {KEY[:8]}********************{KEY[-4:]}",
        f"Incorrect: {KEY[:5]}...{KEY[-4:]}",
        f"Incorrect: {KEY[:7]}…{KEY[-4:]}",
        f"Incorrect: ***{KEY[-4:]}",
        f'{{"auth":"Bearer {KEY}"}}',
    ],
)
def test_scrubbing(said: str) -> None:
    cleaned = scrubber(KEY)(said)
    assert "[key]" in cleaned
    assert not any(KEY[start : start + 6] in cleaned for start in range(len(KEY) - 5))
    assert KEY[-4:] not in cleaned


def test_scrubbing_leaves_other_text() -> None:
    text = "Rate limit reached for sk-learn... try again in 20 s (see docs)"
    assert scrubber(KEY)(text) == text
    assert scrubber("")(text) == text
    assert scrubber("x")("next x, text") == "next [key], text"


@pytest.mark.parametrize("key", ["x", "sk-no-key-required", "EMPTY", "ollama", "key-1", KEY])
def test_what_a_model_wrote_is_left_as_it_is(key: str) -> None:
    text = f"Let x = 3 required, EMPTY key-1; the ollama is {KEY[:20]}…\nNo-key-required.\nFinal answer: x required"
    raw = json.dumps(body({"content": text})).encode()
    found = read_reply(Answer(200, {}, raw), scrubber(key), content_scrubber(key))
    assert (found.text, found.answer) == (text, "x required")


def test_the_whole_key_is_taken_out_of_what_a_model_wrote() -> None:
    found = read(body({"content": f"Your key is {KEY}.\nFinal answer: {KEY}"}, model=KEY))
    assert (found.text, found.answer, found.problem) == ("Your key is [key].\nFinal answer: [key]", "[key]", "")
    assert found.meta["model"] == "[key]"


@pytest.mark.parametrize(
    ("usage", "completion"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 2029}, 2009),
        ({"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}, 9),
        ({"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 5}, 9),
        ({"prompt_tokens": 20, "total_tokens": 25}, 5),
        ({"completion_tokens": 9, "total_tokens": 2029}, 9),
    ],
)
def test_tokens_of_a_thought_are_tokens_of_the_answer(usage: dict[str, int], completion: int) -> None:
    assert read(body(usage=usage)).completion_tokens == completion


def read(content: Any, kind: str = "application/json", shows: Shows = "both") -> Reply:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_reply(Answer(200, {"content-type": kind}, raw), scrubber(KEY), content_scrubber(KEY), shows)


THOUGHT, SAYS = "A draft.\nFinal answer: 3\nNo, one more.", "So:\nFinal answer: 4"
BOTH = f"{THOUGHT}\n\n{SAYS}"


@pytest.mark.parametrize(
    ("message", "finish", "shows", "text", "answer", "problem"),
    [
        ({"content": SAYS, "reasoning_content": THOUGHT}, "stop", "both", BOTH, "4", ""),
        ({"content": SAYS, "reasoning_content": THOUGHT}, "stop", "reasoning", THOUGHT, "4", ""),
        ({"content": SAYS, "reasoning_content": THOUGHT}, "stop", "answer", SAYS, "4", ""),
        ({"content": SAYS}, "stop", "reasoning", SAYS, "4", ""),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
                    {"type": "text", "text": SAYS},
                ]
            },
            *("stop", "both", BOTH, "4", ""),
        ),
        ({"content": SAYS, "reasoning": None, "reasoning_details": [{"text": THOUGHT}]}, "stop", "both", BOTH, "4", ""),
        # What the content does not state is not taken from a draft.
        (
            {"content": "That is all.", "reasoning": THOUGHT},
            "stop",
            "both",
            f"{THOUGHT}\n\nThat is all.",
            "",
            "no_answer",
        ),
        # A parser that was given no end of the thinking puts everything there.
        ({"content": None, "reasoning_content": SAYS}, "stop", "answer", SAYS, "4", ""),
        ({"content": "", "reasoning_content": "Hm."}, "stop", "both", "Hm.", "", "no_answer"),
        ({"content": "", "reasoning_content": " "}, "stop", "both", "", "", "empty"),
        # Cut within the thinking, and behind it.
        ({"content": None, "reasoning": "I think"}, "length", "answer", "I think", "", "cut"),
        ({"content": "So", "reasoning": "I think"}, "length", "both", "I think\n\nSo", "", "cut"),
    ],
)
def test_a_reasoning_model(
    message: dict[str, Any], finish: str, shows: Shows, text: str, answer: str, problem: str
) -> None:
    found = read(body(message, finish), shows=shows)
    assert (found.text, found.answer, found.problem) == (text, answer, problem)


def test_how_much_was_reasoning_is_kept() -> None:
    assert read(body({"content": SAYS, "reasoning": "Hm."}), shows="answer").meta["reasoning"] == 3
    assert "reasoning" not in read(body({"content": SAYS})).meta


@pytest.mark.parametrize(
    ("finish", "more", "problem", "named"),
    [
        ("MAX_TOKENS", {}, "cut", "MAX_TOKENS"),
        ({"type": "length", "length": 9}, {}, "cut", "length"),
        ("stop", {"native_finish_reason": "MAX_TOKENS"}, "cut", "MAX_TOKENS"),
        (None, {"stop_reason": "model_context_window_exceeded"}, "cut", "model_context_window_exceeded"),
        # vLLM names the stop string that was met; a whole text for all that.
        ("stop", {"stop_reason": "max length"}, "", "stop"),
        ("SAFETY", {}, "refused", "SAFETY"),
        ("sensitive", {}, "refused", "sensitive"),
        ("a_new_name", {}, "", "a_new_name"),
        (None, {}, "", None),
    ],
)
def test_finish_reasons(finish: Any, more: dict[str, Any], problem: str, named: str | None) -> None:
    found = read({"choices": [{"message": {"content": SAYS}, "finish_reason": finish, **more}]})
    assert (found.text, found.answer, found.problem) == (SAYS, "4", problem)
    assert found.meta.get("finish_reason") == named


@pytest.mark.parametrize(
    ("fingerprint", "finish", "counted", "problem"),
    [
        ("fp_ollama", None, 0, "cut"),
        ("fp_ollama", None, 9, ""),
        ("fp_ollama", "stop", 0, ""),
        ("fp_other", None, 0, ""),
    ],
)
def test_a_text_that_ollama_stopped_in_a_loop_is_cut(
    fingerprint: str, finish: str | None, counted: int, problem: str
) -> None:
    """It then names no finish reason and counts no tokens, with status 200."""
    usage = {"prompt_tokens": counted, "completion_tokens": counted, "total_tokens": 2 * counted}
    found = read(
        body({"content": "Final answer: 4\n" + "so " * 31}, finish, usage=usage, system_fingerprint=fingerprint)
    )
    assert found.problem == problem
    assert (found.meta.get("finish_reason") == "repetition") is (problem == "cut")


@pytest.mark.parametrize(("finish", "problem"), [("content_filter", "refused"), ("MAX_TOKENS", "cut")])
def test_no_message_at_all(finish: str, problem: str) -> None:
    assert read({"choices": [{"finish_reason": finish, "index": 0}]}).problem == problem


@pytest.mark.parametrize(
    "finish", ["abort", "error", "insufficient_system_resource", "network_error", {"type": "abort", "message": "x"}]
)
def test_what_a_server_broke_off_is_no_answer(finish: Any) -> None:
    with pytest.raises(Failure) as caught:
        read({"choices": [{"finish_reason": finish}]})
    assert caught.value.reason == "broken_off"
    with pytest.raises(Failure) as caught:
        read(body({"content": "Final answer: 4"}, finish))
    assert (caught.value.reason, caught.value.kind, caught.value.billed) == ("broken_off", "transient", True)
    assert name_of(finish) in caught.value.message


def test_content_in_parts_and_other_content_types() -> None:
    assert read(body({"content": [{"type": "text", "text": "A: "}, {"type": "text", "text": "4"}]})).text == "A: 4"
    assert read(body(), "text/plain").answer == "4"
    assert read(b"\xef\xbb\xbf" + json.dumps(body()).encode()).answer == "4"


@pytest.mark.parametrize("tokens", [-1, True, "7", 1.5, None, 10**40, [1]])
def test_usage_that_makes_no_sense_is_none(tokens: Any) -> None:
    found = read(body(usage={"prompt_tokens": tokens, "completion_tokens": 3}))
    assert (found.prompt_tokens, found.completion_tokens) == (None, 3)
    assert read(body(usage=[1])).completion_tokens is None


def test_a_server_that_counts_none_of_what_it_read_and_wrote_has_not_told() -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    whole, empty = read(body(usage=usage)), read(body({"content": ""}, usage=usage))
    assert (whole.prompt_tokens, whole.completion_tokens) == (None, None)
    assert (empty.prompt_tokens, empty.completion_tokens) == (None, 0)
    raw = json.dumps({"choices": [text("Final answer: 4"), text("Final answer: 5")], "usage": usage}).encode()
    several = read_replies(Answer(200, {}, raw), 2, str, str)
    assert [(one.prompt_tokens, one.completion_tokens) for one in several if isinstance(one, Reply)] == [
        (None, None)
    ] * 2


@pytest.mark.parametrize(
    ("content", "reason", "kind", "said"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, "429", "transient", "slow down"),
        ({"error": {"code": "401", "message": "who?"}}, "401", "fatal", "who?"),
        ({"error": {"message": "upstream"}}, "error_text", "transient", "200 with an error: upstream"),
        ({"error": "upstream"}, "error_text", "transient", "upstream"),
        ({"detail": "upstream"}, "error_text", "transient", "upstream"),
        ({"object": "error", "message": "too long", "code": 400}, "400", "request", "too long"),
        ({"errors": [{"message": "upstream"}]}, "error_text", "transient", "upstream"),
        ([{"error": {"code": 503, "message": "gone"}}], "503", "transient", "gone"),
        (
            {"choices": [{"error": {"code": 503, "message": "gone"}, "message": {"content": "ha"}}]},
            "503",
            "transient",
            "gone",
        ),
        (
            {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
            "402",
            "fatal",
            "balance",
        ),
        ({"code": 1113, "msg": "余额不足", "success": False}, "402", "fatal", "余额不足"),
        (b"Insufficient balance", "402", "fatal", "Insufficient balance"),
        (b"The model `m` does not exist", "404", "fatal", "does not exist"),
        (b"Internal Server Error", "not_json", "transient", "Internal Server Error'; check the base_url"),
        (b'data: {"error": {"code": 401, "message": "who?"}}\n\n', "401", "fatal", "who?"),
        (b'data: {"choices": [{"delta": {"content": "Fi"}}]}\n\n', "stream", "denied", "a stream came"),
        (b": keep-alive\n\ndata: [DONE]\n\n", "stream", "denied", "a stream came"),
        (b"event: message\ndata: {}\n\n", "stream", "denied", "a stream came"),
    ],
)
def test_errors_that_come_with_status_200(content: Any, reason: str, kind: str, said: str) -> None:
    with pytest.raises(Failure) as caught:
        read(content)
    assert (caught.value.reason, caught.value.kind, caught.value.billed) == (reason, kind, True)
    assert said in caught.value.message and caught.value.args == (caught.value.message,)


def test_a_stream_is_told_by_its_content_type_too() -> None:
    with pytest.raises(Failure, match="a stream came"):
        read(b"\n", "text/event-stream; charset=utf-8")


@pytest.mark.parametrize(
    "content",
    [
        {**body(), "error": None, "base_resp": {"status_code": 0, "status_msg": "success"}},
        {**body(), "message": "ok", "detail": "x", "code": 200},
    ],
)
def test_what_stands_beside_a_completion_is_no_error(content: Any) -> None:
    assert read(content).answer == "4"


def test_a_filter_s_error_with_status_200_is_a_refused_answer() -> None:
    found = read({"error": {"code": "data_inspection_failed", "message": "no"}})
    assert (found.text, found.problem, found.completion_tokens) == ("", "refused", 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "reasoning",
                    "thinking",
                    "detail",
                    "finish_reason",
                    "text",
                    "error",
                    "usage",
                    "code",
                    "type",
                    "prompt_tokens",
                    "refusal",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60), st.integers(200, 599))
def test_any_body_is_a_reply_or_a_failure(raw: bytes, status: int) -> None:
    answer = Answer(status, {"content-type": "application/json", "retry-after": "x"}, raw)
    try:
        found = read_reply(answer, scrubber(KEY), content_scrubber(KEY))
    except Failure as error:
        assert "\n" not in error.message
    else:
        assert isinstance(found.text, str) and found.problem is not None
    assert refusal(answer, scrubber(KEY)).kind in ("transient", "request", "denied", "fatal")


@pytest.mark.parametrize("raw", [b"[" * 200_000, b"1" * 100_000, b'{"choices": ' + b"[" * 100_000])
def test_hostile_json(raw: bytes) -> None:
    with pytest.raises(Failure):
        read(raw)
