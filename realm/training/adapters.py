"""LoRA (arXiv 2106.09685) through peft: adapters are trained, and merged into the weights of the model that is saved.

peft is imported only where adapters are asked for; it costs seconds.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from realm.config import Config
from realm.errors import ConfigError
from realm.student.load import load, probe_tokens
from realm.training.group import sharded
from realm.training.settings import untouched_randomness

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel

_LOG = logging.getLogger(__name__)
#: Share of what adapters have learned that may be rounded away without a word.
_MUCH = 0.25


def lora_config(config: Config) -> LoraConfig | None:
    """What TRL's trainers take as `peft_config`; None trains all weights."""
    lora = config.training.lora
    if not lora.r:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets or "all-linear",
        task_type="CAUSAL_LM",
    )


def with_adapters(model: PreTrainedModel, config: Config) -> Any:
    """The model as it is trained: with fresh adapters where the configuration has some. `model` is changed in place.

    Raises:
        ConfigError: the model has no layer that `training.lora.targets` names, or one of them cannot be adapted: the
            head, weights that layers share, layers that peft refuses.
    """
    adapters = lora_config(config)
    if adapters is None:
        return model
    from peft import get_peft_model

    owners: defaultdict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners[id(parameter)].append(name.rpartition(".")[0])
    names = {id(module): name for name, module in model.named_modules()}
    head: Any = model.get_output_embeddings()
    linear = sorted({n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, nn.Linear) and m != head})
    try:
        with warnings.catch_warnings():  # what they are about is refused below
            warnings.filterwarnings("ignore", category=UserWarning, module=r"peft\.")
            adapted: Any = get_peft_model(model, adapters)
    except ValueError as error:
        said = str(error).strip()
        targets = ", ".join(config.training.lora.targets)
        named = f"training.lora.targets: {targets} cannot all be adapted in this model"
        what = named if targets else "training.lora.targets: it is empty, and not every layer can be adapted"
        fitting = [name for name in linear if f"'{name}'" not in said]
        raise ConfigError(
            f"{what} ({said.splitlines()[0][:160] if said else 'peft'}); this model's "
            f"layers are {', '.join(linear)}. Name those to adapt, e.g. [{', '.join(fitting)}]."
        ) from error
    for module in adapted.modules():
        if not hasattr(module, "get_base_layer"):
            continue
        layer = module.get_base_layer()
        if layer is head:
            raise ConfigError(
                f"training.lora.targets: the head ({names[id(layer)]}) cannot be adapted, its weights are read "
                "directly in training; leave it out, or train all weights (training.lora.r 0)."
            )
        for parameter in layer.parameters(recurse=False):
            if len(owners[id(parameter)]) > 1:
                raise ConfigError(
                    f"training.lora.targets: {' and '.join(owners[id(parameter)])} share their weights in this model, "
                    "so that an adapter of one, merged into them, would change the other too; leave "
                    f"{names[id(layer)].rpartition('.')[2]} out, or train all weights (training.lora.r 0)."
                )
    return adapted


def try_adapters(model: PreTrainedModel, config: Config) -> None:
    """Make sure that the model reads a few tokens with adapters; it is left as it was. `with_adapters` takes them.

    Raises:
        ConfigError: it does not: a layer is called as no linear one is, such as a router that gives several tensors.
    """
    if not config.training.lora.r or sharded():
        return
    learned = {parameter: parameter.requires_grad for parameter in model.parameters()}
    linear = sorted({n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, nn.Linear)})
    with untouched_randomness():
        adapted = with_adapters(model, config)
        try:
            with torch.no_grad():
                adapted(input_ids=probe_tokens(model), use_cache=False)
        except Exception as error:  # whatever it is would end the first step of training
            raise ConfigError(
                f"training.lora.targets: this model ({model.config.model_type}) fails with adapters on these layers "
                f"({type(error).__name__}: {error}); its layers are {', '.join(linear)}. Name some, without those that "
                "are no plain layers, such as a router."
            ) from error
        finally:
            adapted.unload()
            vars(model).pop("peft_config", None)
            for parameter, learns in learned.items():
                parameter.requires_grad_(learns)


def below_adapters(model: Any) -> PreTrainedModel:
    """The model of transformers itself, whose layers hold the adapters: it takes all that transformers' models take.

    peft's wrapper hides the arguments of `forward` behind `**kwargs`, and who looks there which of them a model knows
    would leave out the positions of padded prompts.
    """
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner


def merge(base: str | Path, dtype: str, adapters: Path, goal: Path) -> None:
    """Save the model at `base` with the saved adapters added to its weights, as an ordinary model directory.

    The merging starts from the files on disk, so it does not matter over how many devices the model was spread.
    """
    from peft import PeftModel

    model: Any = PeftModel.from_pretrained(load(base, dtype)[0], str(adapters))
    if (lost := rounded_away(model)) > _MUCH:
        _LOG.warning(
            "%.0f %% of what the adapters have learned is rounded away in the merged model, whose weights are %s: it "
            "is not the one whose figures were taken in training. Raise the learning rate, or train with model.dtype "
            "float32 (training.rl.bf16 true computes in bfloat16 all the same).",
            100 * lost,
            dtype,
        )
    model.merge_and_unload(safe_merge=True).save_pretrained(goal)


@torch.no_grad()
def rounded_away(model: Any) -> float:
    """What merging loses: the norm of the difference that rounding makes, as a share of that of what adapters add.

    A weight stays as it is where less than half of its last place is added, which in bfloat16 is 1 / 512 of itself.
    """
    learned, lost = 0.0, 0.0
    for module in model.modules():
        if hasattr(module, "get_delta_weight"):
            weight = module.get_base_layer().weight
            for name in module.active_adapters:
                wanted = module.get_delta_weight(name)
                added = (weight + wanted.to(weight.dtype)).double() - weight.double()
                learned += float(wanted.double().square().sum())
                lost += float((added - wanted.double()).square().sum())
    return math.sqrt(lost / learned) if learned else 0.0
