"""The templates of the pages: one file each, with its style and its scripts in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from realm.pages.palette import variables
from realm.pages.tables import swatch

_HERE = Path(__file__).parent


def templates() -> Environment:
    """The templates of this package; everything that is filled in is escaped."""
    return Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def render(template: str, context: dict[str, Any], scripts: Sequence[str] = ()) -> str:
    """A page as HTML text.

    Its policy admits no network and no script but the one in it: `hover.js` and, after it, the files `scripts` of this
    package.
    """
    style = variables() + _own("charts.css") + _own("style.css")
    script = "".join(map(_own, ("hover.js", *scripts)))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        templates()
        .get_template(template)
        .render(
            style=Markup(style),
            script=Markup(script),
            script_hash=f"sha256-{digest}",
            swatch=swatch,
            **context,
        )
    )


def _own(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
