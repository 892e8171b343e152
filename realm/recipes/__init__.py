"""The recipes: which stages of training a student goes through, one file each, by the names of `training.recipe`.

A module here with a `RECIPE` is one; others come as plug-ins (`realm.plugins`), in the group `realm.recipes` or by
`package.module:attribute`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from realm.plugins import find, trust
from realm.recipes.stage import Recipe

if TYPE_CHECKING:
    from realm.config import Config
    from realm.recipes.stage import Stage

_MODULES = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
_FOUND: list[Recipe] = [module.RECIPE for module in _MODULES if hasattr(module, "RECIPE")]
#: Those of this package, in the order in which they are shown.
RECIPES = {recipe.name: recipe for recipe in sorted(_FOUND, key=lambda recipe: (recipe.place, recipe.name))}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: see `find`.
    """
    found: Recipe = find("recipes", name)
    trust(found.settings)
    return found


def known(name: str) -> Recipe | None:
    """The recipe of that name; None where there is none."""
    try:
        return recipe(name)
    except ValueError:
        return None


def plan(config: Config) -> list[Stage]:
    """The stages of the configured recipe, in order."""
    stages = list(recipe(config.training.recipe).stages(config))
    trust([[stage.kind, *stage.traces] for stage in stages])
    return stages
