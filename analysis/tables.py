"""The paper's tables of any sweep: numbers and names, as fractions; `render` makes them text.

`build` is pure: what is planned and what was scored go in, tables and notes come out. `read` takes both from a folder.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis import measure, outcomes, ranking, rules, significance, transfer
from analysis.blocks import Block, Row, Tables, Verdict
from analysis.intervals import judged, unbounded
from analysis.measure import Measured
from analysis.outcomes import Outcomes
from analysis.selection import Options, Selected, ignored, planned_scores, select
from analysis.significance import Resampled
from analysis.transfer import Groups
from xfer_ray.errors import DataError
from xfer_ray.planfile import Plan, read_plan
from xfer_ray.results import Results, done
from xfer_ray.sources import Mixture

MANY = 500  # trials whose predictions are read for marks that nobody asked for: a few seconds

ByExample = Callable[[Selected, str], Outcomes | None]
Judge = Callable[[Block, str | None], Block]  # a block, and the user's choice of denominators -> the block with intervals


def read(results: Results, options: Options) -> Tables:
    """The tables of a results folder; scores of trials that sweep.json does not plan are counted in a note, not read."""
    plan, there = read_plan(results), done(results)
    planned = {trial.trial for trial in plan.trials}

    def by_example(selected: Selected, model: str) -> Outcomes | None:
        many = selected.scores["trial"].nunique() > MANY and not options.intervals
        return None if many else outcomes.read(results, selected, model)

    tables = build(plan, planned_scores(results, plan, options), options, by_example if options.marks else None)
    return replace(tables, notes=(*tables.notes, *ignored(there - planned)))


def build(plan: Plan, scores: pd.DataFrame, options: Options, by_example: ByExample | None = None) -> Tables:
    """The tables that the options ask for.

    Args:
        plan: what the sweep plans, and the facts of its tasks.
        scores: the long table of `Score` rows, fractions; rows of trials that are not planned are left out.
        options: what is asked.
        by_example: reads what a model's trials answered; without it nothing is said of errors.
    """
    if options.layout == "summary":
        return _summary(plan, scores, options, by_example)
    selected = select(plan, scores, options)
    normalized = measure.is_normalized(selected, options)
    blocks_of = _provenance if options.layout == "provenance" else _matrix
    shown = [model for model in selected.models if not selected.of(model).empty]
    told = by_example if by_example and options.seed_mean == "scores" else _nothing
    held = {model: told(selected, model) for model in shown}
    drawn = {model: significance.resample(found) for model, found in held.items() if found}
    blocks = {
        model: blocks_of(selected, model, normalized, options, _judge(selected, drawn.get(model), normalized, options)) for model in shown
    }
    return Tables(
        layout=options.layout,
        values=options.values,
        task=selected.task,
        metric=selected.metric,
        selection=options.selection or "",
        targets=selected.facts.targets,
        groups=selected.facts.groups,
        provenances=measure.provenances(selected),
        blocks=tuple(replace(block, metric=selected.metrics[model]) for model in shown for block in blocks[model]),
        notes=(
            *measure.notes(selected, normalized, options),
            *_left_out(selected.task, blocks),
            *_unsure(held, options),
            *_unbounded(selected, drawn, normalized, options),
        ),
        of_seeds=tuple((selected.task, model) for model, found in held.items() if found is not None and found.of_seeds),
    )


def _left_out(task: str, blocks: Mapping[str, Sequence[Block]]) -> tuple[str, ...]:
    """A note on the models that the layout has no row for; refused where that is all of them."""
    empty = [model for model, found in blocks.items() if not found]
    if len(empty) == len(blocks):
        raise DataError(f"task {task} has no translated source with a baseline, so there is nothing to show by provenance")
    return tuple(f"{model} is left out: it has no translated source with a baseline" for model in empty)


def _nothing(selected: Selected, model: str) -> None:
    """The answers of no trial."""


def _judge(selected: Selected, resampled: Resampled | None, normalized: bool, options: Options) -> Judge:
    """What tells the error of a block of one model; nothing where no predictions are at hand."""
    if resampled is None:
        return lambda block, _: block
    groups = {"All": selected.facts.targets} if options.layout == "provenance" else selected.facts.groups

    def judge(block: Block, choice: str | None) -> Block:
        own = measure.divided_by(selected, choice) if normalized else None
        return judged(block, selected.facts.targets, groups, resampled, own=own, common=options.values == "common")

    return judge


def _unbounded(selected: Selected, drawn: Mapping[str, Resampled], normalized: bool, options: Options) -> Iterator[str]:
    """Where a ratio has no bounds, for its denominator may be 0."""
    choices = measure.provenances(selected) if options.layout == "provenance" else (options.denominators,)
    for model, resampled in drawn.items() if normalized else ():
        yield from unbounded(model, resampled, (measure.divided_by(selected, choice) for choice in choices))


def _unsure(held: Mapping[str, Outcomes | None], options: Options) -> Iterator[str]:
    """Why intervals that were asked for are not there."""
    for model, found in held.items():
        if found is not None:
            yield from found.notes
        elif options.intervals:
            alone = "there are no predictions to resample, and no source has several seeds"
            reason = "seeds are averaged after the ratio" if options.seed_mean == "ratios" else alone
            yield f"no intervals for model {model}: {reason}"


def _matrix(selected: Selected, model: str, normalized: bool, options: Options, judge: Judge) -> list[Block]:
    """Tables 2, 3, 5, 6, 8: sources by targets, one block per baseline."""
    groups, sources = selected.facts.groups, list(selected.planned[model])
    if options.values in ("ability", "gap"):
        found = measure.abilities(selected, model)
        shown = replace(found, kind="gap", values=transfer.transfer_gap(found.values)) if options.values == "gap" else found
        return [judge(Block(model, None, _absolute(shown, sources, groups)), None)]
    found = measure.measured(selected, model, normalized, options)
    if options.values == "relative":
        return [judge(Block(model, None, _absolute(found, sources, groups)), options.denominators)]
    baselines = measure.baselines(selected, model, options)
    members = {over: [source for source in sources if baselines[source] == over] for over in dict.fromkeys(baselines.values())}
    blocks = [_compared(model, found, over, members[over], groups, options.values) for over in members]
    return [judge(block, options.denominators) for block in blocks]


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


def _provenance(selected: Selected, model: str, normalized: bool, options: Options, judge: Judge) -> list[Block]:
    """Table 4: each language's average advantage by human and by machine translation, with denominators of the same kind."""
    everything = {"All": selected.facts.targets}
    found: dict[str, dict[str, dict[str, Row]]] = {}  # baseline -> language -> provenance -> the row of that source
    kinds = measure.provenances(selected)
    for kind in kinds:
        measured = measure.relative(selected, model, kind, options) if normalized else measure.abilities(selected, model)
        for over, sources in _of_provenance(selected, model, kind, options).items():
            block = judge(_compared(model, measured, over, sources, everything, "advantage"), kind)
            for row in block.rows:
                found.setdefault(over, {}).setdefault(transfer.language(row.source), {})[kind] = row
    return [
        Block(model, over, tuple(_side_by_side(language, rows, kinds) for language, rows in languages.items()))
        for over, languages in found.items()
    ]


def _of_provenance(selected: Selected, model: str, kind: str, options: Options) -> dict[str, list[str]]:
    """Baseline -> the sources of that provenance which stand for their language."""
    found: dict[str, list[str]] = {}
    for source, over in measure.baselines(selected, model, options).items():
        corpus = transfer.source_of(source)
        if isinstance(corpus, Mixture) or corpus.provenance != kind or source == over:
            continue
        if over and rules.stands_for(corpus.language, selected.sources, kind) == source:
            found.setdefault(over, []).append(source)
    return found


def _side_by_side(language: str, rows: Mapping[str, Row], kinds: Sequence[str]) -> Row:
    cells = tuple(rows[kind].cells[-1] if kind in rows else np.nan for kind in kinds)
    told = tuple(rows[kind].intervals[-1] if kind in rows and rows[kind].intervals else None for kind in kinds)
    runs = min((row.runs for row in rows.values() if not np.isnan(row.cells[-1])), default=0)
    return Row(language, next(iter(rows.values())).values, runs, cells, told if any(told) else ())


def _summary(plan: Plan, scores: pd.DataFrame, options: Options, by_example: ByExample | None) -> Tables:
    """Table 1: for every task and model, whether a source in another language out-performs the baseline (→All)."""
    there = [task for task in plan.tasks if (scores["task"] == task).any()]
    tasks = [options.task] if options.task else there or list(plan.tasks)
    tables = [build(plan, scores, replace(options, task=task, layout="matrix"), by_example) for task in tasks]
    verdicts = [verdict for table in tables for model in _models(table) for verdict in [_verdict(table, model)]]
    notes = tuple(note for table in tables for note in table.notes)
    of_seeds = tuple(whose for table in tables for whose in table.of_seeds)
    return Tables(layout="summary", verdicts=tuple(verdicts), notes=notes, of_seeds=of_seeds)


def _models(tables: Tables) -> tuple[str, ...]:
    return tuple(dict.fromkeys(block.model for block in tables.blocks))


def _verdict(tables: Tables, model: str) -> Verdict:
    """Of the sources in other languages that out-perform their own baselines, else of all of these, the one with the highest average."""
    blocks = [block for block in tables.blocks if block.model == model and block.baseline]
    verdicts: dict[str, Verdict] = {}
    values: dict[str, float] = {}
    for block in blocks:
        over = block.baseline or ""
        for row in block.rows:
            if {*transfer.languages(row.source)}.isdisjoint(transfer.languages(over)):
                told = row.intervals[-1] if row.intervals else None
                named = over if len(blocks) > 1 else ""
                verdicts[row.source] = Verdict(tables.task, model, row.source, row.cells[-1], told, over=named)
                values[row.source] = block.rows[0].cells[-1] + row.cells[-1]  # the baseline comes first
    better = {source: value for source, value in values.items() if verdicts[source].outperforms}
    best = ranking.leaders(better or values)
    return replace(verdicts[best[0]], equal=best[1:]) if best else Verdict(tables.task, model, "", np.nan)
