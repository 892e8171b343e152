"""Reasoning and content of messages in the shapes of many servers and files."""

from __future__ import annotations

from typing import Any

import pytest

from realm.tasks.messages import Said, Shows, read_message

TEXT = {"type": "text", "text": "So 4."}


@pytest.mark.parametrize(
    ("message", "reasoning", "content"),
    [
        ({"content": "So 4."}, "", "So 4."),
        ({"value": "So 4."}, "", "So 4."),
        ({"content": None}, "", None),
        ({}, "", None),
        ({"content": "", "value": "So 4."}, "", ""),
        ({"content": "So 4.", "reasoning_content": "2 + 2"}, "2 + 2", "So 4."),  # DeepSeek, SGLang
        ({"content": "So 4.", "reasoning": "2 + 2"}, "2 + 2", "So 4."),  # vLLM, OpenRouter, Ollama
        ({"content": "So 4.", "reasoning": None, "reasoning_content": "2 + 2"}, "2 + 2", "So 4."),
        ({"content": "So 4.", "reasoning": "2 + 2", "reasoning_content": "2 + 2"}, "2 + 2", "So 4."),
        ({"content": "So 4.", "thinking": "2 + 2"}, "2 + 2", "So 4."),  # data sets of gpt-oss
        ({"content": None, "reasoning_content": "2 + 2"}, "2 + 2", None),
        ({"content": "So 4.", "reasoning_content": " ", "reasoning": "2 + 2"}, "2 + 2", "So 4."),
        ({"content": "So 4.", "reasoning_effort": "high", "thought_signature": "c2ln"}, "", "So 4."),
        ({"content": "So 4.", "reasoning": True}, "", "So 4."),
        # OpenRouter: `reasoning` is the text of the details, where it is there
        ({"content": "So 4.", "reasoning_details": [{"type": "reasoning.text", "text": "2 + 2"}]}, "2 + 2", "So 4."),
        (
            {
                "content": "So 4.",
                "reasoning_details": [{"type": "reasoning.summary", "summary": "a"}, {"summary": "b"}],
            },
            *("a\n\nb", "So 4."),
        ),
        ({"content": "So 4.", "reasoning_details": [{"type": "reasoning.encrypted", "data": "eA=="}]}, "", "So 4."),
        ({"content": "So 4.", "reasoning": {"content": "2 + 2"}}, "2 + 2", "So 4."),
        ({"content": "So 4.", "thinking_blocks": [{"type": "thinking", "thinking": "2"}]}, "2", "So 4."),  # LiteLLM
        # Mistral's pieces are one text, Anthropic's parts stand for themselves
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "2 +"}, {"type": "text", "text": " 2"}]},
                    TEXT,
                ]
            },
            *("2 + 2", "So 4."),
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": "a", "signature": "s"},
                    {"type": "thinking", "thinking": "b"},
                    TEXT,
                ]
            },
            *("a\n\nb", "So 4."),
        ),
        ({"content": [{"type": "redacted_thinking", "data": "eA=="}, TEXT]}, "", "So 4."),
        ({"content": [{"type": "reasoning", "text": "2 + 2"}, TEXT]}, "2 + 2", "So 4."),
        (
            {
                "content": [
                    {
                        "type": "reasoning",
                        "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
                    },
                    TEXT,
                ]
            },
            *("a\n\nb", "So 4."),
        ),
        ({"content": [{"text": "2 + 2", "thought": True}, {"text": "So 4."}]}, "2 + 2", "So 4."),  # Gemini's parts
        ({"content": ["So ", {"type": "output_text", "text": "4."}]}, "", "So 4."),
        ({"content": []}, "", ""),
    ],
)
def test_shapes(message: dict[str, Any], reasoning: str, content: str | None) -> None:
    said = read_message(message)
    assert (said.reasoning, said.content, said.others) == (reasoning, content, ())


def test_parts_that_are_no_text_are_named() -> None:
    said = read_message(
        {"content": [TEXT, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": 4}]}
    )
    assert (said.content, said.others) == ("So 4.", ("image_url", "text"))


@pytest.mark.parametrize("content", [4, True, {"text": "So 4."}, [4], [TEXT, None]])
def test_other_contents_are_refused(content: Any) -> None:
    with pytest.raises(TypeError, match=f"^{type(content).__name__}$"):
        read_message({"content": content})


@pytest.mark.parametrize(
    ("reasoning", "content", "both", "thought", "answer", "stated"),
    [
        ("2 + 2\n", "\nSo 4.", "2 + 2\n\nSo 4.", "2 + 2\n", "\nSo 4.", "\nSo 4."),
        ("", "So 4.", "So 4.", "So 4.", "So 4.", "So 4."),
        # Where a part is missing the other stands in for it
        ("2 + 2", None, "2 + 2", "2 + 2", "2 + 2", "2 + 2"),
        ("2 + 2", " \n", "2 + 2", "2 + 2", "2 + 2", "2 + 2"),
        ("", None, "", "", "", ""),
        ("", "  ", "  ", "  ", "  ", ""),
        # Not twice
        (
            "2 + 2",
            "<think>2 + 2</think>So 4.",
            *("<think>2 + 2</think>So 4.", "2 + 2"),
            *2 * ("<think>2 + 2</think>So 4.",),
        ),
    ],
)
def test_what_is_shown(reasoning: str, content: str | None, both: str, thought: str, answer: str, stated: str) -> None:
    said = Said(reasoning, content)
    assert (said.text(), said.text("reasoning"), said.text("answer"), said.stated) == (both, thought, answer, stated)


def test_hostile_depth_and_width() -> None:
    deep: Any = "x"
    for _ in range(400):
        deep = [{"thinking": deep, "text": [deep], "summary": {"text": deep}}]
    assert read_message({"content": "So 4.", "reasoning_details": deep}).content == "So 4."
    wide = [{"type": "text", "text": "x"}] * 200_000
    assert len(read_message({"content": wide, "thinking": wide}).reasoning) >= 200_000


@pytest.mark.parametrize(
    ("content", "shows", "text"),
    [
        ("<think>\nWe add.\n</think>\n\nIt is 5.", "both", "<think>\nWe add.\n</think>\n\nIt is 5."),
        ("<think>\nWe add.\n</think>\n\nIt is 5.", "answer", "It is 5."),
        ("<think>\nWe add.\n</think>\n\nIt is 5.", "reasoning", "We add."),
        ("We add. It is 5.", "reasoning", "We add. It is 5."),
        ("<think>\nWe add", "answer", "<think>\nWe add"),
    ],
)
def test_reasoning_that_a_server_leaves_in_the_content(content: str, shows: Shows, text: str) -> None:
    assert read_message({"content": content}).text(shows) == text


def test_a_run_on_behind_an_end_mark_is_left_out_and_told() -> None:
    said = read_message({"content": "It is 5.<|im_end|>\n<|im_start|>user\nAnd 6 + 7?"})
    assert (said.content, said.run_on) == ("It is 5.", True)
    assert not read_message({"content": "It is 5.<|im_end|>"}).run_on
