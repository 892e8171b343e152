"""The colours of every page and figure: Okabe and Ito's, told apart by readers with any colour vision.

Okabe and Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/. A model, and a figure without or with
routes, has one colour and one marker wherever it is drawn. Blue and orange stand for without and with routes where a
chart tells no models apart; the two baselines that share these colours have markers of their own.

A colour has two shades on each ground. Lines and markers keep Okabe and Ito's values unless these stand out too little
(contrast of 3 to 1, WCAG 2.2, 1.4.11); names, which are read, have the same hue at 4.5 to 1 (1.4.3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Shades(NamedTuple):
    """One colour: for lines and for names on white, and for both on the dark ground."""

    line: str
    name: str
    dark_line: str
    dark_name: str


_BLACK = Shades("#000000", "#000000", "#e6e9ec", "#e6e9ec")
_SKY = Shades("#4b9dcb", "#3a7a9e", "#56b4e9", "#56b4e9")
_VERMILLION = Shades("#d55e00", "#c05500", "#d55e00", "#e2833a")
_GREEN = Shades("#009e73", "#008561", "#009e73", "#2fb58e")
_PURPLE = Shades("#cc79a7", "#a16084", "#cc79a7", "#cc79a7")
_YELLOW = Shades("#9e962c", "#7d7722", "#f0e442", "#f0e442")
_GREY = Shades("#949494", "#747474", "#999999", "#a6a6a6")
_BLUE = Shades("#0072b2", "#0072b2", "#2f8fc6", "#4ba1d3")
_ORANGE = Shades("#c68900", "#9c6c00", "#e69f00", "#e69f00")

#: Style number (`.c0` … in the style sheets) of every model that has a colour of its own.
STYLES = {
    "base": 0,
    "grpo": 1,
    "realm-zero": 2,
    "realm-r1": 3,
    "sft": 4,
    "rft": 5,
    "mrpv": 6,
    "synthesizer": 7,
    "instructors": 8,
}
#: Style numbers that other models take, in this order.
_SHARED = (7, 8, 4, 5, 6)
#: Style numbers of figures without and with routes where no models are told apart.
WITHOUT, WITH = 9, 10
SHADES = (_BLACK, _SKY, _VERMILLION, _GREEN, _PURPLE, _YELLOW, _GREY, _BLUE, _ORANGE, _BLUE, _ORANGE)

#: Grounds, inks and rules of the pages, light and dark.
LIGHT = {
    "bg": "#ffffff",
    "ink": "#1b1e22",
    "soft": "#5c646d",
    "faint": "#e3e6ea",
    "grid": "#eceef1",
    "panel": "#f6f7f9",
    "rule": "#8a929b",
}
DARK = {
    "bg": "#14171a",
    "ink": "#e6e9ec",
    "soft": "#a0a8b1",
    "faint": "#30363c",
    "grid": "#262b30",
    "panel": "#1c2024",
    "rule": "#7c858e",
}


def style_of(name: str, names: Sequence[str]) -> int:
    """Style number of the model `name` among all `names` of the page; names without a fixed one share five of them."""
    if name in STYLES:
        return STYLES[name]
    others = [other for other in names if other not in STYLES]
    return _SHARED[(others.index(name) if name in others else 0) % len(_SHARED)]


def variables() -> str:
    """The palette as CSS variables: light, dark where the reader's screen asks for it, light again in print."""
    light = _properties(LIGHT, [(shades.line, shades.name) for shades in SHADES])
    dark = _properties(DARK, [(shades.dark_line, shades.dark_name) for shades in SHADES])
    styles = "\n".join(f".c{n} {{ --c: var(--c{n}); --t: var(--t{n}); }}" for n in range(len(SHADES)))
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
        for n, shades in enumerate(SHADES):
            coloured = body.replace("var(--c)", shades.line).replace("var(--t)", shades.name)
            rules.append(f"{', '.join(f'{name}.c{n}' for name in names)} {{ {coloured} }}")
    return "\n".join(rules) + "\n"
