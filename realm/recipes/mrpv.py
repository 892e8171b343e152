"""`mrpv`: ReaLM without EAAI, routes in every prompt to the end (the ablation of arXiv 2508.12387).

It learns to judge and to use routes, and nothing asks for what it can do without them. `realm-zero` with a fade that
stands at p = 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realm.recipes import realm_zero

if TYPE_CHECKING:
    from realm.config import Config
    from realm.recipes.stage import Stage

SETTINGS: dict[str, Any] = {"fade.schedule": "constant", "fade.p_start": 1.0}


def stages(config: Config) -> list[Stage]:
    return realm_zero.stages(config)
