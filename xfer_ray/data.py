"""What a trial reads: the examples of a corpus and split, kept in memory for the next trial of this worker."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from xfer_ray.core import Corpus, Example, Examples, Task, is_commit
from xfer_ray.errors import DataError
from xfer_ray.identity import canonical, declaration

SHELF_EXAMPLES = 600_000  # what a warm worker keeps loaded: XNLI's 15 test sets and one training set

_shelf: OrderedDict[str, Examples] = OrderedDict()


def examples_of(task: Task, corpus: Corpus, split: str, *, size: int | None = None) -> Examples:
    """The examples of one corpus and split, kept in memory for the next trial of this worker.

    With `size`, a sample of that many: the same positions in every corpus, so that parallel sources stay parallel.
    """
    key = canonical([declaration(task.load), str(corpus), split, size])
    if key not in _shelf:
        with _without_collector():
            items = tuple(task.load(corpus, split))
        if not items:
            raise DataError(f"{split} of {corpus} in task {task.name} has no examples")
        if size is not None:
            items = _sample(items, size, f"{split} of {corpus} in task {task.name}")
        ids = [item.id for item in items]
        if len(set(ids)) < len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise DataError(f"{split} of {corpus} in task {task.name} holds example {twice!r} more than once; ids tell examples apart")
        _shelf[key] = Examples(items)
    _shelf.move_to_end(key)
    while sum(map(len, _shelf.values())) > SHELF_EXAMPLES and len(_shelf) > 1:
        _shelf.popitem(last=False)
    return _shelf[key]


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
