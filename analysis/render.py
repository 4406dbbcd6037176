"""Tables as text, CSV, Markdown, LaTeX or HTML. Fractions become values x 100 here and nowhere else."""

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from analysis.blocks import Block, Interval, Row, Tables, Verdict
from analysis.formats import HOLE, STYLES, Markup, Sheet, inert
from analysis.intervals import DIFFERENCES
from analysis.transfer import source_of
from xfer_ray.errors import unknown
from xfer_ray.sources import Corpus, Mixture, Source

MOST_NAMED = 4  # corpora of a mixture in its short name
MOST_EQUAL = 3  # sources that are named where they are equally good
KINDS = {  # one, several
    "relative": ("relative zero-shot ability", "relative zero-shot abilities"),
    "advantage": ("zero-shot advantage", "zero-shot advantages"),
    "ability": ("score", "scores"),
    "ability-difference": ("difference", "differences"),
    "gap": ("transfer gap", "transfer gaps (at home minus on the target)"),
}


def render(tables: Tables, style: str = "text", *, intervals: bool = False) -> str:
    """The tables in one format, text, csv, markdown, latex or html, with a newline at the end; with their intervals where there are any."""
    if style == "csv":
        return _csv(tables, intervals=intervals)
    if style not in STYLES:
        raise unknown("format", style, ("text", "csv", "markdown", "latex", "html"))
    markup, page = STYLES[style]
    name = _names(tables, markup)
    sheets = [_sheet(tables, block, markup, name, intervals=intervals) for block in tables.blocks]
    return page([_verdicts(tables.verdicts, markup)] if tables.verdicts else sheets, _legend(tables, markup, intervals=intervals))


# ------------------------------------------------------------------------------ what stands in a table


def _names(tables: Tables, markup: Markup) -> Callable[[str], str]:
    """How a table calls its corpora: de^MT, or the whole chain fi^O->de^MT where two sources would be called alike."""
    spellings = {row.source for block in tables.blocks for row in block.rows} if tables.layout == "matrix" else set()
    alike = Counter(_short(source_of(spelling), markup) for spelling in spellings)

    def name(spelling: str) -> str:
        source = source_of(spelling)
        short = _short(source, markup)
        return _joined(source, markup, _chain) if alike[short] > 1 else short

    return name


def _short(source: Source, markup: Markup) -> str:
    return _joined(source, markup, _last)


def _joined(source: Source, markup: Markup, called: Callable[[Corpus, Markup], str]) -> str:
    """A corpus as it is called, a mixture as its corpora are: de^MT=3+ru^MT=1@392,702."""
    if isinstance(source, Corpus):
        return called(source, markup)
    if len(source.corpora) > MOST_NAMED and called is _last:
        return f"{len(source.corpora)} corpora" + ("" if source.total is None else f"@{source.total:,}")
    equal = all(share == 1 for _, share in source.shares)
    parts = [called(corpus, markup) + ("" if equal else f"={share}") for corpus, share in source.shares]
    return "+".join(parts) + ("" if source.total is None else f"@{source.total:,}")


def _last(corpus: Corpus, markup: Markup) -> str:
    return markup.escape(corpus.language) + markup.superscript(corpus.provenance) + markup.escape(corpus.label and f"~{corpus.label}")


def _chain(corpus: Corpus, markup: Markup) -> str:
    before = f"{_chain(corpus.origin, markup)}{markup.arrow}" if corpus.origin else ""
    return before + _last(corpus, markup)


def _sheet(tables: Tables, block: Block, markup: Markup, name: Callable[[str], str], *, intervals: bool) -> Sheet:
    matrix = tables.layout == "matrix"
    runs = {row.runs for row in block.rows}
    columns = (
        (*map(name, tables.targets), *(markup.arrow + markup.escape(group) for group in tables.groups)) if matrix else tables.provenances
    )
    rows = []
    for row in block.rows:
        several = [str(row.runs)] if len(runs) > 1 else []
        rows.append((name(row.source) if matrix else markup.escape(row.source), *_numbers(row, markup), *several))
        if intervals and row.intervals:
            rows.append(("", *(_range(told, row, markup) for told in row.intervals), *("" for _ in several)))
    padding = markup.unmarked if any(row.intervals for row in block.rows) else ""
    effects = [f"{name(source)} {_number(value, markup, signed=True)}" for source, value in _ranked(block.effects)]
    return Sheet(
        caption=markup.escape(_caption(tables, block)),
        header=("source" if matrix else "language", *(column + padding for column in columns), *(["runs"] if len(runs) > 1 else [])),
        rows=tuple(rows),
        breaks=_breaks(tables) if matrix else frozenset({0}),
        footer=f"source effects: {', '.join(effects)}" if effects else "",
    )


def _ranked(effects: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(effects.items(), key=lambda item: (math.isnan(item[1]), -item[1]))


def _numbers(row: Row, markup: Markup) -> list[str]:
    numbers = [_number(cell, markup, signed=row.values in DIFFERENCES) for cell in row.cells]
    return [_marked(number, told, markup) for number, told in zip(numbers, row.intervals, strict=True)] if row.intervals else numbers


def _marked(number: str, told: Interval | None, markup: Markup) -> str:
    return number + (markup.mark if told is not None and told.significant else markup.unmarked)


def _range(told: Interval | None, row: Row, markup: Markup) -> str:
    """An interval, such as [+0.3, +2.1]."""
    if told is None:
        return ""
    low, high = (_number(end, markup, signed=row.values in DIFFERENCES) for end in (told.low, told.high))
    return f"[{low}, {high}]"


def _number(fraction: float, markup: Markup, *, signed: bool) -> str:
    if math.isnan(fraction):
        return HOLE
    return f"{100 * fraction:{'+' if signed else ''}.1f}".replace("-", markup.minus)


def _caption(tables: Tables, block: Block) -> str:
    kinds = list(dict.fromkeys(row.values for row in block.rows))
    several = KINDS[kinds[-1]][1]
    runs = sorted({row.runs for row in block.rows})
    parts = [f"{tables.task}, {block.model}, {block.metric or tables.metric} x 100: "]
    if block.baseline is None:
        parts.append(several + ("" if kinds[0] in ("relative", "ability", "gap") else " are empty, for there is no baseline"))
    elif len(kinds) > 1:
        parts.append(f"{KINDS[kinds[0]][0]} of {block.baseline}, {several} of the others over it")
    else:
        parts.append(f"{several} over {block.baseline}")
    if tables.selection:
        parts.append(f"; checkpoint: {tables.selection}")
    parts.append("; " + (f"{runs[0]} to {runs[-1]} runs" if len(runs) > 1 else f"{runs[0]} run" + "s" * (runs[0] != 1)))
    return "".join(parts)


def _breaks(tables: Tables) -> frozenset[int]:
    """After the name, wherever the groups that hold the targets change, and before the averages."""
    held = [{group for group, members in tables.groups.items() if target in members} for target in tables.targets]
    changes = [i for i in range(1, len(held)) if held[i] != held[i - 1]]
    return frozenset((0, *changes, len(held)))


def _verdicts(verdicts: Sequence[Verdict], markup: Markup) -> Sheet:
    tasks = tuple(dict.fromkeys(verdict.task for verdict in verdicts))
    found = {(verdict.model, verdict.task): verdict for verdict in verdicts}
    rows = [
        (markup.escape(model), *(_verdict(found.get((model, task)), markup) for task in tasks))
        for model in dict.fromkeys(verdict.model for verdict in verdicts)
    ]
    return Sheet("Does the baseline transfer best?", ("model", *map(markup.escape, tasks)), tuple(rows), frozenset({0}))


def _verdict(verdict: Verdict | None, markup: Markup) -> str:
    if verdict is None or not verdict.source:
        return HOLE
    mark = markup.mark if verdict.interval and verdict.interval.significant else ""
    gain = _number(verdict.advantage, markup, signed=True) + mark
    names = [_short(source_of(source), markup) for source in (verdict.source, *verdict.equal)]
    best = " = ".join(names) if len(names) <= MOST_EQUAL else f"{len(names)} equal ones"
    over = f" over {_short(source_of(verdict.over), markup)}" if verdict.over else ""
    return f"{_mark(verdict)} ({best} {gain}{over})"


def _mark(verdict: Verdict | None) -> str:
    if verdict is None or not verdict.source:
        return ""
    return "x" if verdict.outperforms else "check"


def _legend(tables: Tables, markup: Markup, *, intervals: bool) -> list[str]:
    say, errors = markup.escape, _of_errors(tables, markup, intervals=intervals)
    if tables.layout == "summary":
        best = (
            "x: a source in another language has a higher mean over all targets than its baseline; check: none has. "
            "In brackets the one with the highest mean, for x of those that out-perform their baselines, and its advantage."
        )
        return [say(best + ("" if tables.intervals else " Single numbers, no test of significance.")), *errors]
    lines = [say("O original, HT human-translated, MT machine-translated; + and - mark differences; -- is missing or not counted")]
    if tables.layout == "provenance":
        own = any(row.values == "advantage" for block in tables.blocks for row in block.rows)
        by = ", by denominators of the column's own provenance" if own else ""
        return [*lines, say(f"mean over all {len(tables.targets)} targets{by}"), *errors]
    lines += _of_mixtures(tables, markup)
    for group, members in tables.groups.items():
        everything = set(members) == set(tables.targets)
        of = f"all {len(members)} targets" if everything else " ".join(Corpus.parse(target).language for target in members)
        lines.append(f"{markup.arrow}{say(group)}: mean over {say(of)}")
    if tables.values == "common":
        lines.append(say("targets in the language of the source or of its baseline are not counted; source effects rank the sources"))
    return [*lines, *errors]


def _of_mixtures(tables: Tables, markup: Markup) -> list[str]:
    """How mixtures are spelled, and what is in those that are too long for it."""
    spellings = dict.fromkeys(row.source for block in tables.blocks for row in block.rows)
    mixtures = {spelling: source for spelling in spellings if isinstance(source := source_of(spelling), Mixture)}
    long = {spelling: source for spelling, source in mixtures.items() if len(source.corpora) > MOST_NAMED}
    how = "a+b joins corpora, =n are their shares; @N is a total, under which each item stands in one language"
    return [
        *[markup.escape(how)] * bool(mixtures),
        *(f"{_short(source, markup)}: {markup.escape(spelling)}" for spelling, source in long.items()),
    ]


def _of_errors(tables: Tables, markup: Markup, *, intervals: bool) -> list[str]:
    """What a mark and an interval mean, and what one seed cannot say."""
    told = tables.intervals
    compared = any(not math.isnan(one.p) for one in told)
    if not told or not (compared or intervals):
        return []
    what = ["* differs from 0 at 5 %, corrected for the number of sources (Holm)"] * compared + ["intervals of 95 %"] * intervals
    lines = [f"{'; '.join(what)}: {_resampled(tables)}"]
    if any(one.conditional for one in told):
        where = "one seed" if all(one.conditional for one in told) else "where there is one seed"
        lines.append(f"{where}: marks and intervals hold for these very models, and say nothing of how other seeds would fare")
    return [markup.escape(line) for line in lines]


def _resampled(tables: Tables) -> str:
    """What was drawn anew for the intervals."""
    seeds = " and seeds" if any(not one.conditional for one in tables.of_examples) else ""
    parts = [f"examples{seeds} resampled"] * bool(tables.of_examples)
    alone = ", ".join(dict.fromkeys(model for _, model in tables.of_seeds))
    if alone:
        parts.append(f"{f'of {alone} ' if parts else ''}seeds alone, on these very examples (no predictions)")
    return "; ".join(parts)


# ------------------------------------------------------------------------------ CSV


def _csv(tables: Tables, *, intervals: bool) -> str:
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow
    if tables.layout == "summary":
        found = {(verdict.model, verdict.task): verdict for verdict in tables.verdicts}
        tasks = list(dict.fromkeys(verdict.task for verdict in tables.verdicts))
        write(["model", *map(inert, tasks)])
        for model in dict.fromkeys(verdict.model for verdict in tables.verdicts):
            write([inert(model), *(_mark(found.get((model, task))) for task in tasks)])
        return out.getvalue()
    matrix = tables.layout == "matrix"
    columns = (*tables.targets, *(f"->{group}" for group in tables.groups)) if matrix else tables.provenances
    write(["task", "model", "source" if matrix else "language", "values", "runs", *columns])
    for block in tables.blocks:
        for row in block.rows:
            for values, cells in _lines(row, intervals=intervals):
                digits = "g" if values.endswith("-p") else "f"  # a p of 1e-9 is not 0
                told = ["" if math.isnan(cell) else f"{cell:.6{digits}}" for cell in cells]
                write([inert(tables.task), inert(block.model), inert(row.source), values, row.runs, *told])
    return out.getvalue()


def _lines(row: Row, *, intervals: bool) -> Iterator[tuple[str, Iterable[float]]]:
    """A row of values x 100, and where asked for its limits and p-values, each a row of its own."""
    yield row.values, (100 * cell for cell in row.cells)
    if intervals and row.intervals:
        for name, scale in (("low", 100), ("high", 100), ("p", 1)):
            yield f"{row.values}-{name}", (math.nan if told is None else scale * getattr(told, name) for told in row.intervals)
