"""How long a step takes and how much memory it has: measured on two short steps of the very training."""

import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerCallback

from realm.student.renderer import Renderer
from realm.tasks.workers import VerifierPool
from realm.training.failures import explain
from realm.training.grpo import make_grpo_trainer
from realm.training.prepare import Prepared
from realm.training.rewards import RouteReward
from realm.training.settings import hushed


@dataclass(frozen=True)
class Probe:
    """Seconds of one whole step of RL; bytes the process gained over what it had before the model was loaded, in steps
    of so many completions."""

    seconds: float
    peak: int
    completions: int


class _Clock(TrainerCallback):
    """Times the steps, and looks at the memory where no device keeps count of its peak."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._started = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.steps.append(time.perf_counter() - self._started)


def probe(prepared: Prepared, pool: VerifierPool) -> Probe:
    """Train for two steps of as few micro-batches as there can be, and throw the result away.

    The second step is the one that is timed; it is taken for as many micro-batches as a step has. Generation is timed
    with it, although a larger batch generates more at once and costs less for each completion: the figure is rather too
    high than too low. Routes are those of the first step, when all are shown. The prepared model is used up.

    Raises:
        ResourceError: the memory does not suffice.
        TrainingError: a loss is no number.
    """
    try:
        return _probe(prepared, pool)
    except Exception as error:
        reason = explain(error, prepared.config, "rl", 0, None)
        if reason is None:
            raise
        raise reason from error


def _probe(prepared: Prepared, pool: VerifierPool) -> Probe:
    config = prepared.config
    rl = config.training.rl
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    short = config.model_copy(deep=True)
    batch = min(math.lcm(rl.micro_batch_size * processes, rl.num_generations), rl.batch_size)
    short.training = config.training.model_copy(
        update={
            "rl": rl.model_copy(update={"steps": 2, "batch_size": batch, "num_iterations": 1}),
            "save_every": 10**6,
        }
    )
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    model, tokenizer = prepared.model.take(), prepared.tokenizer
    assert model is not None, "a probe, or training, has taken it"
    context, k = prepared.renderer.context, prepared.stages[-1].k
    renderer = Renderer(short, prepared.task, prepared.bank, tokenizer, context, k=k)
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder, hushed():
        trainer = make_grpo_trainer(
            short,
            model=model,
            tokenizer=tokenizer,
            renderer=renderer,
            reward=RouteReward(short, renderer.questions, pool),
            output=folder,
            seed=config.run.seed,
            callbacks=[clock],
        )
        trainer.train()
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _gained(prepared.resident)
    return Probe(clock.steps[-1] * rl.batch_size / batch, peak, batch)


def _gained(before: int) -> int:
    """Bytes of the peak above before.

    The system adds pages to the two figures at different times, so the peak can lag a few pages behind what was there.
    """
    return max(0, _peak() - before)


def _peak() -> int:
    """The most this process ever had, in bytes (0 where the system does not tell)."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
