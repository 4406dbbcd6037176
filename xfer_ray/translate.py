"""The command `translate`: a task's labeled corpus in another language, as an ordinary corpus folder. What run.py is to a sweep.

    examples -> distinct texts -> shards (shard.py, on Ray Data or here) -> examples again, their answers found -> folder, card

Shards that are there are not made again. The card is put last, so a folder that is half made counts for nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfer_ray import corpora, data, revisions
from xfer_ray.core import Corpus, Examples, Task, is_commit
from xfer_ray.corpora import CorpusFolder
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.identity import Json
from xfer_ray.models import checkpoints
from xfer_ray.shard import Shard, Translating, Work, shards_of
from xfer_ray.storage import open_storage
from xfer_ray.translation import assembly, translator
from xfer_ray.translation.assembly import Memory, Route
from xfer_ray.translation.fate import Fate
from xfer_ray.translation.projection import Rule
from xfer_ray.translation.translator import Translation, Translator
from xfer_ray.trial import Placement

VERSIONED = {"checkpoint": ("sentencex", "torch", "transformers"), "ctranslate2": ("ctranslate2", "sentencex", "transformers")}


@dataclass(frozen=True)
class Options:
    """What is asked for: of which split, by which translator, under which label, where to, and when an answer counts as found."""

    split: str
    translator: str
    output: str = "translated"
    label: str = ""
    revision: str | None = None
    beams: int = 4
    rule: Rule = dataclasses.field(default_factory=Rule)


@dataclass(frozen=True)
class Job:
    """One corpus and split to translate: what there is, what it takes, and what is missing."""

    task: Task
    origin: Corpus
    split: str
    examples: Examples
    work: Work
    identity: dict[str, Json]
    shards: tuple[Shard, ...]
    missing: tuple[Shard, ...]
    card: dict[str, Any] | None  # of the folder, if this split is there already
    rule: Rule

    @property
    def name(self) -> str:
        """What is translated: `xnli test en-O -> de-MT-en`."""
        return f"{self.work.folder.benchmark} {self.split} {self.origin} -> {self.work.folder.corpus}"

    @property
    def is_neural(self) -> bool:
        """Whether a model translates, which takes time and workers, and not a table or a dictionary."""
        return self.work.translator.kind in VERSIONED

    @property
    def characters(self) -> int:
        """How much text is yet to be translated."""
        return sum(shard.characters for shard in self.missing)


# ------------------------------------------------------------------------------ plan


def job(task: Task, origin: Corpus, target: str, options: Options, scratch: Path) -> Job:
    """Read what is to be translated, and see what is missing; nothing is translated yet."""
    corpus = Corpus(target, "MT", dataclasses.replace(origin, label=""), options.label)
    if target == origin.language:
        raise DeclarationError(f"--to {target} is the language of {origin}; a translation goes to another one")
    folder = CorpusFolder(open_storage(options.output), benchmark(task), corpus)
    folder.storage.preflight()
    pinned = revisions.of_corpus(task, origin, options.split)
    examples = _read(task, origin, options.split, pinned)
    made_by, fingerprint = _pinned(translator.translator_of(
        options.translator, source=origin.language, target=target, revision=options.revision, beams=options.beams
    ))  # fmt: skip
    work = Work(folder, made_by, origin.language, target, scratch)
    identity = _identity(task, origin, work, fingerprint, options.rule)
    shards = tuple(shards_of(assembly.texts_of(examples, spans=not task.labels), work, fingerprint))
    made = corpora.shards_done(folder)
    card = _made(folder, options.split, identity, examples.fingerprint)
    missing = () if card else tuple(shard for shard in shards if shard.digest not in made)
    return Job(task, origin, options.split, examples, work, identity, shards, missing, card, options.rule)


def benchmark(task: Task) -> str:
    """What a task is called in the folders of translated corpora."""
    return getattr(task.load, "name", "") or getattr(task.load, "repository", "") or task.name


def _read(task: Task, origin: Corpus, split: str, pinned: dict[str, str]) -> Examples:
    """The whole corpus to translate, whatever the task then keeps of it; it is there, or the command that makes it is named."""
    whole = task
    if getattr(task.load, "shared_by", ()):
        whole = dataclasses.replace(task, load=dataclasses.replace(task.load, shared_by=()))  # type: ignore[type-var]
    missing: Callable[[Corpus, str], str] | None = getattr(whole.load, "missing", None)
    reason = missing(origin, split) if missing else ""
    if reason:
        raise DataError(f"{split} of {origin} in task {task.name} cannot be read: {reason}")
    return data.examples_of(data.at_revision(whole, pinned), origin, split)


def _pinned(declared: Translator) -> tuple[Translator, str]:
    """The translator at a commit, and a name for what it knows: that commit, or a hash over its file or the files of its folder."""
    if declared.kind == "dictionary":
        return declared, ""
    if declared.kind == "checkpoint":
        revision = checkpoints.resolve(declared.name, declared.revision)
        if is_commit(revision):
            return dataclasses.replace(declared, revision=revision), revision
        return declared, _hash(Path(checkpoints.locate(declared.name)))
    return declared, _hash(Path(declared.name))


def _hash(path: Path) -> str:
    """40 hex digits over the names and contents of a file, or of the files of a folder."""
    if not path.exists():
        raise DataError(f"translator {path} does not exist; give a file with the columns source and translation, or a folder")
    found = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")):
        found.update(f"{file.name}\n".encode())
        with file.open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()[:40]


def _identity(task: Task, origin: Corpus, work: Work, fingerprint: str, rule: Rule) -> dict[str, Json]:
    """What of the card must be the same for all splits of a folder."""
    made_by, kind = work.translator, work.translator.kind
    versions = {name: importlib.metadata.version(name) for name in ("xfer-ray", *VERSIONED.get(kind, ()))}
    return {
        "task": work.folder.benchmark,
        "corpus": str(work.folder.corpus),
        "origin": str(origin),
        "translator": {
            "kind": kind,
            "name": made_by.name,
            "revision": made_by.revision,
            "fingerprint": fingerprint,
            "decoding": translator.decoding(made_by),
        },
        "projection": None if task.labels else {"max_distance": rule.max_distance, "max_share": rule.max_share},
        "versions": {**versions},
    }


def _made(folder: CorpusFolder, split: str, identity: dict[str, Json], fingerprint: str) -> dict[str, Any] | None:
    """The card, if this very split is there; DeclarationError if the folder holds another translation."""
    card = folder.card()
    if card is None:
        return None
    for name in ("translator", "projection", "origin", "task"):
        held, asked = card.get(name), identity[name]
        if _unnamed(held) != _unnamed(asked):
            raise DeclarationError(
                f"{folder.url} holds another translation: its {name} is {_differs(held, asked)}, not {_differs(asked, held)}; "
                f"give a --label to keep both, or delete its {corpora.CARD} to make it anew"
            )
    found = card.get("origin_fingerprint", {}).get(split)
    if found not in (None, fingerprint):
        raise DeclarationError(
            f"{folder.url} was translated from another {split} of {identity['origin']}: its fingerprint was {found} and is {fingerprint}; "
            f"give a --label to keep both, or delete its {corpora.CARD} to make it anew"
        )
    return card if found else None


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


# ------------------------------------------------------------------------------ run


def pace(job: Job, placement: Placement) -> tuple[float, int]:
    """Characters a second that one worker translates, by a probe, and how many workers there will be."""
    texts = [text for shard in job.missing for text in shard.texts]
    if placement.in_process:
        return Translating(job.work).pace(texts), 1
    from xfer_ray.sweep import translating  # imports Ray

    return translating.pace(job.work, texts, placement), min(translating.room(placement), len(job.missing))


def translate(job: Job, placement: Placement, watch: Callable[[int], None]) -> None:
    """Translate the shards that are missing; `watch` hears of the characters of each one that is there."""
    if not job.missing:
        return
    if job.is_neural and not placement.in_process:
        from xfer_ray.sweep import translating  # imports Ray

        translating.translate(job.missing, job.work, placement, watch)
        return
    worker = Translating(job.work)
    if job.work.translator.kind == "file":
        worker.look_up([text for shard in job.missing for text in shard.texts])
    for shard in job.missing:
        worker(shard)
        watch(shard.characters)


def assemble(job: Job) -> dict[str, Json]:
    """Put the corpus and its audit from the shards, then the card; returns what the card says."""
    folder, spans = job.work.folder, not job.task.labels
    route = Route(job.work.source, job.work.target, spans, job.rule)
    kept, fates = assembly.assembled(job.examples, _memory(job), route)
    if not kept:
        raise DataError(
            f"nothing is left of {len(job.examples)} examples of {job.origin}: {_counted(_not_kept(fates)) or 'no text was translated'}; "
            f"see the shards in {folder.url}/shards"
        )
    corpora.put_split(folder, job.split, kept, fates)
    told = _card(job, Examples(tuple(kept)), fates)
    corpora.put_card(folder, told)
    return told


def _memory(job: Job) -> Memory:
    memory: dict[str, Translation] = {}
    for shard in job.shards:
        columns = corpora.read_shard(job.work.folder, shard.digest)
        for text, translated, truncated in zip(columns["text"], columns["translation"], columns["truncated"], strict=True):
            memory[text] = Translation(text=translated, truncated=truncated)
    return memory


def _card(job: Job, kept: Examples, fates: Sequence[Fate]) -> dict[str, Json]:
    """The card with this split in it, beside those that it has."""
    folder = job.work.folder
    before: dict[str, Any] = folder.card() or {}
    by_split: dict[str, Json] = {
        "counts": len(kept),
        "fingerprint": kept.fingerprint,
        "origin_counts": len(job.examples),
        "origin_fingerprint": job.examples.fingerprint,
        "not_kept": dict(_not_kept(fates)),
        "faults": dict(_faults(fates)),
    }
    licences: dict[str, Json] = {"data": job.task.licence, "translator": licence(job.work)}
    merged = {name: {**before.get(name, {}), job.split: value} for name, value in by_split.items()}
    return {**job.identity, "licence": licences, **merged}


def licence(work: Work) -> str:
    """Under which licence the translator's weights are."""
    folder = None
    if work.translator.kind == "checkpoint":
        folder = checkpoints.fetched(work.translator.name, work.translator.revision)
    elif work.translator.kind == "ctranslate2":
        folder = Path(work.translator.name)
    return translator.licence(work.translator, folder)


def _not_kept(fates: Sequence[Fate]) -> Counter[str]:
    """How many examples are not kept, by the reason for which their first gold is not."""
    kept = {fate.id for fate in fates if fate.kept}
    return Counter(fate.reason for fate in fates if fate.id not in kept and fate.gold == 0)


def _faults(fates: Sequence[Fate]) -> Counter[str]:
    """How many examples have a suspicious text, by fault: looping, untranslated, and so on."""
    named = {(fate.id, fault.partition(":")[2]) for fate in fates for fault in fate.faults.split()}
    return Counter(sorted(fault for _, fault in named))


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(found.items()))


def summary(job: Job, told: dict[str, Json]) -> list[str]:
    """Lines for a person: where it is, what was kept, what is suspicious."""
    card: dict[str, Any] = told
    kept, all_ = card["counts"][job.split], card["origin_counts"][job.split]
    lost, faults = (_counted(Counter(card[name][job.split])) for name in ("not_kept", "faults"))
    place = Path(job.work.folder.url)
    shown = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
    return [
        f"{shown}: {job.split}, {kept} of {all_} kept" + (f" ({lost})" if lost else ""),
        *([f"  suspicious: {faults}; list them with: xfer-ray audit translation {shown} --split {job.split} --worst 10"] if faults else []),
    ]
