"""Run: pytest tests/test_plots.py. Figures: what is in them, that they are the same twice, and that numbers can be read on every shade."""

import re
from dataclasses import replace

import numpy as np
import pytest

from analysis import plots
from analysis.plots import LIGHT, PALETTE, STEPS, STRONG, Dot, HeatMap, Line
from analysis.report import svg
from analysis.report.svg import Words

pytest.importorskip("matplotlib")

SHOWN = HeatMap(
    rows=("en", "de"),
    columns=("en", "de", "→All"),
    targets=2,
    values=np.array([[0.0, np.nan, np.nan], [-0.031, 0.052, 0.011]]),
    marked=np.array([[False, False, False], [True, False, False]]),
    own=np.array([[True, False, False], [False, True, False]]),
    signed=True,
    links={(1, 0): "#there"},
)
DOTS = [Dot("de-MT-en", 0.02, 0.01, 0.03, True), Dot("en-O", 0.0, np.nan, np.nan, False), Dot("$x^2$", -0.01, -0.03, 0.01, False)]
LINES = [
    Line("de-MT-en", (1, 2), (0.4, 0.6), "best"),
    Line("en-O", (1, 2), (0.4, 0.5), "baseline"),
    Line("fr-MT-en", (1, 2), (0.3, 0.5), ""),
]
WORDS = Words("a title", "what it says", {"cell-1-0": "de → en: −3.1 (−5.0 to −1.0)"})


def texts(drawn: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawn)


def test_a_heat_map_prints_signed_numbers_marks_and_no_number_for_a_hole():
    printed = texts(plots.svg(plots.heat_map(SHOWN)))
    assert [text for text in printed if re.search(r"\d", text)] == ["0.0", "−3.1*", "+5.2", "+1.1"]
    assert not {"nan", "--"} & set(printed)


def test_holes_are_hatched_and_self_transfer_is_outlined():
    drawn = plots.svg(plots.heat_map(SHOWN))
    assert drawn.count("fill: url(#") == 2  # the two holes
    assert drawn.count(f"stroke: {LIGHT['ink']}; stroke-width: 1.3") == 2  # en on en, de on de
    without = plots.svg(plots.heat_map(replace(SHOWN, values=np.zeros((2, 3)), own=np.zeros((2, 3), dtype=bool))))
    assert "url(#h" not in without
    assert f"stroke: {LIGHT['ink']}; stroke-width: 1.3" not in without


def test_the_diverging_scale_is_centered_at_zero_and_symmetric():
    assert plots._shade(0.0, (0.0, 0.1), signed=True) == ("same", False)
    for value in (0.013, 0.05, 0.09, 0.2):
        better, worse = (plots._shade(sign * value, (0.0, 0.1), signed=True) for sign in (1, -1))
        assert (better[0].removeprefix("better"), better[1]) == (worse[0].removeprefix("worse"), worse[1])
    assert plots._shade(0.1, (0.0, 0.1), signed=True) == (f"better{STEPS}", True)


def test_one_outlier_does_not_take_the_whole_scale():
    values = np.full((10, 10), 0.01)
    values[0, 0] = 0.9
    assert plots._reach(replace(SHOWN, values=values))[1] < 0.05


@pytest.mark.parametrize("draw", [lambda: plots.heat_map(SHOWN), lambda: plots.ranking(DOTS, "points"), lambda: plots.curves(LINES, "f1")])
def test_files_are_the_same_bytes_twice(draw, tmp_path):
    first, second = (plots.save(draw(), tmp_path / folder, "figure") for folder in "ab")
    assert [file.suffix for file in first] == [".svg", ".png"]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert first[1].read_bytes().startswith(b"\x89PNG")
    assert "<dc:date>" not in first[0].read_text()


def test_a_name_is_never_read_as_mathematics():
    assert "$x^2$" in texts(plots.svg(plots.ranking(DOTS, "points")))


def test_a_dot_is_filled_only_where_it_is_sure():
    drawn = plots.svg(plots.ranking(DOTS, "points"))
    accent, second, surface = LIGHT["accent"], LIGHT["second"], LIGHT["surface"]
    assert re.search(f"fill: {accent}; stroke: {accent}", drawn)
    assert re.search(f"fill: {surface}; stroke: {second}", drawn)


def test_values_in_a_ranking_have_the_colors_of_their_advantages():
    dots = [Dot("de-O", 0.70, 0.69, 0.71, True), Dot("ru-O", 0.65, np.nan, np.nan, False), Dot("en-O", 0.60, np.nan, np.nan, False)]
    drawn = plots.svg(plots.ranking(dots, "score", [0.1, -0.1, 0.0]))
    accent, second, muted, surface = (LIGHT[name] for name in ("accent", "second", "muted", "surface"))
    for fill, edge in ((accent, accent), (surface, second), (muted, muted)):
        assert re.search(f"fill: {fill}; stroke: {edge}", drawn)
    assert "0" not in texts(drawn), "no line stands at 0, which is no baseline here"
    assert texts(drawn).index("de-O") < texts(drawn).index("ru-O") < texts(drawn).index("en-O")


def test_curves_name_only_the_best_source_and_the_baseline():
    assert {"de-MT-en", "en-O"} <= set(texts(plots.svg(plots.curves(LINES, "f1"))))
    assert "fr-MT-en" not in texts(plots.svg(plots.curves(LINES, "f1")))


# ------------------------------------------------------------------------------ on a page


def test_inline_has_no_color_of_its_own_no_foreign_address_and_words():
    found = svg.inline(plots.svg(plots.heat_map(SHOWN)), "here", WORDS)
    assert not re.findall(r"#[0-9a-f]{6}", found)
    assert "var(--worse" in found
    assert re.findall(r'https?://[^"\s]+', found) == ["http://www.w3.org/2000/svg"]
    assert '<title id="here-title">a title</title>' in found
    assert "<title>de → en: −3.1 (−5.0 to −1.0)</title>" in found
    assert 'href="#there"' in found
    assert set(re.findall(r"url\(#([^)]+)\)", found)) <= set(re.findall(r'id="([^"]+)"', found))
    assert all(name.startswith("here-") for name in re.findall(r' id="([^"]+)"', found))


def luminance(color: str) -> float:
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it; 4.5 is what AA asks of text."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_text_can_be_read(theme):
    color = {name: themes[theme] for name, themes in PALETTE.items()}
    for name in ("ink", "muted", "accent", "second"):
        assert contrast(color[name], color["surface"]) >= 4.5, name
        assert contrast(color[name], color["hole"]) >= 4.5, name
    assert contrast(color["ink"], color["same"]) >= 4.5
    for ramp in ("better", "worse", "able"):
        for step in range(1, STEPS + 1):
            assert contrast(color["on-strong" if step >= STRONG else "ink"], color[f"{ramp}{step}"]) >= 4.5, (ramp, step)


def test_colors_are_told_apart_by_their_value():
    assert len({light for light, _ in PALETTE.values()}) == len(PALETTE)
