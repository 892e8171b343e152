"""Scales, ticks, smoothing and markers: what the charts are made of."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from realm.pages.charts import APART, Dot, Point, Row, Series, dot_chart, line_chart, smooth, thin
from realm.pages.forest import Effect, _gain_ends, forest
from realm.pages.palette import STYLES, style_of
from realm.pages.svg import MINUS, Scale, element, interval, marker, padded, percent, points, spread, ticks


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0, 1, 4, [0, 0.25, 0.5, 0.75, 1]),
        (0, 200, 4, [0, 50, 100, 150, 200]),
        (-60, 200, 6, [-50, 0, 50, 100, 150, 200]),
        (0.3, 0.92, 4, [0.4, 0.6, 0.8]),
        (5, 5, 4, [5]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, count: int, expected: list[float]) -> None:
    assert ticks(low, high, count) == pytest.approx(expected)


def test_scale_maps_ends_and_an_empty_domain() -> None:
    assert Scale(0, 10, 100, 0)(2.5) == 75
    assert Scale(3, 3, 10, 20)(3) == 10


def test_padded_reaches_the_next_step_but_not_beyond_the_limits() -> None:
    assert padded([0.34, 0.92], floor=0.0, ceiling=1.0, step=0.1) == pytest.approx((0.3, 1.0))
    assert padded([0.3, 0.5], step=0.1) == pytest.approx((0.3, 0.5))
    assert padded([0.99, 1.0], ceiling=1.0, step=0.1) == pytest.approx((0.9, 1.0))
    assert padded([], step=0.1) == pytest.approx((0.0, 0.1))


def test_labels_are_spread_in_order_without_leaving_the_chart() -> None:
    assert spread([10, 12, 50], 10, 0, 100) == [10, 20, 50]
    assert spread([98, 97, 99], 10, 0, 100) == [90, 80, 100]
    assert spread([], 10, 0, 100) == []


def test_smoothing_averages_over_what_there_is() -> None:
    # Window 3: the ends have two values, the others three.
    assert smooth([0, 3, 6, 3], 3) == pytest.approx([1.5, 3, 4, 4.5])
    assert smooth([2], 25) == [2]
    assert smooth([], 3) == []


def test_thinning_takes_means_of_neighbours() -> None:
    rows = [(float(x), float(2 * x)) for x in range(10)]
    assert thin(rows, 5) == [(0.5, 1.0), (2.5, 5.0), (4.5, 9.0), (6.5, 13.0), (8.5, 17.0)]
    assert thin(rows, 10) == rows


def test_figures_in_words() -> None:
    assert percent(0.7125) == "71.2\u202f%"
    assert [points(value) for value in (0.229, -0.015, 0.0, -0.0001)] == ["+22.9", "−1.5", "0.0", "0.0"]
    assert interval(0.67, 0.751) == "67.0–75.1"
    assert interval(None, 0.5) == ""


def test_ticks_of_a_narrow_panel_of_differences_stand_apart() -> None:
    name = "realm-r1-with-a-long-name"
    effect = Effect(f"{name} {MINUS} sft+grpo-likewise", 0, -0.2, -0.45, 0.25, more="p 0.003")
    drawing = str(forest("t", [effect], (-0.5, 0.3), "s").drawing)
    where = [float(x) for x in re.findall(r'<line x1="([\d.]+)"[^>]*class="grid"', drawing)]
    assert len(where) >= 2
    assert min(later - sooner for sooner, later in pairwise(where)) >= APART


def test_every_recipe_has_its_own_colour_and_marker() -> None:
    names = list(STYLES)
    styles = [style_of(name, names) for name in names]
    assert len(set(styles)) == len(names)
    shapes = {re.sub(r"\bc\d+\b", "", marker(style, 0, 0, solid=True)) for style in styles}
    assert len(shapes) == len(names)


def test_text_and_attributes_are_escaped() -> None:
    made = element("text", "<b>&", data_x='"><script>')
    assert made == '<text data-x="&#34;&gt;&lt;script&gt;">&lt;b&gt;&amp;</text>'


def test_line_chart_breaks_at_a_new_round_and_dashes_the_cold_start() -> None:
    line = [Point(0, 0.1), Point(1, 0.2, dashed=True), Point(2, 0.3), Point(0, 0.4), Point(1, 0.5)]
    drawn = line_chart(
        [Series("r1", 3, line)], width=400, height=200, summary="s", x_title="step", y_range=(0, 1), x_range=(0, 2)
    )
    assert re.findall(r'class="line c3( dashed)?"', drawn) == [" dashed", "", ""]


def test_lines_of_one_colour_are_told_apart_by_their_strokes() -> None:
    drawn = {}
    for name in ("sft", "sft+grpo"):
        series = [Series(name, STYLES[name], [Point(0, 0.1), Point(1, 0.2)])]
        chart = line_chart(series, width=400, height=200, summary="s", x_title="step", y_range=(0, 1))
        drawn[name] = re.findall(r'class="line c\d+( broken)?"', chart)
    assert drawn == {"sft": [""], "sft+grpo": [" broken"]}


def test_a_chart_of_one_point_or_none_is_drawn() -> None:
    for line in ([], [Point(3, 0.5, 0.4, 0.6, title="here")]):
        drawn = line_chart(
            [Series("a", 1, line, markers=True)], width=400, height=200, summary="s", x_title="x", y_range=(0, 1)
        )
        assert "nan" not in drawn
        assert ("here" in drawn) == bool(line)


def test_gains_of_a_few_questions_are_never_certain() -> None:
    # Agresti and Caffo by hand: 1/5 and 4/5 of five, half of the interval is 1.96 √(2 · 0.16 / 5) = 0.4958.
    assert _gain_ends(3, 0.0, 1.0) == pytest.approx((0.6 - 0.4958, 1.0), abs=1e-4)
    assert _gain_ends(3, 0.0, 0.0) == pytest.approx((-0.4958, 0.4958), abs=1e-4)


def test_captions_are_cut_only_where_there_is_no_room() -> None:
    for caption in ("sum", "W" * 15):
        dots = [Dot(1, 0.5, None, None, True, "")]
        assert f">{caption}</text>" in dot_chart([Row(caption, dots)], width=348, summary="", domain=(0, 1), axis=str)
    long = dot_chart([Row("W" * 40, dots)], width=348, summary="", domain=(0, 1), axis=str)
    assert re.search(r">W+…</text>", long)
    assert f"<title>{'W' * 40}</title>" in long
    pair = f"realm-r1-brief {MINUS} instructors-contrast"
    drawn = dot_chart([Row(pair, dots)], width=348, summary="", domain=(0, 1), axis=str)
    assert re.findall(r">([^<]*)</text>", drawn)[-3:-1] == ["realm-r1-brief", f"{MINUS} instructors-contr…"]
    assert f"<title>{pair}</title>" in drawn


def test_whiskers_that_overlap_are_moved_apart() -> None:
    def heights(low: float, high: float) -> set[str]:
        dots = [Dot(1, 0.5, 0.4, 0.6, False, "a"), Dot(1, 0.7, low, high, True, "b")]
        drawn = dot_chart([Row("x", dots)], width=348, summary="s", domain=(0, 1), axis=str, joined=True)
        return set(re.findall(r'y1="([\d.]+)"[^>]*class="whisker', drawn))

    assert len(heights(0.65, 0.75)) == 1
    assert len(heights(0.55, 0.85)) == 2
