"""What the advantages of each model go along with, and what its choice of checkpoint is worth: read, and put into words."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis import measure, transfer, typology
from analysis.correlates import factors, mantel
from analysis.correlates.factors import Factor
from analysis.correlates.mantel import Correlation
from analysis.formats import HOLE, STYLES, Sheet
from analysis.recommend import unseen
from analysis.selection import Options, Selected, planned_scores, select
from xfer_ray.planfile import Plan, read_plan
from xfer_ray.results import Results

MARKUP, PAGE = STYLES["text"]
NAMED = {"advantage": "zero-shot advantage", "gap": "transfer gap of XTREME"}
SELECTIONS = ("source-dev", "last", "oracle")
MOST_NAMED = 3  # facts of which a correlation is not told for one reason
EXPLAINED = (
    "pair: what source and target means leave, over zero-shot cells (Pearson); source, target: their effects (Spearman)",
    "p: facts handed to the languages in another order; limits: all of it again without each language; Holm: p corrected for all facts",
    "Related languages are no independent draws, so p is rather too small; and a correlation is no cause.",
    "Distances: URIEL+ (aclanthology.org/2025.coling-main.463), CC BY-SA 4.0",
)


@dataclass(frozen=True)
class Correlates:
    """One model: correlations by measure and fact, and the averages under each selection of the step.

    `lacking`: what is not told, and why. `selections`: selection -> source -> mean over all targets, a fraction, NaN where a
    cell is missing.
    """

    task: str
    model: str
    metric: str
    kind: str
    found: tuple[Correlation, ...]
    lacking: tuple[tuple[str, str], ...]
    selections: Mapping[str, Mapping[str, float]]
    pretraining: str = ""  # who says how much there was of each language


def read(results: Results, options: Options, pretraining: str | None = None) -> tuple[tuple[Correlates, ...], tuple[str, ...]]:
    """The correlates of each model that has scores, and notes on what is missing. Models are never pooled.

    `pretraining`: the corpus of the models, where their checkpoints do not tell.
    """
    plan = read_plan(results)
    options = replace(options, values="advantage")
    scores = planned_scores(results, plan, options)
    selected = select(plan, scores, options)
    of_data = factors.of_test_data(results, selected.task, selected.facts.targets)
    models = [model for model in selected.models if not selected.of(model).empty]
    found = tuple(_of_model(plan, scores, selected, model, options, of_data, pretraining) for model in models)
    return found, measure.notes(selected, measure.is_normalized(selected, options), options)


def _of_model(  # noqa: PLR0913 (one model, and everything that is known)
    plan: Plan,
    scores: pd.DataFrame,
    selected: Selected,
    model: str,
    options: Options,
    of_data: list[Factor],
    pretraining: str | None,
) -> Correlates:
    facts = plan.models.get(model)
    corpus = typology.named(pretraining) or (typology.pretraining(facts.checkpoint) if facts else None)
    matrices = measures(selected, model, options)
    spoken = [unseen.only_language(name) for matrix in matrices.values() for name in (*matrix.index, *matrix.columns)]
    known = [*factors.of_languages(spoken, corpus), *of_data]
    told = {name: mantel.correlations(matrix, known, name) for name, matrix in matrices.items()}
    lacking = [(f"{name}, {fact}", reason) for name, (_, untold) in told.items() for fact, reason in untold]
    lacking += [] if corpus else [("pre-training", "how much there was of each language is not known of this model")]
    return Correlates(
        task=selected.task,
        model=model,
        metric=selected.metrics[model],
        kind="relative" if measure.is_normalized(selected, options) else "ability",
        found=tuple(one for found, _ in told.values() for one in found),
        lacking=tuple(lacking),
        selections=selections(plan, scores, model, options),
        pretraining=corpus.source if corpus else "",
    )


def measures(selected: Selected, model: str, options: Options) -> dict[str, pd.DataFrame]:
    """The zero-shot cells of sources in one language, by each measure: advantages over the baseline, and XTREME's transfer gaps."""
    values = measure.measured(selected, model, measure.is_normalized(selected, options), options).values
    baselines = {s: over for s, over in measure.baselines(selected, model, options).items() if len(transfer.languages(s)) == 1}
    gaps = transfer.transfer_gap(measure.abilities(selected, model).values.loc[list(baselines)])
    return {"advantage": mantel.advantages(values, baselines), "gap": unseen.zero_shot(gaps)}


def selections(plan: Plan, scores: pd.DataFrame, model: str, options: Options) -> dict[str, dict[str, float]]:
    """Each source's mean over all targets under each selection of the step that was scored.

    The oracle chose the step of each target by that target: what it is ahead of the others is what choosing without it costs.
    """
    task = options.task or next(iter(plan.tasks))
    there = set(scores.loc[(scores["model"] == model) & (scores["task"] == task), "selection"])
    found = {}
    for name in (*(one for one in SELECTIONS if one in there), *sorted(there - set(SELECTIONS))):
        asked = replace(options, model=model, selection=name)
        selected = select(plan, scores, asked)
        values = measure.measured(selected, model, measure.is_normalized(selected, asked), asked).values
        means = transfer.average(values.loc[list(selected.planned[model])], {"All": selected.facts.targets})["All"]
        found[name] = {str(source): float(mean) for source, mean in means.items()}
    return found


# ------------------------------------------------------------------------------ words


def text(found: tuple[Correlates, ...]) -> str:
    """Tables of all models, one after the other."""
    return "\n".join(PAGE(_sheets(one), _legend(one)) for one in found)


def _sheets(one: Correlates) -> list[Sheet]:
    name = MARKUP.escape(f"{one.task}, {one.model}, {one.metric}")
    sheets = []
    for measured in mantel.MEASURES:
        rows = tuple(_row(each) for each in one.found if each.measure == measured)
        if rows:
            header = ("fact", "of each", "languages", "r", "95 % limits", "p", "Holm")
            sheets.append(Sheet(f"{name}: what goes along with its {NAMED[measured]}", header, rows, frozenset({0})))
    return [*sheets, *([_selection_sheet(one, name)] if len(one.selections) > 1 else [])]


def _row(each: Correlation) -> tuple[str, ...]:
    limits = HOLE if math.isnan(each.low) else f"[{each.low:+.2f}, {each.high:+.2f}]"
    return (MARKUP.escape(each.factor), each.level, str(each.languages), f"{each.r:+.2f}", limits, _p(each.p), _p(each.corrected))


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _selection_sheet(one: Correlates, name: str) -> Sheet:
    first, *others = one.selections
    sources = sorted(one.selections[first], key=lambda source: -np.nan_to_num(one.selections[first][source], nan=-np.inf))
    rows = []
    for source in sources:
        values = [chosen[source] for chosen in one.selections.values()]
        rows.append((MARKUP.escape(source), *(_points(v) for v in values), *(_points(v - values[0], "+") for v in values[1:])))
    header = ("source", *one.selections, *(f"{other} - {first}" for other in others))
    return Sheet(
        f"{name} x 100: mean over all targets, by the step that was scored", header, tuple(rows), frozenset({0, len(one.selections)})
    )


def _legend(one: Correlates) -> list[str]:
    lines = [*EXPLAINED, *([f"pre-training: {one.pretraining}"] if one.pretraining else [])]
    if any(math.isnan(each.low) for each in one.found):
        lines.append(f"{HOLE}: no limits, for one of the languages has all that varies")
    if not one.found:
        lines = [MARKUP.escape(f"{one.task}, {one.model}, {one.metric}: no correlation can be told")]
    lines += map(MARKUP.escape, _untold(one.lacking))
    if len(one.selections) == 1:
        lines.append(
            f"every score is of the selection {MARKUP.escape(next(iter(one.selections)))}; `xfer-ray run --oracle` adds the others"
        )
    return lines


def _untold(lacking: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What is not told, a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for what, reason in lacking:
        by_reason.setdefault(reason, []).append(what)
    for reason, names in by_reason.items():
        yield f"not told: {'; '.join(names) if len(names) <= MOST_NAMED else f'{len(names)} correlations'}, for {reason}"


def _points(fraction: float, sign: str = "") -> str:
    return HOLE if math.isnan(fraction) else f"{100 * fraction:{sign}.1f}"


def json(one: Correlates) -> dict[str, object]:
    """As `correlates --json` prints it, one entry per model: fractions; what is unknown is null."""
    chosen = {name: {s: None if math.isnan(v) else v for s, v in values.items()} for name, values in one.selections.items()}
    return {
        "task": one.task,
        "model": one.model,
        "metric": one.metric,
        "values": one.kind,
        "correlations": [{name: None if value != value else value for name, value in each.__dict__.items()} for each in one.found],
        "lacking": [f"{what}: {reason}" for what, reason in one.lacking],
        "selections": chosen,
    }
