"""The unlabeled text of the miniature world: stories of two sentences, each story in all languages."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from xfer_ray.miniature.grammar import sentence
from xfer_ray.miniature.lexicon import LANGUAGES
from xfer_ray.miniature.meaning import Event, choose, draw, fold, general
from xfer_ray.recipe import Document

STORIES = 14_000
LEFT_OUT = (0, 0, 1, 2)  # how many things a telling leaves out, each as likely


def stories(seed: int, count: int = STORIES) -> Sequence[Document]:
    """Two accounts of one event, either of which may leave something out; no event of validation or test is among them."""
    random = Random(f"{seed} text")
    return [_story(random) for _ in range(count)]


def _story(random: Random) -> Document:
    while True:
        event = draw(random)
        tellings = (_retold(random, event), _retold(random, event))
        if all(fold(telling) == "train" for telling in tellings):
            return {language: tuple(sentence(telling, language) for telling in tellings) for language in LANGUAGES}


def _retold(random: Random, event: Event) -> Event:
    """The event as it is, or with a thing or two left out."""
    for _ in range(random.choice(LEFT_OUT)):
        _, event = choose(random, general(event)) or ("", event)
    return event
