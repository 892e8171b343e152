"""docs/howto/use-and-share.md: a trained model behind `transformers serve`, asked as the page has it."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from openai import OpenAI

import realm
from realm.student.load import load_tokenizer
from realm.student.prompts import encode
from tests.teacher.foreign import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs transformers[serving]"),
]
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "howto" / "use-and-share.md").read_text(encoding="utf-8")
QUESTION = "A customer returns a sealed lamp, bought 35 days ago for 30 by cash, with receipt. How much is paid back?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the desk."""
    return shutil.copytree(ROOT / "realm" / "desk" / "base", tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    with serving(model) as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield found


def asked(model: Path) -> realm.Answer:
    config = realm.load_config(overrides=["training.rl.max_completion_length=64"])
    return realm.Student(model, config).ask(QUESTION, samples=0)


@pytest.fixture(scope="module")
def answer(model: Path) -> realm.Answer:
    return asked(model)


def block(language: str, beginning: str, url: str, model: Path) -> str:
    """A block of the page, for the server of this test."""
    (found,) = re.findall(rf"```{language}\n({beginning}.*?)```", PAGE, re.DOTALL)
    return found.replace("http://localhost:8000/v1", url).replace("runs/desk/model", str(model))


def said(content: str) -> str | None:
    """The answer in what a server takes for the content."""
    return realm.parse(f"<think></think>{content.strip().removesuffix('<|end|>')}", 0).answer


def test_curl_sends_the_prompt_of_training(url: str, model: Path, answer: realm.Answer) -> None:
    done = subprocess.run(
        ["bash", "-c", block("bash", "curl", url, model)], capture_output=True, text=True, timeout=120, check=True
    )
    reply = json.loads(done.stdout)
    message = reply["choices"][0]["message"]
    assert message["reasoning_content"].strip() == answer.think
    assert said(message["content"]) == answer.answer
    tokenizer = load_tokenizer(model)
    assert reply["usage"]["prompt_tokens"] == len(encode(tokenizer, answer.messages))


def test_the_openai_client(url: str, model: Path, answer: realm.Answer) -> None:
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(block("python", "from openai", url, model), "page", "exec"), {})
    assert said(printed.getvalue()) == answer.answer


def test_a_model_without_a_chat_template_is_asked_for_a_completion(url: str, model: Path, tmp_path: Path) -> None:
    plain = shutil.copytree(model, tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    answer = asked(plain)
    client = OpenAI(base_url=url, api_key="none")
    reply = client.completions.create(model=str(plain), prompt=answer.prompt, temperature=0, max_tokens=64)
    assert realm.parse(reply.choices[0].text, 0).answer == answer.answer
    assert reply.usage is not None and reply.usage.prompt_tokens == len(encode(load_tokenizer(plain), answer.messages))


def test_the_page_says_what_the_desk_is_asked(answer: realm.Answer) -> None:
    assert [message["content"] for message in answer.messages] == [f"{QUESTION} Answer."]
    assert PAGE.count(QUESTION) == 4
