"""A stage of training: what every recipe is a short list of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Stage:
    """One stage: its kind, its round (from 0), its optimizer steps, its routes per prompt before fading."""

    kind: Literal["sft", "rl"]
    round: int
    steps: int
    k: int

    def folder(self, run: Path) -> Path:
        """Where its checkpoints are, and its model if another stage follows."""
        return run / "checkpoints" / self.kind / f"round-{self.round}"
