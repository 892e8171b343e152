"""Loading a student: a directory in the Hugging Face format (safetensors), a Hub name, or the packaged base model.

No code of a model repository is run and no pickle is read, whoever made the directory.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import logging as transformers_logging

import realm
from realm.config import Config
from realm.errors import ModelError
from realm.sections import DESKS, PACKAGED_BASE, ModelSettings
from realm.student.generate import end_tokens
from realm.student.prompts import present
from realm.student.ways import COARSE_TOLERANCE, TOLERANCE, without_router_logits

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_LOG = logging.getLogger(__name__)
#: Files of tokenizers of which has been told that transformers reads otherwise.
_TOLD: set[Path] = set()
#: Parts of a configuration that are for something else than text.
_NOT_TEXT = re.compile("vision|image|video|audio|speech|vq")
#: Any of these makes a directory hold a tokenizer.
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
_GGUF = (
    "found a GGUF file, which llama.cpp runs and nobody trains; make a directory of it with realm model import "
    "FILE.gguf DIR, or better give that of the model that it was made from."
)
#: Tokens that end a turn where a chat template writes them: known by their text, also where no setting names them.
_TURN_ENDS = ("<end_of_turn>", "<|eot_id|>", "<|im_end|>", "<|end|>")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve(path: str | Path) -> str:
    """What to hand to transformers: the directory that exists, or a Hub name.

    Raises:
        ModelError: it is neither.
    """
    if str(path) == PACKAGED_BASE:
        path = Path(realm.__file__).parent / "desk" / "base"
    folder = Path(path).expanduser()
    if folder.is_dir():
        return str(folder)
    if folder.exists():
        what = _GGUF if folder.suffix == ".gguf" else "found a file. Give the folder that holds config.json."
        raise ModelError(f"{path}: expected a model directory, {what}")
    if isinstance(path, Path) or not _HUB_NAME.fullmatch(path):
        raise ModelError(f"{path}: there is no such model directory. Check model.path.")
    return path


def is_hub_name(path: str) -> bool:
    """Whether it names a model of the Hub, `owner/name`, and nothing of this machine."""
    return "/" in path and _HUB_NAME.fullmatch(path) is not None and not Path(path).exists()


def find(path: str | Path, *, weights: bool = True) -> str:
    """As `resolve`, and a directory is seen to hold a model's files.

    Args:
        weights: they are needed.

    Raises:
        ModelError: no such directory, or it has no config.json or no weights.
    """
    name = resolve(path)
    folder = Path(name)
    if folder.is_dir():
        gguf = any(folder.glob("*.gguf")) and not any(folder.glob("*.safetensors"))
        if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
            raise ModelError(_adapters(path, folder))
        if gguf:
            raise ModelError(f"{path}: expected a model directory, {_GGUF}")
        if not (folder / "config.json").is_file():
            nested = folder / "model"
            hint = f" Did you mean {nested}?" if (nested / "config.json").is_file() else ""
            raise ModelError(f"{path}: not a model directory, it has no config.json.{hint}")
        if weights and not any(folder.glob("*.safetensors")):
            raise ModelError(f"{path}: the model directory has no weights (*.safetensors); save or convert them there.")
    return name


def _adapters(path: str | Path, folder: Path) -> str:
    """What to say of a folder with adapters and no model: a checkpoint of LoRA, or what peft saves."""
    told = f"{path}: holds adapters (LoRA, adapter_config.json), not a model"
    for run in folder.resolve().parents:
        if (run / "meta.json").is_file() and (run / "model" / "config.json").is_file():
            return f"{told}; the model of that run, with its adapters merged, is {run / 'model'}."
    base: object = None
    with suppress(OSError, ValueError, RecursionError, AttributeError):
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    of = f" They belong to {base}: merge" if isinstance(base, str) and base else " Merge"
    return f"{told}.{of} them into it (peft: merge_and_unload, then save_pretrained) and give that folder."


def load_settings(path: str | Path) -> PreTrainedConfig:
    """The configuration of a model that may be a student: all that can be known of it without its weights.

    Raises:
        ModelError: no such directory or name of the Hub, no or broken config.json, no weights, or one that is no
            student (see `refuse_settings`).
    """
    name = find(path)
    with loading(path, "model"):
        settings: PreTrainedConfig = AutoConfig.from_pretrained(name, trust_remote_code=False)
    refuse_settings(path, settings)
    return settings


def load_model(path: str | Path, dtype: str = "float32") -> PreTrainedModel:
    """A causal language model on the CPU, in evaluation mode, with weights of `dtype` (a torch type's name).

    Raises:
        ModelError: no such directory, no or broken config.json, no or torn or incomplete weights, weights that are
            only pickled, an architecture that transformers does not know as a causal LM, or one that is no student
            (see `refuse_settings`, `refuse_model`).
    """
    settings = load_settings(path)
    with loading(path, "model"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            resolve(path),
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    model: PreTrainedModel
    model, info = loaded
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"{path}: {len(missing)} of the model's weights are not in its files (first: {missing[0]}); "
            "config.json and weights do not belong together."
        )
    drop_idle_flags(path, model)
    model.eval()
    refuse_model(path, model)
    if parts := _other_parts(settings):
        _LOG.warning("%s: the text part alone is used and saved, without %s.", path, " and ".join(parts))
    return model


def refuse_settings(path: str | Path, settings: PreTrainedConfig) -> None:
    """Refuse what is no student by its configuration alone.

    Raises:
        ModelError: quantized weights, an encoder with a decoder, or a model that keeps parts for images or sound.
    """
    if quantization := getattr(settings, "quantization_config", None):
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        raise ModelError(
            f"{path}: the weights are quantized ({method or 'quantization_config'}); quantized students are neither "
            "trained nor evaluated. Take the model in its full precision, with model.dtype=bfloat16 to save memory."
        )
    if getattr(settings, "is_encoder_decoder", False):
        raise ModelError(f"{path}: an encoder with a decoder ({settings.model_type}); a student is a decoder alone.")
    known: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(settings), None)
    if known is not None and known.config_class is type(settings) and (parts := _other_parts(settings)):
        raise ModelError(
            f"{path}: a model of more than text ({settings.model_type} with {' and '.join(parts)}); a student is one "
            "of text alone. Save its text part as a model of its own."
        )


def refuse_model(path: str | Path, model: PreTrainedModel) -> None:
    """Refuse a loaded model that is no decoder, tried on a few tokens.

    Raises:
        ModelError: it fails, or what it says of a token depends on later ones.
    """
    kind = model.config.model_type
    if any(parameter.is_meta or not parameter.numel() for parameter in model.parameters()):
        return  # spread over processes, which cannot be tried by one of them
    ids = probe_tokens(model)
    changed = ids.clone()
    changed[:, -2:] = ids[:, :2]
    with torch.no_grad(), without_router_logits(model.config):
        try:
            before, after = (model(input_ids=rows, use_cache=False).logits[:, :-2].float() for rows in (ids, changed))
        except Exception as error:
            text = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{path}: a model of this kind ({kind}) cannot read plain text: {text[:200]}") from error
    largest, tolerance = before.abs().max(), TOLERANCE if model.dtype == torch.float32 else COARSE_TOLERANCE
    if bool(largest.isfinite()) and float((before - after).abs().max()) > tolerance * float(largest):
        raise ModelError(
            f"{path}: what the model says of a token depends on the tokens behind it ({kind}); a student is a decoder, "
            "which reads from left to right. Where the model can be one, set is_decoder in its config.json."
        )


def probe_tokens(model: PreTrainedModel) -> torch.Tensor:
    """A few tokens that mean nothing, (2, 8), on the model's device: all different, none of them special."""
    weight: Any = model.get_input_embeddings().weight
    ids = 3 + torch.arange(16) * max(1, (len(weight) - 4) // 16)
    return (ids % len(weight)).view(2, 8).to(model.device)


def _other_parts(settings: PreTrainedConfig) -> list[str]:
    """The parts of a model besides that of text, such as vision_config; empty for a model of text alone."""
    return sorted(name for name in getattr(type(settings), "sub_configs", None) or {} if _NOT_TEXT.search(name))


def drop_idle_flags(path: str | Path, model: PreTrainedModel) -> None:
    """Take settings of generation away that do not count beside the others, such as a temperature without sampling.

    transformers loads them with a warning, and refuses to save them once a trainer has changed anything else.

    Raises:
        ModelError: the settings are invalid otherwise.
    """
    settings: Any = getattr(model, "generation_config", None)
    for _ in range(3):  # one may count only beside another
        if settings is None:
            return
        try:
            settings.validate(strict=True)
            return
        except ValueError as error:
            reason, idle = error, re.findall(r"^- `(\w+)`: ", str(error), re.MULTILINE)
            for name in idle:
                setattr(settings, name, None)
            if not idle:
                break
    raise ModelError(
        f"{path}: its generation_config.json is refused by transformers: {str(reason).splitlines()[0][:300]} Mend it."
    ) from reason


def load_outline(path: str | Path, dtype: str = "float32") -> PreTrainedModel:
    """The model without its weights: every tensor has a shape and a type, and takes no memory.

    Raises:
        ModelError: no such directory, no or broken config.json.
    """
    name = find(path, weights=False)
    with loading(path, "model"), torch.device("meta"):
        settings = AutoConfig.from_pretrained(name, trust_remote_code=False)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            settings, dtype=getattr(torch, dtype), trust_remote_code=False
        )
    return model


def find_tokenizer(path: str | Path) -> str:
    """As `resolve`, and a directory is seen to hold a tokenizer's files.

    Raises:
        ModelError: no such directory, or it has none.
    """
    name = resolve(path)
    if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in _TOKENIZER_FILES):
        raise ModelError(f"{path}: the model directory has no tokenizer; save the model's tokenizer there too.")
    return name


def load_tokenizer(path: str | Path, settings: ModelSettings | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model directory or Hub name; where it has no padding token, its end token pads.

    Args:
        settings: how its chat template is filled; None: as the template itself has it, with the day of the clock.

    Raises:
        ConfigError: `model.template_arguments` does not suit its chat template.
        ModelError: there is none, it cannot be read, or it has no end token, so that no completion would ever end.
    """
    name = find_tokenizer(path)
    file = Path(name) / "tokenizer.json"
    as_stated = settings is not None and settings.tokenizer == "file"
    if as_stated and not file.is_file():
        raise ModelError(f"{path}: model.tokenizer is file, and there is no tokenizer.json; set it to auto.")
    kind: Any = PreTrainedTokenizerFast if as_stated else AutoTokenizer
    with loading(path, "tokenizer"):
        tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(name, trust_remote_code=False)
        if tokenizer.chat_template:
            tokenizer.get_chat_template()  # of several templates without a default none is found
    if file not in _TOLD and file.is_file() and (text := _read_otherwise(tokenizer, file)):
        _TOLD.add(file)
        _LOG.warning(
            "%s: transformers reads text as a %s does, and not as tokenizer.json says (they differ on %r). If the "
            "student learned with that file, set model.tokenizer to file; whoever uses the trained model loads its "
            "tokenizer as PreTrainedTokenizerFast then.",
            path,
            type(tokenizer).__name__,
            text,
        )
    if tokenizer.eos_token is None:
        raise ModelError(f"{path}: the tokenizer has no end token (eos_token); set it in tokenizer_config.json.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    # The library's hint of a prompt that is too long, given once, is taken as given: prompts are fitted, and told of.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    if settings is not None:
        present(tokenizer, settings)
    return tokenizer


#: What tokenizers split in different ways.
PROBES = ("two words", "It's we'LL", "12345 + 6.75", "a  b\n\n c\t", "x_1=f(a):", "ÜBER naïve 你好 €", " lead")


def _read_otherwise(tokenizer: PreTrainedTokenizerBase, file: Path) -> str | None:
    """A text that the tokenizer reads otherwise than its file says; None where there is none among some.

    For some architectures transformers builds the tokenizer's splitting of words itself, whatever the file holds.
    """
    ours = getattr(tokenizer, "backend_tokenizer", None)
    if ours is None:
        return None
    try:
        stated = Tokenizer.from_file(str(file))
    except Exception:  # what `tokenizers` raises; transformers could read it
        return None
    stated.no_truncation()
    stated.no_padding()
    for text in PROBES:
        found = tokenizer(text, add_special_tokens=False)["input_ids"]
        if list(found) != stated.encode(text, add_special_tokens=False).ids:
            return text
    return None


def load(
    path: str | Path, dtype: str = "float32", settings: ModelSettings | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer (see `load_model`, `load_tokenizer`), found to fit each other.

    Raises:
        ModelError: one of them cannot be loaded, or the tokenizer has tokens that the model does not know.
    """
    model, tokenizer = load_model(path, dtype), load_tokenizer(path, settings)
    weight: Any = model.get_input_embeddings().weight
    known = weight.shape[0]
    if len(tokenizer) > known:
        raise ModelError(
            f"{path}: the tokenizer has {len(tokenizer)} tokens, the model only {known}; they do not match."
        )
    end_turns(model, tokenizer)
    return model, tokenizer


def end_turns(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Have the model's settings of generation name all that ends a completion: the tokenizer's end, and where the chat
    template ends turns.

    A base model may know its template, and name the end of a text alone: its turns would run on.
    """
    generation: Any = model.generation_config
    if generation is None:
        return
    ends, named = turn_ends(tokenizer) | end_tokens(model, tokenizer), generation.eos_token_id
    if ends - {*(named if isinstance(named, list) else [named])}:
        generation.eos_token_id = sorted(ends)


def turn_ends(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens by which the chat template closes turns; none where `<|end|>` closes parts of one (gpt-oss)."""
    template, whole = str(tokenizer.chat_template), tokenizer.get_added_vocab()
    if "<|channel|>" in template:
        return set()
    return {whole[token] for token in _TURN_ENDS if token in whole and token in template}


def context_length(model: PreTrainedModel, config: Config) -> int:
    """Tokens that prompt and completion may have together: `model.context`, or all that the model allows.

    Raises:
        ModelError: `model.context` is more than the model allows, or neither of them tells a number.
    """
    allowed: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    wanted = config.model.context
    if allowed is None and wanted is None:
        raise ModelError(f"{config.model.path}: the model does not tell its context length; set model.context.")
    if allowed is not None and wanted is not None and wanted > allowed:
        path, task = config.model.path, config.task
        foreign = path == PACKAGED_BASE and task.name not in DESKS
        hint = f"; the desk's model, it knows nothing of {task.called}: give --model DIR" if foreign else ""
        raise ModelError(
            f"model.context: expected at most the model's {allowed} tokens, found {wanted} (model.path: {path}{hint})."
        )
    return wanted or allowed or 0


def prompt_limit(model: PreTrainedModel, config: Config, max_new_tokens: int) -> int:
    """Tokens that a prompt may have so that a completion of `max_new_tokens` fits behind it.

    Raises:
        ModelError: nothing is left.
    """
    context = context_length(model, config)
    if context <= max_new_tokens:
        desk = config.model.path == PACKAGED_BASE
        hint = " The desk's own settings hold without CONFIG alone; `realm train --show-config` prints them."
        raise ModelError(
            f"a context of {context} tokens has no room for a prompt besides a completion of {max_new_tokens}; "
            f"lower training.rl.max_completion_length or raise model.context.{hint if desk else ''}"
        )
    return context - max_new_tokens


@contextmanager
def loading(path: str | Path, part: str) -> Iterator[None]:
    """Turn loading errors into a `ModelError`, and keep the library's progress bars out of ours."""
    shown: Any = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    # Broken files make these libraries raise anything, down to Exception itself.
    except Exception as error:
        where = (
            "" if Path(path).expanduser().is_dir() or str(path) == PACKAGED_BASE else ", which is no directory here,"
        )
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"{path}: the {part}{where} cannot be loaded: {lines[0][:300]}") from error
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
