"""The recipes: which stages of training a student goes through, one file each, by the names of `training.recipe`.

A recipe is its `stages` and, where it has any, its SETTINGS: keys of the configuration that make it what it is, and
that hold whatever else a file configures (`--set` of another value is refused).
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from realm.recipes import (
    grpo,
    instructors,
    instructors_contrast,
    mrpv,
    realm_r1,
    realm_zero,
    rft,
    sft,
    sft_grpo,
    synthesizer,
    synthesizer_rl,
)

if TYPE_CHECKING:
    from realm.config import Config
    from realm.recipes.stage import Stage

RECIPES: dict[str, ModuleType] = {
    "sft": sft,
    "rft": rft,
    "grpo": grpo,
    "mrpv": mrpv,
    "synthesizer": synthesizer,
    "synthesizer-rl": synthesizer_rl,
    "instructors": instructors,
    "instructors-contrast": instructors_contrast,
    "sft+grpo": sft_grpo,
    "realm-zero": realm_zero,
    "realm-r1": realm_r1,
}


#: Recipes whose student never sees a CoT in its prompt.
WITHOUT_ROUTES = frozenset({"sft", "rft", "grpo", "instructors", "instructors-contrast", "sft+grpo"})


def settings(recipe: str) -> dict[str, Any]:
    """What the recipe fixes: dotted key -> value; empty for a name that is no recipe."""
    found: dict[str, Any] = getattr(RECIPES.get(recipe), "SETTINGS", {})
    return found


def plan(config: Config) -> list[Stage]:
    """The stages of the configured recipe, in order."""
    found: list[Stage] = RECIPES[config.training.recipe].stages(config)
    return found
