"""Gemma 3 as a GGUF file and back: its vocabulary of SentencePiece, how it attends, and what ends its turns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

from realm.commands.converting import import_gguf
from realm.commands.gguf_export import export_gguf
from realm.errors import ModelError
from realm.student.load import PROBES, load
from tests.commands.test_gguf_export import asked, given

gguf = pytest.importorskip("gguf")

TEMPLATE = "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] }}<end_of_turn>\n"
TEMPLATE += "{% endfor %}"
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
WHOLE = ["\n", "\n\n", "  ", "   ", "<b>"]
#: In the order of their merges, which is not that of their numbers.
JOINED = ["he", "th", "the", "▁t", "▁th", "▁the", "on", "ee", "eee", "eeee", "heo", "<0", "<0x"]
WORDS = [*SPECIAL, *WHOLE, *(f"<0x{byte:02X}>" for byte in range(256)), *"▁etho0123+a<xn", *reversed(JOINED)]
TEXTS = (*PROBES, "the  thee\n\n\n then<b>  eee\teeeee ▁▁ on ▁ <start_of_turn>the<end_of_turn>\n", "  heone", " " * 8)


def pieces(order: list[str] = JOINED, whole: list[str] = WHOLE, **options: Any) -> PreTrainedTokenizerFast:
    """All pairs that make a word, words in an order."""
    words = {whole[WHOLE.index(word)] if word in WHOLE else word: number for number, word in enumerate(WORDS)}
    known = words.keys() - {*SPECIAL}
    halves = [(word[:place], word[place:]) for word in order for place in range(1, len(word))]
    merges = [pair for pair in halves if known >= set(pair)]
    merges = options.pop("change", list)(merges)
    core = Tokenizer(models.BPE(words, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    core.normalizer = options.pop("normalizer", normalizers.Replace(" ", "▁"))
    core.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    core.add_tokens([AddedToken(token, normalized=False) for token in whole])
    core.post_processor = processors.TemplateProcessing("<bos> $A", None, [("<bos>", 2)])
    names = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk")}
    return PreTrainedTokenizerFast(tokenizer_object=core, chat_template=TEMPLATE, **names)


def gemma(**settings: Any) -> Gemma3ForCausalLM:
    config = {
        "vocab_size": len(WORDS) + 3,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 7,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window": 16,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
    }
    torch.manual_seed(0)
    return Gemma3ForCausalLM(Gemma3TextConfig(**{**config, **settings}))


LINEAR = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}}


@pytest.fixture
def make(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    def made(model: Any = None, tokenizer: Any = None) -> Path:
        run = shutil.copytree(trained, tmp_path / "run", ignore=lambda *_: ["model", "checkpoints"])
        given(run, model or gemma(), tokenizer or pieces())
        settings = load(run / "model")[0].generation_config
        settings.eos_token_id = [1, 5]
        settings.save_pretrained(run / "model")
        return run

    return made


@pytest.mark.parametrize("rope", [None, LINEAR])
def test_what_is_read_back_is_the_model(make: Callable[..., Path], tmp_path: Path, rope: Any) -> None:
    run = make(gemma(rope_parameters=rope))
    file, modelfile, _ = export_gguf(run, tmp_path / "out", dtype="f32")
    import_gguf(file, tmp_path / "back")
    (ours, own), (theirs, read) = load(run / "model"), load(tmp_path / "back")
    assert torch.equal(asked(tmp_path / "back", "a"), asked(run / "model", "a"))
    again, *_ = export_gguf(make_again(run, tmp_path / "back"), tmp_path / "twice", dtype="f32")
    for one, other in zip(tensors(file), tensors(again), strict=True):
        assert one[0] == other[0] and (one[1] == other[1]).all()
    for text in TEXTS:
        ids = own(text)["input_ids"]
        assert ids == read(text)["input_ids"]
        assert own.decode(ids) == read.decode(ids) == "<bos>" + text.replace("▁", " ")
    assert read.chat_template == TEMPLATE and theirs.generation_config.eos_token_id == [1, 5]
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        assert getattr(read, name) == getattr(own, name)
    assert ours.config.layer_types == theirs.config.layer_types and theirs.config.tie_word_embeddings
    assert '"""<start_of_turn>user\n{{ .Prompt }} answer<end_of_turn>\n"""' in modelfile.read_text()
    assert 'PARAMETER stop "<end_of_turn>"' in modelfile.read_text()


def make_again(run: Path, model: Path) -> Path:
    shutil.rmtree(run / "model")
    shutil.copytree(model, run / "model")
    return run


def tensors(file: Path) -> list[tuple[str, Any]]:
    return [(tensor.name, tensor.data) for tensor in gguf.GGUFReader(file).tensors]


def test_spaces_as_googles_file_has_them(make: Callable[..., Path], tmp_path: Path) -> None:
    """There merges make runs of spaces, and what is read whole is their spelling."""
    whole = [word.replace(" ", "▁") for word in WHOLE]
    own = pieces(["▁▁", "▁▁▁", "\n\n", *JOINED], whole)
    assert own("the   on")["input_ids"][2:3] == own("▁▁▁")["input_ids"][1:] == [WORDS.index("   ")]
    file, *_ = export_gguf(make(None, own), tmp_path / "out")
    said = gguf.GGUFReader(file).fields
    words, scores, kinds = (said[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type"))
    assert words[: len(WORDS)] == WORDS and words[-1] == f"[PAD{len(words) - 1}]"
    assert [kinds[WORDS.index(word)] for word in ("<bos>", "<b>", "<0x0A>", "the")] + kinds[-1:] == [3, 4, 6, 1, 5]
    ranked = sorted(JOINED, key=lambda word: -scores[WORDS.index(word)])
    assert ranked == JOINED and scores[WORDS.index("t")] < min(scores[WORDS.index(word)] for word in JOINED)
    assert said["tokenizer.ggml.model"].contents() == "llama"
    assert said["tokenizer.ggml.add_space_prefix"].contents() is False


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"query_pre_attn_scalar": 12}, "no place for its query_pre_attn_scalar (12, read as 8)"),
        ({"layer_types": ["sliding_attention", "full_attention"] * 3 + ["full_attention"]}, "for its layer_types"),
        ({"rope_parameters": {"sliding_attention": {"rope_theta": 5e3, "rope_type": "default"}}}, "rope_theta (5000"),
        ({"hidden_activation": "silu"}, "hidden_activation"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
    ],
)
def test_how_no_gemma_in_llama_cpp_attends(make: Callable[..., Path], tmp_path: Path, settings: Any, told: str) -> None:
    with pytest.raises(ModelError) as refused:
        export_gguf(make(gemma(**settings)), tmp_path / "out")
    assert told in str(refused.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: pieces(change=lambda merges: sorted(merges, key=("th", "e").__eq__)),  # those of a word stand apart
        lambda: pieces(change=lambda merges: merges[1:]),  # llama.cpp would join what no merge does
        lambda: pieces(normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "▁")])),
    ],
    ids=["order", "merges", "normalizer"],
)
def test_pieces_that_llama_cpp_would_join_otherwise(make: Callable[..., Path], tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="and not as Gemma's"):
        export_gguf(make(None, tokenizer()), tmp_path / "out")


def test_what_the_file_says_of_attention(make: Callable[..., Path], tmp_path: Path, monkeypatch: Any) -> None:
    """transformers takes what it has of one size for it."""
    write = gguf.GGUFWriter.add_sliding_window

    def more(writer: Any, size: int) -> None:
        write(writer, size)
        writer.add_sliding_window_pattern(3)
        writer.add_rope_freq_base_swa(5000.0)

    monkeypatch.setattr(gguf.GGUFWriter, "add_sliding_window", more)
    rope = {"sliding_attention": {"rope_type": "default", "rope_theta": 5000.0}}
    kinds = ["sliding_attention", "sliding_attention", "full_attention"] * 2 + ["sliding_attention"]
    run = make(gemma(layer_types=kinds, rope_parameters=rope))
    file, *_ = export_gguf(run, tmp_path / "out", dtype="f32")
    import_gguf(file, tmp_path / "back")
    assert torch.equal(asked(tmp_path / "back", "a"), asked(run / "model", "a"))


def test_a_turn_ends_as_the_template_has_it(make: Callable[..., Path], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(gguf.GGUFWriter, "add_eot_token_id", lambda writer, number: None)
    file, *_ = export_gguf(make(), tmp_path / "out")
    import_gguf(file, tmp_path / "back")
    assert load(tmp_path / "back")[0].generation_config.eos_token_id == [1, 5]
