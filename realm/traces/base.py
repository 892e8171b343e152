"""What is taught, on its way from the bank to a batch: traces, the weights of their tokens, pairs of CoTs.

Three points of plug-ins (`realm.plugins`) work on it, each a function that takes options of its own by keyword:

    step     traces in, traces out: a source, a filter, a transform, a mixer           training.sft.traces, in order
    weigh    a weight, or a soft target, for each token that is taught                 training.sft.weigh
    miner    pairs of a preferred and a rejected CoT                                   training.pairs.miner

Each gets a `Given`: everything is made when it is asked for, and every draw is a function of the run's seed.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.method.routes import Route
from realm.method.seeds import rng
from realm.student.renderer import Renderer
from realm.tasks.base import Question, Task
from realm.tasks.workers import VerifierPool

# The processes that judge import a plug-in's module too, and with it this one: neither needs torch.
if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from realm.student.generate import Generation

_LOG = logging.getLogger(__name__)
#: Seconds between two lines of what takes long.
EVERY = 10.0


@dataclass(frozen=True)
class Span:
    """Characters [start, stop) of a CoT's text, and what each of their tokens counts in the loss."""

    start: int
    stop: int
    weight: float


@dataclass(frozen=True)
class Trace:
    """One CoT as it may be taught.

    Attributes:
        question: the task's, or one that somebody wrote; routes are shown beside the task's own only.
        cot: with the id that it has in the bank, whatever a step makes of its text: so it is no route beside itself.
        turn: traces of one turn take it together, one of them by lot each time; empty: those of the question.
        instruction: stands behind the question, where this is asked for in another way than usual.
        weight: of all its tokens; `spans` multiply it.
        tags: whatever steps want to know of it later.
    """

    question: Question
    cot: CoT
    turn: str = ""
    instruction: str = ""
    weight: float = 1.0
    spans: tuple[Span, ...] = ()
    tags: Mapping[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Soft:
    """Targets of one completion that are distributions: at place i of it, tokens `ids[i]` with `probabilities[i]`.

    What is missing to a sum of 1 is that of all other tokens together. Places with no ids are not learned; `weights`,
    one a place, as those of hard targets.
    """

    ids: Sequence[Sequence[int]]
    probabilities: Sequence[Sequence[float]]
    weights: Sequence[float]


#: What is learned at each place of a completion: the token there by its weight, or distributions.
Target = Sequence[float] | Soft


@dataclass(frozen=True)
class Tokenized:
    """A trace as it is taught: token ids of its prompt and of its completion, the end token included.

    `text`: the completion's, without its end.
    """

    trace: Trace
    prompt: list[int]
    completion: list[int]
    text: str = ""


@dataclass(frozen=True)
class Pair:
    """A CoT that is preferred to another one, both of one question.

    One of the two may be missing: KTO, which learns from each by itself, learns from the other; nobody else does.
    """

    question: Question
    chosen: CoT | None
    rejected: CoT | None


@dataclass(eq=False)
class Spent:
    """What sampling and asking took: completions, tokens through the student, tokens that teachers wrote, seconds."""

    completions: int = 0
    tokens: int = 0
    teacher_tokens: int = 0
    seconds: float = 0.0


class LaterError(Exception):
    """Something is asked for that is there only when the stage begins."""


@contextmanager
def _on_accelerator(model: Any) -> Iterator[None]:
    """A model that is not in training yet lies on the CPU, even where there is a GPU."""
    from realm.student.generate import to_accelerator

    device = model.device
    to_accelerator(model)
    try:
        yield
    finally:
        model.to(device)


def telling(what: str) -> Callable[[int, int], None]:
    """To be called with (done, in all): says how far it is, now and then, where it takes long."""
    due = time.monotonic() + EVERY

    def tell(done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + EVERY
            _LOG.info("%s: %d of %d", what, done, total)

    return tell


class Voice:
    """A model that writes and scores; what that takes is counted.

    Args:
        batch_size: completions that are written, or rows that are scored, side by side.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int, spent: Spent
    ) -> None:
        self.model, self.tokenizer, self.batch_size, self.spent = model, tokenizer, batch_size, spent

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        length: int,
        samples: int = 1,
        temperature: float | None = None,
        seed: int = 0,
    ) -> list[list[Generation]]:
        """`samples` completions of each prompt, which may end with the beginning of one.

        Args:
            prompts: token ids.
            length: tokens that a completion may have.
            temperature: of sampling; None is greedy.
        """
        from realm.student.generate import generate

        began = time.monotonic()
        with _on_accelerator(self.model):
            found = generate(
                self.model,
                self.tokenizer,
                prompts,
                max_new_tokens=length,
                batch_size=self.batch_size,
                samples=samples,
                temperature=temperature,
                seed=seed,
                progress=telling("prompts answered"),
            )
        self.spent.completions += len(prompts) * samples
        self.spent.tokens += sum(map(len, prompts)) + sum(one.tokens for row in found for one in row)
        self.spent.seconds += time.monotonic() - began
        return found

    def scores(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Iterator[torch.Tensor]:
        """For each row of (prompt, completion) ids the (completion, V) log-probabilities of the token at each place."""
        from realm.student.head import TILE, vocabulary
        from realm.student.log_probs import log_probs

        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        tell = telling("completions scored")
        scores = max((len(prompt) + len(completion) for prompt, completion in rows), default=0) * vocabulary(self.model)
        size = min(self.batch_size, max(1, TILE // max(1, scores)))
        for start in range(0, len(rows), size):
            tell(start, len(rows))
            part = rows[start : start + size]
            began = time.monotonic()
            with _on_accelerator(self.model):
                found = log_probs(self.model, part, int(pad))
            self.spent.tokens += sum(len(prompt) + len(completion) for prompt, completion in part)
            self.spent.seconds += time.monotonic() - began
            yield from found


class Students(Protocol):
    """Gives the student as a voice: as the stage finds it, or the untrained one."""

    def __call__(self, which: Literal["now", "base"], spent: Spent) -> Voice: ...


def _later(which: str, spent: Spent) -> Voice:
    raise LaterError


@dataclass(frozen=True)
class Given:
    """What every step, weigh and miner gets.

    Attributes:
        renderer: of the stage: its seed, its routes, the prompts.
        round: of the stage, from 0.
        bank: the CoTs; None where there is none.
        pool: verifies answers (`realm.tasks.workers.verify_once`).
        spent: what was used, to be added to where a voice does not.
        left: how many traces each step left, and how many of the last are short enough; filled when all have run.
    """

    config: Config
    task: Task
    bank: Bank | None
    renderer: Renderer
    pool: VerifierPool | None = None
    round: int = 0
    students: Students = _later
    place: Path | None = None
    spent: Spent = field(default_factory=Spent)
    left: list[tuple[str, int]] = field(default_factory=list)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.renderer.tokenizer

    @property
    def room(self) -> int:
        """Tokens that a completion may have."""
        return self.config.training.rl.max_completion_length

    @property
    def folder(self) -> Path:
        """That of the run, where what was paid for is left below a name of its own, so that it is paid for once."""
        if self.place is None:
            raise LaterError
        return self.place

    @property
    def verifier(self) -> VerifierPool:
        if self.pool is None:
            raise LaterError
        return self.pool

    def rng(self, *name: str | int) -> random.Random:
        """A source of chance of that name, as a function of the run's seed and the round."""
        return rng(self.renderer.seed, "traces", self.round, *name)

    def student(self, which: Literal["now", "base"] = "now") -> Voice:
        """The student as the stage finds it, or the untrained one; not there while a run is prepared (`LaterError`)."""
        return self.students(which, self.spent)

    def cots(self, question_id: str) -> list[CoT]:
        """The CoTs of the bank for a question, but those that are cut, empty, refused or unjudged."""
        return [cot for cot in self.bank.cots(question_id) if cot.usable] if self.bank else []

    def routes(self, question: Question) -> list[Route]:
        """Every route of the bank for a question."""
        return self.renderer.routes(question.id)


#: Traces in, traces out; a source adds to what it is given. Options by keyword.
Step = Callable[..., Iterable[Trace]]
#: (rows, given) -> for each row a weight a token of its completion, or soft targets. Options by keyword.
Weigh = Callable[..., Iterable[Target]]
#: given -> pairs. Options by keyword.
Miner = Callable[..., Iterable[Pair]]
