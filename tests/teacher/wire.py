"""An OpenAI-compatible endpoint for tests and benchmarks: real HTTP/1.1 on 127.0.0.1, deterministic, faulty on demand.

    with Wire(script=["500", ""]) as wire: …          # in a thread of the test
    python tests/teacher/wire.py --port 0 --latency 0.05 --slots 64 --faults 0.2 --seed 1      # prints its port

POST /v1/chat/completions answers with a CoT that is a function of the messages. GET /v1/models lists the models. Files
and batches are taken too. GET /wire/stats gives the counts as JSON. Nothing but the standard library, one event loop,
no copy of a body: several thousand requests a second, so that a benchmark measures the client.

Faults: `429` (Retry-After in seconds), `429-date`, `429-ms`, `quota`, any other status by its number, `model` (404),
`filter` (400), `credit` (403), `max_tokens` (400), `abort` (a finish reason), `stream`, `slow`, `half` (of a body,
then the connection is closed), `not_json`, `empty`, `refusal`, `cut`, `html`, `shape`, `closed` (before any byte),
`hang` (for ever), `drip` (a byte now and then, for ever), `redirect`; in batches `expired`, `missing` (a line),
`failed` (the whole batch). "" is none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

#: What `faults` draws from.
FAULTS = (*("429", "429-date", "500", "503", "slow", "half", "not_json", "empty", "refusal", "html", "closed", "hang"),)
#: Errors by what they are about.
ERRORS = {
    "filter": (400, "The prompt triggered our content management policy.", "content_filter"),
    "credit": (403, "Sorry, your account balance is insufficient.", "30001"),
    "several": (400, "This model takes no more than one choice.", "invalid_request_error"),
    "max_tokens": (400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", "unsupported_parameter"),
}
PATIENCE = 100.0  # seconds; less than the client of that test waits
REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass
class Seen:
    """One chat request: the hash of its messages, which one of that hash it is (from 1), the fault it met, whether it
    was answered in full with a usable CoT, and its JSON."""

    hash: str
    number: int
    fault: str
    body: dict[str, Any]
    answered: bool = False


def messages_hash(messages: Any) -> str:
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:16]


def pseudo_cot(body: dict[str, Any]) -> str:
    """A CoT whose final answer, 0 to 9, is a function of the messages."""
    digest = int(messages_hash(body.get("messages")), 16)
    a, b = digest % 10, digest // 10 % 10
    return f"First I read the question.\nThen I take {a} and {b}: their sum is {a + b}.\nFinal answer: {(a + b) % 10}"


class Wire:
    """The server. A context manager that runs it in a thread of its own.

    Args:
        latency: seconds that each answer of a request takes, one after the other, in one of `slots`.
        slots: requests served at the same time; the others wait. None: all.
        together: the first so many requests are served when all of them are there, or after `PATIENCE` seconds, and
            without latency.
        faults: probability of a fault per request, a function of (seed, messages, which request of them it is).
        kinds: the faults drawn from.
        script: faults of the first requests in the order they come, or a function of `Seen` that names the fault.
        reply: the text of an answer, from the JSON of the request.
        key: the bearer token wanted; None takes any.
        wait: seconds that Retry-After asks for.
        overrides: parts of every successful response instead of the usual.
        several: choices that a request gives at most; 0: a request for several is refused.
        block: words of a prompt that are cached together where an earlier prompt began with the same; 0: no cache.
        polls: how often a batch is asked after before it ends; below 0: there are none.
    """

    def __init__(
        self,
        *,
        latency: float = 0.0,
        slots: int | None = None,
        together: int = 0,
        faults: float = 0.0,
        kinds: Sequence[str] = FAULTS,
        seed: int = 0,
        script: Sequence[str] | Callable[[Seen], str] = (),
        reply: Callable[[dict[str, Any]], str] = pseudo_cot,
        models: Sequence[str] = ("wire-model",),
        key: str | None = None,
        wait: float = 0.01,
        overrides: dict[str, Any] | None = None,
        several: int = 128,
        block: int = 0,
        polls: int = 1,
        port: int = 0,
    ) -> None:
        self.latency, self.slots, self.faults, self.kinds, self.seed = latency, slots, faults, tuple(kinds), seed
        self.reply, self.models, self.key, self.wait = reply, tuple(models), key, wait
        self.overrides = overrides or {}
        self.several, self.block, self.polls = several, block, polls
        self.port = port
        self.billed: Counter[str] = Counter()
        #: Requests about files and batches; `lost`: the places of those whose response does not arrive.
        self.calls: list[str] = []
        self.lost: set[int] = set()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        #: What an Ollama says of the models that it runs; None: this is none.
        self.running: dict[str, Any] | None = None
        self._begun: set[tuple[str, ...]] = set()
        self._given: Counter[str] = Counter()
        self.requests: list[Seen] = []
        self.gets: list[str] = []
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._script = script if callable(script) else deque(script)
        self._busy = 0
        self._held: list[Callable[[], None]] = []
        self._together = together
        self._queue: deque[tuple[Callable[[], None], int]] = deque()

    # --- running ---

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> asyncio.Server:
        self.loop = asyncio.get_running_loop()
        server = await self.loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def __enter__(self) -> Wire:
        ready = threading.Event()

        async def serve() -> None:
            await self.start()
            self._stop = asyncio.Event()
            ready.set()
            await self._stop.wait()

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def stats(self) -> dict[str, Any]:
        return {
            "requests": len(self.requests),
            "answered": sum(self.answered.values()),
            "asked_again_after_an_answer": self.repeated(),
            "faults": dict(Counter(seen.fault for seen in self.requests if seen.fault)),
            "most_at_once": self.most_at_once,
        }

    def repeated(self) -> int:
        """Usable answers beyond the first for one and the same messages."""
        return sum(count - 1 for count in self.answered.values())

    # --- one request ---

    def fault(self, seen: Seen) -> str:
        if callable(self._script):
            return self._script(seen)
        if self._script:
            return self._script.popleft()
        if self.faults:
            source = random.Random(f"{self.seed} {seen.hash} {seen.number}")
            if source.random() < self.faults:
                return source.choice(self.kinds)
        return ""

    def serve(self, work: Callable[[], None], answers: int = 1) -> None:
        """Do the work after the latency of so many answers, in a slot."""
        if self.slots is not None and self._busy >= self.slots:
            self._queue.append((work, answers))
            return
        self._busy += 1
        self.most_at_once = max(self.most_at_once, self._busy)
        if self._together:
            self._hold(work)
        elif self.latency:
            self.loop.call_later(self.latency * answers, self._served, work)
        else:
            self._served(work)

    def _hold(self, work: Callable[[], None]) -> None:
        self._held.append(work)
        if len(self._held) == 1:
            self.loop.call_later(PATIENCE, self._release)
        if self._busy >= self._together:
            self._release()

    def _release(self) -> None:
        self._together = 0
        held, self._held = self._held, []
        for work in held:
            self.loop.call_soon(self._served, work)

    def _served(self, work: Callable[[], None]) -> None:
        self._busy -= 1
        try:
            work()
        finally:
            if self._queue:
                self.serve(*self._queue.popleft())

    def completion(self, seen: Seen) -> dict[str, Any]:
        wanted = min(seen.body.get("n", 1), max(1, self.several))
        first = self._given[seen.hash]
        self._given[seen.hash] += wanted
        choices, words = [], 0
        for number in range(wanted):
            text = self.reply({**seen.body, "index": first + number})
            choices.append({"index": number, **self._choice(text, seen)})
            words += len(text.split())
        prompt = " ".join(str(part.get("content")) for part in seen.body.get("messages", [])).split()
        cached = self._cached(prompt)
        self.billed.update(prompt=len(prompt), cached=cached, completion=words)
        return {
            "id": f"chatcmpl-{seen.hash}-{seen.number}",
            "object": "chat.completion",
            "created": 0,
            "model": seen.body.get("model"),
            "choices": choices,
            "usage": {
                "prompt_tokens": len(prompt),
                "completion_tokens": words,
                "total_tokens": len(prompt) + words,
                **({"prompt_tokens_details": {"cached_tokens": cached}} if self.block else {}),
            },
        } | self.overrides

    def _cached(self, prompt: list[str]) -> int:
        """Words of a prompt that stand in whole blocks with which an earlier one began; it is in the cache then."""
        if not self.block:
            return 0
        heads = [tuple(prompt[:end]) for end in range(self.block, len(prompt) + 1, self.block)]
        found = self.block * sum(head in self._begun for head in heads)
        self._begun.update(heads)
        return found

    def _choice(self, text: str, seen: Seen) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        finish = "stop"
        if seen.fault == "empty":
            message["content"] = ""
        elif seen.fault == "refusal":
            message |= {"content": None, "refusal": "I cannot help with that."}
        elif seen.fault == "abort":
            finish = "abort"
        elif seen.fault == "cut":
            message["content"], finish = text[: len(text) // 2], "length"
        return {"message": message, "finish_reason": finish}

    def take(self, content: dict[str, Any]) -> Seen:
        """Note a chat request, and the fault that it meets."""
        name = messages_hash(content.get("messages"))
        self.seen[name] += 1
        seen = Seen(name, self.seen[name], "", content)
        seen.fault = "several" if content.get("n", 1) > 1 and not self.several else self.fault(seen)
        self.requests.append(seen)
        return seen

    # --- files and batches ---

    def filed(self, method: str, path: str, body: bytes, kind: str) -> Any:
        """What a request about files and batches gives, None where it is about something else."""
        _, _, what, *name = path.partition("?")[0].split("/")
        if what not in ("files", "batches") or self.polls < 0:
            return None
        self.calls.append(f"{method} {what}")
        if what == "files" and name:
            return self.files.get(name[0])
        if what == "files":
            boundary = kind.partition("boundary=")[2].encode()
            part = next(part for part in body.split(b"--" + boundary) if b"filename=" in part)
            id = f"file-{len(self.files)}"
            self.files[id] = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            return {"id": id, "object": "file", "purpose": "batch"}
        if name:
            return self.look(name[0])
        if method == "POST":
            return self.begin(json.loads(body))
        return {"object": "list", "data": list(self.batches.values())[::-1], "has_more": False}

    def begin(self, body: dict[str, Any]) -> dict[str, Any]:
        """A batch of a file. Its requests are answered, and charged, now; it tells so after `polls` looks at it."""
        number = len(self.batches)
        batch = {"id": f"batch-{number}", "object": "batch", "status": "in_progress", "left": self.polls, **body}
        output, errors, status = [], [], "completed"
        for line in self.files[body["input_file_id"]].splitlines():
            asked = json.loads(line)
            seen = self.take(asked["body"])
            row = {"custom_id": asked["custom_id"], "response": None, "error": None}
            if seen.fault == "expired":
                status = "expired"
                errors.append(row | {"error": {"code": "batch_expired", "message": "not within the window"}})
            elif seen.fault in ERRORS or seen.fault.isdigit():
                code, message, kind = ERRORS.get(seen.fault) or (int(seen.fault), "scripted", None)
                error = {"error": {"message": message, "code": kind}}
                errors.append(row | {"response": {"status_code": code, "body": error}})
            elif seen.fault == "failed":
                status = "failed"
            elif seen.fault != "missing":
                output.append(row | {"response": {"status_code": 200, "body": self.completion(seen)}})
                self.answered[seen.hash] += 1
        batch |= {"ends": status, "errors": {"data": [{"code": "token_limit_exceeded", "message": "Too much queued"}]}}
        for name, rows in (("output_file_id", output), ("error_file_id", errors)):
            if rows:
                batch[name] = f"{name}-{number}"
                self.files[batch[name]] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        batch["request_counts"] = {"total": len(output) + len(errors), "completed": len(output), "failed": len(errors)}
        self.batches[batch["id"]] = batch
        return batch

    def look(self, id: str) -> dict[str, Any] | None:
        batch = self.batches.get(id)
        if batch is not None:
            batch["left"] -= 1
            batch["status"] = batch["ends"] if batch["left"] < 0 else "in_progress"
        return batch


class _Connection(asyncio.Protocol):
    """One keep-alive connection; requests are answered in their order."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.buffer = b""
        self.waiting = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._next()

    def _next(self) -> None:
        if self.waiting:
            return
        head, gap, rest = self.buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.waiting = True
        method, path, _ = request.split(" ")
        self._request(method, path, headers, rest[:length])

    def _request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        wire = self.wire
        if method == "GET":
            wire.gets.append(path)
        if path == "/wire/stats":
            self._send(200, wire.stats())
        elif wire.key is not None and headers.get("authorization") != f"Bearer {wire.key}":
            given = headers.get("authorization", "").removeprefix("Bearer ")
            self._error(401, f"Incorrect API key provided: {given}. You can find yours elsewhere.", "invalid_api_key")
        elif path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in wire.models]})
        elif path == "/api/ps" and wire.running is not None:
            self._send(200, wire.running)
        elif path == "/v1/chat/completions" and method == "POST":
            seen = wire.take(json.loads(body))
            wire.headers.append(headers)
            wire.serve(lambda: self._answer(seen), seen.body.get("n", 1))
        elif found := wire.filed(method, path, body, headers.get("content-type", "")):
            if len(wire.calls) - 1 in wire.lost:
                self._error(503, "overloaded", None)
            else:
                self._write(200, found if isinstance(found, bytes) else json.dumps(found).encode())
        else:
            self._error(404, "Not Found", None)

    def _answer(self, seen: Seen) -> None:
        wire, fault = self.wire, seen.fault
        if fault in ("closed", "hang"):
            if fault == "closed":
                self.transport.abort()
        elif fault == "drip":
            self._write(200, b" " * 4096, {"content-length": "1000000"}, done=False)
            self._drip()
        elif fault == "slow":
            seen.fault = "was slow"
            wire.loop.call_later(max(0.2, 4 * wire.latency), self._answer, seen)
        elif fault == "half":
            content = json.dumps(wire.completion(seen)).encode()
            self._write(200, content[: len(content) // 2], {"content-length": str(len(content))}, done=False)
            self.transport.close()
        elif fault == "not_json":
            self._write(200, b'{"choices": [{"message": {"content": "Fi')
        elif fault == "html":
            page = b"<html><head><title>502 Bad Gateway</title></head><body>proxy</body></html>"
            self._write(200, page, {"content-type": "text/html"})
        elif fault == "shape":
            self._send(200, {"object": "chat.completion", "choices": []})
        elif fault == "redirect":
            self._write(302, b"", {"location": "http://127.0.0.1:9/login"})
        elif fault.startswith("429") or fault == "quota":
            self._limited(fault)
        elif fault == "model":
            message = f"The model `{seen.body.get('model')}` does not exist"
            self._error(404, message, "model_not_found")
        elif fault in ERRORS:
            self._error(*ERRORS[fault])
        elif fault == "stream":
            chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Fi"}}]}
            events = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
            self._write(200, events, {"content-type": "text/event-stream"})
        elif fault.isdigit():
            self._error(int(fault), f"scripted error {fault}", None)
        else:
            if self._send(200, wire.completion(seen)) and fault in ("", "was slow"):
                seen.answered = True
                wire.answered[seen.hash] += 1

    def _limited(self, fault: str) -> None:
        wait = self.wire.wait
        later = formatdate(time.time() + wait, usegmt=True)
        headers = {
            "429": {"retry-after": f"{wait:g}"},
            "429-date": {"retry-after": later},
            "429-ms": {"retry-after-ms": f"{1000 * wait:g}"},
        }
        code = "insufficient_quota" if fault == "quota" else "rate_limit_exceeded"
        self._error(429, "Rate limit reached", code, headers.get(fault, {}))

    def _drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b" ")
            self.wire.loop.call_later(0.02, self._drip)

    def _error(self, status: int, message: str, code: str | None, headers: dict[str, str] | None = None) -> None:
        body = {"error": {"message": message, "type": "error", "code": code}}
        self._write(status, json.dumps(body).encode(), headers)

    def _send(self, status: int, content: dict[str, Any]) -> bool:
        return self._write(status, json.dumps(content).encode())

    def _write(self, status: int, body: bytes, headers: dict[str, str] | None = None, done: bool = True) -> bool:
        """Write a response; whether all of it went to a connection that is still open."""
        given = {"content-type": "application/json", "content-length": str(len(body))} | (headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        if self.transport.is_closing():
            return False
        self.transport.write(
            f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n{head}\r\n".encode("latin-1") + body
        )
        if done:
            self.waiting = False
            if self.buffer:
                self.wire.loop.call_soon(self._next)
        return not self.transport.is_closing() and self.transport.get_write_buffer_size() == 0


async def _main(arguments: argparse.Namespace) -> None:
    wire = Wire(
        latency=arguments.latency,
        slots=arguments.slots,
        faults=arguments.faults,
        kinds=arguments.kinds.split(","),
        seed=arguments.seed,
        port=arguments.port,
    )
    server = await wire.start()
    print(wire.port, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A test endpoint that speaks the chat completions protocol.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per answer")
    parser.add_argument("--slots", type=int, default=None, help="requests served at the same time")
    parser.add_argument("--faults", type=float, default=0.0, help="probability of a fault per request")
    parser.add_argument("--kinds", default=",".join(FAULTS), help="the faults drawn from, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))
