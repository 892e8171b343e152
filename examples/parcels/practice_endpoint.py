"""A stand-in for a paid endpoint, to practise with: speaks OpenAI's chat protocol on 127.0.0.1 and costs nothing.

    python practice_endpoint.py --port 8011

It knows how parcels are priced only as far as the prompt tells it: a rule that it is not shown it takes from habit,
which is wrong, or forgets. So it plays a large model that reasons well and does not know the house's rules. It gives
several answers for one prompt (`n`), has the beginnings of prompts in a cache, and takes batch files, which have their
answers when they are asked after for the second time.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

QUESTION = re.compile(r"A customer sends (a fragile|a) parcel of (\d+) kg to (the \w+)( by express)?\.")
HABIT = {"the north": 5, "the south": 6, "the islands": 9}
BOOK = {"the north": 4, "the south": 6, "the islands": 11}
#: How often each prompt was asked: every time it gets another sample.
SEEN: Counter[str] = Counter()
#: Beginnings of prompts, in steps of so many characters, that are cached.
BEGUN: set[str] = set()
STEP = 256
FILES: dict[str, bytes] = {}
BATCHES: dict[str, dict[str, Any]] = {}
LOCK = threading.Lock()


def think(prompt: str, source: random.Random) -> str:
    """Steps and a final answer, by the rules that the prompt holds and by habit where it holds none."""
    found = QUESTION.search(prompt)
    if not found:
        return "I do not see a parcel here.\nFinal answer: unknown"
    fragile, weight, zone, express = found[1] == "a fragile", int(found[2]), found[3], bool(found[4])
    fee = (BOOK if "basic fee is 4 euro" in prompt else HABIT)[zone]
    steps = [f"The basic fee for {zone} is {fee} euro."]
    total = fee
    if fragile and "is doubled" in prompt:
        total += fee
        steps.append(f"Fragile goods double it: 2 * {fee} = {total} euro.")
    elif fragile and source.random() < 0.5:
        total += 3
        steps.append(f"Fragile goods usually cost 3 euro more: {fee} + 3 = {total} euro.")
    if weight > 10 and ("above 20 kg" in prompt or source.random() < 0.7):
        extra = (12 if weight > 20 else 5) if "above 20 kg" in prompt else 5
        steps.append(f"It weighs {weight} kg, which adds {extra} euro: {total} + {extra} = {total + extra} euro.")
        total += extra
    if express and not ("no express" in prompt and zone == "the islands"):
        steps.append(f"Express adds 7 euro: {total} + 7 = {total + 7} euro.")
        total += 7
    if source.random() < 0.05:
        total += source.choice((-1, 1, 10))
        steps.append(f"Together that makes {total} euro.")
    return "\n".join([*steps, f"Final answer: {total}"])


def complete(body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The answer to a request, and its status."""
    if body["model"] != "practice":
        return {"error": {"message": f"The model {body['model']!r} does not exist"}}, 404
    prompt, wanted = "\n".join(message["content"] for message in body["messages"]), body.get("n", 1)
    with LOCK:
        first = SEEN[prompt]
        SEEN[prompt] += wanted
        begun = [prompt[:end] for end in range(STEP, len(prompt), STEP)]
        cached = STEP * sum(beginning in BEGUN for beginning in begun) // 4
        BEGUN.update(begun)
    texts = [think(prompt, random.Random(f"{number} {prompt}")) for number in range(first, first + wanted)]
    usage: dict[str, Any] = {"prompt_tokens": len(prompt) // 4, "completion_tokens": sum(map(len, texts)) // 4}
    usage |= {"total_tokens": sum(usage.values()), "prompt_tokens_details": {"cached_tokens": cached}}
    choices = [
        {"index": number, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for number, text in enumerate(texts)
    ]
    return {
        "id": "practice", "object": "chat.completion", "created": 0, "model": body["model"], "choices": choices,
        "usage": usage,
    }, 200  # fmt: skip


def begin(batch: dict[str, Any]) -> dict[str, Any]:
    """A batch of the requests in a file."""
    rows = []
    for line in FILES[batch["input_file_id"]].splitlines():
        asked = json.loads(line)
        body, status = complete(asked["body"])
        response = {"status_code": status, "body": body}
        rows.append({"custom_id": asked["custom_id"], "response": response, "error": None})
    name = f"output-{len(FILES)}"
    FILES[name] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    counts = {"total": len(rows), "completed": len(rows), "failed": 0}
    batch |= {"id": f"batch-{len(BATCHES)}", "object": "batch", "output_file_id": name, "request_counts": counts}
    BATCHES[batch["id"]] = batch
    return {**batch, "status": "in_progress"}


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        _, _, what, *name = self.path.partition("?")[0].split("/")
        if what == "files" and name and name[0] in FILES:
            self._send(FILES[name[0]])
        elif what == "batches" and name and name[0] in BATCHES:
            looked = BATCHES[name[0]].setdefault("status", "in_progress")
            self._reply(BATCHES[name[0]] | {"status": looked})
            BATCHES[name[0]]["status"] = "completed"
        elif what == "batches":
            self._reply({"object": "list", "data": list(BATCHES.values()), "has_more": False})
        else:
            self._reply({"object": "list", "data": [{"id": "practice", "object": "model"}]})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/files"):
            boundary = b"--" + self.headers["Content-Type"].partition("boundary=")[2].encode()
            part = next(part for part in content.split(boundary) if b"filename=" in part)
            name = f"file-{len(FILES)}"
            FILES[name] = part.partition(b"\r\n\r\n")[2].rstrip()
            self._reply({"id": name, "object": "file", "purpose": "batch"})
        elif self.path.endswith("/batches"):
            self._reply(begin(json.loads(content)))
        else:
            self._reply(*complete(json.loads(content)))

    def _reply(self, content: dict[str, Any], status: int = 200) -> None:
        self._send(json.dumps(content).encode(), status)

    def _send(self, data: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An endpoint to practise with.")
    parser.add_argument("--port", type=int, default=8011)
    ThreadingHTTPServer.request_queue_size = 128
    try:
        server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Endpoint)
    except OSError as error:
        raise SystemExit(f"cannot listen on this port ({error.strerror}); choose another --port") from None
    print(f"listening at http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()
