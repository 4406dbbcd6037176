"""The figures of a report: heat maps, rankings and learning curves, drawn once for the page and for files.

A figure is drawn by matplotlib in the light colors of PALETTE. Files keep them; the page swaps each for a CSS variable
of the same name (`report/svg.py`), which has a dark value too. Values are fractions; what is printed is x 100.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from analysis.report.wording import number, printable, signed
from xfer_ray.errors import SetupError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

Drawn = ParamSpec("Drawn")
Color = tuple[int, int, int]
STEPS = 8  # shades on each side of the middle of a diverging scale
STRONG = 7  # from this shade on, numbers are white in both themes


def _mix(anchors: Sequence[Color], share: float) -> str:
    """The color at a share of the way along some anchors, as hex digits."""
    place = share * (len(anchors) - 1)
    i = min(int(place), len(anchors) - 2)
    return "#" + "".join(f"{round(a + (b - a) * (place - i)):02x}" for a, b in zip(anchors[i], anchors[i + 1], strict=True))


# Blue for better and orange for worse are told apart by every common kind of color vision, and in gray by the sign.
_BETTER = ((245, 245, 242), (164, 203, 229), (25, 88, 150)), ((38, 43, 51), (42, 79, 122), (46, 117, 196))
_WORSE = ((245, 245, 242), (243, 190, 132), (148, 62, 6)), ((38, 43, 51), (108, 66, 32), (176, 88, 22))
_ABLE = ((247, 246, 240), (142, 201, 187), (16, 92, 92)), ((34, 40, 46), (32, 84, 84), (22, 124, 118))


def _ramp(name: str, themes: tuple[tuple[Color, ...], tuple[Color, ...]]) -> dict[str, tuple[str, str]]:
    return {f"{name}{i}": (_mix(themes[0], i / STEPS), _mix(themes[1], i / STEPS)) for i in range(1, STEPS + 1)}


PALETTE: Mapping[str, tuple[str, str]] = {  # name -> in light, in dark
    "surface": ("#ffffff", "#14171c"),
    "ink": ("#1a1d23", "#e8eaed"),
    "muted": ("#5c6370", "#a0a7b4"),
    "rule": ("#d8dbe0", "#363c46"),
    "hatch": ("#bcc2cb", "#4d5562"),
    "hole": ("#ecedf0", "#1c2026"),
    "on-strong": ("#fffffe", "#fffffe"),
    "same": ("#f5f5f2", "#262b33"),
    "accent": ("#1a5a99", "#7db7f0"),
    "second": ("#a8480b", "#f0a35e"),
    **_ramp("better", _BETTER),
    **_ramp("worse", _WORSE),
    **_ramp("able", _ABLE),
}
LIGHT = {name: light for name, (light, _) in PALETTE.items()}
CELL = 0.46, 0.29  # inches
FORMATS = ("svg", "png")


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A matrix to show: (rows x columns) of fractions, NaN a hole; the last columns, from `targets` on, are averages.

    `marked` cells differ significantly from 0, `own` cells are self-transfer, and `links` lead from a cell to an address.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    targets: int
    values: np.ndarray
    marked: np.ndarray
    own: np.ndarray
    signed: bool
    links: Mapping[tuple[int, int], str]


@dataclass(frozen=True)
class Dot:
    """A source in a ranking: a fraction and its interval (NaN: not known), and whether it surely differs from its baseline."""

    name: str
    value: float
    low: float
    high: float
    sure: bool


@dataclass(frozen=True)
class Line:
    """A learning curve: scores by step; `role` is "best", "baseline" or "" for the others."""

    name: str
    steps: tuple[int, ...]
    scores: tuple[float, ...]
    role: str


# ------------------------------------------------------------------------------ figures


def _styled(draw: Callable[Drawn, Figure]) -> Callable[Drawn, Figure]:
    @functools.wraps(draw)
    def drawn(*args: Drawn.args, **kwargs: Drawn.kwargs) -> Figure:
        with _style("none"):
            return draw(*args, **kwargs)

    return drawn


@_styled
def heat_map(shown: HeatMap) -> Figure:
    """Sources by targets: numbers on shades, significant ones bold with a star, self-transfer outlined, holes hatched."""
    rows, columns = len(shown.rows), len(shown.columns)
    gap = 0.35 if columns > shown.targets else 0.0
    places = [j + (gap if j >= shown.targets else 0.0) for j in range(columns)]
    figure, axes = _canvas(CELL[0] * (columns + gap), CELL[1] * rows)
    axes.set_xlim(-0.5, columns - 0.5 + gap)
    axes.set_ylim(rows - 0.5, -0.5)
    reach = _reach(shown)
    for i in range(rows):
        for j in range(columns):
            _cell(axes, shown, (i, j), places[j], reach)
    for (i, j), _ in np.ndenumerate(shown.own):
        if shown.own[i, j]:  # after the shades, so that no neighbor covers the outline
            axes.add_patch(_box(places[j], i, facecolor="none", edgecolor=LIGHT["ink"], linewidth=1.3, zorder=3))
    axes.set_xticks(places, shown.columns)
    axes.set_yticks(range(rows), shown.rows)
    axes.tick_params(length=0, pad=3, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("source", labelpad=8)
    axes.set_xlabel("target", labelpad=8)
    axes.xaxis.set_label_position("top")
    return figure


@_styled
def ranking(dots: Sequence[Dot], label: str, gains: Sequence[float] | None = None) -> Figure:
    """Sources from best to worst: a dot and its 95 % interval; filled where it surely differs from the baseline.

    Values are advantages, 0 for the baseline; or else they come with the `gains` over baselines (NaN: none) that color them.
    """
    figure, axes = _canvas(3.4, 0.23 * len(dots) + 0.1)
    if gains is None:
        axes.axvline(0, color=LIGHT["muted"], linewidth=0.9, zorder=1)
    for i, (dot, gain) in enumerate(zip(dots, [dot.value for dot in dots] if gains is None else gains, strict=True)):
        color = LIGHT["accent"] if gain > 0 else LIGHT["second"] if gain < 0 else LIGHT["muted"]
        if not np.isnan(dot.low):
            axes.plot([100 * dot.low, 100 * dot.high], [i, i], color=color, linewidth=2.0, solid_capstyle="round", zorder=2)
        face = LIGHT["surface"] if gain and not np.isnan(gain) and not dot.sure else color
        axes.plot([100 * dot.value], [i], "o", markersize=6.5, color=color, markerfacecolor=face, markeredgewidth=1.5, zorder=3)
    axes.set_yticks(range(len(dots)), [printable(dot.name) for dot in dots])
    axes.set_ylim(len(dots) - 0.4, -0.6)
    left, right = axes.get_xlim()
    middle = 0.0 if gains is None else (left + right) / 2
    axes.set_xlim(min(left, middle - 0.5), max(right, middle + 0.5))  # half a point is not to fill the figure
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.set_xlabel(label)
    axes.grid(axis="x", color=LIGHT["rule"], linewidth=0.6)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@_styled
def curves(lines: Sequence[Line], label: str) -> Figure:
    """Scores on the source's own development set while fine-tuning; the best source and the baseline stand out."""
    figure, axes = _canvas(3.2, 2.0)
    looks = {"best": (LIGHT["accent"], 2.0, 3), "baseline": (LIGHT["second"], 2.0, 3), "": (LIGHT["rule"], 1.1, 2)}
    for line in sorted(lines, key=lambda line: (line.role, line.name)):
        color, width, order = looks[line.role]
        axes.plot(line.steps, [100 * score for score in line.scores], color=color, linewidth=width, zorder=order)
    for i, line in enumerate(sorted((line for line in lines if line.role), key=lambda line: -line.scores[-1])):
        place, beside = (line.steps[-1], 100 * line.scores[-1]), (6, 5 - 10 * i)
        look: dict[str, Any] = {"color": looks[line.role][0], "weight": "bold", "va": "center"}
        axes.annotate(printable(line.name), place, xytext=beside, textcoords="offset points", **look)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(axis="y", color=LIGHT["rule"], linewidth=0.6)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


# ------------------------------------------------------------------------------ bytes


def svg(figure: Figure, *, text: bool = True) -> str:
    """The figure as SVG, the same bytes every time: its text as text, or as outlines where no font may be missing."""
    with _style("none" if text else "path"):
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=text)
    return out.getvalue()


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """The figure as an SVG and a PNG file (200 dots per inch), the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.{ending}" for ending in FORMATS]
    files[0].write_text(svg(figure, text=False), encoding="utf-8")
    with _style("path"):
        figure.savefig(files[1], format="png", dpi=200, metadata={"Software": None})
    return files


def _style(text: str) -> AbstractContextManager[None]:
    """Our settings instead of the user's, while something is drawn or written."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise SetupError("figures are drawn by matplotlib, which is not installed; `pip install 'xfer-ray[report]'` gives it") from error
    return mpl.rc_context(_settings(text))


def _settings(text: str) -> dict[Any, Any]:
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), LIGHT["muted"])
    return {
        **ink,
        "svg.fonttype": text,
        "svg.hashsalt": "xfer-ray",
        "text.parse_math": False,  # a name with $ is a name
        "font.family": "DejaVu Sans",  # which comes with matplotlib
        "font.size": 8.5,
        "axes.labelsize": 8.5,
        "xtick.labelcolor": LIGHT["ink"],
        "ytick.labelcolor": LIGHT["ink"],
        "axes.edgecolor": LIGHT["rule"],
        "axes.axisbelow": True,
        "hatch.linewidth": 0.6,
        "figure.facecolor": LIGHT["surface"],
        "axes.facecolor": "none",
        "savefig.bbox": "tight",
        "savefig.pad_inches": 0.04,
    }


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Empty axes of so many inches, with room for labels around them; no global state of matplotlib is touched."""
    from matplotlib import figure

    drawn = figure.Figure(figsize=(width, height))
    return drawn, drawn.add_axes((0, 0, 1, 1))


def _box(x: float, y: float, **look: Any) -> Rectangle:  # noqa: ANN401 - what matplotlib takes
    from matplotlib import patches

    return patches.Rectangle((x - 0.5, y - 0.5), 1, 1, **look)


def _cell(axes: Axes, shown: HeatMap, at: tuple[int, int], x: float, reach: tuple[float, float]) -> None:
    value, link = float(shown.values[at]), shown.links.get(at)
    if np.isnan(value):
        axes.add_patch(_box(x, at[0], facecolor=LIGHT["hole"], edgecolor=LIGHT["hatch"], hatch="////", linewidth=0))
        return
    edge: dict[str, Any] = {"edgecolor": LIGHT["surface"], "linewidth": 0.8}
    shade, strong = _shade(value, reach, signed=shown.signed)
    box = axes.add_patch(_box(x, at[0], facecolor=LIGHT[shade], gid=f"cell-{at[0]}-{at[1]}", **edge))
    text = (signed if shown.signed else number)(value) + ("*" if shown.marked[at] else "")
    look: dict[str, Any] = {"color": LIGHT["on-strong" if strong else "ink"], "weight": "bold" if shown.marked[at] else "normal"}
    words = axes.text(x, at[0], text, ha="center", va="center", size=7.6, zorder=4, **look)
    for artist in (box, words) if link else ():
        artist.set_url(link)


def _reach(shown: HeatMap) -> tuple[float, float]:
    """The values of the palest and of the darkest shade; a diverging scale starts at 0, and one outlier does not take all of it."""
    there = shown.values[~np.isnan(shown.values)]
    if shown.signed:
        return 0.0, max(float(np.quantile(np.abs(there), 0.98)), 0.005) if there.size else 1.0
    return (float(there.min()), float(there.max())) if there.size else (0.0, 1.0)


def _shade(value: float, reach: tuple[float, float], *, signed: bool) -> tuple[str, bool]:
    """The name of a value's color, and whether numbers on it are white."""
    low, high = reach
    share = (abs(value) - low) / (high - low) if high > low else 0.5
    step = min(STEPS, max(0, round(share * STEPS)))
    name = ("better" if value > 0 else "worse") if signed else "able"
    return ("same" if signed and step == 0 else f"{name}{max(step, 1)}"), step >= STRONG
