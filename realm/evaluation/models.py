"""Loading a student: a directory in the Hugging Face format (safetensors), a Hub name, or the packaged base model.

No code of a model repository is run and no pickle is read, whoever made the directory.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import logging as transformers_logging

import realm
from realm.config import Config
from realm.errors import ModelError
from realm.evaluation.ways import COARSE_TOLERANCE, TOLERANCE, without_router_logits
from realm.sections import PACKAGED_BASE

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

#: Parts of a configuration that are for something else than text.
_NOT_TEXT = re.compile("vision|image|video|audio|speech|vq")
_LOG = logging.getLogger(__name__)
#: Any of these makes a directory hold a tokenizer.
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
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
        raise ModelError(f"{path}: expected a model directory, found a file. Give the folder that holds config.json.")
    if isinstance(path, Path) or not _HUB_NAME.fullmatch(path):
        raise ModelError(f"{path}: there is no such model directory. Check model.path.")
    return path


def find(path: str | Path) -> str:
    """As `resolve`, and a directory is seen to hold a model's files.

    Raises:
        ModelError: no such directory, or it has no config.json or no weights.
    """
    name = resolve(path)
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            nested = folder / "model"
            hint = f" Did you mean {nested}?" if (nested / "config.json").is_file() else ""
            raise ModelError(f"{path}: not a model directory, it has no config.json.{hint}")
        if not any(folder.glob("*.safetensors")):
            raise ModelError(f"{path}: the model directory has no weights (*.safetensors); save or convert them there.")
    return name


def load_model(path: str | Path, dtype: str = "float32") -> PreTrainedModel:
    """A causal language model on the CPU, in evaluation mode, with weights of `dtype` (a torch type's name).

    Raises:
        ModelError: no such directory, no or broken config.json, no or torn or incomplete weights, weights that are
            only pickled, an architecture that transformers does not know as a causal LM, or one that is no student
            (see `refuse_settings`, `refuse_model`).
    """
    name = find(path)
    with _loading(path, "model"):
        settings = AutoConfig.from_pretrained(name, trust_remote_code=False)
    refuse_settings(path, settings)
    with _loading(path, "model"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    model: PreTrainedModel
    model, info = loaded
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"{path}: {len(missing)} of the model's weights are not in its files (first: {missing[0]}); "
            "config.json and weights do not belong together."
        )
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


def load_outline(path: str | Path, dtype: str = "float32") -> PreTrainedModel:
    """The model without its weights: every tensor has a shape and a type, and takes no memory.

    Raises:
        ModelError: no such directory, no or broken config.json.
    """
    name = find(path)
    with _loading(path, "model"), torch.device("meta"):
        settings = AutoConfig.from_pretrained(name, trust_remote_code=False)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            settings, dtype=getattr(torch, dtype), trust_remote_code=False
        )
    return model


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model directory or Hub name; where it has no padding token, its end token pads.

    Raises:
        ModelError: there is none, it cannot be read, or it has no end token, so that no completion would ever end.
    """
    name = resolve(path)
    if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in _TOKENIZER_FILES):
        raise ModelError(f"{path}: the model directory has no tokenizer; save the model's tokenizer there too.")
    with _loading(path, "tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    if tokenizer.eos_token is None:
        raise ModelError(f"{path}: the tokenizer has no end token (eos_token); set it in tokenizer_config.json.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    # The library's hint of a prompt that is too long, given once, is taken as given: prompts are fitted, and told of.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return tokenizer


def load(path: str | Path, dtype: str = "float32") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer (see `load_model`, `load_tokenizer`), found to fit each other.

    Raises:
        ModelError: one of them cannot be loaded, or the tokenizer has tokens that the model does not know.
    """
    model, tokenizer = load_model(path, dtype), load_tokenizer(path)
    weight: Any = model.get_input_embeddings().weight
    known = weight.shape[0]
    if len(tokenizer) > known:
        raise ModelError(
            f"{path}: the tokenizer has {len(tokenizer)} tokens, the model only {known}; they do not match."
        )
    return model, tokenizer


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
        path, task = config.model.path, config.task.name
        foreign = path == PACKAGED_BASE and task != "desk"
        hint = f"; the desk's model, it knows nothing of the task {task}: give --model DIR" if foreign else ""
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
        raise ModelError(
            f"a context of {context} tokens has no room for a prompt besides a completion of {max_new_tokens}; "
            "lower training.rl.max_completion_length or raise model.context."
        )
    return context - max_new_tokens


@contextmanager
def _loading(path: str | Path, part: str) -> Iterator[None]:
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
