"""What a mixture costs before it is trained on: reading, drawing, telling it apart, tokens.

    python -m benchmarks.mixtures --mirror MIRROR      # processor seconds and memory of one process, one thread

The corpora are as long as XNLI's training set, made of its test split under other ids: one by itself, then half of each of two others.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from benchmarks import texts
from xfer_ray.core import Task
from xfer_ray.data import examples_of
from xfer_ray.models.tokens import encoded
from xfer_ray.sources import Corpus, Example, parse_source
from xfer_ray.tasks import XNLI, XNLI_PAIRS

PAIRS = 392_702
T = TypeVar("T")


def load(corpus: Corpus, split: str) -> list[Example]:
    """A corpus as long as XNLI's training set."""
    held = XNLI_PAIRS(corpus, texts.PAIRS_SPLIT)
    return [replace(held[i % len(held)], id=str(i)) for i in range(PAIRS)]


LONG: Task = replace(XNLI, name="long", sources=XNLI.targets, load=load)


def timed(what: str, do: Callable[[], T]) -> T:
    """What it gives, after saying what that took."""
    begun = time.process_time()
    found = do()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what:55} {time.process_time() - begun:6.1f} s   {memory:.2f} GB at most so far")
    return found


def main() -> None:
    """Say what each step takes."""
    parser = argparse.ArgumentParser(description="What a mixture costs before it is trained on.")
    parser.add_argument("--mirror", help="a folder laid out like the hub")
    mirror = parser.parse_args().mirror
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", **({"XFER_RAY_MIRROR": mirror} if mirror else {})}
    timed("one corpus, read", lambda: examples_of(LONG, parse_source("en-O"), "train"))
    mixed = timed("a mixture of two others, read and drawn", lambda: examples_of(LONG, parse_source(f"de-HT-en+ru-HT-en@{PAIRS}"), "train"))
    timed("its fingerprint", lambda: mixed.fingerprint)
    tokenizer = texts.tokenizer()
    with tempfile.TemporaryDirectory() as cache:
        timed("its tokens, by one thread", lambda: encoded(tokenizer, mixed, 128, Path(cache)))


if __name__ == "__main__":
    main()
