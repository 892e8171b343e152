"""LoRA (arXiv 2106.09685) through peft: adapters are trained, and merged into the weights of the model that is saved.

peft is imported only where adapters are asked for; it costs seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.config import Config
from realm.errors import ConfigError
from realm.evaluation.models import load_model

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel


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
        ConfigError: the model has no layer that `training.lora.targets` names.
    """
    adapters = lora_config(config)
    if adapters is None:
        return model
    from peft import get_peft_model

    try:
        return get_peft_model(model, adapters)
    except ValueError as error:
        layers = sorted({name.rsplit(".", 1)[-1] for name, _ in model.named_modules() if name})
        raise ConfigError(
            f"training.lora.targets: {', '.join(config.training.lora.targets)} cannot all be adapted in this model; "
            f"its modules are {', '.join(layers)}."
        ) from error


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

    model: Any = PeftModel.from_pretrained(load_model(base, dtype), str(adapters))
    model.merge_and_unload(safe_merge=True).save_pretrained(goal)
