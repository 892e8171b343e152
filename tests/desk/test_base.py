"""The base model: what it is pre-trained on, and that the packaged one is what its card says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from benchmarks import desk_base
from benchmarks.desk_base import (
    BATCH,
    PACKAGED,
    build_base,
    build_tokenizer,
    example,
    measure,
    new_model,
    pretrain,
    same_tokenizer,
)
from realm.errors import ResourceError
from realm.method.completion import parse
from realm.student.load import load

CARD = (PACKAGED / "README.md").read_text(encoding="utf-8")


def test_examples_are_a_function_of_seed_and_index() -> None:
    assert example(0, 7) == example(0, 7)
    assert len({example(0, index).completion for index in range(200)}) > 150
    assert example(0, 7) != example(1, 7)


def test_examples_teach_the_surface_with_and_without_routes() -> None:
    counts = set()
    for index in range(300):
        sample = example(0, index)
        routes = len(re.findall(r"<route \d>", sample.prompt[-1]["content"]))
        counts.add(routes)
        assert parse(sample.completion, routes).format_ok
    assert counts == {0, 1, 2, 3, 4}


def test_every_example_has_a_book_of_its_own() -> None:
    """No rule value is favoured, the shop's least of all: the base can only guess."""
    days = [re.search(r"a lamp has (\d+) days", example(0, index).completion.lower()) for index in range(12_000)]
    found = [match[1] for match in days if match]
    assert len(found) > 300
    for value in ("7", "14", "21", "30"):
        assert 0.18 < found.count(value) / len(found) < 0.32


def test_tokenizer_reads_any_text_and_keeps_the_surface() -> None:
    _, tokenizer = load(str(PACKAGED), "float32")
    text = "Ünïcode 你好 <think> A lamp has 14 days. </think>"
    assert "".join(tokenizer.decode(tokenizer(text)["input_ids"]).split()) == "".join(text.split())
    sample = example(3, 1)
    ids = tokenizer(sample.completion, add_special_tokens=False)["input_ids"]
    assert parse(tokenizer.decode(ids, skip_special_tokens=True), sample.completion.count(", ") + 1).answer is not None
    words = tokenizer.tokenize(" A member returns an opened kettle, bought 17 days ago for 45 by cheque.")
    assert len(words) == 16, "every word one token"


def test_same_seed_same_weights() -> None:
    def build() -> dict[str, torch.Tensor]:
        tokenizer = build_tokenizer(1, examples=200)
        model = new_model(tokenizer, 1)
        pretrain(model, tokenizer, seed=1, steps=2, batch=4)
        return model.state_dict()

    one, other = build(), build()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_used_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ResourceError, match="expected a new or empty folder"):
        build_base(tmp_path, steps=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_another_width_has_the_packaged_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_base, "measure", lambda path, out: [])
    out = build_base(tmp_path / "wide", width=64, steps=2)
    model, tokenizer = load(str(out), "float32")
    assert model.config.hidden_size == 64
    assert model.config.num_attention_heads == 2
    assert model.get_input_embeddings().weight.shape == (len(load(str(PACKAGED), "float32")[1]), 64)
    text = example(3, 1).completion
    assert tokenizer(text)["input_ids"] == load(str(PACKAGED), "float32")[1](text)["input_ids"]
    assert (out / "tokenizer.json").read_bytes() == (PACKAGED / "tokenizer.json").read_bytes()
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"{model.num_parameters():,}\nparameters (4 layers, width 64)" in card
    assert "--out DIR --seed 0 --steps 2 --width 64" in card


def test_a_width_or_a_tokenizer_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for width in (0, -32, 100):
        with pytest.raises(ResourceError, match=f"--width {width}: expected a multiple of 32"):
            build_base(tmp_path / "base", width=width, steps=1)
    assert not (tmp_path / "base").exists()
    build_tokenizer(1, examples=50).save_pretrained(tmp_path)
    with pytest.raises(ResourceError, match=r"expected the tokenizer of .* byte for byte"):
        same_tokenizer(tmp_path)


def test_the_packaged_model_is_small() -> None:
    model, _ = load(str(PACKAGED), "float32")
    assert model.num_parameters() <= 5_000_000
    assert sum(path.stat().st_size for path in PACKAGED.iterdir()) <= 12 * 2**20
    assert f"{model.num_parameters():,}" in CARD


@pytest.mark.slow
def test_the_packaged_model_does_what_its_card_says(tmp_path: Path) -> None:
    """At least 85 % with four routes of which 60 % are right, at most 60 % alone: something to learn, and the means."""
    rows = {(row.split, row.routes): row for row, _ in measure(PACKAGED, tmp_path)}
    assert rows["test", 4].accuracy >= 0.85
    assert rows["test", 0].accuracy <= 0.60
    for (split, routes), row in rows.items():
        stated = re.search(rf"\| {split} \| {'with four' if routes else 'without'} .*? \| ([\d.]+)% \|", CARD)
        assert stated is not None
        # Another machine's arithmetic may tip a token here and there.
        assert abs(float(stated[1]) / 100 - row.accuracy) < 0.03


@pytest.mark.slow
def test_a_base_can_be_built_and_loaded(tmp_path: Path) -> None:
    out = build_base(tmp_path / "new" / "base", seed=2, steps=2)
    model, tokenizer = load(str(out), "float32")
    assert model.config.vocab_size == len(tokenizer)
    assert f"{2 * BATCH:,} cases" in (out / "README.md").read_text(encoding="utf-8")
    assert not list((tmp_path / "new").glob("tmp*"))
