"""The documentation as a site (`make docs`): Sphinx over the Markdown files where they lie.

So every link that holds in the repository holds on the site, and one that leads nowhere fails the build, as does a page
that no one finds, a name in the Python interface that is not told of, and a docstring that cannot be read.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

import realm

#: The side bar, and what hangs below a page of it. Every page stands here: Sphinx names one that does not.
NAVIGATION = {
    "README": {
        "Start": ["docs/tutorial", "docs/python", "docs/choose", "docs/neighbours"],
        "How to": ["docs/howto/bring-your-own-domain", "docs/howto/use-and-share", "docs/howto/*"],
        "Reference": ["docs/reference/api", "docs/reference/*", "docs/step", "examples/*/README"],
        "What was found": ["docs/paper", "docs/results/README", "docs/measured/README", "docs/log"],
        "Project": ["CONTRIBUTING", "CHANGELOG", "docs/map", "realm/desk/base/README"],
    },
    "docs/results/README": {"": ["docs/results/*"]},
    "docs/measured/README": {"": ["docs/measured/*"]},
}

project = "realm"
version = release = realm.__version__
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "realm/desk/base/README.md", "examples/*/README.md"]
exclude_patterns = [".*", "build", "dist", "runs", "data"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
nitpicky = True
smartquotes = False  # --resume is no dash
# What signatures name beside the classes of docs/reference/api.md: other libraries, whose pages would have to be asked
# for on the network, and types that nobody makes by hand.
nitpick_ignore_regex = [
    ("py:class", r"(?!realm\.).*"),
    ("py:class", r"realm\.(method\..*\.(T|Kind|Rule|Strategy)|tasks\.base\.Task|(teacher|training)\..*)"),
    ("py:exc", "KeyboardInterrupt"),
]

html_theme = "furo"
html_title = f"realm {version}"
html_copy_source = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", _navigate)
    app.connect("autodoc-process-docstring", _as_written, priority=400)  # before napoleon
    app.connect("missing-reference", _short_name)
    app.connect("build-finished", _front)


def _navigate(_app: Sphinx, page: str, source: list[str]) -> None:
    """The side bar hangs below pages that say nothing of it, so that they read well in the repository."""
    for caption, pages in NAVIGATION.get(page, {}).items():
        source[0] += "\n".join(
            [
                "\n\n```{toctree}",
                ":hidden:",
                ":glob:",
                *([f":caption: {caption}"] if caption else []),
                *map("/{}".format, pages),
                "```",
            ]
        )


def _as_written(_app: Sphinx, _what: str, _name: str, _of: object, _options: object, lines: list[str]) -> None:
    """Docstrings are written as Markdown is: `x` is code, and so is a paragraph that is indented."""

    def marked(words: str) -> str:
        return re.sub(r"`([^`]+)`|\|", lambda found: f"``{found[1]}``" if found[1] else r"\|", words)

    about, *sections = re.split(r"^(?=(?:Args|Attributes|Returns|Raises):$)", "\n".join(lines), flags=re.MULTILINE)
    parts = [f"::\n\n{part}" if part.startswith("    ") else marked(part) for part in about.split("\n\n")]
    lines[:] = "".join(["\n\n".join(parts), *map(marked, sections)]).split("\n")


def _short_name(app: Sphinx, env: BuildEnvironment, node: Any, inner: nodes.Element) -> nodes.Node | None:
    """A class goes by its last name, wherever it is defined: `realm.method.routes.Route` is `realm.Route`."""
    python = env.domains.python_domain
    last = node["reftarget"].rpartition(".")[2]
    found = [name for name in python.objects if name.rpartition(".")[2] == last and name.startswith("realm.")]
    if node.get("refdomain") != "py" or len(found) != 1 or found[0] == node["reftarget"]:
        return None
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, inner)


def _front(app: Sphinx, error: Exception | None) -> None:
    """Who asks for the folder gets the README. Raises where a page would ask another server for a script or a font."""
    if error is not None or app.builder.name != "html":
        return
    shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")
    for page in Path(app.outdir).rglob("*.html"):
        if asked := re.search(
            r'<(?:script|link|img|iframe)[^>]+="(?:https?:)?//[^>]+>', page.read_text(encoding="utf-8")
        ):
            raise ExtensionError(f"{page} asks for {asked[0]}")
