"""What each example scored: the predictions of one model as arrays, laid side by side for resampling."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.selection import Selected
from xfer_ray.errors import DataError
from xfer_ray.results import Results, read_predictions, stems


@dataclass(frozen=True)
class Block:
    """Targets whose test sets hold the same items, so that an item is drawn for all of them at once.

    `scores`: source -> (seeds, items, targets of the block), fractions; NaN where a target has no such item, or a source no such target.
    """

    targets: tuple[str, ...]
    items: tuple[str, ...]
    scores: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Outcomes:
    """The scores of one model by example. `seeds`: of each source, in the order of its scores; a source without predictions is not there.

    One block where the test sets are parallel, else one for each target. Without any predictions an average stands for its examples
    (`of_seeds`): then all that is known is how seeds differ.
    """

    model: str
    targets: tuple[str, ...]
    seeds: Mapping[str, tuple[int, ...]]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    of_seeds: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """Those with predictions, in the plan's order."""
        return tuple(self.seeds)


def read(results: Results, selected: Selected, model: str) -> Outcomes | None:
    """What the trials behind a model's scores answered; where none left predictions, their scores; None where these are of single seeds.

    A source of which one trial lacks them is left out as a whole and named in the notes: its average would not be that of its scores.
    """
    metric, there = selected.metrics[model], stems(results, "predictions", ".parquet")
    rows = selected.of(model)[["source", "seed", "trial", "selection"]].drop_duplicates()
    frames: dict[tuple[str, int], pd.DataFrame] = {}
    lacking: dict[str, str] = {}
    for source, seed, trial, selection in sorted(rows.itertuples(index=False, name=None)):
        found = _of_trial(results, trial, selection, metric) if trial in there else None
        if found is None:
            lacking.setdefault(source, trial)
        else:
            frames[source, seed] = found
    seeds = {s: tuple(sorted(seed for source, seed in frames if source == s)) for s in selected.sources if s not in lacking}
    seeds = {source: held for source, held in seeds.items() if held}
    if not seeds:
        return _of_seeds(selected, model)
    held = {source: [frames[source, seed] for seed in of] for source, of in seeds.items()}
    together = [selected.facts.targets] if selected.facts.parallel else [(target,) for target in selected.facts.targets]
    notes = tuple(f"no intervals for {source}: {trial} left no predictions with {metric}" for source, trial in lacking.items())
    return Outcomes(model, selected.facts.targets, seeds, tuple(_block(targets, held) for targets in together), notes)


def _of_seeds(selected: Selected, model: str) -> Outcomes | None:
    """The scores of sources with several seeds, each as if of one item, so that nothing is known of examples."""
    scores, targets = selected.of(model), selected.facts.targets
    tables = {source: of.pivot(index="seed", columns="target", values="score") for source, of in scores.groupby("source")}
    several = {source: tables[source] for source in selected.sources if source in tables and len(tables[source]) > 1}
    if not several:
        return None
    items = {s: table.reindex(columns=list(targets)).to_numpy(dtype=float)[:, None, :] for s, table in several.items()}
    single = [str(source) for source in tables if source not in several]
    notes = [
        f"{model} left no predictions: intervals and marks tell of its seeds alone, on these very examples",
        *(f"no intervals for {', '.join(single)}: one seed and no predictions" for _ in single[:1]),
    ]
    seeds = {source: tuple(map(int, table.index)) for source, table in several.items()}
    return Outcomes(model, targets, seeds, (Block(targets, ("",), items),), tuple(notes), of_seeds=True)


def _of_trial(results: Results, trial: str, selection: str, metric: str) -> pd.DataFrame | None:
    """One column per target, one row per example, of the step that was scored; None where the predictions lack the metric."""
    found = read_predictions(results, trial, ("target", "selection", "example", metric))
    if metric not in found:
        return None
    found = found[found["selection"] == selection]
    if found.duplicated(["target", "example"]).any():
        raise DataError(f"the predictions of {trial} hold an example of a target more than once; `xfer-ray check` says more")
    return found.pivot(index="example", columns="target", values=metric)


def _block(targets: tuple[str, ...], held: Mapping[str, list[pd.DataFrame]]) -> Block:
    columns = list(targets)
    by_source = {source: [frame.reindex(columns=columns).dropna(how="all") for frame in frames] for source, frames in held.items()}
    items = _union([frame.index for frames in by_source.values() for frame in frames])
    scores = {
        source: np.stack([(frame if frame.index.equals(items) else frame.reindex(items)).to_numpy(dtype=float) for frame in frames])
        for source, frames in by_source.items()
    }
    return Block(targets, tuple(map(str, items)), scores)


def _union(indices: list[pd.Index]) -> pd.Index:
    first = indices[0]
    alike = all(index.equals(first) for index in indices)
    return first if alike else pd.Index(sorted(set().union(*map(set, indices))), name="example")
