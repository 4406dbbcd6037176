"""The paper's tables of any sweep: numbers and names, as fractions; `render` makes them text.

`build` is pure: what is planned and what was scored go in, tables and notes come out. `read` takes both from a folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis import measure, rules, transfer
from analysis.measure import Measured
from analysis.selection import Options, Selected, select
from analysis.transfer import Groups
from xfer_ray.core import Corpus
from xfer_ray.errors import DataError, DeclarationError, unknown
from xfer_ray.results import Plan, Results, done, read_plan, read_rescored, read_scores, stems

PROVENANCES = ("HT", "MT")  # the columns of Table 4


@dataclass(frozen=True)
class Row:
    """One source: what its values are, the fewest seeds behind any of them, and one fraction per column (NaN: a hole)."""

    source: str
    values: str  # relative, advantage, ability, ability-difference, gap
    runs: int
    cells: tuple[float, ...]


@dataclass(frozen=True)
class Block:
    """The rows of one model that share a baseline, which comes first; `effects` rank the sources under values "common"."""

    model: str
    baseline: str | None
    rows: tuple[Row, ...]
    effects: Mapping[str, float] = field(default_factory=dict)
    metric: str = ""


@dataclass(frozen=True)
class Verdict:
    """The source in another language that transfers best, and its average advantage: above 0 it out-performs the baseline."""

    task: str
    model: str
    source: str
    advantage: float


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Blocks of rows under one header (the targets, then the groups; or HT and MT), or verdicts; and notes on what is missing."""

    layout: str = "matrix"
    values: str = "paper"
    task: str = ""
    metric: str = ""
    selection: str = ""  # where one was asked for
    targets: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()


def read(results: Results, options: Options) -> Tables:
    """The tables of a results folder; scores of trials that sweep.json does not plan are counted in a note, not read."""
    plan, there = read_plan(results), done(results)
    planned = {trial.trial for trial in plan.trials}
    tables = build(plan, _scores(results, plan, there & planned, options), options)
    others = len(there - planned)
    note = (f"ignored {others} scores {'file' if others == 1 else 'files'} of trials that sweep.json does not plan",)
    return replace(tables, notes=tables.notes + note) if others else tables


def _scores(results: Results, plan: Plan, trials: set[str], options: Options) -> pd.DataFrame:
    """The committed scores; with those of `rescore` if a metric is asked for that no trial was scored by."""
    scores = read_scores(results, trials)
    if options.metric is None or options.metric in {*scores["metric"], *(name for facts in plan.tasks.values() for name in facts.metrics)}:
        return scores
    if not stems(results, f"rescored/{options.metric}", ".parquet"):
        asked = unknown("metric", options.metric, dict.fromkeys(scores["metric"]))
        raise DeclarationError(f"{asked}; `xfer-ray rescore {results.url} --metric NAME` computes others from the predictions")
    task = plan.tasks if options.task is None else (options.task,)
    return pd.concat([scores, read_rescored(results, options.metric, {t.trial for t in plan.trials if t.task in task} & trials)])


def build(plan: Plan, scores: pd.DataFrame, options: Options) -> Tables:
    """The tables that the options ask for.

    Args:
        plan: what the sweep plans, and the facts of its tasks.
        scores: the long table of `Score` rows, fractions; rows of trials that are not planned are left out.
        options: what is asked.
    """
    if options.layout == "summary":
        return _summary(plan, scores, options)
    selected = select(plan, scores, options)
    normalized = measure.is_normalized(selected, options)
    blocks_of = _provenance if options.layout == "provenance" else _matrix
    shown = [model for model in selected.models if not selected.of(model).empty]
    return Tables(
        layout=options.layout,
        values=options.values,
        task=selected.task,
        metric=selected.metric,
        selection=options.selection or "",
        targets=selected.facts.targets,
        groups=selected.facts.groups,
        blocks=tuple(
            replace(block, metric=selected.metrics[model]) for model in shown for block in blocks_of(selected, model, normalized, options)
        ),
        notes=measure.notes(selected, normalized, options),
    )


def _matrix(selected: Selected, model: str, normalized: bool, options: Options) -> list[Block]:
    """Tables 2, 3, 5, 6, 8: sources by targets, one block per baseline."""
    groups, sources = selected.facts.groups, list(selected.planned[model])
    if options.values in ("ability", "gap"):
        found = measure.abilities(selected, model)
        shown = replace(found, kind="gap", values=transfer.transfer_gap(found.values)) if options.values == "gap" else found
        return [Block(model, None, _absolute(shown, sources, groups))]
    found = measure.measured(selected, model, normalized, options)
    if options.values == "relative":
        return [Block(model, None, _absolute(found, sources, groups))]
    baselines = measure.baselines(selected, model, options)
    members = {over: [source for source in sources if baselines[source] == over] for over in dict.fromkeys(baselines.values())}
    return [_compared(model, found, over, members[over], groups, options.values) for over in members]


def _absolute(found: Measured, sources: Sequence[str], groups: Groups) -> tuple[Row, ...]:
    """Every source by itself."""
    means = transfer.average(found.values, groups)
    return tuple(_row(source, found.kind, found.values, means, found.runs) for source in sources)


def _compared(model: str, found: Measured, over: str | None, members: Sequence[str], groups: Groups, values: str) -> Block:
    """The baseline by itself, then the others' advantages over it (holes where there is no baseline)."""
    kind = "advantage" if found.kind == "relative" else "ability-difference"
    if over is None:
        return Block(model, None, _absolute(replace(found, kind=kind, values=found.values * np.nan), members, groups))
    matrix, behind = found.values, transfer.diagonal(found.runs, dict.fromkeys(map(str, found.runs.columns), over))
    runs = found.runs.clip(upper=behind, axis=1)
    gains = transfer.advantage(matrix, over)
    means = transfer.average(gains, groups)
    effects: dict[str, float] = {}
    if values == "common":
        means = transfer.common_target_advantage(matrix, over, groups)
        matrix, gains = _without_own(matrix, over), _without_own(gains, over)
        groups = {name: transfer.common_targets(over, over, targets) for name, targets in groups.items()}
        effects = dict(zip(members, transfer.source_effects(found.values.loc[list(members)]), strict=True))
    rows = {source: _row(source, kind, gains, means, runs) for source in members}
    if values != "advantage" and over in rows:
        own = transfer.average(matrix.loc[[over]], groups)
        rows[over] = _row(over, found.kind, matrix, own, runs)
    return Block(model, over, tuple(sorted(rows.values(), key=lambda row: row.source != over)), effects)


def _without_own(matrix: pd.DataFrame, over: str) -> pd.DataFrame:
    """Only the cells that are zero-shot for both the source and its baseline."""
    targets = list(matrix.columns)
    kept = {source: transfer.common_targets(source, over, targets) for source in matrix.index}
    return matrix.where(np.array([[target in kept[source] for target in targets] for source in matrix.index]))


def _row(source: str, kind: str, values: pd.DataFrame, means: pd.DataFrame, runs: pd.DataFrame) -> Row:
    cells, averages, seeds = (matrix.loc[[source]].to_numpy(dtype=float)[0] for matrix in (values, means, runs))
    there = seeds[~np.isnan(cells)]
    return Row(source, kind, int(min(there, default=0)), (*cells.tolist(), *averages.tolist()))


def _provenance(selected: Selected, model: str, normalized: bool, options: Options) -> list[Block]:
    """Table 4: each language's average advantage by human and by machine translation, with denominators of the same kind."""
    everything = {"All": selected.facts.targets}
    found: dict[str, dict[str, dict[str, Row]]] = {}  # baseline -> language -> provenance -> the row of that source
    for kind in PROVENANCES:
        measured = measure.relative(selected, model, kind, options) if normalized else measure.abilities(selected, model)
        for source, over in measure.baselines(selected, model, options).items():
            corpus = Corpus.parse(source)
            stands = corpus.provenance == kind and rules.stands_for(corpus.language, selected.sources, kind) == source
            if over and stands and source != over:
                block = _compared(model, measured, over, [source], everything, "advantage")
                found.setdefault(over, {}).setdefault(corpus.language, {})[kind] = block.rows[0]
    if not found:
        raise DataError(f"task {selected.task} has no translated source with a baseline, so there is nothing to show by provenance")
    return [
        Block(model, over, tuple(_side_by_side(language, rows) for language, rows in languages.items()))
        for over, languages in found.items()
    ]


def _side_by_side(language: str, rows: Mapping[str, Row]) -> Row:
    cells = tuple(rows[kind].cells[-1] if kind in rows else np.nan for kind in PROVENANCES)
    return Row(language, next(iter(rows.values())).values, min(row.runs for row in rows.values()), cells)


def _summary(plan: Plan, scores: pd.DataFrame, options: Options) -> Tables:
    """Table 1: for every task and model, whether a source in another language out-performs the baseline (→All)."""
    there = [task for task in plan.tasks if (scores["task"] == task).any()]
    tasks = [options.task] if options.task else there or list(plan.tasks)
    tables = [build(plan, scores, replace(options, task=task, layout="matrix")) for task in tasks]
    verdicts = [verdict for table in tables for model in _models(table) for verdict in [_verdict(table, model)]]
    return Tables(layout="summary", verdicts=tuple(verdicts), notes=tuple(note for table in tables for note in table.notes))


def _models(tables: Tables) -> tuple[str, ...]:
    return tuple(dict.fromkeys(block.model for block in tables.blocks))


def _verdict(tables: Tables, model: str) -> Verdict:
    others = [
        (row.cells[-1], row.source)
        for block in tables.blocks
        if block.model == model and block.baseline
        for row in block.rows
        if transfer.language(row.source) != transfer.language(block.baseline) and not np.isnan(row.cells[-1])
    ]
    gain, source = max(others, default=(np.nan, ""))
    return Verdict(tables.task, model, source, gain)
