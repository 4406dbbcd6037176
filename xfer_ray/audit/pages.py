"""Sheets of an audit as a page in any format, and rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from analysis.formats import STYLES, Sheet
from xfer_ray.errors import unknown


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under a header, as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def page(style: str, sheets: Sequence[Sheet], legend: Sequence[str]) -> str:
    """Sheets with a legend below, escaped, in a format: text, markdown, latex or html."""
    if style not in STYLES:
        raise unknown("format", style, ("csv", *STYLES))
    markup, printed = STYLES[style]
    escape = markup.escape
    escaped = [
        Sheet(
            escape(one.caption),
            tuple(map(escape, one.header)),
            tuple(tuple(map(escape, row)) for row in one.rows),
            one.breaks,
            escape(one.footer),
        )
        for one in sheets
    ]
    return printed(escaped, [escape(line) for line in legend])
