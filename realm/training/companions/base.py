"""A second term of the loss beside GRPO's, on rows of its own: token ids that are learned, or a teacher's expectation.

With B the completions of a batch, and the mean over the tokens of a row's completion that count:

    weight / B · Σ over the rows of row.weight · mean over t of f_t · l_t

    l_t = -log π(o_t | prompt, o_<t)                                              the token that is there
    l_t = KL(π(· | teacher's prompt, o_<t) ‖ π(· | prompt, o_<t))                 `soft`: the first is a constant

f_t is a factor without a gradient, 1 where the companion has none. A row travels with one completion of the batch, to
whatever micro-batch that goes. With weight 0 there are no rows, and the loss is GRPO's.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from pydantic import NonNegativeFloat

from realm.student.renderer import Renderer
from realm.training.rewards import Group

if TYPE_CHECKING:
    import torch

#: Token ids of a prompt, and of its completion.
Ids = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Row:
    """What is learned beside one completion of the batch.

    Attributes:
        teacher: the prompt and the completion that the same model reads as the teacher. It counts as far as that
            completion and this one have the same tokens.
        figure: a number for `Companion.factor`.
    """

    prompt: Sequence[int]
    completion: Sequence[int]
    weight: float = 1.0
    teacher: Ids | None = None
    figure: float = 0.0


@dataclass(frozen=True)
class Seen:
    """A generated batch, as far as it lies on this process.

    Attributes:
        groups: its groups in order; the completions of one follow each other.
        sampled: prompt and completion of each completion, as they were sampled.
        renderer: of the stage: its seed, its prompts, the routes of the bank.
        step: optimizer steps before it.
        best: the highest reward that the method pays.
        ends: the tokens that end a completion.
    """

    groups: Sequence[Group]
    sampled: Sequence[Ids]
    renderer: Renderer
    step: int
    best: float
    ends: Set[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A companion overrides `rows`, and `factor` where tokens do not count alike. Its fields are its options.

    Attributes:
        memory: what it knows of earlier batches, kept in the checkpoints of one that `watches`.
        whole: whether it needs each group whole on one process.
        watches: whether `watch` is to be called.
        reads_bank: whether it needs CoTs of the bank, without which a run is not begun.
    """

    weight: NonNegativeFloat = 1.0
    memory: dict[str, float] = field(default_factory=dict, init=False, compare=False)
    whole: ClassVar[bool] = True
    watches: ClassVar[bool] = False
    reads_bank: ClassVar[bool] = False

    @property
    def soft(self) -> bool:
        """Whether the distribution of a row's teacher is learned rather than the row's tokens."""
        return False

    def rows(self, seen: Seen) -> list[Row | None]:
        """For each completion of the batch a row, or None. Called once for each generated batch."""
        raise NotImplementedError

    def factor(
        self, log_probs: torch.Tensor, figures: torch.Tensor, teacher: torch.Tensor | None
    ) -> torch.Tensor | float:
        """What each token counts; nothing of it has a gradient.

        Args:
            log_probs: (rows, C) of the rows' tokens.
            figures: (rows, 1) those of the rows.
            teacher: (rows, C) log-probabilities of the same tokens under the teacher's prompt; None: there is none.
        """
        return 1.0

    def watch(self, entropy: float, sampled: float) -> None:
        """The mean entropies of this companion's tokens and of the sampled ones in a micro-batch, over all processes.

        One of which there was no token is not a number.
        """

    def figures(self) -> dict[str, float]:
        """What is to stand in metrics.jsonl for the batch whose rows were just asked for."""
        return {}
