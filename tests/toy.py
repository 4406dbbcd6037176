"""A sweep that needs no model: its file declares a task and a family of its own, and obeys files that ask for faults.

Each fine-tuning takes a few steps and appends a line to `trained.txt`, so that tests can count trainings. A file
`faults/<source>.s<seed>` makes that trial misbehave once per line: `kill` (SIGKILL to itself), `raise`, `data`, `hold`.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

SWEEP_FILE = """
import hashlib, os, signal, time
from pathlib import Path
from xfer_ray import Corpus, Example, Model, Recipe, Sweep, Task, grid
from xfer_ray.contract import FineTuned
from xfer_ray.errors import DataError

HERE = Path({here!r})
LABELS = ("yes", "no", "maybe")

def draw(*parts):
    return int(hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest(), 16)

def load(corpus, split):
    return [Example(str(i), f"{{split}} {{i}}", f"in {{corpus.language}}", (LABELS[draw(split, i) % 3],)) for i in range({examples})]

def fault(source, seed):
    file = HERE / "faults" / f"{{source}}.s{{seed}}"
    if not file.exists():
        return ""
    first, *rest = file.read_text().splitlines()
    file.write_text("\\n".join(rest)) if rest else file.unlink()
    return first

def fine_tune(task, train, select, recipe, seed, context):
    source = train[0].second.removeprefix("in ")
    asked = fault(source, seed)
    for step in range(recipe.steps):
        context.report(step + 1, recipe.steps)
        time.sleep({seconds} / recipe.steps)
        if asked and step == recipe.steps // 2:
            if asked == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if asked == "raise":
                raise RuntimeError("asked to fail")
            if asked == "data":
                raise DataError("the training data is bad: asked to fail")
            if asked == "hold":
                time.sleep(600)
    with open(HERE / "trained.txt", "a") as file:
        file.write(f"{{source}}.s{{seed}}\\n")
    def predict(examples):
        return [e.answers[0] if draw(source, e.second, seed, e.id) % 10 < 7 else LABELS[draw(e.id) % 3] for e in examples]
    return FineTuned(predict, step=recipe.steps)

CORPORA = tuple(Corpus(l) if l == "en" else Corpus(l, "HT", Corpus("en")) for l in {languages!r})
TOY = Task(name="toy", sources=CORPORA, targets=CORPORA, load=load, labels=LABELS, parallel=True, groups={{"Rest": {rest!r}}})
TOY_MODEL = Model(name="toy-model", family=fine_tune, recipe=Recipe(steps=10, learning_rate=0.1, batch_size=1), gpus=0)
SWEEP = Sweep("toy", grid(tasks=[TOY], models=[TOY_MODEL], seeds={seeds!r}))
"""


class Toy:
    """A folder with a toy sweep in it, and the commands run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "faults").mkdir()
        self.declare()

    def declare(self, languages=("en", "de", "ru"), seeds=(0, 1), seconds=0.1, examples=30) -> None:
        text = SWEEP_FILE.format(
            here=str(self.folder),
            languages=tuple(languages),
            rest=tuple(languages[1:]),
            seeds=tuple(seeds),
            seconds=seconds,
            examples=examples,
        )
        (self.folder / "toy.py").write_text(text)

    def fault(self, trial: str, *kinds: str) -> None:
        (self.folder / "faults" / trial).write_text("\n".join(kinds))

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen:
        """Start a command; `arguments` as a user types them after `xfer-ray`."""
        command = [sys.executable, "-c", "from xfer_ray.cli import main; main()", *arguments]
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        environment |= {"XFER_RAY_CACHE": str(self.folder / "cache"), "PYTHONUNBUFFERED": "1", **extra}
        return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def command(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments, **extra)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.command("run", "toy.py", *arguments)

    @property
    def results(self) -> Path:
        return self.folder / "results" / "toy"

    def trained(self) -> list[str]:
        file = self.folder / "trained.txt"
        return file.read_text().split() if file.exists() else []

    def committed(self) -> list[str]:
        return sorted(p.name for p in (self.results / "scores").glob("*.parquet"))

    def scores(self) -> pd.Series:
        """Score by source, seed and target."""
        return pd.read_parquet(self.results / "scores").set_index(["source", "seed", "target"])["score"].sort_index()

    def status(self) -> dict:
        return json.loads(self.command("status", "results/toy", "--json").stdout)

    def wait_for(self, condition, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)
