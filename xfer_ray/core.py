"""The nouns: what a sweep is made of. Frozen dataclasses, standard library only.

A mistake in a declaration is refused here, where the value is made, so that it costs no GPU hour:
`DeclarationError` says what was wrong, what was found, and what is possible.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Literal, get_args, overload

from xfer_ray.errors import DataError, DeclarationError, demand, is_count, unknown
from xfer_ray.identity import Json, declaration, digest
from xfer_ray.recipe import Pretraining, Recipe

Policy = Literal["keep", "drop-aligned"]


# ------------------------------------------------------------------------------ data

_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Za-z0-9]+)?")
_LABEL = re.compile(r"[a-z0-9_.]+")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SWEEP_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_REVISION = re.compile(r"[0-9a-f]{40}")
_COUNT = re.compile(r"[1-9][0-9]{0,17}")


def is_commit(revision: str) -> bool:
    """Whether this is a commit of 40 hex digits, and not a branch or a word such as `mirror`."""
    return bool(_REVISION.fullmatch(revision))


PROVENANCES = ("O", "HT", "MT")
LARGEST_SHARE = 1_000  # so that a round of turns is short
LONGEST_NAME = 200  # characters of a trial's name before its digest; file systems take 255 with what is added


@dataclass(frozen=True)
class Corpus:
    """Labeled text in one language, with its translation provenance and origin.

    `en-O` is an original; `de-MT-en` was machine-translated from English; `en-MT-de-MT-en` went there
    and back; `de-MT-en~opus` carries a label that tells it from its equals. `parse` and `str` are inverse.
    """

    language: str
    provenance: str = "O"
    origin: Corpus | None = None
    label: str = ""

    def __post_init__(self) -> None:
        demand(
            bool(_LANGUAGE.fullmatch(self.language)),
            f"language {self.language!r} is not a code such as 'en', 'de', 'zh' or 'zh_Hant'",
        )
        demand(
            self.provenance in PROVENANCES,
            f"provenance {self.provenance!r} of {self.language!r} is none of O (original), HT, MT (human, machine translation)",
        )
        demand(
            (self.origin is None) == (self.provenance == "O"),
            f"a translation has an origin and an original has none: {self.language!r} is {self.provenance} with origin {self.origin}",
        )
        demand(not self.label or bool(_LABEL.fullmatch(self.label)), f"label {self.label!r} has characters other than a-z 0-9 _ .")
        demand(
            self.origin is None or not self.origin.label,
            f"the label of origin {self.origin} belongs at the end of the whole chain",
        )

    def __str__(self) -> str:
        label = f"~{self.label}" if self.label else ""
        return f"{self.language}-O{label}" if self.origin is None else self._chain() + label

    def _chain(self) -> str:
        return self.language if self.origin is None else f"{self.language}-{self.provenance}-{self.origin._chain()}"

    @property
    def root(self) -> Corpus:
        """The original at the end of the chain: `en-O` of `en-MT-de-MT-en`."""
        return self if self.origin is None else self.origin.root

    @property
    def length(self) -> int:
        """How many translations lie between this corpus and its original."""
        return 0 if self.origin is None else 1 + self.origin.length

    @property
    def corpora(self) -> tuple[Corpus, ...]:
        """What a source is made of: a corpus, of itself."""
        return (self,)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of a source."""
        return (self.language,)

    @property
    def total(self) -> None:
        """How many examples a source has at most; a corpus by itself is read whole."""

    @staticmethod
    def parse(text: str) -> Corpus:
        """Read `en-O`, `de-MT-en`, `en-MT-de-MT-en`, `de-MT-en~opus`; the inverse of `str`."""
        if _is_mixture(text):
            raise DeclarationError(f"corpus {text!r} is a mixture; only a source may be one, and here a single corpus is needed")
        chain, mark, label = text.partition("~")
        parts = chain.split("-")
        if (mark and not label) or not (parts[1:] == ["O"] or (len(parts) >= 3 and len(parts) % 2)):
            hint = f"; did you mean {text + '-O'!r}?" if _LANGUAGE.fullmatch(text) else ""
            raise DeclarationError(
                f"corpus {text!r} is not spelled like 'en-O', 'de-MT-en', 'sw-HT-en', 'en-MT-de-MT-en' or 'de-MT-en~opus'{hint}"
            )
        if parts[1:] == ["O"]:
            return Corpus(parts[0], label=label)
        corpus = Corpus(parts[-1])
        for language, provenance in zip(parts[-3::-2], parts[-2::-2], strict=True):
            corpus = Corpus(language, provenance, corpus)
        return dataclasses.replace(corpus, label=label)


@dataclass(frozen=True)
class Mixture:
    """Several corpora as one source, by shares, with a total number of examples; or one corpus with a total.

    `de-MT-en+ru-MT-en`, `de-MT-en=3+ru-MT-en=1@392702`, `en-O@5000`. Equal mixtures are equal and spelled alike, however they
    were written: corpora stand in the order of their spelling, and shares in lowest terms. `parse` and `str` are inverse.
    """

    shares: tuple[tuple[Corpus, int], ...]
    total: int | None = None

    def __post_init__(self) -> None:
        demand(len(self.shares) + (self.total is not None) > 1, "a mixture has at least two corpora, or one and a total")
        _one_each("corpora of a mixture", self.corpora)
        for corpus, share in self.shares:
            demand(
                is_count(share) and share <= LARGEST_SHARE,
                f"the share of {corpus} in a mixture is {share!r}; give an integer from 1 to {LARGEST_SHARE}",
            )
        common = math.gcd(*(share for _, share in self.shares))
        ordered = sorted(((corpus, share // common) for corpus, share in self.shares), key=lambda pair: str(pair[0]))
        object.__setattr__(self, "shares", tuple(ordered))
        demand(self.total is None or is_count(self.total), f"the total of mixture {self} is {self.total!r}; give a positive integer")
        given = set(self.turns[: self.total])
        idle = ", ".join(str(corpus) for i, corpus in enumerate(self.corpora) if i not in given)
        demand(not idle, f"the total of mixture {self} leaves no example for {idle}; give more")

    def __str__(self) -> str:
        equal = all(share == 1 for _, share in self.shares)
        joined = "+".join(str(corpus) if equal else f"{corpus}={share}" for corpus, share in self.shares)
        return joined if self.total is None else f"{joined}@{self.total}"

    @property
    def corpora(self) -> tuple[Corpus, ...]:
        """What it is made of."""
        return tuple(corpus for corpus, _ in self.shares)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of its corpora, each once."""
        return tuple(dict.fromkeys(corpus.language for corpus in self.corpora))

    @functools.cached_property
    def turns(self) -> tuple[int, ...]:
        """Which corpus, by index, gives each example of a round; the next round is the same.

        The k-th turn of a corpus with share w comes when (k - 1/2) / w of the round is over. So the first N turns are shared out
        by the method of Webster and Sainte-Laguë, and they are the beginning of any more: by largest remainders, a corpus could
        lose an example where N grows.
        """
        turns = ((Fraction(2 * k + 1, 2 * share), i) for i, (_, share) in enumerate(self.shares) for k in range(share))
        return tuple(i for _, i in sorted(turns))

    @staticmethod
    def parse(text: str) -> Mixture:
        """Read `de-MT-en+ru-MT-en`, `de-MT-en=3+ru-MT-en=1@392702`, `en-O@5000`; the inverse of `str`."""
        joined, budgeted, total = text.partition("@")
        parts = [part.partition("=") for part in joined.split("+")]
        numbers = [share for _, shared, share in parts if shared] + [total] * bool(budgeted)
        odd = [number for number in numbers if not _COUNT.fullmatch(number)]
        demand(
            not odd,
            f"mixture {text!r} has {odd and odd[0]!r} for a number; it is spelled like 'de-MT-en+ru-MT-en', 'en-O@5000' or "
            "'de-MT-en=3+ru-MT-en=1@392702'",
        )
        return Mixture(tuple((Corpus.parse(corpus), int(share or 1)) for corpus, _, share in parts), int(total) if budgeted else None)


Source = Corpus | Mixture
"""What a model is fine-tuned on; either says its `corpora`, its `languages` and its `total`."""


def _is_mixture(text: str) -> bool:
    return not {"+", "=", "@"}.isdisjoint(text)


def parse_source(text: str) -> Source:
    """The corpus or mixture of a spelling; the inverse of `str`."""
    return Mixture.parse(text) if _is_mixture(text) else Corpus.parse(text)


@dataclass(frozen=True)
class Example:
    """One item: an id, a pair of texts, and the answers that count as right.

    In question answering `first` is the question, `second` the context, and `starts` says at which character of the
    context each answer begins.
    """

    id: str
    first: str
    second: str
    answers: tuple[str, ...]
    starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Examples(Sequence[Example]):
    """The examples of one source and split, in order, with the fingerprint of what was read; of a mixture, the language of each."""

    items: tuple[Example, ...]
    languages: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Example, ...]: ...
    def __getitem__(self, index: int | slice) -> Example | tuple[Example, ...]:
        return self.items[index]

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 over ids, texts, answers and where they begin, in order; 64 hex digits."""
        digest = hashlib.sha256()
        for item in self.items:
            starts = [item.starts] if item.starts else []
            line = json.dumps([item.id, item.first, item.second, item.answers, *starts], ensure_ascii=True)
            digest.update(line.encode() + b"\n")
        return digest.hexdigest()


Load = Callable[[Corpus, str], Iterable[Example]]


def _one_each(kind: str, values: Sequence[object]) -> None:
    demand(len(values) > 0, f"{kind} are empty; give at least one")
    twice = [str(v) for i, v in enumerate(values) if v in values[:i]]
    demand(not twice, f"{kind} hold {', '.join(twice)} more than once")


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
        _one_each(f"sources of task {self.name}", self.sources)
        _one_each(f"targets of task {self.name}", self.targets)
        _one_each(f"metrics of task {self.name}", self.metrics)
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
            _one_each(f"languages of group {group} of task {self.name}", members)
            for member in members:
                if member not in languages:
                    raise unknown(f"target language for group {group} of task {self.name}", member, languages)

    def _demand_answers(self) -> None:
        for kind in ("labels", "verbalizers", "select_corpora"):
            if getattr(self, kind):
                _one_each(f"{kind} of task {self.name}", getattr(self, kind))
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
    _one_each("tasks", [task.name for task in tasks])
    _one_each("models", [model.name for model in models])
    _one_each("seeds", seeds)
    if chosen is not None:
        _one_each("sources", chosen)
    return tuple(
        Trial(task, model, source, seed) for task in tasks for model in models for source in (chosen or task.sources) for seed in seeds
    )
