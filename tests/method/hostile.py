"""Hypothesis strategies for text that is made to confuse the parser: tags of every kind among numbers and rubbish."""

from __future__ import annotations

from hypothesis import strategies as st

NAMES = ["think", "answer", "scores", "route", "THINK", "Answer", "sCoReS", "ſcoreſ", "thinK", "thınk", "thinking"]
LESS = ["<", "＜", "﹤", "&lt;", "&LT", "&#60;", "&#x3C;", "&#0060;", "<<"]

tags = st.builds(
    lambda less, space, slash, gap, name, rest, end: less + space + slash + gap + name + rest + end,
    st.sampled_from(LESS),
    st.sampled_from(["", " ", "\n", "\t \u3000"]),
    st.sampled_from(["", "/", "//"]),
    st.sampled_from(["", " "]),
    st.sampled_from(NAMES),
    st.sampled_from(["", " ", " class='x'", "/", " 42", "\n"]),
    st.sampled_from([">", "", ">>", "＞", "<"]),
)
PIECES = [
    *(
        "0.9",
        "1, 0",
        "[0.5; 1]",
        "90%",
        "high",
        "NaN",
        "inf",
        "1e999",
        "-1",
        ",",
        "Route 1: 0.9",
        "42",
        "١",
        "½",
        "9" * 50,
    ),
    *("<", ">", "/", "&", " ", "\n", "{routes}", "{question}", "\x00", "\ud800", "<|im_end|>"),
    *("<think>", "</think>", "<answer>", "</answer>", "<scores>", "</scores>", "</route>", "<route 2>"),
]
pieces = st.sampled_from(PIECES)
text = st.lists(st.one_of(tags, pieces, st.text(max_size=6)), max_size=14).map("".join)
