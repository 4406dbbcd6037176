"""A whole sweep of a small model, beside a shell loop over a script with Hugging Face's Trainer.

BERT-tiny (2 layers of 128; Turc et al. 2019; random weights, mBERT's vocabulary) is fine-tuned on XNLI pairs of 7 languages with 3
seeds, 1,280 pairs in batches of 32, and evaluated on 500 pairs of each of the 7. Ours is `xfer-ray run`, with an empty storage and an
empty token store, from start to end. Theirs is `benchmarks/trainer_script.py` on the same examples, in the same batch size, one epoch:
a process for each training run, then one for each language, as `run_xnli.py` is run (padding to 128, evaluation in batches of 8).
A stronger loop trains and evaluates all languages in one process for each trial, padding to the longest of a batch.
The Python environment and the page cache are warm; each side may use all cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import harness, scale, shapes, texts
from benchmarks.harness import OURS, Bar, Measure, Setting
from xfer_ray.core import Model, Task, Trial, grid
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.tasks import XNLI

LANGUAGES = ("en", "de", "es", "fr", "ru", "zh", "ar")
SEEDS = 3
RECIPE = Recipe(epochs=1, learning_rate=5e-5, batch_size=32)
LOOP, STRONGER = "a process for each run and language", "a process for each trial, padded to the batch's longest"
SWEEP_FILE = """
from benchmarks import sweep
from xfer_ray import Sweep

SWEEP = Sweep("small", sweep.trials({checkpoint!r}, {number}, {train}, {test}))
"""


@dataclass(frozen=True)
class Place:
    """Where a sweep of so many trials runs: a folder with the checkpoint, and the sizes of its training and evaluation sets."""

    folder: Path
    number: int
    train: int
    test: int

    @property
    def checkpoint(self) -> Path:
        """The model before fine-tuning."""
        return self.folder / "bert"

    @property
    def trials(self) -> tuple[Trial, ...]:
        """What both sides do."""
        return trials(str(self.checkpoint), self.number, self.train, self.test)


def trials(checkpoint: str, number: int, train: int, test: int) -> tuple[Trial, ...]:
    """The first so many of sources x seeds on XNLI."""
    return trials_of(texts.few(LANGUAGES, train, test), checkpoint, number)


def trials_of(task: Task, checkpoint: str, number: int) -> tuple[Trial, ...]:
    """The same of any task."""
    model = Model(name="small", checkpoint=checkpoint, recipe=RECIPE, gpus=0)
    return grid(tasks=[task], models=[model], seeds=range(SEEDS))[:number]


def ours(place: Place) -> Callable[[], None]:
    """The command, each time in a new folder."""

    def once() -> None:
        here = _fresh(place.folder, "ours")
        file = here / "small.py"
        file.write_text(SWEEP_FILE.format(checkpoint=str(place.checkpoint), number=place.number, train=place.train, test=place.test))
        _run([*scale.OURS, "run", "small.py"], here)
        done = len(list((here / "results/small/scores").glob("*.parquet")))
        assert done == place.number, f"{done} of {place.number} trials are done"

    return once


def theirs(place: Place, *, stronger: bool) -> Callable[[], None]:
    """The loop over the trials, each time in a new folder."""

    def once() -> None:
        here = _fresh(place.folder, "stronger" if stronger else "loop")
        files = {corpus: _written(here / f"{corpus}.json", items) for corpus, items in _evaluated(place).items()}
        for trial in place.trials:
            output = here / trial.id
            training = _written(here / f"train.{trial.source}.json", trial.task.load(trial.source, "train"))
            for arguments in commands(trial, place.checkpoint, training, list(files.values()), output, stronger=stronger):
                _run([sys.executable, "-m", "benchmarks.trainer_script", *arguments], here)
            scored = len([file for file in files.values() if (output / file.name).is_file()])
            assert scored == len(files), f"{scored} of {len(files)} languages are scored"

    return once


def commands(trial: Trial, checkpoint: Path, training: Path, files: Sequence[Path], output: Path, *, stronger: bool) -> list[list[str]]:
    """The arguments of each process of a trial."""
    recipe = trial.model.recipe
    shared = ["--output_dir", str(output), "--max_seq_length", str(recipe.max_length), "--seed", str(trial.seed)]
    learn = [
        *shared, "--model_name_or_path", str(checkpoint), "--train_file", str(training), "--num_train_epochs", str(recipe.epochs),
        "--per_device_train_batch_size", str(recipe.batch_size), "--learning_rate", str(recipe.learning_rate),
    ]  # fmt: skip
    if stronger:
        return [[*learn, "--dynamic", "--eval_files", *map(str, files)]]
    return [learn, *([*shared, "--model_name_or_path", str(output), "--eval_files", str(file)] for file in files)]


def _evaluated(place: Place) -> dict[Corpus, Examples]:
    task = place.trials[0].task
    return {target: Examples(tuple(task.load(target, task.eval_split))) for target in task.targets}


def _written(file: Path, examples: Iterable[Example]) -> Path:
    if not file.exists():
        labels = XNLI.labels
        rows = ({"premise": e.first, "hypothesis": e.second, "label": labels.index(e.answers[0])} for e in examples)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _fresh(folder: Path, name: str) -> Path:
    here = folder / f"{name}-{len(list(folder.glob(f'{name}-*')))}"
    here.mkdir(parents=True)
    return here


def _run(command: Sequence[str], here: Path) -> None:
    """Run to the end, with caches of its own."""
    environment = {**scale.environment(here), "HF_HOME": str(here / "hf"), "HF_HUB_OFFLINE": "1"}
    harness.finished(command, here, environment)


def benchmark(setting: Setting) -> Iterator[Measure]:
    """Both loops over ours, in wall time."""
    whole = len(LANGUAGES) * SEEDS
    number = setting.options.trials or setting.size(whole, 1)
    place = Place(setting.scratch, number, setting.size(1280, 64), setting.size(500, 16))
    shapes.bert(shapes.TINY, place.checkpoint)
    sides = {OURS: ours(place), LOOP: theirs(place, stronger=False), STRONGER: theirs(place, stronger=True)}
    costs = harness.interleaved(sides, setting.options.rounds, warm_up=0)
    title = f"a sweep of {number} trials, 7 languages each"
    bar = Bar(10.0) if number == whole else None
    note = "" if number == whole else f"{number} of {whole} trials"
    yield harness.ratio(title, costs, LOOP, by="wall", bar=bar, note=note)
    yield harness.ratio(title, costs, STRONGER, by="wall", note=note)


def add(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--trials", type=int, metavar="N", help="so many of the 21 trials on both sides; the figures are then of those")
    parser.add_argument("--rounds", type=int, default=1, help="how often each side runs; default: 1")


if __name__ == "__main__":
    harness.run(__file__, __doc__, benchmark, add)
