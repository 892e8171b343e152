"""The colours of every page and figure: Okabe and Ito's, told apart by readers with any colour vision.

Okabe and Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/. A recipe, and a figure without or with
routes, has one colour and one marker wherever it is drawn; there are more recipes than colours, so that the later of
two with one colour also has broken lines. What is named after a recipe has its colour and another marker. Blue and
orange stand for without and with routes where a chart tells no models apart; no model has their markers.

A colour has two shades on each ground. Lines and markers keep Okabe and Ito's values unless these stand out too little
(contrast of 3 to 1, WCAG 2.2, 1.4.11); names, which are read, have the same hue at 4.5 to 1 (1.4.3).
"""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from realm.recipes import RECIPES


class Shades(NamedTuple):
    """One colour: for lines and for names on white, and for both on the dark ground."""

    line: str
    name: str
    dark_line: str
    dark_name: str


_DATA = tomllib.loads((Path(__file__).parent / "palette.toml").read_text(encoding="utf-8"))
#: The colours by their names.
COLOURS = {name: Shades(*shades) for name, shades in _DATA["colours"].items()}
#: Grounds, inks and rules of the pages, light and dark.
LIGHT: dict[str, str] = _DATA["light"]
DARK: dict[str, str] = _DATA["dark"]
#: Corners (x, y) of every marker but the circle, for one of radius 1.
CORNERS: dict[str, list[tuple[float, float]]] = _DATA["corners"]


class Style(NamedTuple):
    """How a model is drawn: its colour, its marker (see `realm.pages.svg`), and whether its lines are broken."""

    shades: Shades
    marker: str
    broken: bool = False


#: The untrained model and every recipe of the package.
_FIXED = {
    "base": Style(COLOURS["black"], "square"),
    **{
        recipe.name: Style(COLOURS[recipe.look.colour], recipe.look.marker, recipe.look.broken)
        for recipe in RECIPES.values()
        if recipe.look
    },
}
#: Markers of what is named after a recipe, by whether the recipe's lines are broken.
_VARIED = {False: ("plus", "times"), True: ("pentagon", "star")}
#: How models that are no recipes' are drawn, in this order.
_OTHERS = (
    Style(COLOURS["blue"], "square"),
    Style(COLOURS["orange"], "triangle"),
    Style(COLOURS["purple"], "diamond"),
    Style(COLOURS["yellow"], "down"),
    Style(COLOURS["grey"], "hexagon"),
)
#: Style number (`.c0` … in the style sheets) of every model that has a style of its own.
STYLES = {name: number for number, name in enumerate(_FIXED)}
#: Style numbers of figures without and with routes where no models are told apart.
WITHOUT, WITH = len(_FIXED), len(_FIXED) + 1
_VARIANTS = [
    (recipe, Style(style.shades, marker, style.broken))
    for recipe, style in _FIXED.items()
    if recipe != "base"
    for marker in _VARIED[style.broken]
]
#: Every style by its number.
LOOKS = (
    *_FIXED.values(),
    Style(COLOURS["blue"], "circle"),
    Style(COLOURS["orange"], "circle"),
    *(style for _, style in _VARIANTS),
    *_OTHERS,
)


def recipe_of(name: str) -> str | None:
    """The recipe of this name, or the one it is named after: `realm-r1` of `realm-r1-140+`; None for any other."""
    found = [recipe for recipe in STYLES if recipe != "base" and re.match(rf"{re.escape(recipe)}(?![A-Za-z0-9])", name)]
    return max(found, key=len, default=None)


def style_of(name: str, names: Sequence[str]) -> int:
    """Style number of the model `name` among all `names` of the page.

    Names without a fixed one take turns: those named after a recipe at its variants, any others at five more styles.
    """
    if name in STYLES:
        return STYLES[name]
    recipe = recipe_of(name)
    alike = [other for other in names if other not in STYLES and recipe_of(other) == recipe]
    variants = [place for place, (of, _) in enumerate(_VARIANTS) if of == recipe]
    choice = variants or range(len(_VARIANTS), len(_VARIANTS) + len(_OTHERS))
    return WITH + 1 + choice[(alike.index(name) if name in alike else 0) % len(choice)]


def variables() -> str:
    """The palette as CSS variables: light, dark where the reader's screen asks for it, light again in print."""
    light = _properties(LIGHT, [(look.shades.line, look.shades.name) for look in LOOKS])
    dark = _properties(DARK, [(look.shades.dark_line, look.shades.dark_name) for look in LOOKS])
    styles = "\n".join(f".c{n} {{ --c: var(--c{n}); --t: var(--t{n}); }}" for n in range(len(LOOKS)))
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{styles}\n"


def _properties(page: dict[str, str], colours: Sequence[tuple[str, str]]) -> str:
    pairs = [*page.items()]
    pairs += [(f"{kind}{n}", shade) for n, pair in enumerate(colours) for kind, shade in zip("ct", pair, strict=True)]
    return " ".join(f"--{name}: {value};" for name, value in pairs)


def resolved(css: str) -> str:
    """A flat style sheet with the light colours in the place of its variables.

    For files that are read by programs without CSS variables. A rule on `--c` or `--t`, the colours of a model, becomes
    one rule for each style.
    """
    rules = []
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)):
        body = re.sub(r"var\(--([a-z]{2,})\)", lambda found: LIGHT[found[1]], body).strip()
        names = [selector.strip() for selector in selectors.split(",")]
        if not re.search(r"var\(--[ct]\)", body):
            rules.append(f"{', '.join(names)} {{ {body} }}")
            continue
        for n, look in enumerate(LOOKS):
            coloured = body.replace("var(--c)", look.shades.line).replace("var(--t)", look.shades.name)
            rules.append(f"{', '.join(f'{name}.c{n}' for name in names)} {{ {coloured} }}")
    return "\n".join(rules) + "\n"
