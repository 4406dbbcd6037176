"""A report as one HTML page that needs nothing else: no script, no font, no image, no address outside of itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis import plots, transfer
from analysis.blocks import ALPHA
from analysis.plots import Dot, HeatMap, Line
from analysis.report import svg, wording
from analysis.report.facts import Curve, Disagreement, Finding, Report, at
from analysis.report.gather import ALL
from analysis.report.svg import Words
from xfer_ray.errors import SetupError

if TYPE_CHECKING:
    import jinja2
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent / "templates"
KINDS = {"relative": "relative zero-shot ability", "ability": "score"}
GAINS = {"relative": "zero-shot advantage", "ability": "difference"}
CORPUS = re.compile(r"\b[a-z]{2,3}(?:_\w+)?-(?:O|HT|MT)[\w.~+@=-]*\b")
TEXT = 400  # characters shown of an example's text


@dataclass(frozen=True)
class Drawing:
    """A figure under the name of its file, with its words."""

    name: str
    figure: Figure
    words: Words


def render(report: Report) -> str:
    """The page. The same report gives the same bytes."""
    environment = _environment()
    from markupsafe import Markup

    drawn = {one.name: Markup(svg.inline(plots.svg(one.figure), anchor(one.name), one.words)) for one in drawings(report)}
    return environment.get_template("page.html").render(
        report=report,
        figures=drawn,
        css=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        colors=list(svg.properties()),
        wording=wording,
        kinds=KINDS,
        gains=GAINS,
        all=ALL,
        text=TEXT,
        tasks=_grouped(report),
        disagreements=_disagreements(report),
        links=_links(report),
        significant=significant,
        ranked=ranked,
    )


def _environment() -> jinja2.Environment:
    """What lays out a page: everything is escaped, and control characters are shown as such."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise SetupError("a report is laid out by jinja2, which is not installed; `pip install 'xfer-ray[report]'` gives it") from error

    def text_only(value: object) -> object:
        return wording.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    def unbroken(sentence: str) -> Markup:
        """A sentence in which no corpus is torn apart at a hyphen."""
        safe = str(Markup.escape(wording.printable(sentence)))
        return Markup(CORPUS.sub(r'<span class="whole">\g<0></span>', safe))  # escaped the line before

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=text_only,
    )
    made.filters |= {
        name: getattr(wording, name) for name in ("number", "signed", "interval", "p_value", "percent", "named", "clipped", "count")
    }
    made.filters |= {"anchor": anchor, "language": transfer.language, "unbroken": unbroken}
    return made


def save_figures(report: Report, folder: Path) -> list[Path]:
    """Every figure of the page as an SVG and a PNG file."""
    return [file for one in drawings(report) for file in plots.save(one.figure, folder, anchor(one.name))]


def anchor(*names: str) -> str:
    """A name for an element or a file: letters, digits, dots and hyphens."""
    whole = ".".join(names)
    plain = re.sub(r"[^A-Za-z0-9.-]", "_", whole)
    return plain if plain == whole else f"{plain}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def _grouped(report: Report) -> Mapping[str, list[Finding]]:
    return {task: [f for f in report.findings if f.task == task] for task in dict.fromkeys(f.task for f in report.findings)}


def _disagreements(report: Report) -> Mapping[tuple[str, str], Mapping[str, list[Disagreement]]]:
    """Those with examples: by task and model, then by source."""
    found: dict[tuple[str, str], dict[str, list[Disagreement]]] = {}
    for one in report.disagreements:
        if one.examples:
            found.setdefault((one.task, one.model), {}).setdefault(one.source, []).append(one)
    return found


def _links(report: Report) -> dict[tuple[str, str, str, str], str]:
    """Task, model, source and target of a cell -> where its examples stand."""
    return {
        (one.task, one.model, one.source, one.target): f"#{anchor(one.task, one.model, one.source, one.target)}"
        for one in report.disagreements
        if one.examples
    }


# ------------------------------------------------------------------------------ figures


def drawings(report: Report) -> Iterator[Drawing]:
    """Every figure of a report."""
    links = _links(report)
    for finding in report.findings:
        if ranked(finding):
            yield _ranking(finding)
        if finding.gains.notna().any(axis=None):
            yield _heat_map(finding, links, gains=True)
        yield _heat_map(finding, links, gains=False)
        mine = [curve for curve in report.curves if (curve.task, curve.model) == (finding.task, finding.model) and len(curve.steps) > 1]
        if mine:
            yield _curves(finding, mine)


def significant(found: Finding, source: str, column: str) -> bool:
    """Whether an advantage differs from 0 after correction over sources."""
    return bool(at(found.p, source, column) < ALPHA)


def ranked(found: Finding) -> list[str]:
    """The sources by their average over all targets, the best first; without those that lack a value."""
    means = found.values[ALL] if found.baseline is None else found.values[ALL].where(found.gains[ALL].notna())
    return [str(source) for source in means.dropna().sort_values(ascending=False, kind="stable").index]


def _ranking(found: Finding) -> Drawing:
    """By advantage over the one baseline; where there are several, or none, by value, for advantages over different ones do not compare."""
    order, many = ranked(found), wording.count(len(found.targets), "target")
    if found.baseline is not None:
        rows = [(s, at(found.gains, s, ALL), at(found.low, s, ALL), at(found.high, s, ALL)) for s in order]
        what, say, gains = f"Average {GAINS[found.kind]} over {found.baseline}, by source", wording.signed, None
        label = f"points over {found.baseline}, mean of {many}"
    else:
        rows = [(s, at(found.values, s, ALL), *found.limits.get(s, (np.nan, np.nan))) for s in order]
        what, say, gains = f"Average {KINDS[found.kind]}, by source", wording.number, [at(found.gains, s, ALL) for s in order]
        label = f"{KINDS[found.kind]} x 100, mean of {many}"
    dots = [Dot(*row, significant(found, row[0], ALL)) for row in rows]
    said = "; ".join(f"{dot.name} {say(dot.value)}{_in_brackets(wording.interval(dot.low, dot.high, say))}" for dot in dots)
    return Drawing(f"{found.name}.ranking", plots.ranking(dots, label, gains), Words(what, said, {}))


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _heat_map(found: Finding, links: Mapping[tuple[str, str, str, str], str], *, gains: bool) -> Drawing:
    frame, names = (found.gains, GAINS) if gains else (found.values, KINDS)
    rows, columns = list(map(str, frame.index)), list(map(str, frame.columns))
    places = {(i, j): (found.task, found.model, s, c) for i, s in enumerate(rows) for j, c in enumerate(columns)}
    marked = np.array([[gains and significant(found, source, column) for column in columns] for source in rows])
    own = np.array([[c in found.targets and transfer.at_home(s, c) for c in columns] for s in rows])
    shown = HeatMap(
        rows=short(rows),
        columns=(*short(found.targets), *(f"→{group}" for group in found.groups)),
        targets=len(found.targets),
        values=frame.to_numpy(dtype=float),
        marked=marked,
        own=own,
        signed=gains,
        links={place: links[cell] for place, cell in places.items() if cell in links},
    )
    parts = {f"cell-{i}-{j}": _cell_in_words(found, s, c, gains=gains) for i, s in enumerate(rows) for j, c in enumerate(columns)}
    what = f"{names[found.kind].capitalize()} of {found.model} on {found.task}, source by target"
    described = f"{len(rows)} sources by {len(found.targets)} targets; the table below has the same numbers."
    kind = "advantage" if gains else found.kind
    return Drawing(f"{found.name}.{kind}", plots.heat_map(shown), Words(what, described, parts))


def _cell_in_words(found: Finding, source: str, column: str, *, gains: bool) -> str:
    where = f"{source} → {column.removeprefix('->')}"
    if not gains:
        return f"{where}: {wording.number(at(found.values, source, column))}"
    known = wording.interval(at(found.low, source, column), at(found.high, source, column))
    return f"{where}: {wording.signed(at(found.gains, source, column))}{_in_brackets(known)}"


def short(spellings: Sequence[str]) -> tuple[str, ...]:
    """Languages where they tell the corpora apart, else whole spellings."""
    languages = tuple("+".join(transfer.languages(spelling)) for spelling in spellings)
    return languages if len(set(languages)) == len(languages) else tuple(spellings)


def _curves(found: Finding, mine: Sequence[Curve]) -> Drawing:
    roles = {**dict.fromkeys((over for over in found.baselines.values() if over), "baseline"), found.answer.best: "best"}
    lines = [Line(curve.source, curve.steps, curve.scores, roles.get(curve.source, "")) for curve in mine]
    said = "; ".join(f"{line.name} from {wording.number(line.scores[0])} to {wording.number(line.scores[-1])}" for line in lines)
    what = f"Learning curves of {found.model} on {found.task}"
    return Drawing(f"{found.name}.curves", plots.curves(lines, f"{mine[0].metric} x 100"), Words(what, said, {}))
