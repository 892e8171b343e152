"""Weights of models of one shape, averaged: a student with its base against forgetting, or places of one training.

Done on the files, a tensor at a time: what lies in memory is one file of the first model, never a model.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from safetensors.torch import save_file

from realm.errors import ConfigError, ModelError
from realm.files import writing
from realm.student.load import PROBES, find, load_outline, load_settings, load_tokenizer, loading

#: Settings of a model that say nothing of what its weights compute.
_ASIDE = {"_name_or_path", "transformers_version", "architectures", "dtype", "use_cache"}
_ASIDE |= {"bos_token_id", "eos_token_id", "pad_token_id", "output_router_logits"}

#: What is fetched of a model of the Hub: one file a weight, and what says how it is asked and under which licence.
_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "README.md", "LICENSE*"]


def find_files(model: str | Path) -> Path:
    """The directory of a model; the files of a Hub name are fetched where they are not here yet.

    Raises:
        ModelError: there is none, it has no weights, or it cannot be fetched.
    """
    name = find(model)
    if not Path(name).is_dir():
        with loading(model, "model"):
            name = snapshot_download(name, allow_patterns=_FILES)
    return Path(find(name))


def refuse_unlike(models: Sequence[str | Path]) -> None:
    """Refuse models that differ in more than the values of their weights; names and shapes are seen to by `average`.

    Raises:
        ConfigError: their configurations or their tokenizers differ.
        ModelError: one cannot be loaded, or its weights are quantized.
    """
    settings, reads = [], []
    for model in models:
        found = load_settings(model)
        settings.append({key: value for key, value in found.to_dict().items() if key not in _ASIDE})
        tokenizer = load_tokenizer(model)
        reads.append((tokenizer.get_vocab(), [tokenizer(text)["input_ids"] for text in PROBES]))
    for model, its, words in zip(models[1:], settings[1:], reads[1:], strict=True):
        keys = sorted(key for key in its.keys() | settings[0].keys() if its.get(key) != settings[0].get(key))
        if keys:
            first, other = (str(one.get(keys[0]))[:60] for one in (settings[0], its))
            raise ConfigError(
                f"{models[0]} and {model} are not of one shape: config.json differs in {', '.join(keys)} ({keys[0]}: "
                f"{first} and {other}). Average a model with the one that it was trained from, or with its siblings."
            )
        if words != reads[0]:
            raise ConfigError(f"{models[0]} and {model} read text as other tokens: their tokenizers differ.")


def average(models: Sequence[str | Path], shares: Sequence[float], folder: Path) -> None:
    """Write the weighted mean of weights into a folder, in files, names and types of the first model's.

    The sum is rounded once, so that a model with itself stays what it is. A share of 1 gives that model's values
    themselves, in the first model's types; so does it for what is no floating number, of the first that has a share.

    Args:
        shares: of each model, together 1.

    Raises:
        ModelError: a weight is missing in one of them or has another shape there, or a file is torn.
        ResourceError: the disk refuses.
    """
    places = [_where(model) for model in models]
    tied: dict[str, str] = load_outline(models[0]).all_tied_weights_keys or {}
    with ExitStack() as stack:
        opened: dict[Path, Any] = {}
        for model, place in zip(models, places, strict=True):
            for path in {*place.values()} - opened.keys():
                with loading(model, f"file {path.name}"):
                    opened[path] = stack.enter_context(safe_open(path, "pt"))

        def part(number: int, name: str) -> Any:
            """A weight of a model, unread; of those that layers share a model may have kept either."""
            held = name if name in places[number] else tied.get(name, name)
            if held not in places[number]:
                raise ModelError(f"{models[number]}: has no weight {name}, as {models[0]} has; they are of two shapes.")
            return opened[places[number][held]].get_slice(held)

        for number, (model, place) in enumerate(zip(models, places, strict=True)):
            if more := sorted(place.keys() - places[0].keys() - tied.keys()):
                raise ModelError(f"{model}: has the weight {more[0]}, and {models[0]} has not; they are of two shapes.")
            for name in places[0]:
                shape, wanted = (part(which, name).get_shape() for which in (number, 0))
                if shape != wanted:
                    raise ModelError(
                        f"{model}: {name} is {shape}, in {models[0]} it is {wanted}; they cannot be added."
                    )
        for path in sorted({*places[0].values()}):
            mean = {}
            for name in (name for name, held in places[0].items() if held == path):
                kind = part(0, name)[...].dtype
                some = ((part(number, name)[...], share) for number, share in enumerate(shares) if share)
                mean[name] = _mean(some, kind)
            with writing(folder):
                save_file(mean, folder / path.name, opened[path].metadata())


def _mean(tensors: Any, kind: torch.dtype) -> torch.Tensor:
    """Of (tensor, share), none of which is 0."""
    total = None
    for tensor, share in tensors:
        if share == 1 or not kind.is_floating_point:
            return tensor.to(kind)
        part = share * tensor.to(torch.float64 if kind.itemsize >= 4 else torch.float32)
        total = part if total is None else total + part
    assert total is not None
    return total.to(kind)


def _where(model: str | Path) -> dict[str, Path]:
    """The file in which each weight of a model lies."""
    folder = find_files(model)
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    with loading(model, "weights"):
        if whole.is_file():
            with safe_open(whole, "pt") as file:
                return dict.fromkeys(file.keys(), whole)
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {str(name): folder / Path(file).name for name, file in found.items()}
