"""What a recipe is: a name, a short list of stages of training, what it fixes, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from realm.config import Config


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        kind: `sft`, `rl`, or another that `realm.training.stages` finds.
        round: from 0.
        steps: of the optimizer.
        k: routes per prompt before fading.
        fresh: it starts from the configured model, not from the one that the stage before left; what writes for it is
            that one all the same.
        traces: its steps instead of `training.sft.traces`.
        settings: keys of the section of its kind that it sets otherwise.
    """

    kind: str
    round: int
    steps: int
    k: int
    fresh: bool = False
    traces: tuple[Any, ...] = field(default=(), hash=False)
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def rows(self) -> Literal["sft", "pairs", "rl"]:
        """What the rows are that it leaves."""
        return "rl" if self.kind == "rl" else "pairs" if self.kind == "pairs" else "sft"

    def folder(self, run: Path) -> Path:
        """Where its checkpoints are, and its model if another stage follows."""
        return run / "checkpoints" / self.kind / f"round-{self.round}"


def in_turn(*kinds: str, routes: bool = False, again: bool = True) -> Callable[[Config], list[Stage]]:
    """Stages of these kinds behind each other, of the steps that are configured; no cold start of 0 steps.

    Args:
        routes: show `routes.k` routes; else none.
        again: in every one of `training.rounds`; else once.
    """

    def stages(config: Config) -> list[Stage]:
        training, k = config.training, config.routes.k if routes else 0
        steps = {kind: getattr(training, kind).steps for kind in kinds}
        return [
            Stage(kind, round_, steps[kind], k)
            for round_ in range(training.rounds if again else 1)
            for kind in kinds
            if steps[kind] or len(kinds) == 1
        ]

    return stages


@dataclass(frozen=True)
class Look:
    """How a recipe is drawn: a colour of `realm.pages.palette`, a marker of its own, and whether lines are broken."""

    colour: str
    marker: str
    broken: bool = False


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Attributes:
        name: as `training.recipe` has it.
        stages: the stages of a configuration, in order.
        settings: what makes it what it is, dotted key -> value: it holds whatever else a file configures, and `--set`
            of another value is refused.
        shows_routes: whether its student sees CoTs in its prompts while it learns.
        look: how it is drawn; None: as any model's name, by turns.
        place: in tables and figures, the untrained model being at 0; equal ones stand by their names.
    """

    name: str
    stages: Callable[[Config], Sequence[Stage]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    shows_routes: bool = True
    look: Look | None = None
    place: int = 9
