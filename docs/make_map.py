"""Write docs/map.md: every room of the package and every module in it, each with the first line of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "map.md"


def text() -> str:
    """The page."""
    lines = [
        "# The map",
        "",
        "Written by `python docs/make_map.py` from the docstrings. Arrows go down only: `cli` → `experiments` →",
        "`training`, `evaluation`, `report` → `teacher`, `exchange`, `analysis` → `student` → `bank` → `tasks` →",
        "`statistics` → `method`.",
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
