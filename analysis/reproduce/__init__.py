"""A sweep beside the paper that it repeats: each printed cell with ours, and each claim, with how sure one can be of either."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from analysis import measure, outcomes, significance
from analysis.reproduce import claims, printed
from analysis.reproduce.claims import TWIN, Check, Key, Seen
from analysis.reproduce.comparison import Comparison, answers_compared, compared
from analysis.reproduce.evidence import Evidence, of_averages, of_printed
from analysis.reproduce.printed import Printed
from analysis.selection import Options, Selected, select
from analysis.significance import Resampled
from xfer_ray import compact, planfile, results
from xfer_ray.errors import DataError
from xfer_ray.results import Results
from xfer_ray.text import is_ascii_only

Note = Callable[[str], None]


@dataclass(frozen=True)
class Reproduction:
    """All tables and claims of a paper; without comparisons the claims are checked on the printed figures themselves."""

    citation: str
    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()


def of_paper(paper: str) -> Reproduction:
    """The claims, checked on the printed tables: figures without intervals. A note says what the repair of Table 2 would change."""
    citation = printed.known(paper)
    found, repaired = (_checks_of_paper(paper, repaired) for repaired in (False, True))
    moved = [one.claim for one, other in zip(found, repaired, strict=True) if one.finding.verdict != other.finding.verdict]
    note = f"Table 2 contradicts itself in two cells of mT5 from hi-MT-en; repairing them changes {', '.join(moved) or 'no verdict'}"
    return Reproduction(citation, (), found, (note,))


def _checks_of_paper(paper: str, repaired: bool) -> tuple[Check, ...]:
    tables = printed.load(paper, repaired=repaired)
    evidence: dict[Key, Evidence] = {
        (table.task, model, ""): of_printed(table, model) for table in tables.values() for model in table.models if model
    }
    evidence |= {(tables[4].task, "", kind): of_averages(tables[4], kind) for kind in ("HT", "MT")}
    return claims.checks(Seen(evidence, printed.ascii_only(paper), printed.outperformed(paper)))


def read(found: Results, paper: str, *, resamples: int = significance.RESAMPLES, seed: int = 0, note: Note = print) -> Reproduction:
    """The tables and claims of a paper beside the results of a sweep; `note` hears what is being resampled."""
    citation, tables, repaired = printed.known(paper), printed.load(paper), printed.load(paper, repaired=True)
    plan = planfile.read_plan(found)
    scores = compact.read_scores(found, results.done(found) & {trial.trial for trial in plan.trials})
    wanted = [(table, model) for table in tables.values() for model in _models(table, scores)]
    if not wanted:
        tasks = ", ".join(table.task for table in tables.values())
        raise DataError(
            f"{found.url} holds no score of a task and model of {citation}: tasks {tasks}; models mbert, mt5-base, mt5-uniform; "
            "`xfer-ray run sweeps/paper.py` runs them"
        )
    evidence: dict[Key, Evidence] = {}
    notes: dict[str, None] = {}
    for table, model in wanted:
        selected = select(plan, scores, Options(task=table.task, model=model))
        metric = selected.metrics[model]
        if metric not in table.metrics:
            notes[f"{table.task}.{model} is scored by {metric}, and Table {table.number} prints {table.metrics[0]}: not compared"] = None
            continue
        note(f"{table.task} with {model}: {resamples} resamples")
        options = _options(table, selected)
        known = outcomes.read(found, selected, model)
        resampled = None if known is None else significance.resample(known, resamples=resamples, seed=seed)
        evidence |= _evidence(table, selected, model, options, resampled)
        notes |= dict.fromkeys((*measure.notes(selected, table.normalized, options), *(known.notes if known else ())))
    shares = _ascii_only(found, printed.ascii_only(paper))
    comparisons = [one for table in tables.values() for one in compared(table, repaired[table.number], evidence)]
    comparisons.append(answers_compared(printed.ascii_only(paper), shares))
    checks = claims.checks(Seen(evidence, shares, printed.outperformed(paper)))
    return Reproduction(citation, tuple(sorted(comparisons, key=lambda one: one.table)), checks, tuple(notes))


def _models(table: Printed, scores: pd.DataFrame) -> list[str]:
    """The models of a table that have scores; where the paper does not state one, all that have."""
    there = [str(model) for model in dict.fromkeys(scores.loc[scores["task"] == table.task, "model"])]
    return [model for model in there if table.models == ("",) or model in (*table.models, TWIN)]


def _options(table: Printed, selected: Selected) -> Options:
    """The paper's own sources are denominators and baseline, whatever others the sweep has."""
    planned = [source for source in _sources(table) if source in selected.sources]
    baseline = table.baseline if table.baseline in planned else None
    if table.models == ("",):
        return Options(task=table.task, layout="provenance", baseline=baseline)
    return Options(task=table.task, baseline=baseline, denominators=",".join(planned) if table.normalized else None)


def _sources(table: Printed) -> tuple[str, ...]:
    return table.sources(table.models[0])


def _evidence(table: Printed, selected: Selected, model: str, options: Options, resampled: Resampled | None) -> dict[Key, Evidence]:
    """What a model's scores are evidence of: one matrix; for Table 4 one of each provenance, by denominators of its own."""
    found: dict[Key, Evidence] = {}
    for kind in ("HT", "MT") if table.models == ("",) else ("",):
        choice = kind or options.denominators
        own = measure.divided_by(selected, choice) if table.normalized else None
        measured = measure.relative(selected, model, choice, options) if table.normalized else measure.abilities(selected, model)
        kept = [source for source in _sources(table) if not kind or source.split("-")[1] in ("O", kind)]
        found[table.task, model, kind] = Evidence(
            task=table.task,
            model=model,
            baseline=table.baseline,
            groups=table.groups,
            values=measured.values.reindex(index=kept, columns=list(table.targets)),
            abilities=measure.abilities(selected, model).values,
            denominators=own,
            resampled=resampled,
        )
    return found


def _ascii_only(found: Results, targets: Iterable[str]) -> dict[str, float]:
    """By target the share of ASCII-only answers, NaN where the sweep did not score it; empty where it scored none of them."""
    there = results.stems(found, "examples", ".parquet")
    shares: dict[str, float] = {}
    for target in targets:
        path = found.table("examples", f"xquad.{target}")
        if f"xquad.{target}" in there:
            golds = results.from_bytes(found.storage.read(path), path).to_pandas()["answers"]
            shares[target] = sum(is_ascii_only(json.loads(answers)[0]) for answers in golds) / len(golds)
        else:
            shares[target] = math.nan
    return {} if all(map(math.isnan, shares.values())) else shares


# ------------------------------------------------------------------------------ as JSON


def points(fraction: float) -> float | None:
    """A fraction x 100, as tables print it; None for a hole."""
    return None if math.isnan(fraction) else 100 * fraction


def as_json(found: Reproduction) -> dict[str, object]:
    """One document: paper, comparisons (table, task, model, command, cells), claims, notes; values x 100, null where there is none."""
    return {
        "paper": found.citation,
        "comparisons": [_comparison_json(one) for one in found.comparisons],
        "claims": [_check_json(one) for one in found.checks],
        "notes": list(found.notes),
    }


def _comparison_json(one: Comparison) -> dict[str, object]:
    cells = [
        {
            "source": cell.source,
            "column": cell.column,
            "printed": points(cell.printed),
            "repaired": cell.repaired,
            "ours": points(cell.ours.value),
            "difference": points(cell.difference),
            "low": points(cell.ours.low),
            "high": points(cell.ours.high),
            "conditional": cell.ours.conditional,
            "verdict": cell.verdict,
            "allowing_for_sampling": cell.allowing,
        }
        for cell in one.cells
    ]
    return {"table": one.table, "task": one.task, "model": one.model, "command": one.command or None, "cells": cells}


def _check_json(one: Check) -> dict[str, object]:
    estimate = one.finding.estimate
    return {
        "claim": one.claim,
        "where": one.where,
        "task": one.task,
        "models": list(one.models),
        "verdict": one.finding.verdict,
        "by": one.finding.by,
        "value": points(estimate.value),
        "low": points(estimate.low),
        "high": points(estimate.high),
        "conditional": estimate.conditional,
        "figures_alone": one.finding.alone,
    }
