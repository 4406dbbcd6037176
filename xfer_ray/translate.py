"""The command `translate`: a task's labeled corpus in another language, as an ordinary corpus folder. What run.py is to a sweep.

    examples -> distinct texts -> shards (shard.py, on Ray Data or here) -> examples again, their answers found -> folder, card

Shards that are there are not made again. The card is put last, so a folder that is half made counts for nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfer_ray import card, corpora, data, revisions
from xfer_ray.core import Task, is_commit
from xfer_ray.corpora import CorpusFolder
from xfer_ray.desk import Placement
from xfer_ray.errors import DataError, DeclarationError, XferRayError, demand
from xfer_ray.identity import Json, declaration
from xfer_ray.models import checkpoints
from xfer_ray.shard import Shard, Translating, Work, files, shards_of
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.storage import open_storage
from xfer_ray.tasks import spans
from xfer_ray.translation import assembly, opening, translator
from xfer_ray.translation.assembly import Memory, Route
from xfer_ray.translation.projection import Rule
from xfer_ray.translation.translator import Translation, Translator


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
        return self.work.translator.kind in card.VERSIONED

    @property
    def characters(self) -> int:
        """How much text is yet to be translated."""
        return sum(shard.characters for shard in self.missing)


# ------------------------------------------------------------------------------ plan


def job(task: Task, origin: Corpus, target: str, options: Options, scratch: Path) -> Job:
    """Read what is to be translated, and see what is missing; nothing is translated yet."""
    folder = _folder(task, origin, Corpus(target, "MT", dataclasses.replace(origin, label=""), options.label), options)
    declared = translator.translator_of(
        options.translator, source=origin.language, target=target, revision=options.revision, beams=options.beams
    )
    made_by, fingerprint = _pinned(declared)
    work = Work(folder, made_by, origin.language, target, scratch)
    opening.demand_languages(made_by, source=origin.language, target=target, folder=files(made_by))
    examples = _read(task, origin, options)
    identity = card.identity(task, origin, work, fingerprint, options.rule)
    held = card.made(folder, options.split, identity, examples)
    known: list[Json] = [fingerprint or declaration(made_by), translator.decoding(made_by), card.versions(work)]
    shards = tuple(shards_of(assembly.texts_of(examples, spans=not task.labels), work, known))
    there = corpora.shards_done(folder)
    missing = () if held else tuple(shard for shard in shards if shard.digest not in there)
    return Job(task, origin, options.split, examples, work, identity, shards, missing, held, options.rule)


def benchmark(task: Task) -> str:
    """What a task is called in the folders of translated corpora."""
    return getattr(task.load, "name", "") or getattr(task.load, "repository", "") or task.name


def _folder(task: Task, origin: Corpus, corpus: Corpus, options: Options) -> CorpusFolder:
    """Where the corpus goes; refused where a sweep would not look for it."""
    demand(corpus.language != origin.language, f"--to {corpus.language} is the language of {origin}; a translation goes to another one")
    demand(
        bool(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", options.split)),
        f"--split {options.split!r} is no name of a split, such as 'train' or 'test'",
    )
    reads: Callable[[Corpus, str], bool] | None = getattr(task.load, "reads_folder", None)
    if reads is None:
        raise DeclarationError(f"task {task.name} reads no translated folders; declare load=Translatable(load=..., name={task.name!r})")
    if not reads(corpus, options.split):
        raise DeclarationError(
            f"task {task.name} has a {corpus} of its own in {options.split!r}, so a sweep would not read yours; tell it apart by --label, "
            f"such as {corpus}~opus"
        )
    folder = CorpusFolder(open_storage(options.output), benchmark(task), corpus)
    folder.storage.preflight()
    return folder


def _read(task: Task, origin: Corpus, options: Options) -> Examples:
    """The whole corpus to translate, whatever the task then keeps of it; it is there, or the command that makes it is named."""
    given: dict[str, object] = {"shared_by": (), "translated": options.output}
    load = task.load
    if dataclasses.is_dataclass(load):
        load = dataclasses.replace(load, **{name: value for name, value in given.items() if hasattr(load, name)})
    whole, where = dataclasses.replace(task, load=load), f"{options.split} of {origin} in task {task.name}"
    missing: Callable[[Corpus, str], str] | None = getattr(load, "missing", None)
    reason = missing(origin, options.split) if missing else ""
    if reason:
        raise DataError(f"{where} cannot be read: {reason}")
    pinned = revisions.of_corpus(whole, origin, options.split)
    try:
        examples = data.examples_of(data.at_revision(whole, pinned), origin, options.split)
    except (XferRayError, OSError):
        raise
    except (Exception, SystemExit) as error:  # a load of one's own
        raise DataError(f"{where} cannot be read: {type(error).__name__}: {error}") from error
    for example in examples:
        wrong = _wrong(task, example)
        if wrong:
            raise DataError(f"{where}: example {example.id!r}: {wrong}")
    return examples


def _wrong(task: Task, example: Example) -> str:
    """What makes an example unfit to be translated, or ""."""
    if not isinstance(example.answers, tuple) or not all(isinstance(start, int) for start in example.starts):
        return f"its answers are {example.answers!r} and its starts {example.starts!r}; give a tuple of strings and one of integers"
    texts = (example.id, example.first, example.second, *example.answers)
    if not all(isinstance(text, str) for text in texts):
        return "its id, texts and answers are not all strings"
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        return "a text holds half of a surrogate pair, which UTF-8 cannot hold"
    if task.labels:
        legal = len(example.answers) == 1 and example.answers[0] in task.labels
        return "" if legal else f"it is labeled {example.answers!r}, and not one of {', '.join(task.labels)}"
    return spans.unfit(example) or spans.misaligned(example)


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
        raise DataError(f"translator {path} does not exist; give a file of translations, or the folder of a model")
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    found = hashlib.sha256()
    for file in files:
        found.update(b"" if path.is_file() else f"{file.name}\n".encode())
        with file.open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()[:40]


# ------------------------------------------------------------------------------ run


def pace(job: Job, placement: Placement) -> tuple[float, int]:
    """Characters a second that one worker translates, by a probe, and how many workers there will be."""
    texts = [text for shard in job.missing for text in shard.texts]
    if placement.in_process:
        return Translating(job.work).pace(texts), 1
    from xfer_ray.sweep import translating  # imports Ray

    workers = min(translating.room(placement), len(job.missing))
    return translating.pace(job.work, texts, placement), workers


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
    folder = job.work.folder
    route = Route(job.work.source, job.work.target, not job.task.labels, job.rule)
    kept, fates = assembly.assembled(job.examples, _memory(job), route)
    if not kept:
        raise DataError(
            f"nothing is left of {len(job.examples)} examples of {job.origin}: {card.counted(card.not_kept(fates))}; "
            f"see the shards in {folder.url}/shards"
        )
    card.demand_same(folder, job.identity)  # somebody else may have put one since
    corpora.put_split(folder, job.split, kept, fates)
    licences: dict[str, Json] = {"data": job.task.licence, "translator": card.licence(job.work)}
    entry = card.entry(job.examples, Examples(tuple(kept)), fates)
    told = {**card.joined(folder, job.identity, job.split, entry), "licence": licences}
    corpora.put_card(folder, told)
    return told


def _memory(job: Job) -> Memory:
    memory: dict[str, Translation] = {}
    for shard in job.shards:
        memory |= {
            row.text: Translation(row.translation, row.truncated) for row in corpora.read_shard(job.work.folder, shard.digest, shard.texts)
        }
    return memory
