"""Reading a corpus: quick, and without a trace in the process."""

import gc

import pytest
import tiny

from xfer_ray.core import Task
from xfer_ray.data import examples_of
from xfer_ray.sources import Corpus

ENGLISH = Corpus("en")


def load(corpus, split):
    yield from tiny.examples(3)
    if split == "broken" or gc.isenabled():
        raise ValueError("broken, or read with the collector on")


TASK = Task(name="little", sources=(ENGLISH,), targets=(ENGLISH,), load=load, labels=tiny.LABELS)


def test_the_collector_rests_while_a_corpus_is_read_and_goes_on_whatever_happens():
    assert len(examples_of(TASK, ENGLISH, "train")) == 3
    assert gc.isenabled()
    with pytest.raises(ValueError, match="^broken"):
        examples_of(TASK, ENGLISH, "broken")
    assert gc.isenabled()
