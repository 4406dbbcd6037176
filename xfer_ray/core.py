"""The nouns: what a sweep is made of. Frozen dataclasses, standard library only.

A mistake in a declaration is refused here, where the value is made, so that it costs no GPU hour:
`DeclarationError` says what was wrong, what was found, and what is possible.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from xfer_ray.errors import DataError, demand, is_count, one_each, unknown
from xfer_ray.identity import Json, declaration, digest
from xfer_ray.recipe import Pretraining, Recipe
from xfer_ray.sources import Corpus, Load, Mixture, Source, parse_source

Policy = Literal["keep", "drop-aligned"]


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SWEEP_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_REVISION = re.compile(r"[0-9a-f]{40}")
LONGEST_NAME = 200  # characters of a trial's name before its digest; file systems take 255 with what is added


def is_commit(revision: str) -> bool:
    """Whether this is a commit of 40 hex digits, and not a branch or a word such as `mirror`."""
    return bool(_REVISION.fullmatch(revision))


# ------------------------------------------------------------------------------ tasks


@dataclass(frozen=True, kw_only=True)
class Task:
    """A benchmark: its sources, targets, splits, labels, metrics, groups, and the function `load`.

    `load(corpus, split)` gives the examples; what it needs to know (repository, revision, policy) it carries. Without
    `labels` an answer is a span of the second text. `groups` names sets of target languages for averages (→All is always
    there). `denominators` names a source for each language whose choice would be ambiguous. `size` keeps that many
    training examples, the same ones in every source. `select_corpora` are the corpora of `select_split` where they are not
    the sources themselves, one per language. A text-to-text model reads the pair as `prompt` puts it and answers with one
    of `verbalizers`, in the order of the labels (default: the labels).
    """

    name: str
    sources: tuple[Corpus, ...]
    targets: tuple[Corpus, ...]
    load: Load
    labels: tuple[str, ...] = ()
    prompt: str = "first: {first} second: {second}"
    verbalizers: tuple[str, ...] = ()
    train_split: str = "train"
    select_split: str = "validation"
    select_corpora: tuple[Corpus, ...] = ()
    eval_split: str = "test"
    size: int | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    normalized: bool = True
    baseline: Corpus | None = None
    denominators: tuple[Corpus, ...] = ()
    parallel: bool = False
    licence: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        demand(bool(_NAME.fullmatch(self.name)), f"task name {self.name!r} has characters other than a-z 0-9 _ -, or over 64")
        one_each(f"sources of task {self.name}", self.sources)
        one_each(f"targets of task {self.name}", self.targets)
        one_each(f"metrics of task {self.name}", self.metrics)
        for kind in ("sources", "targets", "denominators", "select_corpora"):
            odd = [c for c in getattr(self, kind) if not isinstance(c, Corpus)]
            demand(not odd, f"{kind} of task {self.name} hold {odd[:1]}, which is not a Corpus; write Corpus.parse('de-MT-en')")
        self._demand_answers()
        for corpus in filter(None, (self.baseline, *self.denominators)):
            if corpus not in self.sources:
                raise unknown(f"source of task {self.name} for its baseline or denominators", str(corpus), map(str, self.sources))
        demand("All" not in self.groups, f"group All of task {self.name} is always there and holds every target; use another name")
        demand(self.size is None or is_count(self.size), f"size of task {self.name} is {self.size!r}; give a positive integer or None")
        demand(
            self.train_split != self.eval_split,
            f"task {self.name} would train and evaluate on the same split {self.train_split!r}",
        )
        languages = [target.language for target in self.targets]
        declaration(self.load)
        for group, members in self.groups.items():
            one_each(f"languages of group {group} of task {self.name}", members)
            for member in members:
                if member not in languages:
                    raise unknown(f"target language for group {group} of task {self.name}", member, languages)

    def _demand_answers(self) -> None:
        for kind in ("labels", "verbalizers", "select_corpora"):
            if getattr(self, kind):
                one_each(f"{kind} of task {self.name}", getattr(self, kind))
        demand(
            len(self.verbalizers) in (0, len(self.labels)),
            f"task {self.name} has {len(self.labels)} labels and {len(self.verbalizers)} verbalizers; give one for each label, or none",
        )
        demand(
            all(self.prompt.count(place) == 1 for place in ("{first}", "{second}")),
            f"prompt {self.prompt!r} of task {self.name} does not hold {{first}} and {{second}} once each",
        )
        odd_labels = [label for label in self.labels if not isinstance(label, str)]
        demand(
            not odd_labels and not isinstance(self.labels, str),
            f"labels of task {self.name} are {self.labels!r}; give a tuple of strings",
        )

    def select_corpus(self, source: Source) -> Source:
        """The corpus on which a model that is fine-tuned on `source` may choose its checkpoint: of the source's language.

        For a mixture, a mixture of those of its corpora, in the same shares and without a total.
        """
        if isinstance(source, Corpus):
            own = [corpus for corpus in self.select_corpora if corpus.language == source.language]
            return source if source in own or not own else own[0]
        chosen: Counter[Corpus] = Counter()
        for corpus, share in source.shares:
            for one in self.select_corpus(corpus).corpora:
                chosen[one] += share
        return Mixture(tuple(chosen.items())) if len(chosen) > 1 else next(iter(chosen))

    @property
    def revisions(self) -> dict[str, str | None]:
        """Declared data revision by repository, where `load` names a repository."""
        if hasattr(self.load, "revisions"):  # of several repositories
            return dict(self.load.revisions)
        repository = getattr(self.load, "repository", None)
        return {} if repository is None else {repository: getattr(self.load, "revision", None)}


# ------------------------------------------------------------------------------ models


FAMILIES = ("encoder", "text_to_text", "majority")
Layout = Literal["padded", "sorted", "packed", "recorded"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A pre-trained checkpoint, its family, and its Recipe.

    `checkpoint` is a hub id, a folder, or a Pretraining; `revision` a 40-hex commit where one is known. `family` is a name
    or a `fine_tune` function (contract.py). `gpus`, `micro_batch` and `layout` (models/batches.py; None: the fastest)
    say how it meets a device and change nothing that it predicts.
    """

    name: str
    recipe: Recipe
    family: str | Callable[..., object] = "encoder"
    checkpoint: str | Pretraining = ""
    revision: str | None = None
    gpus: float = 1.0
    micro_batch: int | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        demand(bool(_NAME.fullmatch(self.name)), f"model name {self.name!r} has characters other than a-z 0-9 _ -, or over 64")
        if isinstance(self.family, str) and self.family not in FAMILIES:
            raise unknown("model family", self.family, FAMILIES)
        demand(
            self.revision is None or is_commit(self.revision),
            f"revision {self.revision!r} of model {self.name} is not a commit of 40 hex digits; branches move, so give one or None",
        )
        demand(
            bool(self.checkpoint) or self.family not in ("encoder", "text_to_text"),
            f"model {self.name} has no checkpoint: give a hub id, a folder or a Pretraining",
        )
        demand(
            isinstance(self.gpus, int | float) and math.isfinite(self.gpus) and self.gpus >= 0,
            f"gpus of model {self.name} is {self.gpus!r}; give a fraction such as 0.5, or 0",
        )
        if self.layout not in (None, *get_args(Layout)):
            raise unknown(f"layout of model {self.name}", str(self.layout), get_args(Layout))
        declaration(self.family)
        micro, batch = self.micro_batch, self.recipe.batch_size
        divisors = ", ".join(str(d) for d in range(1, (batch or 0) + 1) if batch and batch % d == 0) or "any"
        demand(
            micro is None or (is_count(micro) and (batch is None or batch % micro == 0)),
            f"batch_size {batch} of model {self.name} is not divisible by its micro_batch {micro!r}; possible: {divisors}",
        )


# ------------------------------------------------------------------------------ sweeps


@dataclass(frozen=True)
class Trial:
    """One fine-tuning run: task x model x source x seed."""

    task: Task
    model: Model
    source: Source
    seed: int

    def __post_init__(self) -> None:
        for corpus in self.source.corpora:
            if corpus not in self.task.sources:
                raise unknown(f"source of task {self.task.name}", str(corpus), map(str, self.task.sources))
        demand(is_count(self.seed, 0) and self.seed < 2**63, f"seed is {self.seed!r}; give an integer from 0 to 2^63-1")
        self._demand_fit()
        length = len(f"{self.task.name}.{self.model.name}.{self.source}.s{self.seed}")
        demand(
            length <= LONGEST_NAME,
            f"the name of a trial on {self.source} has {length} characters; shorter labels or names keep it to {LONGEST_NAME}",
        )

    def _demand_fit(self) -> None:
        recipe, size = self.model.recipe, self.task.size
        demand(
            size is None or isinstance(self.source, Corpus) or (self.source.total or math.inf) <= size,
            f"mixture {self.source} needs a total of at most {size}, for task {self.task.name} keeps that many examples of each corpus",
        )
        demand(
            recipe.select_every is None or self.task.select_split != self.task.eval_split,
            f"task {self.task.name} is evaluated on {self.task.eval_split!r}, so model {self.model.name} may not choose its step there; "
            "declare select_every=None, which keeps the last one, or another select_split",
        )
        room = recipe.max_length - recipe.max_query_length - 4  # a window: question, context, and up to four special tokens
        demand(
            bool(self.task.labels) or self.model.family != "encoder" or recipe.doc_stride <= room,
            f"task {self.task.name} slides windows over its contexts, and max_length {recipe.max_length} of model {self.model.name} leaves "
            f"{room} tokens beside a question of {recipe.max_query_length}, less than the doc_stride of {recipe.doc_stride}; "
            "a recipe such as PAPER_QA has max_length=384",
        )

    @functools.cached_property
    def digest(self) -> str:
        """12 hex digits over everything declared that can change the predictions."""
        task, model = self.task, self.model
        return digest(
            self._choosing
            | self._wording
            | {
                "load": declaration(task.load),
                "splits": [task.train_split, task.select_split, task.eval_split],
                "size": task.size,
                "labels": list(task.labels),
                "targets": [str(target) for target in task.targets],
                "family": declaration(model.family),
                "checkpoint": declaration(model.checkpoint),
                "revision": model.revision,
                "recipe": declaration(model.recipe),
                "source": str(self.source),
                "seed": self.seed,
            }
        )

    @property
    def reads(self) -> tuple[tuple[Corpus, str], ...]:
        """Every corpus and split that is read: of the source, of each target, and to choose a checkpoint on."""
        task = self.task
        read: list[tuple[Source, str]] = [(self.source, task.train_split), *((target, task.eval_split) for target in task.targets)]
        if self.model.recipe.select_every is not None:
            read.append((task.select_corpus(self.source), task.select_split))
        return tuple((corpus, split) for source, split in read for corpus in source.corpora)

    @property
    def _choosing(self) -> dict[str, Json]:
        """On what the checkpoint is chosen, where one is."""
        corpus = self.task.select_corpus(self.source)
        return {} if self.model.recipe.select_every is None or corpus == self.source else {"select_corpus": str(corpus)}

    @property
    def _wording(self) -> dict[str, Json]:
        """How a pair is put in words, where the model reads it so."""
        if self.model.family in ("encoder", "majority"):
            return {}
        chosen = {f.name: getattr(self.task, f.name) for f in dataclasses.fields(Task) if f.name in ("prompt", "verbalizers")}
        return {name: declaration(value) for name, value in chosen.items() if value != Task.__dataclass_fields__[name].default}

    @functools.cached_property
    def id(self) -> str:
        """The readable name of this trial and of its files."""
        return f"{self.task.name}.{self.model.name}.{self.source}.s{self.seed}-{self.digest}"


@dataclass(frozen=True, kw_only=True)
class Score:
    """E(M^S, T): one metric of one trial on one target, a fraction. A row of the scores table, in column order."""

    sweep: str
    task: str
    model: str
    source: str
    target: str
    split: str
    metric: str
    seed: int
    score: float
    n: int
    selection: str = "last"
    step: int = 0
    trial: str
    digest: str
    metric_version: str = ""
    checkpoint: str = ""
    checkpoint_revision: str = ""
    data_revision: str = ""
    data_fingerprint: str = ""
    recipe: str = ""
    versions: str = ""
    micro_batch: int = 0
    device: str = ""
    host: str = ""
    started: datetime
    finished: datetime
    train_seconds: float = 0.0
    eval_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:  # also refuses NaN
            raise DataError(f"score {self.score} of {self.trial} on {self.target} ({self.metric}) is not a fraction in [0, 1]")


def demand_sweep_name(name: str) -> None:
    """Refuse a name that cannot be the folder of a sweep in a storage."""
    demand(
        bool(_SWEEP_NAME.fullmatch(name)) and ".." not in name and not name.endswith("."),
        f"sweep name {name!r} names a folder: 1 to 64 of A-Z a-z 0-9 . _ -, not starting or ending with a dot",
    )
    taken = {"pretrained": "checkpoints that sweeps make", "tokens": "tokenized corpora"}
    demand(name not in taken, f"sweep name {name!r} is taken: {taken.get(name)} lie in that folder; give another name")


_ANY_RECIPE = Recipe(learning_rate=0.5, batch_size=1, steps=1)


@dataclass(frozen=True)
class Sweep:
    """A name and a tuple of trials."""

    name: str
    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        demand_sweep_name(self.name)
        demand(len(self.trials) > 0, f"sweep {self.name} has no trials")
        seen: set[tuple[str, str, Source, int]] = set()
        named: dict[tuple[str, ...], Task | Model] = {}
        for trial in self.trials:
            task, model = trial.task, trial.model
            same_task = named.setdefault(("task", task.name), task) == task
            # A model is one checkpoint; its recipe, and what depends on it, may differ from task to task.
            bare = dataclasses.replace(model, recipe=_ANY_RECIPE, micro_batch=None)
            same_model = named.setdefault(("model", model.name), bare) == bare and named.setdefault((task.name, model.name), model) == model
            for kind, name, alike in (("task", task.name, same_task), ("model", model.name, same_model)):
                demand(alike, f"sweep {self.name} holds two different {kind}s named {name}; what differs takes another name")
            key = (trial.task.name, trial.model.name, trial.source, trial.seed)
            demand(
                key not in seen,
                f"sweep {self.name} declares task {key[0]}, model {key[1]}, source {key[2]}, seed {key[3]} more than once; "
                "another recipe, split or size takes another name",
            )
            seen.add(key)


def grid(
    *, tasks: Iterable[Task], models: Iterable[Model], sources: Iterable[str | Source] | None = None, seeds: Iterable[int] = (0,)
) -> tuple[Trial, ...]:
    """Every task x model x source x seed; `sources` defaults to all sources of each task, one at a time."""
    tasks, models, seeds = tuple(tasks), tuple(models), tuple(seeds)
    chosen = None if sources is None else tuple(parse_source(s) if isinstance(s, str) else s for s in sources)
    one_each("tasks", [task.name for task in tasks])
    one_each("models", [model.name for model in models])
    one_each("seeds", seeds)
    if chosen is not None:
        one_each("sources", chosen)
    return tuple(
        Trial(task, model, source, seed) for task in tasks for model in models for source in (chosen or task.sources) for seed in seeds
    )
