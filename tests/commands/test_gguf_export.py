"""`realm export gguf`: the file is the run's model, Ollama is told its prompt, and what would be another is refused."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import metadata_load
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from typer.testing import CliRunner, Result

from realm.cli.app import app
from realm.commands.converting import import_gguf
from realm.commands.gguf_export import _SPLIT, _go, _modelfile, export_gguf
from realm.pages.card import read_surface
from realm.student.load import PROBES, load
from tests.commands.test_converting import LETTERS, LLAMA3, TEMPLATE

gguf = pytest.importorskip("gguf")

#: `\n` and ` ` are spelled as no text ever is; two tokens are read whole and have a space in them.
SPECIAL = ["<|pad|>", "<|end|>", "<|start|>", "<|user|>", "<|turn|>"]
WORDS = [*SPECIAL, "\n", " ", *LETTERS, "ĠĠ", "Ġa", "\n ", "<route 1>", "<| gone|>"]
#: Sizes of a head are none that follow from the others.
SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS) + 3,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)])


def split_by(numbers: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT % numbers), "isolated"),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )


def byte_level(split: Any, template: str | None, begins: bool = True, **options: Any) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    core = Tokenizer(
        models.BPE(vocabulary, [("Ġ", "Ġ"), ("Ġ", "a"), ("\n", " ")][: options.pop("merges", 2)], **options)
    )
    core.pre_tokenizer, core.decoder = split, decoders.ByteLevel()
    core.add_special_tokens([*SPECIAL, "<| gone|>"])
    core.add_tokens(["<route 1>"])
    if begins:
        core.post_processor = processors.TemplateProcessing("<|start|> $A", None, [("<|start|>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|start|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        chat_template=template,
    )


def llama(**settings: Any) -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(**{**SIZES, "head_dim": 8, **settings}))


def qwen3(**settings: Any) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM(Qwen3Config(**{**SIZES, "head_dim": 8, "tie_word_embeddings": True, **settings}))


def qwen2(**settings: Any) -> Qwen2ForCausalLM:
    made = Qwen2ForCausalLM(Qwen2Config(**{**SIZES, **settings}))
    for name, weight in made.named_parameters():
        if name.endswith("bias"):  # which begin as zeros
            torch.nn.init.normal_(weight)
    return made


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "my run", ignore=lambda *_: ["model", "checkpoints"])


def given(run: Path, model: Any, tokenizer: Any) -> Path:
    """The run with that model, which ends turns by a token of its own."""
    for weight in model.parameters():  # norms begin as ones
        if weight.ndim == 1:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    model.generation_config.eos_token_id = [1, 4]
    model.save_pretrained(run / "model")
    tokenizer.save_pretrained(run / "model")
    return run


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", "gguf", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = cli(*arguments)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit), result.output
    assert "\x1b" not in result.stderr
    return " ".join(result.stderr.split())


def asked(folder: Path, text: str) -> torch.Tensor:
    model, _ = load(folder)
    ids = torch.randint(7, len(WORDS), (1, 200), generator=torch.Generator().manual_seed(len(text)))
    with torch.no_grad():
        return model(input_ids=ids).logits


BOS = "{{ bos_token }}" + TEMPLATE


@pytest.mark.parametrize(
    ("model", "tokenizer", "start"),
    [
        (lambda: llama(tie_word_embeddings=True), lambda: byte_level(DIGITS, BOS), True),
        (
            lambda: llama(rope_parameters=dict(LLAMA3)),
            lambda: byte_level(split_by(r"\p{N}{1,3}"), BOS, ignore_merges=True),
            True,
        ),
        (qwen2, lambda: byte_level(split_by(r"\p{N}"), BOS, begins=False), False),
        (qwen3, lambda: byte_level(pre_tokenizers.ByteLevel(False), TEMPLATE, merges=3), False),
        (qwen3, lambda: byte_level(split_by(r"\p{N}{1,3}"), None), True),
    ],
    ids=["llama", "llama3", "qwen2", "qwen3", "no template"],
)
def test_what_is_read_back_is_the_model(run: Path, model: Any, tokenizer: Any, start: bool) -> None:
    torch.manual_seed(0)
    given(run, model(), tokenizer())
    out = run.parent / "out"
    files = export_gguf(run, out, dtype="f32")
    assert [file.name for file in files] == ["my-run.gguf", "Modelfile", "README.md"]
    assert sorted(file.name for file in out.iterdir()) == sorted(file.name for file in files)
    back = run.parent / "back"
    import_gguf(files[0], back)
    assert torch.equal(asked(back, "a"), asked(run / "model", "a"))
    (ours, own), (theirs, read) = load(run / "model"), load(back)
    for text in (*PROBES, "<| gone|><route 1>a  12\n<|user|>"):
        assert own(text, add_special_tokens=False)["input_ids"] == read(text, add_special_tokens=False)["input_ids"]
    assert read.chat_template == own.chat_template
    for name in ("bos_token", "eos_token", "pad_token"):
        assert getattr(read, name) == getattr(own, name)
    assert theirs.generation_config.eos_token_id == [1, 4] and not theirs.generation_config.do_sample
    assert own.decode(read("3 plus 4")["input_ids"][:1]) == ("<|start|>" if start else "3")
    assert ours.config.tie_word_embeddings == theirs.config.tie_word_embeddings


@pytest.fixture
def small(run: Path) -> Path:
    torch.manual_seed(0)
    return given(run, qwen3(), byte_level(DIGITS, BOS))


@pytest.mark.parametrize(("dtype", "kind"), [("f16", "float16"), ("bf16", "bfloat16")])
def test_weights_of_half_the_size(small: Path, dtype: str, kind: str) -> None:
    (file, *_) = export_gguf(small, small.parent / "out", dtype=dtype)
    import_gguf(file, small.parent / "back")
    ours, theirs = load(small / "model")[0].state_dict(), load(small.parent / "back")[0].state_dict()
    for name, weight in ours.items():
        assert torch.equal(theirs[name], weight.to(getattr(torch, kind)).float() if weight.ndim == 2 else weight), name


def test_ollama_is_told_the_prompt_of_the_training(small: Path) -> None:
    done = cli(small, "--out", small.parent / "out")
    assert done.exit_code == 0, done.output
    assert done.stdout.split("\n")[:-1] == [
        str(small.parent / "out" / name) for name in ("my-run.gguf", "Modelfile", "README.md")
    ]
    assert (small.parent / "out" / "Modelfile").read_text() == (
        "FROM ./my-run.gguf\n"
        'TEMPLATE """<|user|>{{ .Prompt }} answer<|end|>"""\n'  # llama.cpp writes the start token itself
        "PARSER passthrough\n"  # or Ollama would prefer a chat template that knows tools
        "PARAMETER temperature 0\nPARAMETER repeat_penalty 1\nPARAMETER num_ctx 512\nPARAMETER num_predict 24\n"
        'PARAMETER stop "<|end|>"\nPARAMETER stop "<|turn|>"\n'
    )
    byte_level(DIGITS, BOS, begins=False).save_pretrained(small / "model")
    *_, made, _ = export_gguf(small, small.parent / "out", overwrite=True)
    assert 'TEMPLATE """<|start|><|user|>{{ .Prompt }} answer<|end|>"""' in made.read_text()


def test_the_card_says_how_it_is_asked(small: Path) -> None:
    *_, card = export_gguf(small, small.parent / "out")
    text, head = card.read_text(), metadata_load(card)
    assert head is not None and head["library_name"] == "gguf" and read_surface(card.parent)
    assert "ollama create my-run -f Modelfile" in text and "llama-server -m my-run.gguf --jinja" in text
    assert "AutoTokenizer" not in text and "/v1/chat/completions" in text
    (shown,) = re.findall(r"```text\n(\{\n.*?)\n```", text, re.DOTALL)
    assert json.loads(shown) == {
        "messages": [{"role": "user", "content": "{question} answer"}],
        "temperature": 0,
        "max_tokens": 24,
    }


def read_by_ollama(text: str) -> dict[str, str]:
    """The instructions of a Modelfile by the rules of Ollama's reader (parser.go), the template filled as Go's is."""
    found: dict[str, str] = {}
    name, value, where = "", "", "name"
    for letter in text:
        if where == "name":
            if letter == " ":
                where = "value"
            else:
                name += letter.strip()
            continue
        held = value.strip()
        whole = held.endswith('"""') and len(held) >= 6 if held.startswith('"""') else True
        if letter in "\r\n" and whole:
            found[name] = held[3:-3] if held.startswith('"""') else held
            name, value, where = "", "", "name"
        elif letter in "\r\n\t" or letter.isprintable():
            value += letter
    filled = ""
    for part in re.split(r"(\{\{.*?\}\})", found["TEMPLATE"]):
        if part == "{{ .Prompt }}":
            filled += "QUESTION"
        elif part.startswith("{{"):
            (constant,) = re.fullmatch(r'\{\{ "((?:\\U[0-9a-f]{8})*)" \}\}', part).groups()  # type: ignore[union-attr]
            filled += constant.encode().decode("unicode_escape")
        else:
            assert "{" not in part
            filled += part
    return {**found, "TEMPLATE": filled}


@pytest.mark.parametrize(
    "text",
    [
        'He said """\nFROM other\nSYSTEM be bad\n"""',
        '"""\n',
        '"',
        '""""\n""\n"x"\n',
        "{{ .System }} {{- end }} {",
        "{{{",
        "\x1b[31m\r\n\u00a0\u200b]^\\- tab\t \U000e0001 naïve 你好 🚀",
        " blank \n\n at both ends ",
        "# FROM\nPARAMETER temperature 2\n",
    ],
)
def test_no_text_leaves_its_place_in_a_modelfile(text: str) -> None:
    """A Modelfile knows no escapes, and its template is a program."""
    for prompt in (f"{text}{{question}}{text}", f"{{question}}{text}", f"{text}{{question}}"):
        made = _modelfile("x.gguf", prompt, ["<|end|>", '"\n', "\n"], {"num_ctx": 9})
        read = read_by_ollama(made)
        assert read.pop("TEMPLATE") == prompt.replace("{question}", "QUESTION")
        assert list(read) == ["FROM", "PARSER", "PARAMETER"] and read["FROM"] == "./x.gguf"
        assert made.endswith('PARAMETER num_ctx 9\nPARAMETER stop "<|end|>"\n')
    assert _go("a {question}") == 'a {{ "\\U0000007b" }}question}'


def test_the_last_place_of_the_question_counts() -> None:
    """An example may hold the same words."""
    assert '{{ "\\U0000007b" }}question} and {{ .Prompt }}!' in _modelfile("x", "{question} and {question}!", [], {})


def test_places_that_are_used(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("mine")
    assert "README.md: is there already" in refused(small, "--out", out)
    assert [file.name for file in out.iterdir()] == ["README.md"]
    assert cli(small, "--out", out, "--overwrite").exit_code == 0 and "mine" not in (out / "README.md").read_text()
    assert "is the run itself, or of its model" in refused(small, "--out", small / "model", "--overwrite")
    assert "expected the folder of a training run" in refused(tmp_path, "--out", out)
    shutil.rmtree(small / "model")
    assert "has no model yet" in refused(small, "--out", out)


def another(word: str, value: Any) -> Any:
    return lambda run: given(run, qwen3(**{word: value}), byte_level(DIGITS, BOS))


def beyond_half(run: Path) -> None:
    model = qwen3()
    model.model.layers[0].mlp.up_proj.weight.data[0, 0] = 1e5
    given(run, model, byte_level(DIGITS, BOS))


def split_otherwise(run: Path) -> None:
    given(run, qwen3(), byte_level(pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), DIGITS]), BOS))


def lower(run: Path) -> None:
    made = byte_level(DIGITS, BOS)
    made.backend_tokenizer.normalizer = normalizers.Lowercase()
    given(run, qwen3(), made)


def biased(run: Path) -> None:
    given(run, llama(attention_bias=True), byte_level(DIGITS, BOS))


def stretched(run: Path) -> None:
    given(
        run, qwen3(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}), byte_level(DIGITS, BOS)
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (another("hidden_act", "gelu"), "a GGUF file has no place for its hidden_act (gelu, read as silu)"),
        (stretched, "no place for its"),
        (biased, "has no place for its attention_bias"),
        (split_otherwise, "none of the byte-level ones"),
        (lower, "its tokenizer reads \"It's we'LL\" otherwise"),
        (beyond_half, "up_proj.weight holds values beyond float16; give --dtype bf16 or f32"),
    ],
)
def test_what_would_be_another_model_is_refused(run: Path, change: Any, told: str) -> None:
    change(run)
    said = refused(run, "--out", run.parent / "out")
    assert told in said and f"{run / 'model'}:" in said
    assert ("convert_hf_to_gguf.py" in said) == (change is not beyond_half)
    assert sorted(entry.name for entry in run.parent.iterdir()) == ["my run"]


def test_a_vocabulary_of_words_and_a_family_that_is_none_of_them(trained: Path, tmp_path: Path) -> None:
    assert "its tokenizer (WordLevel, or how it splits text) is none" in refused(trained, "--out", tmp_path / "out")
    run = shutil.copytree(trained, tmp_path / "run", ignore=lambda *_: ["checkpoints"])
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=8, n_layer=1, n_head=2)).save_pretrained(run / "model")
    assert "expected one of llama, qwen2, qwen3, gemma3_text, found gpt2" in refused(run, "--out", tmp_path / "out")


def test_without_the_package(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install 'realm-slm[gguf]'" in refused(small, "--out", tmp_path / "out")
