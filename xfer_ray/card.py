"""The card of a corpus folder: what it says of itself, whether that is what is asked for, and how a split joins it."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xfer_ray import corpora
from xfer_ray.core import Task
from xfer_ray.corpora import CorpusFolder
from xfer_ray.errors import DeclarationError
from xfer_ray.identity import Json
from xfer_ray.shard import Work, files
from xfer_ray.sources import Corpus, Examples
from xfer_ray.translation import translator
from xfer_ray.translation.fate import Fate
from xfer_ray.translation.projection import Rule

VERSIONED = {"checkpoint": ("sentencex", "torch", "transformers"), "ctranslate2": ("ctranslate2", "sentencex", "transformers")}
_SAME = ("task", "corpus", "origin", "translator", "projection")  # for all splits of a folder


def identity(task: Task, origin: Corpus, work: Work, fingerprint: str, rule: Rule) -> dict[str, Json]:
    """What of the card is the same for all splits; `fingerprint` names the weights, or the table, of the translator."""
    made_by = work.translator
    return {
        "task": work.folder.benchmark,
        "corpus": str(work.folder.corpus),
        "origin": str(origin),
        "translator": {
            "kind": made_by.kind,
            "name": made_by.name,
            "revision": made_by.revision,
            "fingerprint": fingerprint,
            "decoding": translator.decoding(made_by),
        },
        "projection": None if task.labels else {"max_distance": rule.max_distance, "max_share": rule.max_share},
        "versions": versions(work),
    }


def versions(work: Work) -> dict[str, Json]:
    """The versions of what decides a translation."""
    return {name: importlib.metadata.version(name) for name in ("xfer-ray", *VERSIONED.get(work.translator.kind, ()))}


def demand_same(folder: CorpusFolder, asked: Mapping[str, Json]) -> dict[str, Any]:
    """The card that is there, or an empty one; DeclarationError if it is that of another translation."""
    held = folder.card() or {}
    for name in _SAME if held else ():
        one, other = held.get(name), asked[name]
        if _unnamed(one) != _unnamed(other):
            raise DeclarationError(
                f"{folder.url} holds another translation: its {name} is {_differs(one, other)}, not {_differs(other, one)}; "
                f"give a --label to keep both, or delete the folder's {corpora.CARD} to make it anew, if no sweep has been trained on it"
            )
    return held


def made(folder: CorpusFolder, split: str, asked: Mapping[str, Json], origin: Examples) -> dict[str, Any] | None:
    """The card, if this very split is there, whole and as the card says; DeclarationError for another translation or origin."""
    held = demand_same(folder, asked)
    found = held.get("origin_fingerprint", {}).get(split)
    if found not in (None, origin.fingerprint):
        raise DeclarationError(
            f"{folder.url} was translated from another {split} of {asked['origin']}: "
            f"its fingerprint was {found} and is {origin.fingerprint}; "
            f"give a --label to keep both, or delete the folder's {corpora.CARD} to make it anew, if no sweep has been trained on it"
        )
    return held if found and corpora.is_sound(folder, split, held) else None


def joined(folder: CorpusFolder, asked: Mapping[str, Json], split: str, entry: Mapping[str, Json]) -> dict[str, Json]:
    """The card with this split in it, beside those that it has."""
    before = demand_same(folder, asked)
    return {**asked, **{name: {**before.get(name, {}), split: value} for name, value in entry.items()}}


def entry(origin: Examples, kept: Examples, fates: Sequence[Fate]) -> dict[str, Json]:
    """What the card says of one split."""
    return {
        "counts": len(kept),
        "fingerprint": kept.fingerprint,
        "origin_counts": len(origin),
        "origin_fingerprint": origin.fingerprint,
        "not_kept": dict(not_kept(fates)),
        "faults": dict(_faults(fates)),
    }


def licence(work: Work) -> str:
    """Under which licence the translator's weights are."""
    return translator.licence(work.translator, files(work.translator))


def not_kept(fates: Sequence[Fate]) -> Counter[str]:
    """How many examples are not kept, by the reason for which their first gold is not."""
    kept = {fate.id for fate in fates if fate.kept}
    return Counter(fate.reason for fate in fates if fate.id not in kept and fate.gold == 0)


def _faults(fates: Sequence[Fate]) -> Counter[str]:
    """How many examples have a suspicious text, by fault: looping, untranslated, and so on."""
    named = {(fate.id, fault.partition(":")[2]) for fate in fates for fault in fate.faults.split()}
    return Counter(sorted(fault for _, fault in named))


def counted(found: Mapping[str, int]) -> str:
    """3 distance, 2 empty."""
    return ", ".join(f"{number} {reason}" for reason, number in sorted(found.items()))


def summary(folder: CorpusFolder, split: str, card: Mapping[str, Any]) -> list[str]:
    """Lines for a person: where it is, what was kept, what is suspicious."""
    kept, all_ = card["counts"][split], card["origin_counts"][split]
    lost, faults = (counted(card[name][split]) for name in ("not_kept", "faults"))
    place = Path(folder.url)
    near = "://" not in folder.url and place.is_relative_to(Path.cwd())
    shown = str(place.relative_to(Path.cwd())) if near else folder.url
    return [
        f"{shown}: {split}, {kept} of {all_} kept" + (f" ({lost})" if lost else ""),
        *([f"  suspicious: {faults}; list them with: xfer-ray audit translation {shown} --split {split} --worst 10"] if faults else []),
    ]


def _unnamed(made_by: object) -> object:
    """What tells translators apart: the weights, and not where they lie."""
    return {key: value for key, value in made_by.items() if key != "name"} if isinstance(made_by, dict) else made_by


def _differs(one: object, other: object) -> str:
    """What of one value another does not have: "name=facebook/m2m100_418M, beams=4"."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return str(one)
    parts = [
        _differs(value, other.get(key)) if isinstance(value, dict) else f"{key}={value}"
        for key, value in one.items()
        if value != other.get(key)
    ]
    return ", ".join(part for part in parts if part)
