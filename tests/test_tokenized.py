"""A corpus is tokenized once: by one worker of a node for the others, and where the storage is a bucket by one node for the others."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from transformers import AutoTokenizer

from tests import bucket
from xfer_ray import tokenized
from xfer_ray.core import Model, Sweep, Task, Trial
from xfer_ray.desk import Desk
from xfer_ray.models import tokens
from xfer_ray.run import prepare
from xfer_ray.sources import Corpus, Examples
from xfer_ray.storage import open_storage
from xfer_ray.trial import attempt

WORKER = """
import os, sys, time
from pathlib import Path
from xfer_ray.models.tokens import once
here = Path(sys.argv[1])
def write(fresh):
    with (here / "log").open("a") as log:
        log.write(f"{os.getpid()}\\n")
    while not (here / "go").exists():
        time.sleep(0.02)
    (fresh / "made").write_text(str(os.getpid()))
print((once(here / "store" / "key", write) / "made").read_text())
"""


def workers(folder: Path) -> tuple[subprocess.Popen, subprocess.Popen]:
    """One that makes a folder, and another one that waits for it, or has begun to make it too."""
    log = folder / "log"

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], stdout=subprocess.PIPE, text=True)

    def waits(worker: subprocess.Popen) -> bool:
        return any("->" in line and f" {worker.pid} " in line for line in Path("/proc/locks").read_text().splitlines())

    first = start()
    until(log.exists)
    second = start()
    until(lambda: waits(second) or len(log.read_text().split()) > 1)
    return first, second


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_two_workers_of_a_node_make_a_folder_once(tmp_path):
    first, second = workers(tmp_path)
    (tmp_path / "go").touch()
    assert [worker.communicate(timeout=60)[0] for worker in (first, second)] == [f"{first.pid}\n"] * 2
    assert (tmp_path / "log").read_text() == f"{first.pid}\n"
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["key"]


def test_when_the_one_that_makes_it_dies_the_one_that_waits_makes_it(tmp_path):
    first, second = workers(tmp_path)
    first.kill()
    first.wait()
    (tmp_path / "go").touch()
    assert second.communicate(timeout=60)[0] == f"{second.pid}\n"


@pytest.fixture(scope="module")
def served():
    with bucket.served() as proxy:
        yield proxy


@pytest.fixture
def storage(served, monkeypatch, tmp_path):
    for name, value in bucket.environment(served.url).items():
        monkeypatch.setenv(name, value)
    served.faults.clear()
    return open_storage(f"s3://{bucket.BUCKET}/{tmp_path.name}")


class Nodes:
    """Machines that share a bucket, each with a cache of its own; `fails` where a machine tokenizes that should not have to."""

    def __init__(self, folder: Path, storage, monkeypatch) -> None:
        self.folder, self.storage, self.monkeypatch = folder, storage, monkeypatch
        self.tokenizer = AutoTokenizer.from_pretrained(tiny.bert(folder / "bert"))
        self.examples = tiny.examples(50)
        self.rows = tokens._rows

    def encoded(self, node: str, *, tokenizes: bool) -> tokens.Tokens:
        counted = []

        def rows(*arguments):
            counted.append(node)
            return self.rows(*arguments)

        self.monkeypatch.setattr(tokens, "_rows", rows)
        found = tokens.encoded(self.tokenizer, Examples(self.examples.items), 32, self.folder / node, tokenized.made(self.storage))
        assert bool(counted) == tokenizes
        return found


def equal(one: tokens.Tokens, other: tokens.Tokens) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("ids", "offsets", "seconds"))


def test_a_corpus_tokenized_on_one_node_reaches_the_others(tmp_path, storage, monkeypatch):
    nodes = Nodes(tmp_path, storage, monkeypatch)
    made = nodes.encoded("one", tokenizes=True)
    assert equal(nodes.encoded("two", tokenizes=False), made)
    assert len(storage.sizes("tokens")) == 4


@pytest.mark.parametrize("name", ["ids.npy", "complete.json"])
def test_a_damaged_copy_is_made_anew_for_all(tmp_path, storage, monkeypatch, name):
    nodes = Nodes(tmp_path, storage, monkeypatch)
    made = nodes.encoded("one", tokenizes=True)
    [key] = [path.name for path in (tmp_path / "one").iterdir()]
    storage.replace(f"tokens/{key}/{name}", b"damaged")
    assert equal(nodes.encoded("two", tokenizes=True), made)
    assert equal(nodes.encoded("three", tokenizes=False), made)


def test_a_bucket_that_takes_nothing_costs_time_only(tmp_path, served, storage, monkeypatch):
    nodes = Nodes(tmp_path, storage, monkeypatch)
    refused = served.add("PUT", "tokens", 403)
    made = nodes.encoded("one", tokenizes=True)
    assert refused.happened
    assert equal(nodes.encoded("two", tokenizes=True), made)
    assert equal(nodes.encoded("two", tokenizes=False), made)


def test_a_local_storage_holds_no_tokens(tmp_path, monkeypatch):
    storage = open_storage(str(tmp_path / "results"))
    nodes = Nodes(tmp_path, storage, monkeypatch)
    nodes.encoded("one", tokenizes=True)
    assert not (tmp_path / "results").exists()


def load(corpus, split):
    return tiny.examples(30, seed=len(split))


def test_a_second_node_runs_trials_and_tokenizes_nothing(tmp_path, storage, monkeypatch):
    english, recipe = Corpus("en"), replace(tiny.RECIPE, epochs=None, steps=1)
    task = Task(name="little", sources=(english,), targets=(english,), load=load, labels=tiny.LABELS)
    model = Model(name="bert", family="encoder", checkpoint=str(tiny.bert(tmp_path / "bert")), recipe=recipe, gpus=0)
    first, second = (Trial(task, model, english, seed) for seed in (0, 1))
    found = prepare(Sweep("mine", (first, second)), storage.url)
    assert attempt(first, Desk(found, tmp_path / "one")).state == "committed"
    monkeypatch.delattr(tokens, "_rows")
    assert attempt(second, Desk(found, tmp_path / "two")).state == "committed"
