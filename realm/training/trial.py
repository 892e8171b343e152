"""Whether a model can be trained here, found out with a few tokens before anything is written.

TRL computes log-probabilities with a head of its own, which knows the usual shapes of a decoder and a list of ways to
scale its scores. A model that is shaped otherwise fails there, or is trained on other scores than it has.
"""

from typing import Any

import torch
from transformers import PreTrainedModel
from trl.trainer.utils import add_fused_lm_head

from realm.errors import ModelError
from realm.student.load import probe_tokens
from realm.student.ways import known, without_router_logits

#: Largest difference of a log-probability that is taken for rounding, by the type of the weights.
_TOLERANCES = {torch.float32: 2e-3, torch.float64: 1e-6}
_COARSE_TOLERANCE = 0.5
_PADS = 3


def try_out(model: PreTrainedModel, path: str, *, rl: bool) -> None:
    """Score a few tokens as training does, and hold them against the model's own scores.

    Args:
        model: as loaded, on the CPU; it is left as it was.
        rl: whether prompts will be padded on the left too.

    Raises:
        ModelError: it fails, its scores are others, or it sees the padding.
    """
    name = f"{path}: models of this kind ({model.config.model_type})"
    ids = probe_tokens(model)
    own_forward = vars(model).get("forward")
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), without_router_logits(model.config):
            right = model(input_ids=ids, use_cache=False).logits.float().log_softmax(-1)
            right = right[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
            add_fused_lm_head(model, outputs=("log_probs", "entropy"))
            found = _scored(model, ids, torch.ones_like(ids))
            if not _close(found, right, model.dtype):
                raise ModelError(
                    f"{name} cannot be trained: TRL scores their tokens otherwise than they do themselves "
                    f"({float((found - right).abs().max()):.1e} in log-probability)."
                )
            if rl and (reason := _padding(model, ids, right)):
                raise ModelError(f"{name} cannot be trained by RL, whose batches pad prompts on the left: {reason}.")
            # Some ask for more in training than in evaluation.
            _scored(model.train(), ids, torch.ones_like(ids))
    except ModelError:
        raise
    except Exception as error:
        text = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(f"{name} cannot be trained: {type(error).__name__}: {text}"[:400]) from error
    finally:
        model.train(training)
        if own_forward is not None:
            model.forward = own_forward
        else:
            vars(model).pop("forward", None)


def _scored(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of all tokens but the first, as both trainers compute them."""
    labels = ids.masked_fill(mask == 0, -100)
    found: Any = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    log_probs: torch.Tensor = found.log_probs.float()
    return log_probs


def _padding(model: PreTrainedModel, ids: torch.Tensor, right: torch.Tensor) -> str | None:
    """Why padding on the left changes the scores of what follows, though it is masked; None: it does not.

    Positions that TRL lets the padding shift are another matter, which the trainer tells of.
    """
    start = torch.full((len(ids), _PADS), int(getattr(model.config.get_text_config(), "pad_token_id", None) or 0))
    padded = torch.cat([start, ids], 1)
    mask = torch.cat([torch.zeros_like(start), torch.ones_like(ids)], 1)
    if "attention_mask" not in known(model):
        return "they take no mask"
    found = _scored(model, padded, mask)[:, _PADS:]
    if _close(found, right, model.dtype):
        return None
    if "position_ids" in known(model):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        scores = model(input_ids=padded, attention_mask=mask, position_ids=positions, use_cache=False).logits
        own = scores.float().log_softmax(-1)[:, _PADS:-1].gather(-1, ids[:, 1:, None])[..., 0]
        if _close(own, right, model.dtype):
            return None
    return "they see what is masked"


def _close(found: torch.Tensor, right: torch.Tensor, dtype: torch.dtype) -> bool:
    if not bool(right.isfinite().all()):
        return True  # spoilt weights are told by the first loss
    return bool((found - right).abs().max() <= _TOLERANCES.get(dtype, _COARSE_TOLERANCE))
