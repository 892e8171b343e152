"""`realm-zero`: RL with fading routes from the given student at once (ReaLM, arXiv 2508.12387: MRPV and EAAI)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.recipes.stage import Stage

if TYPE_CHECKING:
    from realm.config import Config


def stages(config: Config) -> list[Stage]:
    return [Stage("rl", 0, config.training.rl.steps, config.routes.k)]
