"""An endpoint as a teacher: every outcome is a reply or a failure that says what may be done; the key is kept."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from realm.errors import ConfigError, TeacherError
from realm.sections import TeacherConfig
from realm.tasks.base import Question
from realm.teacher.base import Ask, Failure, Reply
from realm.teacher.endpoint import EndpointTeacher
from realm.teacher.prompts import TeacherWording
from tests.teacher.wire import Wire, messages_hash, pseudo_cot

KEY = "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)


def teacher(base_url: str | None, timeout: float = 10.0, **parts: Any) -> EndpointTeacher:
    given = {"kind": "openai", "model": "wire-model", "base_url": base_url, "api_key_env": "TEST_KEY", **parts}
    return EndpointTeacher("big", TeacherConfig.model_validate(given), timeout, TeacherWording())


def ask(of: EndpointTeacher, *texts: str) -> list[Reply | Failure]:
    """What becomes of the questions, asked side by side."""

    async def one(text: str) -> Reply | Failure:
        question = Question(text, text, "")
        try:
            return (await of.ask([Ask(text, question, (), of.messages(question, ()), random.Random(0))]))[0]
        except Failure as failure:
            return failure

    async def every() -> list[Reply | Failure]:
        try:
            async with asyncio.timeout(300):  # a request whose own timeout fails would wait for ever
                return await asyncio.gather(*map(one, texts))
        finally:
            await of.close()

    return asyncio.run(every())


def reply(of: EndpointTeacher) -> Reply:
    found = ask(of, "What is 2 + 2?")[0]
    assert isinstance(found, Reply), found.message
    return found


def failure(of: EndpointTeacher) -> Failure:
    found = ask(of, "What is 2 + 2?")[0]
    assert isinstance(found, Failure), found
    return found


def test_an_answer() -> None:
    with Wire(key=KEY) as wire:
        asked = teacher(wire.base_url, sampling={"temperature": 0.5, "top_p": None, "extra": {"top_k": 7}})
        found = reply(asked)
        body = wire.requests[0].body
    assert body["messages"] == asked.messages(Question("", "What is 2 + 2?", ""), ())
    assert {key: body[key] for key in body if key != "messages"} == {
        "model": "wire-model",
        "temperature": 0.5,
        "max_tokens": 2048,
        "top_k": 7,
    }
    assert found.text == pseudo_cot(body)
    assert found.text.endswith(f"Final answer: {found.answer}") and found.answer
    assert found.problem == ""
    assert found.completion_tokens == len(found.text.split()) and found.prompt_tokens and found.prompt_tokens > 10
    assert found.meta == {"finish_reason": "stop", "model": "wire-model"}


@pytest.mark.parametrize(
    ("fault", "problem"),
    [("empty", "empty"), ("refusal", "refused"), ("cut", "cut"), ("slow", ""), ("filter", "refused")],
)
def test_answers_that_are_no_good_are_replies(fault: str, problem: str) -> None:
    with Wire(script=[fault]) as wire:
        assert reply(teacher(wire.base_url)).problem == problem


@pytest.mark.parametrize(
    ("fault", "reason", "kind", "billed"),
    [
        ("429", "429", "transient", False),
        ("quota", "429", "fatal", False),
        ("402", "402", "fatal", False),
        ("408", "408", "transient", False),
        ("409", "409", "transient", False),
        ("500", "500", "transient", False),
        ("502", "502", "transient", False),
        ("503", "503", "transient", False),
        ("504", "504", "transient", True),
        ("529", "529", "transient", False),
        ("501", "501", "fatal", False),
        ("400", "400", "request", False),
        ("413", "413", "request", False),
        ("422", "422", "request", False),
        ("401", "401", "fatal", False),
        ("403", "403", "denied", False),
        ("405", "405", "denied", False),
        ("credit", "403", "fatal", False),
        ("max_tokens", "400", "denied", False),
        ("stream", "stream", "denied", True),
        ("abort", "broken_off", "transient", True),
        ("redirect", "redirect", "fatal", False),
        ("half", "half_body", "transient", True),
        ("not_json", "not_json", "transient", True),
        ("html", "content_type", "transient", True),
        ("shape", "shape", "transient", True),
        ("closed", "connection", "transient", True),
    ],
)
def test_failures_say_what_may_be_done(fault: str, reason: str, kind: str, billed: bool) -> None:
    with Wire(script=[fault]) as wire:
        found = failure(teacher(wire.base_url))
        assert len(wire.requests) == 1  # trying again is the collector's part
    assert (found.reason, found.kind, found.billed) == (reason, kind, billed)
    assert found.message and "\n" not in found.message and str(found) == found.message
    if fault in ("half", "not_json", "html", "shape"):
        assert found.body


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_the_timeout_holds_for_the_whole_request(fault: str) -> None:
    with Wire(script=[fault]) as wire:
        found = failure(teacher(wire.base_url, timeout=0.3))
    assert (found.reason, found.kind, found.billed) == ("timeout", "transient", True)
    assert "0.3 s" in found.message and "lower collect.concurrency" in found.message


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        found = failure(teacher(f"http://127.0.0.1:{taken.getsockname()[1]}/v1"))
    assert (found.reason, found.kind, found.billed) == ("connection", "transient", False)


def test_https_to_a_plain_server_never_works() -> None:
    with _server(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n") as url:
        found = failure(teacher(url.replace("http:", "https:")))
    assert (found.reason, found.kind, found.billed) == ("connection", "fatal", False)
    assert "http or https?" in found.message


@pytest.mark.parametrize(
    ("fault", "low", "high"), [("429", 3, 3), ("429-ms", 3, 3), ("429-date", 0.5, 3), ("500", 0, 0)]
)
def test_the_wait_a_server_asks_for(fault: str, low: float, high: float) -> None:
    with Wire(script=[fault], wait=3) as wire:
        found = failure(teacher(wire.base_url)).retry_after
    assert low <= (found or 0) <= high


def running(context: Any, model: str = "wire-model:latest") -> dict[str, Any]:
    return {"models": [{"model": "other:latest", "context_length": 9}, {"model": model, "context_length": context}]}


def test_an_ollama_whose_context_is_too_small_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with Wire(overrides={"system_fingerprint": "fp_ollama"}) as wire:
        wire.running = running(2048)
        ask(teacher(wire.base_url, sampling={"max_tokens": 2000}), *map(str, range(9)))
    assert wire.gets.count("/api/ps") == 1
    (said,) = caplog.messages
    assert "context of 2048 tokens" in said and "OLLAMA_CONTEXT_LENGTH=4096" in said and "max_tokens 2000" in said


@pytest.mark.parametrize(
    ("fingerprint", "there"),
    [
        ("fp_ollama", running(4096)),
        ("fp_ollama", running("9")),
        ("fp_ollama", running(9, "third")),
        ("fp_ollama", {"models": [None]}),
        ("fp_ollama", None),
        ("fp_other", running(9)),
    ],
)
def test_other_contexts_are_passed_over(
    fingerprint: str, there: dict[str, Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    with Wire(overrides={"system_fingerprint": fingerprint}) as wire:
        wire.running = there
        assert reply(teacher(wire.base_url, sampling={"max_tokens": 2000})).problem == ""
    assert caplog.messages == []
    assert ("/api/ps" in wire.gets) is (fingerprint == "fp_ollama")


@pytest.mark.parametrize("name", ["seed", "random_seed"])
def test_every_sample_has_a_seed_of_its_own(name: str) -> None:
    """With one for all, whoever heeds it gives the same text again."""

    def sent(seed: int) -> list[Any]:
        with Wire() as wire:
            ask(teacher(wire.base_url, sampling={"extra": {name: seed}}), "a", "b", "c")
        return sorted(seen.body[name] for seen in wire.requests)

    assert len({*sent(7)}) == 3 and sent(7) == sent(7)
    assert not {*sent(7)} & {*sent(8)}
    assert all(0 <= seed < 1 << 31 for seed in sent(7))


def test_an_unknown_model_is_told_with_the_names_near_it() -> None:
    names = ["alpha", "wire-modem", "b1", "b2", "b3", "b4"]
    with Wire(script=lambda seen: "model", models=names) as wire:
        found = ask(teacher(wire.base_url), *map(str, range(5)))
        assert wire.gets == ["/v1/models"]  # once, however many samples are refused
    for one in found:
        assert isinstance(one, Failure)
        assert (one.reason, one.kind) == ("404", "fatal")
        assert "has no model 'wire-model'; it lists wire-modem, " in one.message and one.message.count("b") < 10
        assert "teachers.big.model" in one.message


@pytest.mark.parametrize(
    ("fault", "extra", "helps"),
    [
        ("credit", {}, "the endpoint answered 403: Sorry, your account balance is insufficient."),
        ("max_tokens", {}, "; set teachers.big.sampling.max_tokens_key to max_completion_tokens"),
        ("stream", {}, "; set teachers.big.sampling.extra to {stream: false}"),
        ("stream", {"stream": False}, "; the server at teachers.big.base_url must be told not to"),
        ("html", {}, "; check teachers.big.base_url"),
        ("redirect", {}, "; set teachers.big.base_url to where it really is"),
    ],
)
def test_the_setting_that_helps_is_named(fault: str, extra: dict[str, Any], helps: str) -> None:
    with Wire(script=[fault]) as wire:
        found = failure(teacher(wire.base_url, sampling={"extra": extra}))
    assert helps in found.message and str(found) == found.message


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ({"error": "upstream"}, "transient", "check teachers.big.base_url and teachers.big.model"),
        (
            {"error": "temperature must be at most 1"},
            "denied",
            "set teachers.big.sampling.temperature to what it takes",
        ),
        ({"error": "no such model: wire-model"}, "fatal", "the endpoint has no model 'wire-model'"),
        ({"error": "insufficient credits"}, "fatal", "200 with an error: insufficient credits"),
    ],
)
def test_an_error_text_with_status_200(content: dict[str, Any], kind: str, said: str) -> None:
    with _server(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s", json.dumps(content).encode()) as url:
        found = failure(teacher(url, timeout=3))
    assert (found.kind, found.billed) == (kind, True)
    assert said in found.message and str(found) == found.message


def test_what_of_a_reasoning_model_is_shown() -> None:
    message = {"content": "Final answer: 4", "reasoning_content": "2 + 2"}
    with Wire(overrides={"choices": [{"message": message, "finish_reason": "stop"}]}) as wire:
        shown = {shows: reply(teacher(wire.base_url, shows=shows)).text for shows in ("both", "reasoning", "answer")}
        assert reply(teacher(wire.base_url)).text == shown["both"]
        assert len({json.dumps(seen.body) for seen in wire.requests}) == 1  # it changes nothing of the request
    assert shown == {"both": "2 + 2\n\nFinal answer: 4", "reasoning": "2 + 2", "answer": "Final answer: 4"}


def test_a_wrong_address_is_told() -> None:
    with Wire() as wire:
        found = failure(teacher(wire.base_url.removesuffix("/v1")))
    assert found.kind == "fatal"
    assert "nothing answers at http://127.0.0.1" in found.message and "teachers.big.base_url" in found.message


def test_a_400_about_the_model_is_about_all_requests_and_another_is_not() -> None:
    error = {"error": {"message": "The model `x` does not exist", "code": None}}
    other = {"error": {"message": "a/b is not a valid model ID", "code": 400}}  # OpenRouter
    for body, kind in ((error, "denied"), (other, "denied"), ({"error": {"message": "context too long"}}, "request")):
        with _server(b"HTTP/1.1 400 Bad\r\ncontent-length: %d\r\n\r\n%s", json.dumps(body).encode()) as url:
            assert failure(teacher(url)).kind == kind


@contextmanager
def _server(head: bytes, body: bytes = b"", endless: bytes = b"") -> Iterator[str]:
    """One that sends these bytes to whoever connects, `endless` again and again."""
    content = head % (len(body), body) if b"%d" in head else head
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    connection.recv(1 << 16)
                    connection.sendall(content)
                    while endless:
                        connection.sendall(endless)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n{}",
        b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd",
        b"HTTP/1.1 500 X\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://[bad\r\ncontent-length: 0\r\n\r\n",
        b"\xff" * 100,
    ],
)
def test_broken_servers_give_failures(sent: bytes) -> None:
    with _server(sent) as url:
        assert failure(teacher(url, timeout=3)).message


def test_a_body_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realm.teacher.client.BODY_LIMIT", 10_000)
    for status in (b"200 OK", b"500 Error"):
        head = b"HTTP/1.1 " + status + b"\r\ncontent-length: 1000000000000\r\n\r\n"
        with _server(head, endless=b"x" * 4096) as url:
            found = failure(teacher(url, timeout=5))
        assert (found.reason, found.kind) == ("too_large", "request")


# --- the key ---


def test_without_a_key() -> None:
    with Wire() as wire:
        reply(teacher(wire.base_url, api_key_env=None))
        assert "authorization" not in wire.headers[0]


def test_no_other_key_or_account_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-key-of-the-environment")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-key-of-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with Wire() as wire:
        reply(teacher(wire.base_url))
        reply(teacher(wire.base_url, api_key_env=None))
        assert wire.headers[0]["authorization"] == f"Bearer {KEY}"
        sent = json.dumps(wire.headers)
    assert "another-key" not in sent and "admin-key" not in sent and "org-secret" not in sent


def test_no_proxy_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Wire() as wire:
        reply(teacher(wire.base_url))


def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:9")  # as desktops write it; no scheme that there is
    found = failure(teacher("https://endpoint.invalid/v1"))
    assert (found.reason, found.kind, found.billed) == ("proxy", "fatal", False)
    assert "the proxy of ALL_PROXY" in found.message and "socks://127.0.0.1:9" in found.message


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("TEST_KEY")
    else:
        monkeypatch.setenv("TEST_KEY", value)
    with pytest.raises(TeacherError, match=r"teachers\.big: the environment variable TEST_KEY .*`api_key_env: null`"):
        teacher(None)


def test_a_key_that_is_none_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "secret part\nother")
    with pytest.raises(TeacherError, match="does not hold a key") as caught:
        teacher(None)
    assert "secret" not in str(caught.value)


def test_the_key_is_in_no_text_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Wire(key="another") as wire:
        asked = teacher(wire.base_url)
        found = failure(asked)  # the server echoes the key
    assert found.kind == "fatal" and "[key]" in found.message
    with Wire(reply=lambda body: f"Your key is {KEY}.\nFinal answer: {KEY}") as wire:
        echoed = reply(teacher(wire.base_url))
    texts = [repr(asked), str(found), found.body, repr(found), json.dumps(asked.parameters), caplog.text, repr(echoed)]
    for text in texts:
        assert KEY not in text and KEY[8:20] not in text and KEY[-8:] not in text


# --- settings ---


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8000/v1", "expected an address such as"),
        ("ftp://host/v1", "expected an address such as"),
        ("http://", "expected an address such as"),
        ("http://host:99999/v1", "expected an address such as"),
        ("http://ho st/v1", "expected an address such as"),
        ("http://user:secret@host/v1", "without user, query"),
        ("http://host/v1?key=secret", "without user, query"),
        ("http://host/v1/chat/completions/", "without /chat/completions"),
    ],
)
def test_an_address_that_is_none(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        teacher(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "extra",
    [{"stream": True}, {"n": 4}, {"messages": []}, {"x": {1, 2}}, {"x": float("nan")}, {"extra_body": {"top_k": 7}}],
)
def test_extra_that_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"teachers\.big\.sampling\.extra"):
        teacher(None, sampling={"extra": extra})


def test_parameters_are_what_decides_the_text() -> None:
    one = teacher(None).parameters
    assert json.loads(json.dumps(one)) == one
    assert one == teacher("http://elsewhere/v1").parameters
    assert one != teacher(None, sampling={"temperature": 0.1}).parameters
    assert one != teacher(None, model="other").parameters
    assert one != teacher(None, shows="answer").parameters
    # That of a bank that was begun before there was the setting.
    assert "shows" not in one
    assert one == teacher(None, share=5, price={"input": 1}).parameters


def test_many_at_once_over_kept_connections() -> None:
    with Wire(together=300) as wire:  # else a busy machine answers the first before the last is sent
        texts = [str(number) for number in range(400)]
        found = ask(teacher(wire.base_url, timeout=200.0), *texts)
        assert wire.most_at_once >= 300
        assert wire.stats() | {"most_at_once": 0} == {
            "requests": 400,
            "answered": 400,
            "asked_again_after_an_answer": 0,
            "faults": {},
            "most_at_once": 0,
        }
    assert all(isinstance(one, Reply) for one in found)


def test_lone_surrogates_are_sent_as_they_are_hashed() -> None:
    with Wire() as wire:
        asked = teacher(wire.base_url)
        question = Question("", "What \ud800 is this?", "")
        messages = asked.messages(question, ())
        asyncio.run(asked.ask([Ask("", question, (), messages, random.Random(0))]))
        assert wire.requests[0].hash == messages_hash(messages)


def test_cancelling_frees_the_connection() -> None:
    async def cancelled(of: EndpointTeacher) -> Reply:
        def one(text: str) -> Ask:
            question = Question(text, text, "")
            return Ask("", question, (), of.messages(question, ()), random.Random(0))

        task = asyncio.create_task(of.ask([one("hangs")]))
        while not wire.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        found = await of.ask([one("answered")])
        await of.close()
        return found[0]

    with Wire(script=["hang"]) as wire:
        assert asyncio.run(cancelled(teacher(wire.base_url))).answer


def test_the_wire_is_deterministic_and_faulty_as_asked() -> None:
    def faults(seed: int) -> list[str]:
        with Wire(faults=0.5, seed=seed, kinds=("500", "429", "html")) as wire:
            ask(teacher(wire.base_url), *map(str, range(40)))
            return [seen.fault for seen in sorted(wire.requests, key=lambda seen: seen.hash)]

    first = faults(1)
    assert first == faults(1) != faults(2)
    assert 8 < sum(map(bool, first)) < 32


def test_slots_of_the_wire_bound_its_service() -> None:
    with Wire(latency=0.01, slots=4) as wire:
        ask(teacher(wire.base_url), *map(str, range(20)))
        assert wire.most_at_once == 4
