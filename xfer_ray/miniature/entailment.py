"""Natural language inference in the miniature world: premises for a hypothesis, one for each label."""

from __future__ import annotations

import functools
from random import Random

from xfer_ray.miniature.meaning import Event, choose, contrary, draw, fold, narrower, wider

LABELS = ("entailment", "neutral", "contradiction")
Pair = tuple[Event, Event, str]  # premise, hypothesis, label
_RELATIONS = dict(zip(LABELS, (narrower, wider, contrary), strict=True))
_PATIENCE = 20


@functools.lru_cache(maxsize=8)  # every language asks for the same ones
def pairs(seed: int, split: str, count: int) -> tuple[Pair, ...]:
    """`count` pairs. Every hypothesis comes once with each label, so that alone it tells nothing.

    A sentence belongs to one split, and within a split it is in one triple: see `fold`.
    """
    random = Random(f"{seed} {split}")
    found: list[Pair] = []
    told: set[Event] = set()
    while len(found) < count:
        hypothesis = draw(random)
        if hypothesis in told or fold(hypothesis) != split:
            continue
        triple = [(premise, hypothesis, label) for label in LABELS if (premise := _premise(random, hypothesis, label))]
        if len(triple) == len(LABELS):
            found += triple
            told.add(hypothesis)
    random.shuffle(found)
    return tuple(found[:count])


def _premise(random: Random, hypothesis: Event, label: str) -> Event | None:
    """An account of the same split with this relation to the hypothesis; half of them say more in another part."""
    for _ in range(_PATIENCE):
        change = choose(random, _RELATIONS[label](hypothesis))
        if change is None:
            return None
        part, premise = change
        if random.random() < 0.5:
            _, premise = choose(random, [more for more in narrower(premise) if more[0] != part]) or change
        if fold(premise) == fold(hypothesis):
            return premise
    return None
