"""Machine translations for a task of one's own: what its `load` does not hold is read from corpus folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from xfer_ray.sources import Corpus, Example, Load
from xfer_ray.tasks import folder


@dataclass(frozen=True, kw_only=True)
class Translatable:
    """A `load` with machine translations that `xfer-ray translate` makes.

    Corpora that are machine translations are read from `<translated>/<name>/<corpus>`, but for those in `own`, which `load`
    gives itself, as it gives all others.
    """

    load: Load
    name: str = field(metadata={"identity": False})
    own: tuple[Corpus, ...] = ()
    translated: str = field(default="translated", metadata={"identity": False})

    def __call__(self, corpus: Corpus, split: str) -> Iterable[Example]:
        """The examples of a corpus and split."""
        return folder.read(self.translated, self.name, corpus, split) if self.reads_folder(corpus, split) else self.load(corpus, split)

    def missing(self, corpus: Corpus, split: str) -> str:
        """Why a corpus and split cannot be read, or "": a folder that nobody has made yet, with the command that makes it."""
        task = f"FILE.py:{self.name}"  # only its author knows which file
        return folder.missing(self.translated, self.name, corpus, split, task) if self.reads_folder(corpus, split) else ""

    def reads_folder(self, corpus: Corpus, split: str) -> bool:
        """Whether a corpus is read from a translated folder, and not by `load`."""
        return corpus.provenance == "MT" and corpus not in self.own
