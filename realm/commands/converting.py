"""A GGUF file as an ordinary model directory, which can be trained.

transformers reads such files, and marks what it read as quantized: neither trained nor saved. What it read is taken
over as a model of the same configuration. Where it leaves out what the file says (transformers 5.23: how positions
are turned and stretched, how some tokenizers split digits, put spaces before text and look words up, how Gemma 3
attends, the order of SentencePiece's merges, settings of generation, tensors that it has no place for), that is mended
or the file is refused.
"""

import hashlib
import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import ModelCardData
from tokenizers import Tokenizer, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import realm
from realm.display import printable
from realm.errors import ConfigError, ModelError
from realm.files import new_folder, write_atomic, writing
from realm.pages.card import CARD, LICENSE_ID, UNKNOWN, code
from realm.student.load import load, loading, refuse_settings, turn_ends
from realm.text import grouped

PACKAGE_MISSING = "needs the package gguf: pip install 'realm-slm[gguf]'"
_HUB = re.compile(r"https://huggingface\.co/([\w.-]+/[\w.-]+)/?")
#: Texts by which llama.cpp names how a byte-level vocabulary is split: as that of GPT-2, or digit by digit before that.
_AS_GPT2 = {"gpt-2", "mpt", "olmo", "jais", "trillion", "granite-docling"}
_BY_DIGIT = {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"}
#: Those whose words are looked up whole before any merge, and whose texts have a start token if nothing else is said.
_LOOKED_UP = {
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano", "tekken",
}  # fmt: skip
#: Settings of generation by their names in a file.
_SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}
_ELSE = "Take the directory of the model that it was made from (config.json and *.safetensors)."


def import_gguf(
    file: Path, folder: Path, *, dtype: str = "float32", tell: Callable[[str], None] = lambda text: None
) -> dict[str, str]:
    """Write the model of a GGUF file as a directory: weights, tokenizer, chat template, settings and a card.

    Args:
        dtype: of the weights, a torch type's name. What quantization lost stays lost in all of them.
        tell: is given a line about what is under way, before it takes its seconds.

    Returns:
        What the card says of it, by name. Texts of the file are in it as they are.

    Raises:
        ConfigError: the package gguf is missing.
        ModelError: it is no whole GGUF file, one of several parts, or none that transformers reads rightly.
        ResourceError: the folder is there already, or the disk refuses.
    """
    tell("Reading the file ...")
    said, tensors = _read(file)
    with new_folder(folder) as made, tempfile.TemporaryDirectory() as alone, _translated(file, Path(alone), made):
        # By a link of its own: files beside it would be read as parts of the same model, and its name is anything.
        (Path(alone) / "model.gguf").symlink_to(file.resolve())
        tokenizer = _tokenizer(alone, file, said)
        tell("Giving the weights their full size ...")
        model = _model(alone, file, said, tensors, tokenizer, getattr(torch, dtype))
        with writing(folder), redirect_stderr(io.StringIO()):
            model.save_pretrained(made)
            tokenizer.save_pretrained(made)
            facts = _facts(file, said, tensors, model)
            write_atomic(made / CARD, _card(said, facts))
        tell("Loading it again ...")
        load(made, dtype)
    return {"model": str(folder), **facts}


def read_back(file: Path) -> tuple[Any, Any]:
    """The configuration and the tokenizer that `import_gguf` would make of a file; raises as it does."""
    said, tensors = _read(file)
    with tempfile.TemporaryDirectory() as alone, _translated(file, Path(alone)):
        (Path(alone) / "model.gguf").symlink_to(file.resolve())
        tokenizer = _tokenizer(alone, file, said)
        return _settings(alone, file, said, tensors, tokenizer)[0], tokenizer


def _read(file: Path) -> tuple[dict[str, Any], list[Any]]:
    """The metadata of a file by their keys, and its tensors."""
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ConfigError(f"reading GGUF {PACKAGE_MISSING}") from error
    try:
        with file.open("rb") as start:
            magic = start.read(4)
    except OSError as error:
        raise ModelError(f"{file}: cannot read ({error.strerror}).") from error
    if magic != b"GGUF":
        raise ModelError(f"{file}: expected a GGUF file, which starts with GGUF; found {magic!r}.")
    try:
        reader: Any = GGUFReader(file)
        said = {key: field.contents() for key, field in reader.fields.items()}
        kind = str(said["general.architecture"])
    except Exception as error:  # whatever a torn or made-up file leads to
        raise ModelError(f"{file}: the GGUF file is torn or broken; copy it again. ({_line(error)})") from error
    if said.get("split.count", 0) > 1:
        raise ModelError(
            f"{file}: is one of {said['split.count']} parts; put them together first: llama-gguf-split --merge"
        )
    if said.get(f"{kind}.block_count", 0) > len(reader.tensors):
        raise ModelError(f"{file}: has fewer tensors than layers; it is torn or no model of text.")
    return said, list(reader.tensors)


@contextmanager
def _translated(file: Path, *places: Path) -> Iterator[None]:
    """Name the file in errors about places that are ours."""
    try:
        yield
    except ModelError as error:
        text = str(error)
        for place in places:
            text = text.replace(str(place), str(file))
        raise ModelError(text if _ELSE in text else f"{text} {_ELSE}") from error


def _tokenizer(alone: str, file: Path, said: Mapping[str, Any]) -> Any:
    """The tokenizer of a file: its tokens and no others, splitting text as the file says."""
    with loading(alone, "tokenizer"):
        read: Any = AutoTokenizer.from_pretrained(alone, gguf_file="model.gguf", trust_remote_code=False)
    stated, size = json.loads(read.backend_tokenizer.to_str()), len(said["tokenizer.ggml.tokens"])
    # A class that transformers borrows for the reading (GPT-2's) brings a token of its own.
    stated["added_tokens"] = [token for token in stated["added_tokens"] if token["id"] < size]
    _whole(stated, said)
    split = str(said.get("tokenizer.ggml.pre", ""))
    if split in _LOOKED_UP:
        stated["model"]["ignore_merges"] = True
    if said.get("tokenizer.ggml.model") == "llama" and (stated["pre_tokenizer"] or {}).get("type") == "Metaspace":
        _space_as_llama_cpp(stated, before=said.get("tokenizer.ggml.add_space_prefix", True))
    core = Tokenizer.from_str(json.dumps(stated))
    start = said.get("tokenizer.ggml.bos_token_id")
    if split in _LOOKED_UP and start is not None and "tokenizer.ggml.add_bos_token" not in said:
        token = said["tokenizer.ggml.tokens"][start]
        with loading(file, "tokenizer"):  # a token may be spelled in any way
            core.post_processor = processors.TemplateProcessing([token, "$A"], None, [(token, start)])
    # transformers splits as GPT-2 does where it does not know better.
    if isinstance(core.pre_tokenizer, pre_tokenizers.ByteLevel) and split not in _AS_GPT2:
        if split not in _BY_DIGIT:
            raise ModelError(
                f"{file}: its tokenizer splits text as {split[:80]!r}, which transformers {transformers.__version__} "
                f"does not know; tokens would not be those that the model learned. {_ELSE}"
            )
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    named = {name: token for name, token in read.special_tokens_map.items() if core.token_to_id(str(token)) is not None}
    return PreTrainedTokenizerFast(tokenizer_object=core, chat_template=read.chat_template, **named)


def _space_as_llama_cpp(stated: Any, *, before: bool) -> None:
    """Put a space before a text and before what follows a special token, or none at all, as a file has it."""
    spaces: list[Any] = [{"type": "Prepend", "prepend": "\u2581"}] if before else []
    spaces += [{"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]
    stated["normalizer"], stated["pre_tokenizer"] = {"type": "Sequence", "normalizers": spaces}, None
    if not before:
        stated["decoder"]["decoders"] = [one for one in stated["decoder"]["decoders"] if one["type"] != "Strip"]


def _whole(stated: Any, said: Mapping[str, Any]) -> None:
    """Tokens that are read whole, wherever they are spelled out, and have a space in them: transformers splits them.

    And merges of SentencePiece by the scores of their words: transformers has some in the order of the file.
    """
    tokens, kinds = said["tokenizer.ggml.tokens"], said.get("tokenizer.ggml.token_type", ())
    if stated["model"]["type"] != "BPE":
        return
    words = {number: word for word, number in stated["model"]["vocab"].items()}
    for number, (token, kind) in enumerate(zip(tokens, kinds, strict=False)):
        if kind in (3, 4) and number in words and words[number] != token:  # control tokens, and those of users
            words[number] = token
            stated["added_tokens"].append(
                dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
                | {"id": number, "content": token, "special": kind == 3}
            )
    vocabulary = stated["model"]["vocab"] = {word: number for number, word in words.items()}
    scores = said.get("tokenizer.ggml.scores", ())
    if stated["model"].get("byte_fallback") and "tokenizer.ggml.merges" not in said and len(scores) == len(tokens):
        whole = {token["content"] for token in stated["added_tokens"]}  # which merge with nothing
        merges = [pair for pair in stated["model"]["merges"] if whole.isdisjoint((*pair, "".join(pair)))]
        merges = [pair for pair in merges if vocabulary.keys() >= {*pair, "".join(pair)}]
        merges.sort(key=lambda pair: scores[vocabulary["".join(pair)]], reverse=True)
        stated["model"]["merges"] = merges
    stated["added_tokens"].sort(key=lambda token: token["id"])


def _settings(
    alone: str, file: Path, said: Mapping[str, Any], tensors: list[Any], tokenizer: Any
) -> tuple[Any, list[Any]]:
    """The configuration of a file's model, and its tensors without those that the configuration stands for."""
    with loading(alone, "model"):
        settings: Any = AutoConfig.from_pretrained(alone, gguf_file="model.gguf", trust_remote_code=False)
    refuse_settings(file, settings)
    vars(settings).pop("_model_name_or_path", None)  # general.name, whatever it says
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):  # a class's own defaults, where the file says none
        setattr(settings, name, getattr(tokenizer, name))
    if settings.model_type == "qwen3" and (head := said.get("qwen3.attention.key_length")):
        settings.head_dim = head  # left out, and then that of the family's own models
    if settings.model_type == "gemma3_text":
        with loading(alone, "model"):  # whatever the file says
            _attend_as_gemma3(settings, said)
    base, rope = said.get(f"{said['general.architecture']}.rope.freq_base"), getattr(settings, "rope_parameters", None)
    if base and rope and "rope_theta" in rope:  # of some families transformers reads none, and takes its own
        rope["rope_theta"] = base
    frequencies = next((tensor for tensor in tensors if tensor.name == "rope_freqs.weight"), None)
    if frequencies is not None and _stretch_as_llama3(settings, torch.tensor(frequencies.data)):
        tensors = [tensor for tensor in tensors if tensor is not frequencies]
    stretched = said.get(f"{said['general.architecture']}.rope.scaling.type", "none")
    if stretched != "none" and set(re.findall(r"rope_type': '(\w+)", str(rope))) <= {"default"}:
        raise ModelError(
            f"{file}: its positions are stretched ({stretched}), which transformers {transformers.__version__} leaves "
            f"out of this file; the model would misread long texts. {_ELSE}"
        )
    return settings, tensors


def _model(
    alone: str, file: Path, said: Mapping[str, Any], tensors: list[Any], tokenizer: Any, dtype: torch.dtype
) -> Any:
    """The model of a file, its weights in `dtype`, as a model that was never quantized."""
    settings, tensors = _settings(alone, file, said, tensors, tokenizer)
    with loading(alone, "model"), torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(settings, dtype=dtype, trust_remote_code=False)
    # Each value of the file has one place in the model: nothing is left out, nothing is drawn at random.
    wanted = sum(weight.numel() for weight in model.parameters())
    wanted += sum(value.numel() for name, value in model.named_buffers() if name in model.state_dict())
    beyond = f"blk.{settings.num_hidden_layers}."  # a layer that predicts several tokens at once, to decode faster
    found = sum(int(tensor.n_elements) for tensor in tensors if not tensor.name.startswith(beyond))
    if wanted != found:
        raise ModelError(
            f"{file}: holds {grouped(found)} values, and a model of its settings in transformers "
            f"{transformers.__version__} ({settings.model_type}) has {grouped(wanted)}; it would be another. {_ELSE}"
        )
    # Blocks as they are only serve to compute with; older versions know no such thing.
    blocks = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": blocks(dequantize=True)} if blocks else {}
    with loading(alone, "model"), redirect_stderr(io.StringIO()):  # a bar that no setting turns off
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            alone, config=settings, gguf_file="model.gguf", dtype=dtype, output_loading_info=True, **options
        )
    read, info = loaded
    if info["missing_keys"]:
        raise ModelError(f"{file}: the weight {min(info['missing_keys'])} is not in it. {_ELSE}")
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = _generation(said, tokenizer)
    return model


def _stretch_as_llama3(settings: Any, factors: torch.Tensor) -> bool:
    """Set how Llama 3.1 and later stretch positions, if these factors are theirs: (half a head) frequencies' divisors.

    A file holds them as a tensor, which transformers leaves out; a configuration says how they are computed.
    """
    if settings.model_type != "llama":
        return False
    theta = settings.rope_parameters["rope_theta"]
    sizes = {"hidden_size": settings.hidden_size, "num_attention_heads": settings.num_attention_heads}
    for factor in (8.0, 32.0):  # 3.1 and 3.3; 3.2
        rope = {
            "rope_type": "llama3",
            "rope_theta": theta,
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        like = LlamaConfig(
            **sizes, head_dim=settings.head_dim, max_position_embeddings=1 << 17, rope_parameters=dict(rope)
        )
        slowed, _ = ROPE_INIT_FUNCTIONS["llama3"](like, torch.device("cpu"))
        plain = theta ** -(torch.arange(0, settings.head_dim, 2) / settings.head_dim)
        if factors.shape == plain.shape and torch.allclose(plain / slowed, factors, rtol=1e-3):
            settings.rope_parameters = rope
            return True
    return False


def _attend_as_gemma3(settings: Any, said: Mapping[str, Any]) -> None:
    """Set how Gemma 3 attends as llama.cpp does: scale, windows, positions. transformers has one size for all files."""
    layers, pattern = settings.num_hidden_layers, said.get("gemma3.attention.sliding_window_pattern", 6)
    heads = settings.hidden_size // settings.num_attention_heads
    settings.query_pre_attn_scalar = heads if layers == 62 else settings.head_dim  # that of 27B
    if not said.get("gemma3.attention.sliding_window"):
        pattern = 1
    settings.layer_types = [
        "sliding_attention" if (number + 1) % pattern else "full_attention" for number in range(layers)
    ]
    rope = settings.rope_parameters
    rope["sliding_attention"]["rope_theta"] = said.get("gemma3.rope.freq_base_swa", 10000.0)
    if said.get("gemma3.rope.scaling.type") == "linear":
        rope["full_attention"] |= {"rope_type": "linear", "factor": said["gemma3.rope.scaling.factor"]}


def _generation(said: Mapping[str, Any], tokenizer: Any) -> GenerationConfig:
    """The settings of generation that a file states: ends of a text and of a turn, and how it is sampled."""
    ends = {tokenizer.eos_token_id, said.get("tokenizer.ggml.eot_token_id")} - {None}
    ends |= turn_ends(tokenizer)
    stated = {
        name: said[f"general.sampling.{key}"] for key, name in _SAMPLING.items() if f"general.sampling.{key}" in said
    }
    sampled = bool(stated.keys() - {"repetition_penalty"}) and stated.get("temperature", 1) > 0
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(ends) if len(ends) > 1 else tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **({"do_sample": True} if sampled else {}),
        **{name: value for name, value in stated.items() if sampled or name == "repetition_penalty"},
    )


def _facts(file: Path, said: Mapping[str, Any], tensors: list[Any], model: Any) -> dict[str, str]:
    """What the card says of where a model came from, by name."""
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while part := source.read(1 << 20):
            digest.update(part)
    kinds = Counter(tensor.tensor_type.name for tensor in tensors)
    sizes = ", ".join(f"{kind} ({count} tensors)" for kind, count in kinds.most_common())
    count = sum(weight.numel() for weight in model.parameters())
    return {
        "file": file.name,
        "sha256": digest.hexdigest(),
        "name in the file": str(said.get("general.name", UNKNOWN)),
        "made from": str(_source(said) or UNKNOWN),
        "licence stated in the file": str(said.get("general.license", UNKNOWN)),
        "quantization": sizes,
        "weights here": f"{grouped(count)} of {str(model.dtype).removeprefix('torch.')} ({model.config.model_type})",
        "read by": f"realm {realm.__version__}, transformers {transformers.__version__}, gguf {version('gguf')}",
    }


def _source(said: Mapping[str, Any]) -> str | None:
    """Where the file says its model lies, or what it was trained from."""
    keys = ("general.source.repo_url", "general.source.huggingface.repository", "general.base_model.0.repo_url")
    return next((str(said[key]) for key in keys if said.get(key)), None)


def _card(said: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """The text of README.md."""
    source, licence = _source(said) or "", str(said.get("general.license", "")).lower()
    named = _HUB.fullmatch(source) or re.fullmatch(r"([\w.-]+/[\w.-]+)", source)
    head = ModelCardData(
        base_model=named[1] if named else None,
        license=licence if LICENSE_ID.fullmatch(licence) else None,
        library_name="transformers",
        pipeline_tag="text-generation",
    )
    lines = "\n".join(f"- {name}: {code(value)}" for name, value in facts.items())
    return (
        f"---\n{head.to_yaml()}\n---\n\n# {code(facts['name in the file'])}\n\nA GGUF file as an ordinary model "
        f"directory, made by `realm model import`.\n\n{lines}\n\nWhat quantization took from the weights is not back: "
        "they are those that llama.cpp computes with. The licence of the model holds for this copy of it.\n"
    )


def _line(error: Exception) -> str:
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0], 200)
