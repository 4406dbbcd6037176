"""A reproduction as text, Markdown, LaTeX, HTML or CSV; fractions become values x 100."""

import csv
import io
import math
from collections import Counter
from collections.abc import Callable

from analysis.formats import HOLE, STYLES, Sheet, inert
from analysis.reproduce import Reproduction, points
from analysis.reproduce.claims import Check
from analysis.reproduce.comparison import AGREES, DIFFERS, NO_INTERVAL, Cell, Comparison
from analysis.reproduce.evidence import Estimate
from analysis.reproduce.verdicts import NOT_RUN, Finding
from analysis.transfer import language
from xfer_ray.errors import unknown

COLUMNS = (  # of the CSV
    *("kind", "table", "task", "model", "source", "column", "printed", "repaired"),
    *("ours", "difference", "low", "high", "conditional", "verdict", "allowing_for_sampling", "by"),
)
LEGEND = (
    "Cells are ours less the printed value, x 100. No mark, or agree: the printed value, give or take its rounding, lies in our 95 % "
    "interval; "
    "~ it does if it has an error of sampling too; * it does not even then; ? there is no interval; -- we have no value.",
    "By how much the paper's figures would vary with the seed is not known, so a difference may be chance even where it is marked.",
    "A value with 1 after it stands on one seed: its interval holds for that very model.",
)
LEGEND_CLAIMS = (
    "The value is the statistic that decides, x 100, with its 95 % interval: above 0 it speaks for the claim; of Table 1's, the highest "
    "advantage over English.",
    "(figures): no predictions are behind it, so no interval, and the verdict is that of the figures alone.",
)


def render(found: Reproduction, style: str = "text") -> str:
    """The summary, the claims, and the differences of each table, in a format, with a newline at the end."""
    if style == "csv":
        return _csv(found)
    if style not in STYLES:
        raise unknown("format", style, ("csv", *STYLES))
    markup, page = STYLES[style]
    sheets = [*([_summary(found)] if found.comparisons else []), _claims(found), *map(_differences, filter(_run, found.comparisons))]
    legend = LEGEND if found.comparisons else ()
    return page([_escaped(sheet, markup.escape) for sheet in sheets], [markup.escape(line) for line in legend])


def _run(one: Comparison) -> bool:
    return bool(one.cells)


# ------------------------------------------------------------------------------ sheets


def _summary(found: Reproduction) -> Sheet:
    header = ("table", "task", "model", "cells", "agree", "~", "*", "?", "mean |diff|", "largest", "where")
    rows = [_summed_up(one) for one in found.comparisons]
    commands = "\n".join(f"not run: {one.command}" for one in found.comparisons if not _run(one))
    return Sheet(f"{found.citation}: its tables beside ours", header, tuple(rows), frozenset({2, 3, 7}), commands)


def _summed_up(one: Comparison) -> tuple[str, ...]:
    name = (str(one.table), one.task, one.model or HOLE)
    if not _run(one):
        return (*name, "not run", *[""] * 7)
    cells = [cell for cell in one.cells if not cell.repaired]
    marks = Counter(_kind(cell) for cell in cells)
    there = [cell for cell in cells if not math.isnan(cell.difference)]
    worst = max(there, key=lambda cell: abs(cell.difference), default=None)
    mean = sum(abs(cell.difference) for cell in there) / len(there) if there else math.nan
    counts = (len(cells), marks[AGREES], marks["~"], marks[DIFFERS], marks[NO_INTERVAL])
    at = f"{worst.source} {worst.column}".strip() if worst else ""
    return (*name, *map(str, counts), _number(mean, "") if there else HOLE, _number(worst.difference) if worst else HOLE, at)


def _kind(cell: Cell) -> str:
    """agrees, ~ (only if the printed value errs too), differs, no interval."""
    return "~" if cell.verdict == DIFFERS and cell.allowing == AGREES else cell.verdict


def _claims(found: Reproduction) -> Sheet:
    """Each claim with where it is made as a heading, and a row for each of the models that it is of."""
    by_claim: dict[str, list[Check]] = {}
    for check in found.checks:
        by_claim.setdefault(f"{check.claim} ({check.where}, {check.task})", []).append(check)
    rows: list[tuple[str, ...]] = []
    for claim, checks in by_claim.items():
        rows += [(claim,), *(_claim(check) for check in checks)]
    of = "these results" if found.comparisons else "its own figures"
    header = ("models", "verdict", "value", "decided by")
    return Sheet(f"{found.citation}: its claims, by {of}", header, tuple(rows), frozenset({0, 1}), "\n".join(LEGEND_CLAIMS))


def _claim(check: Check) -> tuple[str, ...]:
    return ", ".join(check.models) or HOLE, check.finding.verdict, _value(check.finding), check.finding.by


def _value(finding: Finding) -> str:
    """+2.0 [+1.1, +2.9], with a 1 where it stands on one seed; or +2.0 (figures)."""
    one = finding.estimate
    if math.isnan(one.low):
        return f"{_number(one.value)} (figures)" if finding.alone else HOLE
    return f"{_number(one.value)} [{_number(one.low)}, {_number(one.high)}]{' 1' if one.conditional else ''}"


def _differences(one: Comparison) -> Sheet:
    columns = tuple(dict.fromkeys(cell.column for cell in one.cells))
    marked = {(cell.source, cell.column, cell.repaired): _marked(cell) for cell in one.cells}
    rows = [
        (f"{source or 'data'}{' repaired' if repaired else ''}", *(marked.get((source, column, repaired), "") for column in columns))
        for source, repaired in dict.fromkeys((cell.source, cell.repaired) for cell in one.cells)
    ]
    alone = any(cell.ours.conditional for cell in one.cells)
    caption = f"Table {one.table}, {one.task}{f', {one.model}' if one.model else ''}: ours less printed{'; one seed' if alone else ''}"
    header = (column if column.startswith("->") else language(column) for column in columns)
    targets = sum(not column.startswith("->") for column in columns)
    return Sheet(caption, ("source", *header), tuple(rows), frozenset({0, targets} - {len(columns)}))


def _marked(cell: Cell) -> str:
    if math.isnan(cell.ours.value):
        return HOLE
    marks = {AGREES: " ", DIFFERS: "*", NO_INTERVAL: "?", "~": "~"}
    return _number(cell.difference) + marks[_kind(cell)]


def _number(fraction: float, sign: str = "+") -> str:
    return HOLE if math.isnan(fraction) else f"{round(100 * fraction, 1) + 0.0:{sign}.1f}"


def _escaped(sheet: Sheet, escape: Callable[[str], str]) -> Sheet:
    rows = tuple(tuple(map(escape, row)) for row in sheet.rows)
    footer = "\n".join(map(escape, sheet.footer.splitlines()))
    return Sheet(escape(sheet.caption), tuple(map(escape, sheet.header)), rows, sheet.breaks, footer)


# ------------------------------------------------------------------------------ CSV


def _csv(found: Reproduction) -> str:
    """One row per cell, then one per claim; numbers x 100, empty where there is none."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for one in found.comparisons:
        writer.writerows(_cell_row(one, cell) for cell in one.cells)
        if not one.cells:
            writer.writerow(
                {"kind": "table", "table": one.table, "task": one.task, "model": one.model, "verdict": NOT_RUN, "by": one.command}
            )
    writer.writerows(_check_row(check) for check in found.checks)
    return out.getvalue()


def _cell_row(one: Comparison, cell: Cell) -> dict[str, object]:
    return {
        "kind": "cell",
        "table": one.table,
        "task": one.task,
        "model": inert(one.model),
        "source": cell.source,
        "column": cell.column,
        "printed": _six(cell.printed),
        "repaired": "yes" if cell.repaired else "",
        "difference": _six(cell.difference),
        "verdict": cell.verdict,
        "allowing_for_sampling": cell.allowing,
        **_estimate_row(cell.ours),
    }


def _check_row(check: Check) -> dict[str, object]:
    return {
        "kind": f"claim: {check.claim}",
        "table": check.where,
        "task": check.task,
        "model": inert(" ".join(check.models)),
        "verdict": check.finding.verdict,
        "by": check.finding.by,
        **_estimate_row(check.finding.estimate),
    }


def _estimate_row(one: Estimate) -> dict[str, object]:
    return {"ours": _six(one.value), "low": _six(one.low), "high": _six(one.high), "conditional": "yes" if one.conditional else ""}


def _six(fraction: float) -> str:
    value = points(fraction)
    return "" if value is None else f"{value:.6f}"
