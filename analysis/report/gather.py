"""From the files of a sweep to everything that its report says. No number is made up or filled in: what is missing is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis import measure, outcomes, ranking, render, significance, tables, transfer
from analysis.blocks import ALIKE
from analysis.intervals import judged
from analysis.report import certainty, evidence, record, wording
from analysis.report.certainty import Order
from analysis.report.facts import Answer, Disagreement, Finding, Illegal, Report
from analysis.selection import Options, Selected, ignored, select
from analysis.significance import Resampled
from xfer_ray.compact import read_scores
from xfer_ray.errors import DataError, unknown
from xfer_ray.planfile import Plan, read_plan
from xfer_ray.results import Results, done

ALL = "->All"


@dataclass(frozen=True)
class _Question:
    """One task as it is asked about."""

    plan: Plan
    scores: pd.DataFrame
    options: Options
    selected: Selected
    normalized: bool


@dataclass(frozen=True)
class _Part:
    """What one task contributes."""

    findings: tuple[Finding, ...] = ()
    illegal: tuple[Illegal, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    unsaid: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read(results: Results, options: Options | None = None) -> Report:
    """The report of a results folder; DataError where no task has a score yet."""
    options = options or Options()
    plan = read_plan(results)
    if options.task and options.task not in plan.tasks:
        raise unknown("task", options.task, plan.tasks)
    tasks = [task for task in plan.tasks if options.task in (None, task)]
    planned, there = {trial.trial for trial in plan.trials}, done(results)
    scores = read_scores(results, there & planned)
    scored = [task for task in tasks if _has_scores(plan, scores, replace(options, task=task))]
    if not scored:
        raise DataError(
            f"{results.url} has no scores yet, so there is nothing to report; `xfer-ray run` with its sweep file runs its trials"
        )
    parts = [_part(results, plan, scores, replace(options, task=task)) for task in scored]
    defects, checked = evidence.defects(results, plan, scored)
    return Report(
        sweep=plan.sweep,
        findings=tuple(finding for part in parts for finding in part.findings),
        silent=record.silent(plan, tasks, {(f.task, f.model) for part in parts for f in part.findings}, options.model),
        unsaid={what: why for part in parts for what, why in part.unsaid.items()},
        notes=tuple(dict.fromkeys((*(note for part in parts for note in part.notes), *ignored(there - planned)))),
        curves=record.curves(results, plan, scored, there & planned, options.model),
        illegal=tuple(one for part in parts for one in part.illegal),
        disagreements=tuple(one for part in parts for one in part.disagreements),
        defects=(*defects, *record.conflicts(results, plan)),
        checked=checked,
        coverage=record.coverage(results, plan, tasks, there & planned, options.model),
        ran=record.ran(plan, scores, scored, options.model),
    )


def _has_scores(plan: Plan, scores: pd.DataFrame, options: Options) -> bool:
    found = scores[scores["task"] == options.task]
    models = {trial.model for trial in plan.trials if trial.task == options.task}
    if options.model and options.model not in {trial.model for trial in plan.trials}:
        raise unknown("model", options.model, dict.fromkeys(trial.model for trial in plan.trials))
    return bool(found["model"].isin({options.model} & models if options.model else models).any())


def _part(results: Results, plan: Plan, scores: pd.DataFrame, options: Options) -> _Part:
    """What one task contributes: its findings, and what its predictions show."""
    selected = select(plan, scores, options)
    question = _Question(plan, scores, options, selected, measure.is_normalized(selected, options))
    part = _Part(notes=measure.notes(selected, question.normalized, options))
    for model in selected.models:
        if selected.of(model).empty:
            continue
        known = outcomes.read(results, selected, model)
        finding = _finding(question, model, known)
        answered = known is not None and not known.of_seeds
        seen = evidence.predictions(results, selected, model, finding) if answered else evidence.NOTHING
        unsaid = {} if answered else {f"{selected.task}, {model}": _WHY}
        part = _Part(
            findings=(*part.findings, finding),
            illegal=(*part.illegal, *seen.illegal),
            disagreements=(*part.disagreements, *seen.disagreements),
            unsaid={**part.unsaid, **unsaid},
            notes=(*part.notes, *(known.notes if known else ()), *seen.notes),
        )
    return part


_WHY = "its trials left no predictions, so examples are not resampled, and there are no illegal outputs and no examples to show."


def _finding(question: _Question, model: str, known: outcomes.Outcomes | None) -> Finding:
    selected, options = question.selected, question.options
    found = measure.measured(selected, model, question.normalized, options)
    baselines = measure.baselines(selected, model, options)
    sources, groups = list(baselines), selected.facts.groups
    means = transfer.average(found.values, groups).add_prefix("->")
    values = pd.concat([found.values, means], axis=1).loc[sources]
    own = measure.divided_by(selected, options.denominators) if question.normalized else None
    drawn = significance.resample(known) if known else None
    built = tables.build(question.plan, question.scores, replace(options, model=model))
    blocks = [judged(block, selected.facts.targets, groups, drawn, own=own) if drawn else block for block in built.blocks]
    told = certainty.advantages(blocks, sources, list(values.columns))
    whole = list(values.index[values[ALL].notna()])
    effects = transfer.source_effects(found.values.loc[whole])
    behind = found.runs.loc[sources].to_numpy(dtype=float)
    seeds = behind[behind > 0]
    place = certainty.order(found.values.loc[sources], drawn, own)
    finding = Finding(
        task=selected.task,
        model=model,
        metric=selected.metrics[model],
        kind=found.kind,
        targets=selected.facts.targets,
        groups=groups,
        baselines=baselines,
        values=values,
        limits=place.limits if place else {},
        gains=told.gains,
        low=told.low,
        high=told.high,
        p=told.p,
        effects={**dict.fromkeys(sources, np.nan), **dict(zip(whole, map(float, effects), strict=True))},
        runs=(int(min(seeds, default=0)), int(max(seeds, default=0))),
        answer=Answer(),
        latex=render.render(replace(built, blocks=tuple(blocks)), "latex"),
    )
    return replace(finding, answer=_answer(finding, drawn, own, place, known=known))


def _answer(
    found: Finding, drawn: Resampled | None, own: Mapping[str, str] | None, place: Order | None, *, known: outcomes.Outcomes | None
) -> Answer:
    """The source with the highest average of those that hold a language other than their baseline's; without a baseline, of all."""
    targets, runs = len(found.targets), found.runs[0]
    means = {str(source): float(mean) for source, mean in found.values[ALL].items()}
    others = [s for s, over in found.baselines.items() if over and not set(transfer.languages(s)) <= set(transfer.languages(over))]
    over = {source: measure.best_baseline(source, found.baselines, means) or "" for source in others}
    gains = {source: means[source] - means.get(over[source], np.nan) for source in others}
    leading = ranking.leaders({source: means[source] for source, gain in gains.items() if not np.isnan(gain)})
    if not leading:
        return _without_baseline(found, bool(others), Answer(targets=targets, runs=runs))
    best, *equal = leading
    tests = certainty.over_one(over[best], _beside(over[best], found.baselines), found.targets, drawn, own)
    sure = tests.get(best)
    effects = _zero_shot_leaders(found)
    first = ranking.leaders(means)
    return Answer(
        best=best,
        equal=tuple(equal),
        alike=len(first) == sum(not np.isnan(mean) for mean in means.values()) > 1,
        over=over[best],
        value=means[best],
        gain=gains[best] if abs(gains[best]) >= ALIKE else 0.0,
        low=sure.low if sure else np.nan,
        high=sure.high if sure else np.nan,
        p=sure.p if sure else np.nan,
        sure=sure.significant if sure else False,
        detectable=sure.detectable if sure else np.nan,
        conditional=sure.conditional if sure else False,
        compared=len(tests),
        first=first[0],
        chance=place.chances[first[0]] if place else np.nan,
        rivals=place.rivals if place else (),
        like_for_like=effects if set(effects).isdisjoint(leading) else (),
        unranked=tuple(source for source, mean in means.items() if np.isnan(mean)),
        runs=runs,
        targets=targets,
        why=_what_is_known(known),
    )


def _zero_shot_leaders(found: Finding) -> tuple[str, ...]:
    """The sources that come first where their own languages do not count; none where none is at home, or some cannot be compared so."""
    whole = {source: effect for source, effect in found.effects.items() if not np.isnan(found.values[ALL][source])}
    at_home = any(transfer.at_home(source, target) for source in whole for target in found.targets)
    return ranking.leaders(whole) if at_home and not any(map(np.isnan, whole.values())) else ()


def _beside(over: str, baselines: Mapping[str, str | None]) -> list[str]:
    """The sources under the budget of a baseline, without itself."""
    total = transfer.source_of(over).total
    return [source for source, own in baselines.items() if own and transfer.source_of(own).total == total and source != over]


def _what_is_known(known: outcomes.Outcomes | None) -> str:
    """What intervals leave out, where no predictions are stored."""
    if known is None:
        return "How sure that is cannot be said, for there are no predictions to resample: only scores of single seeds."
    return "No predictions are stored, so intervals tell of seeds alone, on these very examples." if known.of_seeds else ""


def _without_baseline(found: Finding, has_holes: bool, empty: Answer) -> Answer:
    """Where nothing can be compared: why, and which source is highest if that can be said."""
    means = found.values[ALL].dropna()
    if has_holes or means.empty:
        lacking = [str(target) for target in found.targets if found.gains[target].isna().all()]
        where = f": nothing can be compared on {wording.named(lacking)}" if lacking else ""
        why = f"No other source has a complete average over {wording.count(len(found.targets), 'target')}{where}."
        return replace(empty, why=f"{why} The trials that are missing are named under Coverage; once they are done, so is the answer.")
    if any(found.baselines.values()):
        return replace(empty, why=f"Only {', '.join(found.values.index)} was scored, so there is no other source to compare it with.")
    best, *equal = ranking.leaders({str(source): float(mean) for source, mean in means.items()})
    return replace(empty, best=best, equal=tuple(equal), alike=len(equal) == len(means) - 1 > 0, value=float(means[best]))
