"""What predictions and examples show: outputs that are no answer, where two sources disagree, and defects of the data."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.report.facts import Defect, Disagreement, Finding, Illegal, Shown
from analysis.report.wording import named
from analysis.selection import Selected
from xfer_ray.planfile import Plan
from xfer_ray.results import Results, from_bytes, read_predictions, stems

EACH = 1  # examples of a cell that one source gets right, and that the other does
COLLAPSED = 0.99  # a model that answers so much alike on a target has learned nothing there


@dataclass(frozen=True)
class Seen:
    """What the predictions of one model show."""

    illegal: tuple[Illegal, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    notes: tuple[str, ...] = ()


NOTHING = Seen()


def predictions(results: Results, selected: Selected, model: str, found: Finding) -> Seen:
    """What the predictions of one model show; the disagreements are those of the lowest seed of each source."""
    there = stems(results, "predictions", ".parquet")
    trials = selected.of(model)[["source", "seed", "trial", "selection"]].drop_duplicates().sort_values(["source", "seed"])
    illegal: dict[str, Counter[tuple[str, str]]] = {}
    first: dict[str, tuple[int, pd.DataFrame]] = {}
    for source, seed, trial, selection in trials.itertuples(index=False, name=None):
        if trial not in there:
            continue
        frame = read_predictions(results, trial)
        frame = frame[frame["selection"] == selection]
        illegal.setdefault(source, Counter()).update(zip(frame["target"], frame["illegal"], strict=True))
        if source not in first and found.metric in frame:
            first[source] = seed, frame[["target", "example", "prediction", found.metric]]
    order = [source for source in found.values.index if source in illegal]
    texts = examples(results, selected.task, found.targets)
    lacking = [target for target in found.targets if target not in texts]
    notes = [f"no examples of {selected.task} on {', '.join(lacking)} are stored, so none are shown"] if lacking else []
    notes += _collapsed(found, {source: frame for source, (_, frame) in first.items()})
    return Seen(tuple(_illegal(found, s, illegal[s]) for s in order), tuple(_disagreements(found, first, texts)), tuple(notes))


def _illegal(found: Finding, source: str, counted: Mapping[tuple[str, str], int]) -> Illegal:
    kinds, n, bad = Counter[str](), Counter[str](), Counter[str]()
    for (target, kind), many in counted.items():
        n[target] += many
        if kind:
            kinds[kind] += many
            bad[target] += many
    worst = max(n, key=lambda target: bad[target] / n[target])
    return Illegal(found.task, found.model, source, sum(n.values()), dict(sorted(kinds.items())), worst, bad[worst] / n[worst])


def _collapsed(found: Finding, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """A note on the sources after which a model of labels answers nearly everything on some target alike."""
    alike = []
    for source, frame in frames.items() if found.metric == "accuracy" else ():
        shares = frame.groupby("target")["prediction"].agg(lambda given: given.value_counts(normalize=True).iloc[0])
        alike += [source] if (shares >= COLLAPSED).any() else []
    if not alike:
        return []
    return [f"{found.task}.{found.model} gives one answer to at least {COLLAPSED:.0%} of the examples of a target after {named(alike)}"]


# ------------------------------------------------------------------------------ where two sources disagree


def _disagreements(
    found: Finding, first: Mapping[str, tuple[int, pd.DataFrame]], texts: Mapping[str, pd.DataFrame]
) -> Iterator[Disagreement]:
    """Of every source and target. Examples are taken in the order of a hash of their id: neither picked nor always the first ones."""
    by_target = {
        source: {str(target): answers for target, answers in frame.set_index("example").groupby("target")}
        for source, (_, frame) in first.items()
    }
    pairs = [
        (source, over)
        for source, over in found.baselines.items()
        if over and over != source and {source, over} <= set(first) and first[source][0] == first[over][0]
    ]
    for target in found.targets:
        ids = {id_ for _, over in pairs for id_ in by_target[over].get(target, _NOTHING).index}
        order = sorted(ids, key=_hash)
        mine = {source: answers[target].reindex(order) for source, answers in by_target.items() if target in answers}
        for source, over in pairs:
            if source in mine and over in mine:
                yield _disagreement(found, (source, over, target, first[source][0]), mine[source], mine[over], texts.get(target, _NOTHING))


_NOTHING = pd.DataFrame()


def _disagreement(
    found: Finding, where: tuple[str, str, str, int], mine: pd.DataFrame, other: pd.DataFrame, texts: pd.DataFrame
) -> Disagreement:
    gain = mine[found.metric].to_numpy() - other[found.metric].to_numpy()
    ids, shown = np.array(mine.index, dtype=object), []
    for differing, gained in ((gain > 0, True), (gain < 0, False)):
        for id_ in itertools.islice((id_ for id_ in ids[differing] if id_ in texts.index), EACH):
            first, second = (str(texts.at[id_, text]) for text in ("first", "second"))
            prediction, over = (str(frame.at[id_, "prediction"]) for frame in (mine, other))
            golds = tuple(map(str, json.loads(str(texts.at[id_, "answers"]))))
            shown.append(Shown(id_, first, second, golds, prediction, over, gained))
    return Disagreement(found.task, found.model, *where, int((gain > 0).sum()), int((gain < 0).sum()), tuple(shown))


@functools.cache
def _hash(id_: str) -> str:
    return hashlib.sha256(id_.encode()).hexdigest()


def examples(results: Results, task: str, targets: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The examples of each target that are stored, by id: first, second, and answers, a JSON list."""
    there, found = stems(results, "examples", ".parquet"), {}
    for target in targets:
        path = results.table("examples", f"{task}.{target}")
        if f"{task}.{target}" in there:
            found[target] = from_bytes(results.storage.read(path), path).to_pandas().drop_duplicates("id").set_index("id")
    return found


# ------------------------------------------------------------------------------ defects


def defects(results: Results, plan: Plan, tasks: Sequence[str]) -> tuple[tuple[Defect, ...], int]:
    """What is wrong with the examples of each target, and how many targets were looked at; nothing is mended."""
    found: list[Defect] = []
    checked = 0
    for task in tasks:
        facts = plan.tasks[task]
        texts = examples(results, task, facts.targets)
        checked += len(texts)
        spans = "accuracy" not in facts.metrics
        for target, frame in texts.items():
            found += [Defect(task, target, what, n, len(frame)) for what, n in _counted(frame, spans=spans) if n]
        if facts.parallel:
            found += _unlike(task, texts, labels=not spans)
    return tuple(found), checked


def _counted(frame: pd.DataFrame, *, spans: bool) -> Iterator[tuple[str, int]]:
    first, second = frame["first"].str.strip(), frame["second"].str.strip()
    pairs = pd.Series(list(zip(first, second, strict=True)), index=frame.index)
    paired = bool((second != "").any())
    yield "an empty text", int(((first == "") | ((second == "") & paired)).sum())
    yield "two texts that are the same", int(((first == second) & (first != "")).sum())
    yield "a placeholder (NS) for a text", int(((first == "NS") | (second == "NS")).sum())
    yield "repeats an earlier pair", int(pairs.duplicated().sum())
    answers = frame.groupby(pairs)["answers"].nunique()
    yield "the same pair has another answer elsewhere", int(pairs.isin(answers.index[answers > 1]).sum())
    if spans:
        inside = [
            any(str(gold) in text for gold in json.loads(golds)) for text, golds in zip(frame["second"], frame["answers"], strict=True)
        ]
        yield "no answer that stands in the context", len(inside) - sum(inside)


def _unlike(task: str, texts: Mapping[str, pd.DataFrame], *, labels: bool) -> Iterator[Defect]:
    """In a parallel test set: examples that a target lacks, and labels that differ from most other targets'."""
    everything = set().union(*(frame.index for frame in texts.values())) if texts else set()
    answers = pd.DataFrame({target: frame["answers"] for target, frame in texts.items()})
    usual = answers.mode(axis=1)[0] if labels and len(texts) > 2 else None
    for target, frame in texts.items():
        if len(frame) < len(everything):
            yield Defect(task, target, "lacking, though other targets have it", len(everything) - len(frame), len(everything))
        differing = 0 if usual is None else int((frame["answers"] != usual.loc[frame.index]).sum())
        if differing:
            yield Defect(task, target, "a label that differs from most other targets'", differing, len(frame))
