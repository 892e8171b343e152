"""What a trainer sets aside while it trains, and puts back in all that it saves: the base's own settings.

TRL's SFTTrainer has a mixture of experts give its router's scores in every forward, by a flag that would be published
with the model; then each token that is decoded computes a balancing loss against the whole mask, and fails. Both
trainers ask for these scores where they need them, so the flag is off in training, and saved as it was.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from realm.training.group import sharded
from realm.training.settings import untouched_randomness

_LOG = logging.getLogger(__name__)
#: Settings of generation that say which tokens end, begin and fill up a completion.
_TOKENS = ("eos_token_id", "bos_token_id", "pad_token_id")


def balances(model: PreTrainedModel) -> bool:
    """Whether TRL can compute the balancing loss of this mixture of experts.

    It needs the number of experts under one name of several that configurations have, and the scores of every router.
    """
    text: Any = model.config.get_text_config()
    counts = [getattr(text, name, None) for name in ("num_experts", "num_experts_per_tok")]
    if not all(isinstance(count, int) and count > 0 for count in counts):
        return False
    if sharded():
        return True  # it cannot be tried by one process alone
    with torch.no_grad(), untouched_randomness():
        try:
            found: Any = model.base_model(
                input_ids=torch.tensor([[3, 4, 5]], device=model.device), use_cache=False, output_router_logits=True
            )
            loss: Any = load_balancing_loss_func(found.router_logits, counts[0], counts[1], None)
        except Exception:  # whatever it is would end the first step of training
            return False
    return isinstance(loss, torch.Tensor)


def _sampled_by(settings: Any) -> list[str]:
    """The settings of generation that may change what is sampled."""
    aside = ("_", "output_", "return_", "transformers_", "use_cache", "cache_", "max_length", "max_new_", *_TOKENS)
    return [name for name, value in vars(settings).items() if value is not None and not name.startswith(aside)]


class Kept(Trainer):
    """A trainer of TRL whose saved models have the settings that the base came with.

    Set aside are the router's scores (see the module), and settings of generation such as `min_p`: RL samples what its
    log-probabilities are of, the model's own distribution, as evaluations do. A completion ends with an end token;
    `stop_strings` are told of. Where TRL cannot compute the balancing loss of a mixture of experts it is left out, and
    said. Overrides transformers' private `_save`, which writes every model that is no shard.

    Args:
        model: loaded.
        args: TRL's; `router_aux_loss_coef` is set to 0 where the loss is left out.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        model: PreTrainedModel = kwargs["model"]
        text: Any = model.config.get_text_config()
        generation: Any = model.generation_config
        sampled = _sampled_by(generation) if generation is not None else []
        self._own: list[tuple[Any, str, Any]] = [
            (owner, name, getattr(owner, name))
            for owner, name in (
                (text, "output_router_logits"),
                (text, "router_aux_loss_coef"),
                *((generation, name) for name in sampled),
            )
            if hasattr(owner, name)
        ]
        if getattr(generation, "stop_strings", None):
            _LOG.warning("The model's stop_strings are ignored: a completion ends with an end token.")
        for name in sampled:
            setattr(generation, name, None)
        coefficient = getattr(text, "router_aux_loss_coef", None)
        if hasattr(text, "output_router_logits") and coefficient and not balances(model):
            kwargs["args"].router_aux_loss_coef = 0.0
            if getattr(text, "num_local_experts", None) != 0:  # Granite's dense models have none
                _LOG.warning("The router's balancing loss is left out: TRL cannot compute that of %s.", text.model_type)
        super().__init__(*args, **kwargs)
        self._put(text, "output_router_logits", False)
        self._put(text, "router_aux_loss_coef", coefficient)

    @staticmethod
    def _put(owner: Any, name: str, value: Any) -> None:
        if hasattr(owner, name):
            setattr(owner, name, value)

    @contextmanager
    def _as_base(self) -> Iterator[None]:
        """Within, the model has the base's settings."""
        now = [(owner, name, getattr(owner, name)) for owner, name, _ in self._own]
        for setting in self._own:
            self._put(*setting)
        try:
            yield
        finally:
            for setting in now:
                self._put(*setting)

    def _save(self, *args: Any, **kwargs: Any) -> None:
        with self._as_base():
            super()._save(*args, **kwargs)
