"""A trained model as a GGUF file for llama.cpp and Ollama, with the prompt of its training as Ollama's template.

Few families, with byte-level vocabularies or Gemma's: what is written is read back, and is the same model or is
refused. For all others there is llama.cpp's own converter.
"""

import itertools
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import pre_tokenizers

from realm.commands.configuring import config_of
from realm.commands.converting import PACKAGE_MISSING, read_back
from realm.commands.sharing import model_of
from realm.config import Config
from realm.errors import ConfigError, ModelError
from realm.evaluation.evaluate import completion_limit
from realm.files import fresh, write_atomic, writing
from realm.method.prompt import messages
from realm.pages.card import CARD, LICENSE_ID, card, license_of
from realm.student.generate import end_tokens
from realm.student.load import PROBES, context_length, is_hub_name, load
from realm.student.prompts import encode_text, make_wording, presented, prompt_text
from realm.tasks.base import Task
from realm.tasks.registry import load_task

MODELFILE = "Modelfile"
#: llama.cpp's names of families, by those of transformers.
_FAMILIES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3_text": "gemma3"}
_ELSE = "llama.cpp's convert_hf_to_gguf.py knows more models: give it the directory"
_QUESTION = "{question}"
#: llama.cpp's names of how text is split, by the pattern in a tokenizer's file, and whether words are looked up whole.
_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    (_SPLIT % r"\p{N}{1,3}", True): "llama-bpe",
    (_SPLIT % r"\p{N}{1,3}", False): "smaug-bpe",
    (_SPLIT % r"\p{N}", False): "qwen2",
    ("Digits", False): "smollm",
    ("", False): "gpt-2",
}
#: Settings of a model by which nothing is computed, or that a file says elsewhere.
_ASIDE = {"architectures", "dtype", "transformers_version", "use_cache", "initializer_range", "attention_dropout"}
_ASIDE |= {"bos_token_id", "eos_token_id", "pad_token_id", "pretraining_tp", "max_window_layers", "rope_parameters"}
_ASIDE |= {"_name_or_path", "quantization_config", "_sliding_window_pattern"}
_ALPHABET = set(pre_tokenizers.ByteLevel.alphabet())
#: How SentencePiece spells a space, and a byte that no word has.
_SPACE, _BYTE = "\u2581", re.compile(r"<0x[0-9A-F]{2}>")
#: Score of what no merge makes.
_NEVER = -1e6


def export_gguf(
    run: Path,
    folder: Path,
    *,
    dtype: str = "f16",
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Write a run's model as GGUF, a Modelfile by which Ollama asks it as it was trained, and a card.

    Args:
        dtype: of the weights: f32, f16 or bf16.
        overwrite: files of these names make room.
        tell: is given a line about what is under way, before it takes its seconds.

    Returns:
        The files.

    Raises:
        ConfigError: the package gguf is missing, it is no run with a model, or the folder is the run's own.
        ModelError: the file would be another model.
        ResourceError: a file is there already, or the disk refuses.
    """
    try:
        import gguf
    except ImportError as error:
        raise ConfigError(f"writing GGUF {PACKAGE_MISSING}") from error
    directory = model_of(run, folder)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run.resolve().name).strip("-.") or "model"
    files = [folder / f"{name}.gguf", folder / MODELFILE, folder / CARD]
    for file in files:
        fresh(file, overwrite)
    config = config_of(run.resolve())
    task = load_task(config)
    tell("Reading the model ...")
    model, tokenizer = load(directory, settings=config.model)
    text = _prompt(config, task, tokenizer)
    # llama.cpp writes the start token where the tokenizer does, unless the prompt has none all the same.
    begins = encode_text(tokenizer, text)[:1] == tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    tell("Writing the file ...")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent) as place:
            made = [Path(place) / file.name for file in files]
            writer = gguf.GGUFWriter(made[0], _family(directory, model))
            writer.add_name(name)
            licence = license_of(config.model.path)
            if LICENSE_ID.fullmatch(licence):
                writer.add_license(licence)
            if is_hub_name(config.model.path):
                writer.add_base_model_count(1)
                writer.add_base_model_repo_url(0, f"https://huggingface.co/{config.model.path}")
            writer.add_sampling_temp(0.0)
            _add_settings(writer, model)
            _add_tokens(writer, directory, model, tokenizer, begins)
            for called, values, kind in _tensors(directory, model, dtype):
                writer.add_tensor(called, values, raw_dtype=kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            tell("Reading it back ...")
            _refuse_another(directory, model, tokenizer, text, made[0])
            start = tokenizer.bos_token if begins else ""
            ends = [str(tokenizer.decode([end])) for end in sorted(end_tokens(model, tokenizer))]
            write_atomic(
                made[1],
                _modelfile(
                    files[0].name,
                    text.removeprefix(str(start)),
                    ends,
                    {"num_ctx": context_length(model, config), "num_predict": completion_limit(config)},
                ),
            )
            write_atomic(made[2], card(run, config, task, files[0].name))
            folder.mkdir(exist_ok=True)
            for here, file in zip(made, files, strict=True):
                here.replace(file)
    return files


def _prompt(config: Config, task: Task, tokenizer: Any) -> str:
    """The prompt without routes as the model reads it, with {question} in it."""
    asked = messages(_QUESTION, (), make_wording(config, task, tokenizer), config.prompt.tags())
    return prompt_text(tokenizer, presented(tokenizer, asked))


def _family(directory: Path, model: Any) -> str:
    """llama.cpp's name of a model's family; raises `ModelError` where it is none of the few."""
    kind = model.config.model_type
    if kind not in _FAMILIES:
        raise ModelError(f"{directory}: expected one of {', '.join(_FAMILIES)}, found {kind}. {_ELSE}.")
    return _FAMILIES[kind]


def _add_settings(writer: Any, model: Any) -> None:
    """Sizes and positions, by the names of the file's format."""
    from gguf import RopeScalingType

    settings = model.config
    rope = settings.rope_parameters
    if settings.model_type == "gemma3_text":
        rope = rope["full_attention"]  # what else it attends by, llama.cpp has as its own: `_refuse_another`
        writer.add_sliding_window(settings.sliding_window)
        if rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])
    head = getattr(settings, "head_dim", None) or settings.hidden_size // settings.num_attention_heads
    writer.add_context_length(settings.max_position_embeddings)
    writer.add_block_count(settings.num_hidden_layers)
    writer.add_embedding_length(settings.hidden_size)
    writer.add_feed_forward_length(settings.intermediate_size)
    writer.add_head_count(settings.num_attention_heads)
    writer.add_head_count_kv(settings.num_key_value_heads)
    writer.add_layer_norm_rms_eps(settings.rms_norm_eps)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(head)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_vocab_size(settings.vocab_size)


def _add_tokens(writer: Any, directory: Path, model: Any, tokenizer: Any, begins: bool) -> None:
    """The vocabulary: words, merges, which tokens are read whole, how text is split, chat template."""
    stated, size = json.loads(tokenizer.backend_tokenizer.to_str()), model.config.vocab_size
    if not (_add_bytes(writer, stated, size) or _add_pieces(writer, stated, size)):
        raise ModelError(
            f"{directory}: its tokenizer ({stated['model']['type']}, or how it splits text) is none of the byte-level "
            f"ones that a GGUF file can hold here, and not as Gemma's. {_ELSE}."
        )
    for kind in ("bos", "eos", "pad", "unk"):
        if (number := getattr(tokenizer, f"{kind}_token_id")) is not None:
            getattr(writer, f"add_{kind}_token_id")(number)
    for end in sorted(end_tokens(model, tokenizer) - {tokenizer.eos_token_id})[:1]:
        writer.add_eot_token_id(end)
    writer.add_add_bos_token(begins)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.get_chat_template())


def _add_bytes(writer: Any, stated: dict[str, Any], size: int) -> bool:
    """A byte-level vocabulary of `size` tokens; False: it is none, or splits text in a way without a name."""
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in stated["model"].get("merges", ())]
    split = stated["pre_tokenizer"] or {}
    parts = split.get("pretokenizers", [split])
    first = "" if len(parts) == 1 else parts[0].get("pattern", {}).get("Regex", parts[0]["type"])
    named = _SPLITS.get((first, bool(stated["model"].get("ignore_merges"))))
    if stated["model"]["type"] != "BPE" or parts[-1].get("type") != "ByteLevel" or not named:
        return False
    # No text leads to what is not spelled in the alphabet of bytes: neither as a word, nor by a merge.
    words = {number: word for word, number in stated["model"]["vocab"].items() if set(word) <= _ALPHABET}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(named)
    _add_words(writer, stated, size, words)
    writer.add_token_merges([merge for merge in merges if merge.count(" ") == 1 and set(merge) <= _ALPHABET | {" "}])
    return True


def _add_pieces(writer: Any, stated: dict[str, Any], size: int) -> bool:
    """A vocabulary of SentencePiece as Gemma has it, of `size` tokens; False: it is none.

    llama.cpp joins any two pieces that are a word together, first those of the highest score. So merges are no more
    than an order of words, if there are all of them and those of a word stand together.
    """
    core, split = stated["model"], stated["pre_tokenizer"] or {"pattern": {"String": " "}}
    if core["type"] != "BPE" or not core["byte_fallback"] or core["ignore_merges"]:
        return False
    spaced = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    if stated["normalizer"] != spaced or split.get("pattern") != spaced["pattern"]:  # by what is no longer there
        return False
    whole = {token["content"] for token in stated["added_tokens"]}
    words = {word: number for word, number in core["vocab"].items() if word not in whole}
    merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in core["merges"]]
    merges = [merge for merge in merges if whole.isdisjoint((*merge, "".join(merge)))]
    made = [word for word, _ in itertools.groupby(map("".join, merges))]
    ranks = {word: rank for rank, word in enumerate(made)}
    halves = ((word[:place], word[place:]) for word in words for place in range(1, len(word)))
    if len(ranks) < len(made) or {pair for pair in halves if words.keys() >= set(pair)} != set(merges):
        return False
    if sum(bool(_BYTE.fullmatch(word)) for word in words) < 256:
        return False
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_add_space_prefix(False)
    filled = _add_words(writer, stated, size, {number: word for word, number in words.items()})
    writer.add_token_scores([-float(ranks[word]) if word in ranks else _NEVER for word in filled])
    return True


def _add_words(writer: Any, stated: dict[str, Any], size: int, words: dict[int, str]) -> list[str]:
    """Words and tokens that are read whole, with what each is; returns them, (size,)."""
    from gguf import TokenType

    kinds = {number: TokenType.BYTE if _BYTE.fullmatch(word) else TokenType.NORMAL for number, word in words.items()}
    for token in stated["added_tokens"]:
        text = token["content"]
        words[token["id"]] = text.replace(_SPACE, " ") if set(text) == {_SPACE} else text  # as llama.cpp converts it
        kinds[token["id"]] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
    filled = [words.get(number, f"[PAD{number}]") for number in range(size)]
    writer.add_token_list(filled)
    writer.add_token_types([kinds.get(number, TokenType.UNUSED) for number in range(size)])
    return filled


def _tensors(directory: Path, model: Any, dtype: str) -> Iterator[tuple[str, np.ndarray, Any]]:
    """Name, values and type of each tensor of the file; vectors are float32 always, as llama.cpp wants them."""
    import gguf

    settings, kinds = model.config, gguf.GGMLQuantizationType
    names = gguf.get_tensor_name_map(
        next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == _family(directory, model)),
        settings.num_hidden_layers,
    )
    tied = settings.tie_word_embeddings
    for name, weight in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        part, _, suffix = name.rpartition(".")
        if (called := names.get_name(part)) is None:
            raise ModelError(f"{directory}: a GGUF file of {settings.model_type} has no place for {name}. {_ELSE}.")
        values = weight.float().numpy()
        heads = {"q_proj": settings.num_attention_heads, "k_proj": settings.num_key_value_heads}
        if settings.model_type == "llama" and (count := heads.get(part.rpartition(".")[2])):
            # llama.cpp turns neighbouring dimensions, transformers those half a head apart.
            values = values.reshape(count, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        if settings.model_type == "gemma3_text" and part.endswith("norm"):
            values = values + 1  # by which it multiplies
        kind = kinds.F32 if values.ndim == 1 else kinds[dtype.upper()]
        with np.errstate(over="ignore"):
            kept = gguf.quantize(np.ascontiguousarray(values), kind)
        if kind == kinds.F16 and not np.isfinite(kept).all():
            raise ModelError(f"{directory}: {name} holds values beyond float16; give --dtype bf16 or f32.")
        yield f"{called}.{suffix}", kept, kind
    rope = settings.rope_parameters
    if rope.get("rope_type") == "llama3":  # as divisors of frequencies
        slowed = model.model.rotary_emb.inv_freq.double()
        plain = rope["rope_theta"] ** -(torch.arange(len(slowed)).double() / len(slowed))
        yield "rope_freqs.weight", (plain / slowed).float().numpy(), kinds.F32


def _refuse_another(directory: Path, model: Any, tokenizer: Any, prompt: str, file: Path) -> None:
    """Raise `ModelError` where settings or tokens that are read from the file are others than the model's."""
    settings, read = read_back(file)
    ours, theirs = ({**one.to_dict(), **_positions(one.rope_parameters)} for one in (model.config, settings))
    for name in sorted(ours.keys() & theirs.keys() - _ASIDE):
        old, new = ours[name], theirs[name]
        close = isinstance(old, float) and isinstance(new, float) and math.isclose(old, new, rel_tol=1e-6)
        if old != new and not close:
            raise ModelError(f"{directory}: a GGUF file has no place for its {name} ({old}, read as {new}). {_ELSE}.")
    for text in (prompt, *PROBES):
        if tokenizer(text, add_special_tokens=False)["input_ids"] != read(text, add_special_tokens=False)["input_ids"]:
            raise ModelError(f"{directory}: its tokenizer reads {text!r:.80} otherwise than the file does. {_ELSE}.")


def _positions(rope: dict[str, Any]) -> dict[str, Any]:
    """How positions are computed, one name for each number, of kinds of layers too."""
    parts = {name: value for name, value in rope.items() if isinstance(value, dict)}
    return {name: value for name, value in rope.items() if name not in parts} | {
        f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()
    }


def _modelfile(file: str, prompt: str, ends: list[str], parameters: dict[str, int]) -> str:
    """The text of Ollama's Modelfile: its template is the prompt, which so is that of the training to the letter.

    Since 0.30 Ollama sets the template aside where the file's own chat template knows tools or thinking, unless a
    parser is named; the one that leaves answers as they are has been there since 0.12. Until 0.32.9 it penalised
    repetitions (1.1) where nothing else is said, in greedy decoding too, as no evaluation here does.
    """
    before, _, behind = prompt.rpartition(_QUESTION)
    lines = [f"FROM ./{file}", f'TEMPLATE """{_go(before)}{{{{ .Prompt }}}}{_go(behind)}"""']
    lines += ["PARSER passthrough", "PARAMETER temperature 0", "PARAMETER repeat_penalty 1"]
    lines += [f"PARAMETER {name} {value}" for name, value in parameters.items()]
    lines += [f'PARAMETER stop "{end}"' for end in ends if end.isprintable() and '"' not in end]
    return "\n".join(lines) + "\n"


def _go(text: str) -> str:
    """A text in a template of Go that stands in a Modelfile, which knows no escapes and drops what is not printable.

    Braces, which may begin an action, quotes in a row, which may end the template, and what would be dropped are
    written as constants of Go.
    """

    def constant(match: re.Match[str]) -> str:
        return '{{ "' + "".join(f"\\U{ord(letter):08x}" for letter in match[0]) + '" }}'

    special = "".join({letter for letter in text if not (letter.isprintable() or letter in "\n\t")})
    return re.sub(rf'[{{{re.escape(special)}]+|"{{2,}}', constant, text)
