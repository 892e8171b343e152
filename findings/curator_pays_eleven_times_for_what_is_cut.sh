#!/usr/bin/env bash
# Bespoke Curator 0.1.31 (litellm 1.83.7) asks a teacher eleven times for an answer that max_tokens cuts off, and keeps
# none of the eleven.
#
# One would guess: retries are for requests that fail (limits, time-outs, servers); an answer with finish_reason "length"
# has come, is paid for, and is kept with its mark, or dropped; asking again with the same limit cuts it off again.
# What happens: "length" is one of the default invalid_finish_reasons, beside "content_filter", and what has one is an
# error like any other: max_retries is 10, the limit stays as it was. After the eleventh the row is stored without any
# text, and the call ends in a ValueError (require_all_responses), at the very end. What is called again then, to
# go on from the cache, asks for the cut ones eleven times more. backend_params={"max_retries": 0} asks once, and
# {"invalid_finish_reasons": ["content_filter"]} keeps what came.
# Why it matters: the cut ones are the longest. Where a tenth of the chains of thought is cut, what is paid for is twice
# the tokens at least, and the message that says so names a count of errors, not of tokens.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check bespokelabs-curator==0.1.31 litellm==1.83.7 \
    datasets==3.6.0 openai==2.30.0 tiktoken==0.12.0 2>/dev/null
"$work/venv/bin/python" - "$work" 2>/dev/null <<'PYTHON' | grep "^: " | tee "$work/seen"
import http.server
import json
import os
import sys
import threading
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

asked = Counter()


class Teacher(http.server.BaseHTTPRequestHandler):
    """Answers in 20 tokens; what is hard would take more than it is allowed."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"] if body["messages"] else ""
        cut = question == "hard"
        used = body["max_tokens"] if cut else 20
        asked[question] += 1
        asked[question, "tokens"] += used
        answer = {"message": {"role": "assistant", "content": "4"}, "finish_reason": "length" if cut else "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": used, "total_tokens": 10 + used}
        body = json.dumps({"model": "teacher", "created": 1, "choices": [answer], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Teacher)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(
    TELEMETRY_ENABLED="0", CURATOR_DISABLE_RICH_DISPLAY="1", LITELLM_LOCAL_MODEL_COST_MAP="True", OPENAI_API_KEY="none",
    TIKTOKEN_CACHE_DIR=str(Path(find_spec("litellm").origin).parent / "litellm_core_utils" / "tokenizers"),
)  # fmt: skip
from bespokelabs import curator  # noqa: E402

SETTINGS = {
    "base_url": f"http://127.0.0.1:{server.server_port}/v1",
    "max_requests_per_minute": 100_000,
    "max_tokens_per_minute": 10**9,
}
for name, more in (
    ("as it is", {}),
    ("as it is", {}),
    ("no retries", {"max_retries": 0}),
    ("keeps", {"invalid_finish_reasons": ["content_filter"]}),
):
    asked.clear()
    os.environ["CURATOR_CACHE_DIR"] = f"{sys.argv[1]}/{name}"
    teacher = curator.LLM(
        model_name="teacher", backend="openai", generation_params={"max_tokens": 1000}, backend_params=SETTINGS | more
    )
    try:
        teacher(["easy", "hard"])
        ended = "answers"
    except ValueError as error:
        ended = str(error).splitlines()[-1].strip()
    for question in ("easy", "hard"):
        print(":", name, question, "asked", asked[question], "tokens", asked[question, "tokens"])
    print(":", name, ended)
PYTHON
diff "$work/seen" - <<'SEEN'
: as it is easy asked 1 tokens 20
: as it is hard asked 11 tokens 11000
: as it is ['finish_reason was length(x11)']
: as it is easy asked 0 tokens 0
: as it is hard asked 11 tokens 11000
: as it is ['finish_reason was length(x11)']
: no retries easy asked 1 tokens 20
: no retries hard asked 1 tokens 1000
: no retries ['finish_reason was length(x1)']
: keeps easy asked 1 tokens 20
: keeps hard asked 1 tokens 1000
: keeps answers
SEEN
