"""What a run is going to need, before it needs it: memory by its parts, and tokens.

Weights, gradients and optimizer states are counted, from the model's own configuration. What comes and goes within a
step is estimated for a decoder of the Llama kind. `realm.training.fit` makes words and refusals of it.
"""

import os
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

from huggingface_hub import try_to_load_from_cache
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE

from realm.config import Config
from realm.errors import ModelError
from realm.method.schedule import ALWAYS
from realm.recipes import plan
from realm.student.head import TILE
from realm.student.load import load_outline, resolve
from realm.student.prompts import encode
from realm.student.renderer import Renderer
from realm.training.adapters import with_adapters
from realm.training.group import sharded
from realm.training.settings import hushed
from realm.training.shared_prefix import MARGIN, unfit

#: Questions whose prompts are rendered to learn how long prompts are.
SAMPLE = 64
#: Numbers that one layer keeps of each token for the backward pass, per unit of hidden size, query, key and inner
#: width: counted on Qwen3 with saved_tensors_hooks. Llama and Qwen2 keep up to a fifth less, Gemma 2 a quarter more.
_KEPT = {"hidden": 6.5, "queries": 6.0, "keys": 3.0, "inner": 4.0}
#: Bytes of a kept number under bf16 autocast: the wide ones are halved, norms and sums stay in float32.
_MIXED = 3.4
#: Tensors of the size of a tile that TRL's head has at once on a CPU, in float32.
_TILES = 8
#: Bytes of optimizer states for each byte of a trained parameter; 8-bit states take one byte for a number each.
_STATES = {"adamw_torch_fused": 2.0, "adamw_torch": 2.0, "adafactor": 0.1}


@dataclass(frozen=True)
class Outline:
    """The size of a model in numbers. `weights` and `trained_bytes` are bytes, everything else counts or widths; and
    whether prompts can be shared in it."""

    parameters: int
    trained: int
    weights: int
    trained_bytes: int
    layers: int
    hidden: int
    queries: int
    keys: int
    inner: int
    vocabulary: int = 0
    shares: bool = False


@dataclass(frozen=True)
class Lengths:
    """Tokens: the longest and the mean prompt of a sample with every route shown, and what a completion may have; and
    the routes of the sample, those that its prompts hold and those that they have no room for."""

    longest: int
    mean: float
    completion: int
    routes: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class Estimate:
    """Bytes on one process; `update` and `rollout` come and go, never both at once. `rows`: of the update."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    update: int
    rows: int
    rollout: int
    tokens_per_step: int

    @property
    def fixed(self) -> int:
        """What is there during a whole step."""
        return self.weights + self.gradients + self.optimizer + self.reference

    @property
    def peak(self) -> int:
        return self.fixed + max(self.update, self.rollout)


def weights_here(path: str | Path) -> bool:
    """Whether the weights of a model are on this machine: in its directory, or as the Hub's cache keeps them.

    Raises:
        ModelError: there is no such directory.
    """
    name = resolve(path)
    if Path(name).is_dir():
        return any(Path(name).glob("*.safetensors"))
    return any(
        isinstance(try_to_load_from_cache(name, file), str) for file in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)
    )


def outline(config: Config) -> Outline:
    """The size of the configured student with its adapters, if any; no weights are read.

    Raises:
        ModelError: there is no such model, or its configuration does not tell its layers and their width.
        ConfigError: see `with_adapters`.
    """
    with hushed():
        model: Any = with_adapters(load_outline(config.model.path, config.model.dtype), config)
    text = model.config.get_text_config()
    if not hasattr(text, "hidden_size") or not hasattr(text, "num_hidden_layers"):
        raise ModelError(f"{config.model.path}: its config.json does not tell hidden_size and num_hidden_layers.")
    return sizes(model)


def sizes(model: Any) -> Outline:
    """The size of a model, which tells its layers and their width."""
    text = model.config.get_text_config()
    heads = getattr(text, "num_attention_heads", 1)
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return Outline(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained=sum(parameter.numel() for parameter in trained),
        weights=sum(parameter.nbytes for parameter in model.parameters()),
        trained_bytes=sum(parameter.nbytes for parameter in trained),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        queries=heads * width,
        keys=(getattr(text, "num_key_value_heads", None) or heads) * width,
        inner=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        vocabulary=getattr(text, "vocab_size", 0),
        shares=unfit(model) is None,
    )


def prompt_lengths(config: Config, renderer: Renderer) -> Lengths:
    """Measured on the first questions with all their routes, as at the first step of a fade from p = 1."""
    ids = list(renderer.questions)[:SAMPLE]
    shown = [renderer.render(id_, 0, 0.0, schedule=ALWAYS) for id_ in ids]
    tokens = [len(encode(renderer.tokenizer, found.messages)) for found in shown]
    return Lengths(
        max(tokens),
        fmean(tokens),
        config.training.rl.max_completion_length,
        sum(len(found.routes) for found in shown),
        sum(found.dropped for found in shown),
    )


def sharing(config: Config, model: Outline) -> bool:
    """Whether RL reads prompts once for their groups, when it samples and, but under checkpointing, in the update."""
    return model.shares and config.training.rl.shared_prefix == "auto" and not sharded()


def estimate(config: Config, model: Outline, lengths: Lengths) -> Estimate:
    """What each process needs for a step of RL or, where the recipe has SFT or pairs and they need more, of theirs.

    Without RL nothing is sampled, and tokens are those of a step of the last stage. Every completion is as long as it
    may be and has an advantage. What companions forward is not counted. Pairs keep no reference model: what it thinks
    is read before.

    The distribution is read from the environment of the process, as `accelerate launch` leaves it.
    """
    rl, sft, pairs = config.training.rl, config.training.sft, config.training.pairs
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    zero2 = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "2"
    parts = processes if sharded() else 1
    state_parts = processes if sharded() or zero2 else 1
    eight_bit = rl.optimizer == "adamw_8bit"
    optimizer = 2 * model.trained if eight_bit else int(_STATES[rl.optimizer] * model.trained_bytes)
    # DDP sends gradients in buckets of their own.
    copies = 2 if processes > 1 and state_parts == 1 else 1
    kind = figured(config)
    trains_by_rl = kind == "rl"
    reference = model.weights if trains_by_rl and rl.beta > 0 and not config.training.lora.r else 0
    shared = sharing(config, model)
    found = []
    for stage in plan(config):
        by_pairs, by_rl = stage.kind == "pairs", stage.kind == "rl"
        rows = rl.micro_batch_size if by_rl else 2 * pairs.micro_batch_size if by_pairs else sft.micro_batch_size
        found.append((_update(config, model, lengths, rows, shared and by_rl), rows))
    update, rows = max(found)
    batch = rl.batch_size if trains_by_rl else 2 * pairs.batch_size if kind == "pairs" else sft.batch_size
    return Estimate(
        weights=model.weights // parts,
        gradients=copies * model.trained_bytes // state_parts,
        optimizer=optimizer // state_parts,
        reference=reference // parts,
        update=update,
        rows=rows,
        rollout=_rollout(config, model, batch // processes, lengths, shared) if trains_by_rl else 0,
        tokens_per_step=int(batch * (lengths.mean + lengths.completion)),
    )


def _number(config: Config) -> int:
    return 4 if config.model.dtype == "float32" else 2


def figured(config: Config) -> str:
    """The kind of stage whose steps the figures are of: `rl` where the recipe has it, else that of its last one."""
    kinds = [stage.kind for stage in plan(config)]
    return "rl" if "rl" in kinds else kinds[-1]


def _update(config: Config, model: Outline, lengths: Lengths, rows: int, shared: bool) -> int:
    """Bytes kept for the backward pass of one micro-batch of so many rows."""
    rl = config.training.rl
    length = lengths.longest + lengths.completion
    size = _MIXED if rl.bf16 and config.model.dtype == "float32" else _number(config)
    layer = sum(factor * getattr(model, name) for name, factor in _KEPT.items())
    # Going back, one layer's gradients are there too. Under checkpointing every layer keeps its input, and one at a
    # time is computed again.
    kept = model.layers * model.hidden + 2 * layer if rl.gradient_checkpointing else (model.layers + 1) * layer
    tokens, asking = rows * length, length
    once = ceil(rows / rl.num_generations) * lengths.longest + rows * lengths.completion
    copies = 0
    if shared and not rl.gradient_checkpointing and tokens > MARGIN * once:
        tokens, asking = once, lengths.completion
        # Keys and values of the prompt for each completion, and for each head that asks for them.
        copies = 2 * model.layers * model.queries * rows * lengths.longest
    # Each layer has the mask as numbers of its own.
    mask = (1 if rl.gradient_checkpointing else model.layers) * rows * asking * length
    head = _TILES * min(rows * asking, TOKEN_CHUNK_SIZE) * min(model.vocabulary, TILE // TOKEN_CHUNK_SIZE) * 4
    # Autocast keeps each weight in bf16 for the step.
    cast = 2 * model.parameters if rl.bf16 and config.model.dtype == "float32" else 0
    return int((tokens * kept + copies + mask) * size + head + cast)


def _rollout(config: Config, model: Outline, rows: int, lengths: Lengths, shared: bool) -> int:
    """Bytes of the KV cache of all completions of a process, and of one layer reading the prompts."""
    if config.training.rl.vllm != "off":
        return 0
    reading = lengths.longest * (4 * model.hidden + 3 * model.inner)
    prompts = ceil(rows / config.training.rl.num_generations) if shared else rows
    cached = prompts * lengths.longest + rows * lengths.completion
    return (2 * model.layers * model.keys * cached + prompts * reading) * _number(config)
