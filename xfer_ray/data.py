"""What a trial reads: the examples of a corpus and split, kept in memory for the next trial of this worker."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import itertools
import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from xfer_ray.core import Task, is_commit
from xfer_ray.errors import DataError
from xfer_ray.identity import canonical, declaration
from xfer_ray.sources import Corpus, Example, Examples, Mixture, Source

SHELF_EXAMPLES = 600_000  # what a warm worker keeps loaded: XNLI's 15 test sets and one training set

_shelf: OrderedDict[str, Examples] = OrderedDict()


def examples_of(task: Task, source: Source, split: str, *, size: int | None = None) -> Examples:
    """The examples of one corpus or mixture and split, kept in memory for the next trial of this worker.

    With `size`, a sample of that many of each corpus: the same positions in every one, so that parallel sources stay parallel.
    """
    key = canonical([declaration(task.load), str(source), split, size])
    if key not in _shelf:
        with _without_collector():
            _shelf[key] = _mixture(task, source, split, size) if isinstance(source, Mixture) else _corpus(task, source, split, size)
    _shelf.move_to_end(key)
    while sum(map(len, _shelf.values())) > SHELF_EXAMPLES and len(_shelf) > 1:
        _shelf.popitem(last=False)
    return _shelf[key]


def _corpus(task: Task, corpus: Corpus, split: str, size: int | None) -> Examples:
    where = f"{split} of {corpus} in task {task.name}"
    items = tuple(task.load(corpus, split))
    if not items:
        raise DataError(f"{where} has no examples")
    if size is not None:
        items = _sample(items, size, where)
    ids = [item.id for item in items]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise DataError(f"{where} holds example {twice!r} more than once; ids tell examples apart")
    return Examples(items)


def _mixture(task: Task, mixture: Mixture, split: str, size: int | None) -> Examples:
    """The examples that are drawn from the corpora of a mixture, read one after another; an id says from which."""
    ids = [[item.id for item in examples_of(task, corpus, split, size=size)] for corpus in mixture.corpora]
    drawn = tuple(itertools.islice(_drawn(mixture, ids), mixture.total))
    if mixture.total is not None and len(drawn) < mixture.total:
        raise DataError(
            f"{split} of {mixture} in task {task.name} has only {len(drawn)} examples in these shares, each item in one language; "
            f"give a total of at most {len(drawn)}"
        )
    items: dict[int, Example] = {}
    for turn, corpus in reversed(list(enumerate(mixture.corpora))):  # the last one read first, for it may still be at hand
        whole = examples_of(task, corpus, split, size=size)
        places = ((place, whole[position]) for place, (one, position) in enumerate(drawn) if one == turn)
        items |= {place: dataclasses.replace(item, id=f"{corpus}/{item.id}") for place, item in places}
    return Examples(tuple(items[place] for place in range(len(drawn))), tuple(mixture.corpora[turn].language for turn, _ in drawn))


def _drawn(mixture: Mixture, ids: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    """Which corpus gives each example, and which of its own (both by index), until one has nothing to give in its turn.

    Each corpus gives its examples in an order that depends on their ids and its original only, so translations of one original
    give theirs in the same order. Under a total, each item is drawn in one language: so two translations together give the items
    that either would give by itself.
    """
    roots = [corpus.root.language for corpus in mixture.corpora]
    waiting = [iter(_shuffled(root, own)) for root, own in zip(roots, ids, strict=True)]
    given: set[tuple[str, str]] = set()
    for turn in itertools.cycle(mixture.turns):
        root, own = roots[turn], ids[turn]
        position = next((p for p in waiting[turn] if (root, own[p]) not in given), None)
        if position is None:
            return
        if mixture.total is not None:
            given.add((root, own[position]))
        yield turn, position


def _shuffled(root: str, ids: Sequence[str]) -> list[int]:
    """The positions of examples in an order that looks random and never changes."""
    return sorted(range(len(ids)), key=lambda position: hashlib.sha256(f"{root} {ids[position]}".encode()).digest())


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Read without looking for cycles: each of some hundred thousand examples stays, and looking at them again doubles the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _sample(items: Sequence[Example], size: int, where: str) -> tuple[Example, ...]:
    if size > len(items):
        raise DataError(f"{where} has {len(items)} examples, fewer than the declared size of {size}")
    return tuple(items[i] for i in sorted(random.Random(0).sample(range(len(items)), size)))


def at_revision(task: Task, revisions: Mapping[str, str]) -> Task:
    """The task with its data pinned to the commit that `run` resolved."""
    if hasattr(task.load, "at"):  # it reads several repositories
        return dataclasses.replace(task, load=task.load.at(revisions))
    pinned = [revisions[name] for name in task.revisions if is_commit(revisions.get(name, ""))]
    if not pinned:
        return task
    return dataclasses.replace(task, load=dataclasses.replace(task.load, revision=pinned[0]))  # type: ignore[type-var]
