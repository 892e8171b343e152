"""The model that a stage has written is the one that it trained: loaded again, both give the same scores.

What may come between them is found whatever it is: adapters that merging adds to weights which two layers share, a
weight that a library leaves out or renames, a type that holds less.
"""

from pathlib import Path
from typing import Any

import torch

from realm.errors import TrainingError
from realm.student.load import load_model

#: Tokens that are scored.
TOKENS = 32
#: What rounding may change, as a share of the scores' own size: some hundred times the unit of the type, since errors
#: grow from layer to layer and devices add in different orders.
BOUNDS = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}


@torch.no_grad()
def scores(model: Any) -> torch.Tensor:
    """(TOKENS, vocabulary) the model's scores of the next token behind each of some tokens, around their mean."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    settings = model.config.get_text_config()
    length = min(TOKENS, getattr(settings, "max_position_embeddings", None) or TOKENS)
    # The upper ids are often reserved, those of images for instance.
    ids = torch.randint(max(1, vocabulary * 3 // 4), (1, length), generator=torch.Generator().manual_seed(0))
    training = model.training
    model.eval()
    try:
        found = model(input_ids=ids.to(model.device), use_cache=False).logits[0].float().cpu()
    finally:
        model.train(training)
    centred: torch.Tensor = found - found.mean(-1, keepdim=True)
    return centred


def distance(trained: torch.Tensor, written: torch.Tensor) -> float:
    """How far scores are apart, as a share of their size: the median over the tokens.

    The median: where experts are chosen, rounding may send a single token to another one.
    """
    size = trained.pow(2).mean(-1).sqrt().clamp(min=1e-12)
    width = min(trained.shape[-1], written.shape[-1])  # spread weights may be padded
    apart = (trained[:, :width] - written[:, :width]).pow(2).mean(-1).sqrt()
    return float((apart / size).median())


def compare(trained: torch.Tensor, folder: Path, dtype: str, precision: str) -> None:
    """Load the model in `folder` as anybody would, and hold its scores against those of the trained one.

    Args:
        trained: see `scores`.
        dtype: of the weights.
        precision: type in which the trained model computes.

    Raises:
        TrainingError: they differ by more than rounding.
    """
    found = distance(trained, scores(load_model(folder, dtype)))
    bound = max(BOUNDS[dtype], BOUNDS[precision])
    if not found <= bound:
        raise TrainingError(
            f"{folder}: the model as it is written is not the one that was trained: on {len(trained)} tokens its "
            f"scores are {found:.3g} of their size apart, where rounding of {precision} explains {bound:g}. It is not "
            "put in place, and the last checkpoint is kept. Adapters (training.lora) or weights that layers share are "
            "the likeliest cause; please report it with this model's config.json."
        )
