"""The colours: legible on both grounds, told apart by every reader, and known to files without CSS variables."""

from __future__ import annotations

from itertools import combinations

import pytest

from realm.pages.palette import DARK, LIGHT, LOOKS, STYLES, WITH, WITHOUT, recipe_of, resolved, style_of, variables
from realm.recipes import RECIPES


def channels(colour: str) -> list[float]:
    """Red, green and blue, linear, of `#rrggbb`."""
    values = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    return [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2."""
    lights = sorted(
        sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), channels(x), strict=True)) for x in (one, other)
    )
    return (lights[1] + 0.05) / (lights[0] + 0.05)


#: Severe colour-vision deficiency on linear RGB: Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), table 1.
DEFICIENCIES = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


def lab(linear: list[float]) -> list[float]:
    """CIELAB of linear sRGB under D65."""
    matrix = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(m * max(0.0, c) for m, c in zip(row, linear, strict=True)) for row in matrix]
    f = [t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (xyz[0] / 0.9505, xyz[1], xyz[2] / 1.089)]
    return [116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])]


def test_contrast_is_measured_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_lines_and_names_stand_out_on_both_grounds() -> None:
    for shades in (look.shades for look in LOOKS):
        assert contrast(shades.line, LIGHT["bg"]) >= 3
        assert contrast(shades.dark_line, DARK["bg"]) >= 3
        assert contrast(shades.name, LIGHT["bg"]) >= 4.5
        assert contrast(shades.dark_name, DARK["bg"]) >= 4.5
    for page in (LIGHT, DARK):
        for ink in ("ink", "soft"):
            assert contrast(page[ink], page["panel"]) >= 4.5


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_recipes_are_told_apart_by_every_reader(deficiency: str) -> None:
    matrix = DEFICIENCIES[deficiency]

    def seen(colour: str) -> list[float]:
        return lab([sum(m * c for m, c in zip(row, channels(colour), strict=True)) for row in matrix])

    main = [STYLES[name] for name in ("base", "grpo", "realm-zero", "realm-r1")]
    for pairs in (combinations(main, 2), [(WITHOUT, WITH)]):
        for one, other in pairs:
            for shade in ("line", "dark_line"):
                colours = [seen(getattr(LOOKS[style].shades, shade)) for style in (one, other)]
                far = sum((a - b) ** 2 for a, b in zip(*colours, strict=True)) ** 0.5
                assert far > 15, (one, other, shade)


def test_models_without_a_colour_of_their_own_take_turns() -> None:
    names = ["base", "mine", "yours", "grpo"]
    assert [style_of(name, names) for name in ("base", "grpo")] == [0, 1]
    assert style_of("mine", names) != style_of("yours", names)
    assert not {style_of("mine", names), style_of("yours", names)} & set(STYLES.values())


def test_recipes_with_a_look_have_a_style_of_their_own_and_no_two_styles_look_alike() -> None:
    assert set(STYLES) == {"base", *(name for name, recipe in RECIPES.items() if recipe.look)}
    assert len({LOOKS[number].marker for number in STYLES.values()}) == len(STYLES)
    assert len({(look.shades.line, look.marker) for look in LOOKS}) == len(LOOKS)
    for one, other in combinations((LOOKS[number] for number in STYLES.values()), 2):
        assert one.shades != other.shades or one.broken != other.broken


def test_what_is_named_after_a_recipe_has_its_colour_and_another_marker() -> None:
    names = ["realm-r1-140+", "sft+grpo-140", "synthesizer-rl", "r1-140", "sftish", "base"]
    assert [recipe_of(name) for name in names] == ["realm-r1", "sft+grpo", "synthesizer-rl", None, None, None]
    names = ["base", "realm-r1", "mine", "realm-r1-140", "realm-r1-140+"]
    looks = [LOOKS[style_of(name, names)] for name in ("realm-r1", "realm-r1-140", "realm-r1-140+")]
    assert len({look.marker for look in looks}) == 3
    assert len({look.shades for look in looks}) == 1


def test_the_variables_are_light_dark_and_one_for_every_style() -> None:
    css = variables()
    light, dark = css.split("@media screen and (prefers-color-scheme: dark)")
    assert f"--bg: {LIGHT['bg']}" in light and f"--bg: {DARK['bg']}" in dark
    for number, shades in enumerate(look.shades for look in LOOKS):
        assert f"--c{number}: {shades.line};" in light
        assert f"--c{number}: {shades.dark_line};" in dark
        assert f".c{number} {{ --c: var(--c{number}); --t: var(--t{number}); }}" in css


def test_resolved_rules_hold_colours_and_no_variables() -> None:
    css = resolved(
        "/* why */ text { fill: var(--ink); } .line, .raw { stroke: var(--c); } text.name { fill: var(--t); }"
    )
    assert "var(" not in css and "why" not in css
    assert f"text {{ fill: {LIGHT['ink']}; }}" in css
    assert f".line.c3, .raw.c3 {{ stroke: {LOOKS[3].shades.line}; }}" in css
    assert f"text.name.c1 {{ fill: {LOOKS[1].shades.name}; }}" in css
