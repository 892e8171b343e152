"""Figures of a page as files: SVG that stands by itself, and PNG of it for what reads no SVG.

PNG is drawn by resvg (https://github.com/linebender/resvg) from the very SVG, without a browser. Files have the light
colours, the caption above and, as text wants a font wherever the file is drawn, the one that matplotlib ships.
"""

import html
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from realm.files import write_atomic, writing
from realm.pages.figures import Figure
from realm.pages.palette import LIGHT, resolved
from realm.pages.svg import element, label

#: Pixels of the PNG for one of the drawing; the room around drawings and between two; the height of a line of text.
ZOOM, _MARGIN, _GAP, _LINE = 2.0, 14, 28, 19
_LETTER = 8.6
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
REPLACEMENT = "\ufffd"


def figures_of(context: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Every figure of a page with its file name, from what the page's template is given, in the order of the page."""
    taken: dict[str, int] = {}
    for key, value in context.items():
        for figure in _inside(value):
            name = _slug(f"{key.removesuffix('_figures')} {figure.title}")
            taken[name] = taken.get(name, 0) + 1
            yield (name if taken[name] == 1 else f"{name}-{taken[name]}"), figure


def _inside(value: object) -> Iterator[Figure]:
    if isinstance(value, Figure):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _inside(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _inside(item)


def _slug(title: str) -> str:
    """A file name of plain letters: what others call a figure may hold anything."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80].strip("-") or "figure"


def save_figures(context: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every figure of a page as `<name>.svg` and `<name>.png`; files of the same names are replaced.

    Raises:
        ResourceError: the disk refuses.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return [file for name, figure in figures_of(context) for file in save(standalone(figure), folder / name)]


def save(drawing: str, stem: Path) -> tuple[Path, Path]:
    """Write an SVG file as `<stem>.svg` and `<stem>.png`; a name may hold dots. Errors as of `save_figures`."""
    vectors, pixels = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("svg", "png"))
    write_atomic(vectors, drawing)
    with writing(pixels):
        pixels.write_bytes(to_png(drawing))
    return vectors, pixels


def standalone(*figures: Figure, note: str = "") -> str:
    """Figures side by side as an SVG file: captions above, style in it, without what only a page can show.

    `note` stands below them.
    """
    x, tall, parts = float(_MARGIN), 0.0, []
    for figure in figures:
        width, height, block = _block(figure)
        parts.append(element("g", block, transform=f"translate({x:g} {_MARGIN})"))
        x, tall = x + width + _GAP, max(tall, height)
    full, tall = x - _GAP + _MARGIN, tall + 2 * _MARGIN
    for line in textwrap.wrap(note, max(8, int((full - 2 * _MARGIN) / _LETTER))):
        tall += _LINE
        parts.append(label(_MARGIN, tall - _MARGIN, line, "tick"))
    drawing = element(
        "svg",
        element("style", Markup(_style())),
        element("rect", width="100%", height="100%", fill=LIGHT["bg"]),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {full:g} {tall:g}",
        width=f"{full:g}",
        height=f"{tall:g}",
    )
    # A name may hold what HTML bears and XML does not: controls, halves of surrogate pairs.
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_NOT_XML.sub(REPLACEMENT, drawing)}\n'


def _block(figure: Figure) -> tuple[float, float, Markup]:
    """Width and height of a figure with its caption, and the two."""
    width, height, summary = _outside(figure.drawing)
    lines = textwrap.wrap(summary, max(8, int(width / _LETTER))) or [""]
    texts = [label(0, _LINE * (place + 0.7), line, "caption") for place, line in enumerate(lines)]
    if figure.note:
        texts.append(label(0, _LINE * (len(texts) + 0.6), figure.note, "tick"))
    top = _LINE * len(texts) + 4
    inside = figure.drawing[figure.drawing.index(">") + 1 : figure.drawing.rindex("</svg>")]
    inner = element("g", Markup(inside), transform=f"translate(0 {top})")
    return width, top + height, Markup("").join([*texts, inner])


def _outside(drawing: str) -> tuple[float, float, str]:
    """Width, height and summary of a drawing, from the attributes of its outermost element."""
    found = re.match(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]* aria-label="([^"]*)"', drawing)
    assert found is not None
    return float(found[1]), float(found[2]), html.unescape(found[3])


@cache
def _style() -> str:
    rules = (Path(__file__).parent / "charts.css").read_text(encoding="utf-8")
    font = '"DejaVu Sans", Verdana, sans-serif'
    own = f"text {{ font-family: {font}; }}\n.caption {{ font-size: 14px; font-weight: 600; }}\n"
    return resolved(rules.replace("font-family: inherit;", "")) + own


def to_png(drawing: str) -> bytes:
    """An SVG file drawn as PNG, `ZOOM` pixels for one of its own."""
    import resvg_py

    return resvg_py.svg_to_bytes(svg_string=drawing, zoom=ZOOM, font_files=_fonts(), font_family="DejaVu Sans")


@cache
def _fonts() -> list[str]:
    from matplotlib import get_data_path

    return [str(Path(get_data_path()) / "fonts" / "ttf" / name) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")]
