"""One model's matrix by the rules of its task: normalized or not, by which denominators, over which baselines, what is missing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import rules, transfer
from analysis.ranking import leaders
from analysis.selection import Options, Selected
from xfer_ray.errors import DeclarationError

PROVENANCES = {"HT": "by people", "MT": "by a machine"}


@dataclass(frozen=True)
class Measured:
    """A matrix and how many seeds stand behind each of its cells; every planned source is a row. `kind`: ability (E), relative (Z)."""

    kind: str
    values: pd.DataFrame
    runs: pd.DataFrame


def is_normalized(selected: Selected, options: Options) -> bool:
    """Whether the task's values are relative: as it declares, else if every target has a denominator for every model."""
    declared = selected.facts.normalized
    if declared is False and options.denominators:
        raise DeclarationError(
            f"task {selected.task} is not normalized, so it has no denominators: its values are {selected.metric} and differences of it"
        )
    return not _without_denominator(selected, options) if declared is None else declared


def _without_denominator(selected: Selected, options: Options) -> list[str]:
    """The targets that lack, for some model, a score of a model fine-tuned on their language."""
    named = (*selected.facts.denominators, *(options.denominators or "").split(","))
    own = [source for source in selected.sources if source in named or not rules.is_control(source)]
    scored = set(zip(selected.scores["model"], selected.scores["source"], selected.scores["target"], strict=True))

    def has_one(target: str) -> bool:
        candidates = [source for source in own if transfer.at_home(source, target)]
        return all(any((model, source, target) in scored for source in candidates) for model in selected.planned)

    return [target for target in selected.facts.targets if not has_one(target)]


def provenances(selected: Selected) -> tuple[str, ...]:
    """Of human and machine translation what the sweep has a source of: the columns of Table 4."""
    corpora = [transfer.corpus_of(source) for source in selected.sources if not rules.is_control(source)]
    return tuple(kind for kind in PROVENANCES if any(corpus.provenance == kind for corpus in corpora))


def denominators(selected: Selected, choice: str | None) -> dict[str, str | None]:
    """Target -> its denominator, by the task and the user's choice."""
    facts = selected.facts
    return rules.denominators(facts.targets, selected.sources, declared=facts.denominators, choice=choice)


def divided_by(selected: Selected, choice: str | None) -> dict[str, str]:
    """Target -> its denominator, without the targets that have none."""
    return {target: source for target, source in denominators(selected, choice).items() if source}


def abilities(selected: Selected, model: str) -> Measured:
    """E of one model."""
    scores = selected.of(model)
    baseline = (selected.facts.baseline,) if selected.facts.baseline else ()
    rows, columns = list(dict.fromkeys((*selected.sources, *baseline))), list(selected.facts.targets)
    values, runs = (matrix.reindex(index=rows, columns=columns) for matrix in (transfer.ability(scores), transfer.runs(scores)))
    return Measured("ability", values, runs.fillna(0))


def relative(selected: Selected, model: str, choice: str | None, options: Options) -> Measured:
    """Z of one model: seeds are averaged before the ratio, or the ratios of equal seeds afterwards."""
    own = divided_by(selected, choice)
    found = abilities(selected, model)
    if options.seed_mean == "scores":
        behind = transfer.diagonal(found.runs, own).fillna(0)
        return Measured("relative", transfer.relative_ability(found.values, own), found.runs.clip(upper=behind, axis=1))
    seeds = [transfer.ability(scores) for _, scores in selected.of(model).groupby("seed")]
    ratios = pd.concat([transfer.relative_ability(matrix.reindex_like(found.values), own) for matrix in seeds])
    by_source = ratios.groupby(level=0, sort=False)
    return Measured("relative", by_source.mean(), by_source.count())


def measured(selected: Selected, model: str, normalized: bool, options: Options) -> Measured:
    """What the table compares: Z where the task is normalized, else E (§3)."""
    return relative(selected, model, options.denominators, options) if normalized else abilities(selected, model)


def baselines(selected: Selected, model: str, options: Options) -> dict[str, str | None]:
    """Planned source -> what it is compared with."""
    named = options.baseline or selected.facts.baseline
    if options.baseline:
        named = rules.known_source(options.baseline, selected.sources)
    return {source: rules.baseline(source, selected.sources, named) for source in selected.planned[model]}


def best_baseline(source: str, over: Mapping[str, str | None], values: Mapping[str, float]) -> str | None:
    """Of the baselines under the budget of the source's own, that with the highest value, so that no lead is one over a weak baseline.

    `over`: source -> its own baseline; `values`: of the sources, NaN where there is none.
    """
    own = over[source]
    if own is None:
        return None
    total = transfer.source_of(own).total
    rivals = [name for name in dict.fromkeys((own, *over.values())) if name is not None and transfer.source_of(name).total == total]
    return next(iter(leaders({name: values.get(name, np.nan) for name in rivals})), own)


def notes(selected: Selected, normalized: bool, options: Options) -> tuple[str, ...]:
    """What the reader should know: why values are not normalized, what has no baseline, which trials are missing."""
    return tuple(dict.fromkeys((*_general(selected, normalized, options), *_missing(selected, normalized, options))))


def _general(selected: Selected, normalized: bool, options: Options) -> Iterator[str]:
    values = f"values are {selected.metric} and differences of it"
    if selected.facts.normalized is None and not normalized:
        lacking = ", ".join(_without_denominator(selected, options))
        yield f"task {selected.task} is not normalized, for not every model has a denominator of {lacking}: {values}"
    elif options.values == "relative" and not normalized:
        yield f"task {selected.task} is not normalized: {values}"
    homeless = [source for source in selected.sources if sum(transfer.at_home(source, target) for target in selected.facts.targets) != 1]
    if options.values == "gap" and homeless:
        yield f"no transfer gap of {', '.join(homeless)}: it is counted from the one target of a source's own language"
    for model in selected.models:
        alone = [source for source, over in baselines(selected, model, options).items() if over is None]
        if alone and _compares(options):
            yield f"no baseline for {', '.join(alone)}: no source is English; name one with --baseline"
    there = provenances(selected) if options.layout == "provenance" else tuple(PROVENANCES)
    yield from (
        f"no column {kind}: no source of {selected.task} was translated {by}" for kind, by in PROVENANCES.items() if kind not in there
    )


def _compares(options: Options) -> bool:
    return options.values in ("paper", "advantage", "common")


def _missing(selected: Selected, normalized: bool, options: Options) -> Iterator[str]:
    needs_ratio = normalized and options.values in ("paper", "relative", "advantage", "common")
    choices = provenances(selected) if options.layout == "provenance" else (options.denominators,)
    pairs = [(choice, *pair) for choice in choices if needs_ratio for pair in denominators(selected, choice).items()]
    for model in selected.models:
        name = f"{selected.task}.{model}"
        roles: dict[str, list[str]] = {}
        for choice in choices:
            alone = [target for of, target, source in pairs if of == choice and source is None]
            if alone:
                kind = f"{choice} source" if choice in PROVENANCES else "source"
                spoken, columns = ", ".join(map(transfer.language, alone)), f"column{'s' * (len(alone) > 1)} {', '.join(alone)}"
                yield f"missing: {name}: no {kind} in {spoken} is planned (denominator of {columns})"
        for _, target, source in pairs:
            if source is not None:
                roles.setdefault(source, []).append(f"denominator of column {target}")
        for over in dict.fromkeys(baselines(selected, model, options).values()) if _compares(options) else ():
            if over is not None:
                roles.setdefault(over, []).append("baseline")
        yield from _missing_of(selected, model, roles)
        yield from _without_ratio(selected, model, [pair for pair in pairs if options.seed_mean == "ratios"])


def _without_ratio(selected: Selected, model: str, pairs: Iterable[tuple[str | None, str, str | None]]) -> Iterator[str]:
    """The cells that have no ratio of equal seeds; `pairs`: the user's choice, a target, its denominator."""
    cells = selected.of(model).groupby(["target", "source"], sort=False)
    seeds = {(str(target), str(source)): frozenset(scores["seed"]) for (target, source), scores in cells}
    for target, denominator in dict.fromkeys((target, source) for _, target, source in pairs if source is not None):
        own = seeds.get((target, denominator), frozenset())
        apart = [source for (of, source), held in seeds.items() if of == target and own and own.isdisjoint(held)]
        if apart:
            who = f"{', '.join(apart)} on target {target}"
            yield f"missing: {selected.task}.{model}: no seed of {who} is one of {denominator}'s, the denominator there"


def _missing_of(selected: Selected, model: str, roles: Mapping[str, list[str]]) -> Iterator[str]:
    found, planned = selected.of(model), selected.planned[model]
    if found.empty:
        yield f"missing: {selected.task}.{model}: all {sum(map(len, planned.values()))} trials"
        return
    of_source = dict(iter(found[["source", "seed", "target"]].groupby("source", sort=False)))
    for source in dict.fromkeys((*planned, *roles)):
        name = f"missing: {selected.task}.{model}.{source}"
        role = f" ({'; '.join(dict.fromkeys(roles[source]))})" if source in roles else ""
        scores = of_source.get(source)
        if scores is None:
            yield f"{name}{role}{'' if source in planned else ', which is not planned'}"
            continue
        seeds, there, covered = planned[source], set(scores["seed"]), set(scores["target"])
        for seed in sorted(seeds - there):
            yield f"{name}.s{seed}{role}: {len(there)} of {len(seeds)} seeds are averaged"
        for target in selected.facts.targets:
            if target not in covered:
                yield f"{name} on target {target}"
