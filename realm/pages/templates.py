"""The templates of the pages: one file each, with its style and its scripts in it."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from realm.files import write_atomic
from realm.pages.export import save_figures
from realm.pages.palette import variables
from realm.pages.tables import swatch

_HERE = Path(__file__).parent


def templates() -> Environment:
    """The templates of this package; everything that is filled in is escaped."""
    return Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@dataclass(frozen=True)
class Page:
    """A page before it is HTML: its template, what fills it, and the files of this package that are its scripts."""

    template: str
    context: dict[str, Any]
    scripts: tuple[str, ...] = ()

    def html(self, version: str = "") -> str:
        """The page as HTML text.

        Its policy admits no network and no script but the one in it, `hover.js` and the page's own. With a `version`,
        of its content, it asks where it came from (see `realm view`) for a newer one, and for nothing else.
        """
        style = variables() + _own("charts.css") + _own("style.css")
        script = "".join(map(_own, (*(("live.js",) if version else ()), "hover.js", *self.scripts)))
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        return (
            templates()
            .get_template(self.template)
            .render(
                style=Markup(style),
                script=Markup(script),
                script_hash=f"sha256-{digest}",
                swatch=swatch,
                version=version,
                **self.context,
            )
        )

    def write(self, target: Path, figures: Path | None = None) -> Path:
        """Write the page, and every figure of it as SVG and PNG into a folder; errors as of `write_atomic`."""
        write_atomic(target, self.html())
        if figures is not None:
            save_figures(self.context, figures)
        return target


def _own(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
