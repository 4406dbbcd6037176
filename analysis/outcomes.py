"""What each example scored: the predictions of one model as arrays, laid side by side for resampling."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import transfer
from analysis.selection import Selected
from xfer_ray.errors import DataError
from xfer_ray.results import Results, read_predictions, stems

FEWEST = 10  # examples of a target: of one, no resample differs from another, and all that differs would be significant
SAME = 1e-6  # a score and the mean of its predictions differ by rounding alone


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
    frames, lacking = _answers(results, selected, model)
    seeds = {s: tuple(sorted(seed for source, seed in frames if source == s)) for s in selected.sources if s not in lacking}
    seeds = {source: held for source, held in seeds.items() if held}
    if not seeds:
        return _of_seeds(selected, model)
    held = {source: [frames[source, seed] for seed in of] for source, of in seeds.items()}
    together = [selected.facts.targets] if selected.facts.parallel else [(target,) for target in selected.facts.targets]
    blocks = tuple(_block(targets, held) for targets in together)
    few = ", ".join(target for block in blocks if len(block.items) < FEWEST for target in block.targets)
    notes = [f"no intervals for {source}: {trial} left no predictions with {selected.metrics[model]}" for source, trial in lacking.items()]
    notes += [f"no intervals on {few}: fewer than {FEWEST} examples are too few to be drawn anew"] * bool(few)
    blocks = tuple(_untold(block) if len(block.items) < FEWEST else block for block in blocks)
    return Outcomes(model, selected.facts.targets, seeds, blocks, (*notes, *_uneven(selected, model, seeds)))


def _answers(results: Results, selected: Selected, model: str) -> tuple[dict[tuple[str, int], pd.DataFrame], dict[str, str]]:
    """What each trial answered, by source and seed; and by source a trial that left no predictions with the metric."""
    mine, there = selected.of(model), stems(results, "predictions", ".parquet")
    rows = sorted(mine[["source", "seed", "trial", "selection"]].drop_duplicates().itertuples(index=False, name=None))
    metric = selected.metrics[model]
    with ThreadPoolExecutor() as pool:  # a bucket answers after a while
        tables = list(pool.map(lambda row: _of_trial(results, row[2], row[3], metric) if row[2] in there else None, rows))
    frames: dict[tuple[str, int], pd.DataFrame] = {}
    lacking: dict[str, str] = {}
    for (source, seed, trial, _), found in zip(rows, tables, strict=True):
        if found is None:
            lacking.setdefault(source, trial)
        else:
            _refuse_others(found, trial, mine[mine["trial"] == trial].set_index("target"))
            frames[source, seed] = found
    return frames, lacking


def _untold(block: Block) -> Block:
    """The block as if nobody had answered."""
    return Block(block.targets, block.items, {source: np.full_like(scores, np.nan) for source, scores in block.scores.items()})


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
    notes += _uneven(selected, model, seeds)
    return Outcomes(model, targets, seeds, (Block(targets, ("",), items),), tuple(notes), of_seeds=True)


def _uneven(selected: Selected, model: str, seeds: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """A note on each source of which some seeds, and not all, scored a target: what its seeds vary by there is not known."""
    runs = transfer.runs(selected.of(model)).reindex(columns=list(selected.facts.targets), fill_value=0)
    for source, held in seeds.items():
        few = [target for target, many in runs.loc[source].items() if 0 < many < len(held)]
        if few:
            yield f"no intervals for {source} on {', '.join(map(str, few))}: not all of its seeds have a score there"


def _of_trial(results: Results, trial: str, selection: str, metric: str) -> pd.DataFrame | None:
    """One column per target, one row per example, of the step that was scored; None where the predictions lack the metric."""
    found = read_predictions(results, trial, ("target", "selection", "example", metric))
    if metric not in found:
        return None
    if not {"target", "selection", "example"} <= {*found} or not pd.api.types.is_float_dtype(found[metric]) or found.isna().any(axis=None):
        raise DataError(f"the predictions of {trial} do not have the columns of predictions; `xfer-ray check` says more")
    found = found[found["selection"] == selection]
    if found.duplicated(["target", "example"]).any():
        raise DataError(f"the predictions of {trial} hold an example of a target more than once; `xfer-ray check` says more")
    return found.pivot(index="example", columns="target", values=metric)


def _refuse_others(found: pd.DataFrame, trial: str, scores: pd.DataFrame) -> None:
    """Refuse answers that are not those that were scored: their intervals would stand beside the scores as if they were theirs."""
    for target, number, score in zip(map(str, scores.index), scores["n"], scores["score"], strict=True):
        there = found[target].dropna() if target in found else pd.Series(dtype=float)
        if (number and len(there) != number) or not abs(there.mean() - score) <= SAME:
            raise DataError(
                f"the predictions of {trial} on {target} are not those that its score sums up: {len(there)} of mean {there.mean():.4f}, "
                f"not {number} of {score:.4f}; `xfer-ray check --repair` moves both away, and the next run does it again"
            )


def _block(targets: tuple[str, ...], held: Mapping[str, list[pd.DataFrame]]) -> Block:
    columns = list(targets)
    by_source = {source: [frame.reindex(columns=columns).dropna(how="all") for frame in frames] for source, frames in held.items()}
    items = _union([frame.index for frames in by_source.values() for frame in frames])
    scores = {
        source: np.stack([(frame if frame.index.equals(items) else frame.reindex(items)).to_numpy(dtype=float) for frame in frames])
        for source, frames in by_source.items()
    }
    _refuse_unpaired(targets, scores)
    return Block(targets, tuple(map(str, items)), scores)


def _refuse_unpaired(targets: tuple[str, ...], scores: Mapping[str, NDArray[np.float64]]) -> None:
    """Refuse sources that answered different examples of a target: nothing would cancel between them."""
    asked: dict[str, tuple[str, NDArray[np.bool_]]] = {}
    for source, found in scores.items():
        answered = ~np.isnan(found.sum(axis=0))  # (items x targets), by every seed
        for target, there in zip(targets, answered.T, strict=True):
            other, theirs = asked.setdefault(target, (source, there)) if there.any() else (source, there)
            if (there != theirs).any():
                raise DataError(f"{other} and {source} answered different examples of {target}; `xfer-ray check` says more")


def _union(indices: list[pd.Index]) -> pd.Index:
    first = indices[0]
    alike = all(index.equals(first) for index in indices)
    return first if alike else pd.Index(sorted(set().union(*map(set, indices))), name="example")
