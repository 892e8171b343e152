"""Write docs/map.md: every room of the package and every module in it, each with the first line of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: From the lowest room to the highest.
ORDER = (
    "method", "statistics", "recipes", "rows", "realm", "formula", "tasks", "bank", "exchange", "student", "analysis",
    "teacher", "evaluation", "desk", "traces", "training", "pages", "experiments", "commands", "cli",
)  # fmt: skip
PAGE = ROOT / "docs" / "map.md"


def text() -> str:
    """The page."""
    lines = [
        "# The map",
        "",
        "Written by `python docs/make_map.py` from the docstrings. Arrows go down only: a room imports from those that",
        "stand before it in this line, and no modules import each other in a circle (`tests/test_arrows.py`):",
        "",
        " → ".join(f"`{room}`" for room in ORDER),
        "",
        "`realm` is what lies in no room: configuration, files, runs. The desk is a task and a teacher of its own: it",
        "stands above the rooms that it plugs into, and they know it by name.",
    ]
    for folder in sorted({path.parent for path in (ROOT / "realm").rglob("*.py")}):
        modules = [path for path in sorted(folder.glob("*.py")) if path.name not in ("__init__.py", "__main__.py")]
        if modules:
            lines += ["", f"## {folder.relative_to(ROOT)}/", ""]
            about = _first_line(folder / "__init__.py")
            lines += [about, ""] if about else []
            lines += [f"- `{path.name}`: {_first_line(path)}" for path in modules]
    return "\n".join(lines) + "\n"


def _first_line(path: Path) -> str:
    found = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(found.split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
