"""One shard of a translation from start to finish: texts in, `shards/<digest>.parquet` out. What trial.py is to a sweep.

It needs no Ray: sweep/translating.py calls `Translating` on warm workers, translate.py calls it in process.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xfer_ray import corpora
from xfer_ray.corpora import CorpusFolder, Translated
from xfer_ray.identity import Json, digest
from xfer_ray.models import checkpoints
from xfer_ray.translation.opening import open_translator
from xfer_ray.translation.translator import Translate, Translator, translated

SHARD_CHARACTERS = 20_000  # of text: seconds on a GPU, a minute or two on a CPU
PROBES, PROBE_SECONDS = (4, 16, 64), 5.0  # texts of each length that are translated for an estimate, until it takes so long


@dataclass(frozen=True)
class Shard:
    """Texts that are translated together; the digest is over them and everything declared that can change their translations."""

    digest: str
    texts: tuple[str, ...]

    @property
    def characters(self) -> int:
        """How much text this is."""
        return sum(map(len, self.texts))


@dataclass(frozen=True)
class Work:
    """What a worker must know: by what, from which language to which, and where the shards go."""

    folder: CorpusFolder
    translator: Translator
    source: str
    target: str
    scratch: Path


def shards_of(texts: Sequence[str], work: Work, known: Json) -> list[Shard]:
    """The texts in shards, short ones first, so that texts of one length meet; `known` says by what they are translated.

    The same texts make the same shards whatever was done before, so that a translation that was stopped goes on to the same end.
    """
    cut: list[list[str]] = []
    room = 0
    for text in sorted(texts, key=lambda text: (len(text), text)):
        if room < len(text):
            cut.append([])
            room = SHARD_CHARACTERS
        cut[-1].append(text)
        room -= len(text)
    named = [known, work.source, work.target]
    return [Shard(digest([*named, list(some)]), tuple(some)) for some in cut]


def files(made_by: Translator) -> Path | None:
    """The folder of a translator's files on this machine, where it has one."""
    if made_by.kind == "checkpoint":
        return checkpoints.fetched(made_by.name, made_by.revision)
    return Path(made_by.name) if made_by.kind == "ctranslate2" else None


def opened(work: Work) -> Translate:
    """The translator, loaded; pickled weights are converted first."""
    made_by = work.translator
    is_checkpoint = made_by.kind == "checkpoint"
    folder = checkpoints.loadable(made_by.name, made_by.revision, work.scratch) if is_checkpoint else files(made_by)
    return open_translator(made_by, source=work.source, target=work.target, folder=folder)


class Translating:
    """A warm worker: one shard after another, by a translator that is loaded once."""

    def __init__(self, work: Work) -> None:
        self._work, self._translate = work, opened(work)

    def __call__(self, shard: Shard) -> None:
        """Translate and put the whole shard."""
        found = translated(self._translate, shard.texts)
        rows = [Translated(text, one.text, one.truncated) for text, one in zip(shard.texts, found, strict=True)]
        corpora.put_shard(self._work.folder, shard.digest, rows)

    def look_up(self, texts: Sequence[str]) -> None:
        """Translate and put nothing: what a table lacks is said of all texts at once."""
        translated(self._translate, texts)

    def pace(self, texts: Sequence[str]) -> float:
        """Characters that this worker translates in a second, by a probe of short, middling and long texts.

        Neighbors in length, since texts of one length are translated side by side: few, or more where that is fast.
        """
        ordered = sorted(texts, key=len)
        translated(self._translate, ordered[:1])  # the first one also warms up
        for count in PROBES:
            starts = [int(share * max(0, len(ordered) - count)) for share in (0.2, 0.5, 0.8)]
            probe = list(dict.fromkeys(text for start in starts for text in ordered[start : start + count]))
            started = time.perf_counter()
            translated(self._translate, probe)
            seconds = max(1e-9, time.perf_counter() - started)
            if seconds > PROBE_SECONDS or len(probe) == len(ordered):
                break
        return sum(map(len, probe)) / seconds
