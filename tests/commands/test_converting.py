"""`realm model import`: a GGUF file becomes the directory of the same model, or is refused in a line."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import metadata_load
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner, Result

from realm.cli.app import app
from realm.commands.converting import import_gguf, read_back
from realm.errors import ModelError
from realm.student.load import load

gguf = pytest.importorskip("gguf")

TEMPLATE = "{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}"
SPECIAL = ["<|pad|>", "<|end|>", "<|start|>", "<|user|>"]
MERGES = ["Ġ Ġ", "Ġ a"]
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
WORDS = [*SPECIAL, *LETTERS, *(merge.replace(" ", "") for merge in MERGES)]
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
Q8_0 = gguf.GGMLQuantizationType.Q8_0
TEXT = "a  12\n\x1b <|end|> naïve 3.75"


def tiny_llama(**settings: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.3,
        **settings,
    )
    return LlamaForCausalLM(config).eval()


def write_gguf(
    file: Path, model: LlamaForCausalLM, change: Callable[[Any], None] = lambda writer: None, kind: str = "llama"
) -> Path:
    """As llama.cpp's converter does: queries and keys in its order of dimensions, matrices in blocks of eight bits."""
    config = model.config
    writer = gguf.GGUFWriter(file, kind)
    writer.add_name("tiny \x1b[31m`<b>`\n--- |")
    writer.add_license("apache-2.0")
    writer.add_string("general.base_model.0.repo_url", "https://huggingface.co/me/tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(WORDS) - len(SPECIAL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_eot_token_id(3)
    writer.add_chat_template(TEMPLATE)
    writer.add_float32("general.sampling.temp", 0.5)
    change(writer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values, heads = weight.numpy(), {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for part, count in heads.items():
            if part in name:
                values = values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        called = names.get_name(name.removesuffix(".weight")) + ".weight"
        kept = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else Q8_0
        writer.add_tensor(called, gguf.quantize(np.ascontiguousarray(values), kept), raw_dtype=kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.Q8_0.gguf", tiny_llama())


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("models") / "deep" / "tiny"
    return folder, cli(tiny, folder)


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["model", "import", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = cli(*arguments)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit), result.output
    assert result.stderr.count("\n") <= 4 and "\x1b" not in result.stderr
    return " ".join(result.stderr.split())


def scores(model: Any, length: int = 300) -> torch.Tensor:
    ids = torch.randint(4, len(WORDS), (1, length), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(input_ids=ids).logits


def test_the_directory_is_the_model_of_the_file(made: tuple[Path, Result], tiny: Path) -> None:
    folder, result = made
    assert result.exit_code == 0, result.output
    model, _ = load(folder)
    assert torch.equal(
        scores(model),
        scores(AutoModelForCausalLM.from_pretrained(tiny.parent, gguf_file=tiny.name, dtype=torch.float32)),
    )
    written = tiny_llama()
    for weight in written.parameters():
        if weight.ndim == 2:
            weight.data = torch.from_numpy(gguf.dequantize(gguf.quantize(weight.detach().numpy(), Q8_0), Q8_0))
    assert torch.allclose(scores(model), scores(written), rtol=1e-3, atol=1e-3)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert getattr(model.config, "quantization_config", None) is None
    assert sorted(file.name for file in folder.parent.iterdir()) == ["tiny"]  # nothing is left beside it
    assert folder.stat().st_mode & 0o077 == folder.parent.stat().st_mode & 0o077


def test_tokens_template_and_settings_are_kept(made: tuple[Path, Result]) -> None:
    model, tokenizer = load(made[0])
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<|start|>", "<|end|>", "<|pad|>")
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (2, 1, 0)
    settings = model.generation_config
    assert settings.eos_token_id == [1, 3] and settings.do_sample and settings.temperature == 0.5
    chat = [{"role": "user", "content": "a"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<|user|>a<|end|>"
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == TEXT.replace("<|end|>", "")
    # Digits are split off before the rest is, so that both spaces before them are one token.
    assert tokenizer.convert_ids_to_tokens(ids)[:7] == ["<|start|>", "a", "ĠĠ", "1", "2", "Ċ", "ě"]


def test_the_card_says_where_it_came_from(made: tuple[Path, Result], tiny: Path) -> None:
    folder, result = made
    head = metadata_load(folder / "README.md")
    assert head is not None and head["license"] == "apache-2.0" and head["base_model"] == "me/tiny"
    card = (folder / "README.md").read_text()
    assert "`tiny.Q8_0.gguf`" in card and "Q8_0 (15 tensors), F32 (5 tensors)" in card and "gguf 0" in card
    for shown in (card, result.output):
        assert "\x1b" not in shown and "\\x1b[31m" in shown
    assert "\n---" not in card.partition("\n---\n")[2] and "# `tiny \\x1b[31m’<b>’⏎--- |`" in card
    for file in folder.iterdir():
        assert str(tiny.parent).encode() not in file.read_bytes()
        assert str(folder.parent).encode() not in file.read_bytes() and b"/tmp" not in file.read_bytes()


def test_it_can_be_trained(made: tuple[Path, Result], tmp_path: Path) -> None:
    rows = "".join(json.dumps({"question": f"{n} + 1?", "answer": str(n + 1)}) + "\n" for n in range(12))
    (tmp_path / "rows.jsonl").write_text(rows)
    settings = [
        "task.name=jsonl",
        f"task.path={tmp_path / 'rows.jsonl'}",
        "training.recipe=grpo",
        f"run.dir={tmp_path}",
    ]
    settings += ["training.rl.max_completion_length=16", "task.verifier=number"]
    given = [word for setting in settings for word in ("--set", setting)]
    result = CliRunner().invoke(app, ["train", "--estimate", "--model", str(made[0]), *given])
    assert result.exit_code == 0, result.output


def test_weights_of_half_the_size(tiny: Path, made: tuple[Path, Result], tmp_path: Path) -> None:
    import_gguf(tiny, tmp_path / "half", dtype="bfloat16")
    half, whole = (load(path, kind)[0] for path, kind in ((tmp_path / "half", "bfloat16"), (made[0], "float32")))
    for rounded, exact in zip(half.parameters(), whole.parameters(), strict=True):
        assert torch.equal(rounded, exact.bfloat16())


def test_stretched_positions_of_llama_3(tmp_path: Path) -> None:
    """transformers reads the file as a model without them."""
    model, plain = (
        tiny_llama(rope_parameters=dict(LLAMA3)),
        tiny_llama(rope_parameters={**LLAMA3, "rope_type": "default"}),
    )
    factors = plain.model.rotary_emb.inv_freq / model.model.rotary_emb.inv_freq

    def add(writer: Any) -> None:
        writer.add_tensor("rope_freqs.weight", factors.numpy())

    import_gguf(write_gguf(tmp_path / "a.gguf", model, add), tmp_path / "a")
    read = load(tmp_path / "a")[0]
    assert read.config.rope_parameters == LLAMA3
    assert torch.equal(read.model.rotary_emb.inv_freq, model.model.rotary_emb.inv_freq)
    factors = factors * 1.5
    with pytest.raises(ModelError, match="it would be another"):
        import_gguf(write_gguf(tmp_path / "b.gguf", model, add), tmp_path / "b")


def drop_eos(writer: Any) -> None:
    del writer.kv_data[0]["tokenizer.ggml.eos_token_id"]


def stretch(writer: Any) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)


def one_part(writer: Any) -> None:
    writer.add_uint16("split.count", 3)


def split_otherwise(writer: Any) -> None:
    del writer.kv_data[0]["tokenizer.ggml.pre"]
    writer.add_tokenizer_pre("poro\x1b[2J")


def many_layers(writer: Any) -> None:
    del writer.kv_data[0]["llama.block_count"]
    writer.add_block_count(1 << 30)


def more_values(writer: Any) -> None:
    writer.add_tensor("blk.0.attn_q.bias", np.ones(64, dtype=np.float32))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (drop_eos, "the tokenizer has no end token"),
        (stretch, "its positions are stretched (yarn), which transformers"),
        (one_part, "is one of 3 parts; put them together first"),
        (split_otherwise, r"splits text as 'poro\x1b[2J', which transformers"),
        (many_layers, "has fewer tensors than layers"),
        (more_values, "it would be another"),
    ],
)
def test_what_would_be_another_model_is_refused(tmp_path: Path, change: Callable[[Any], None], told: str) -> None:
    file = write_gguf(tmp_path / "bad.gguf", tiny_llama(), change)
    said = refused(file, tmp_path / "out")
    assert told in said and "bad.gguf" in said and ".tmp" not in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.gguf"]


def outline(file: Path, kind: str, words: list[str], change: Callable[[Any], None]) -> Path:
    """A file of which settings and tokenizer alone are read."""
    writer = gguf.GGUFWriter(file, kind)
    writer.add_context_length(512)
    writer.add_block_count(1)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(16)
    writer.add_head_count(2)
    writer.add_rope_freq_base(999999.0)
    writer.add_vocab_size(len(words))
    writer.add_token_list(words)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    change(writer)
    writer.add_tensor("token_embd.weight", np.zeros((len(words), 16), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def words_of(file: Path, text: str) -> list[str]:
    tokenizer = read_back(file)[1]
    found = tokenizer(text)["input_ids"]
    assert tokenizer.decode(found, skip_special_tokens=True) == text.replace("<s>", "")
    return tokenizer.convert_ids_to_tokens(found)


def bytewise(pre: str) -> Callable[[Any], None]:
    def change(writer: Any) -> None:
        writer.add_layer_norm_eps(1e-5)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_types([3, 3] + [1] * (len(LETTERS) + 2))
        writer.add_token_merges(["a b"])

    return change


@pytest.mark.parametrize(("pre", "whole"), [("llama-bpe", True), ("tekken", True), ("qwen2", False)])
def test_words_that_no_merge_makes(tmp_path: Path, pre: str, whole: bool) -> None:
    """Of these vocabularies llama.cpp looks words up before it merges, and starts texts where nothing else is said."""
    file = outline(tmp_path / "x.gguf", "llama", ["<e>", "<s>", *LETTERS, "ab", "xyz"], bytewise(pre))
    assert words_of(file, "xyz ab") == (["<s>", "xyz", "Ġ", "ab"] if whole else ["x", "y", "z", "Ġ", "ab"])


@pytest.mark.parametrize(
    ("flag", "wanted"),
    [
        (None, ["<s>", "▁h", "i", "<s>", "▁", "▁h", "i", "<s>", "▁["]),
        (False, ["<s>", "h", "i", "<s>", "▁h", "i", "<s>", "["]),
    ],
)
def test_spaces_before_text_and_behind_special_tokens(tmp_path: Path, flag: bool | None, wanted: list[str]) -> None:
    """As llama.cpp reads `hi<s> hi<s>[` with these files (llama.cpp's own tokens, taken down once)."""

    def change(writer: Any) -> None:
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([0.0] * 259 + [-10.0, -11.0, -12.0, -13.0, -1.0, -2.0])
        writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * 6)
        if flag is not None:
            writer.add_add_space_prefix(flag)

    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁hi[", "▁h", "▁["]
    tokenizer = read_back(outline(tmp_path / "x.gguf", "llama", words, change))[1]
    assert tokenizer.convert_ids_to_tokens(tokenizer("hi<s> hi<s>[")["input_ids"]) == wanted
    assert tokenizer.decode(tokenizer("hi [")["input_ids"], skip_special_tokens=True) == "hi ["


@pytest.mark.parametrize("kind", ["llama", "starcoder2", "stablelm"])
def test_positions_turn_as_the_file_says(tmp_path: Path, kind: str) -> None:
    """transformers has no place for what a file of two of these families says, and takes its own."""
    words = ["<e>", "<s>", *LETTERS, "ab", "xyz"]
    settings, _ = read_back(outline(tmp_path / "x.gguf", kind, words, bytewise("olmo")))
    assert settings.rope_parameters["rope_theta"] == 999999.0


def test_an_unknown_architecture(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "bad.gguf", tiny_llama(), kind="wavelets\x1b[2J")
    assert r"bad.gguf: the tokenizer cannot be loaded: GGUF model with architecture wavelets\x1b[2J" in refused(
        file, tmp_path / "out"
    )


def test_files_that_are_none(tiny: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "x.gguf", tmp_path / "out"
    assert "x.gguf: cannot read (No such file" in refused(file, out)
    file.write_bytes(b"PK\x03\x04" * 10)
    assert r"expected a GGUF file, which starts with GGUF; found b'PK\x03\x04'" in refused(file, out)
    whole = tiny.read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert "the GGUF file is torn or broken; copy it again" in refused(file, out), length
    assert not out.exists()


def test_a_folder_that_is_there(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    assert f"{tmp_path}: is there already" in refused(tiny, tmp_path)
    assert (tmp_path / "mine").exists()


def test_a_file_that_lies_beside_others(tiny: Path, tmp_path: Path) -> None:
    """What lies there belongs to another model."""
    shutil.copyfile(tiny, tmp_path / "odd name, 1")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "eos_token": "!"}')
    (tmp_path / "config.json").write_text("no JSON")
    import_gguf(tmp_path / "odd name, 1", tmp_path / "out")
    assert load(tmp_path / "out")[1].eos_token == "<|end|>"


def test_without_the_package(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install 'realm-slm[gguf]'" in refused(tiny, tmp_path / "out")
