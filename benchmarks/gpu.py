"""A GPU's training steps: ours recorded and not, beside those of a Trainer, with one to four trials at once.

Models with random weights, shaped as mBERT and as mT5-Base, are fine-tuned on batches of 128 pairs, 128 tokens at most. Unless
--mirror gives XNLI in English and mBERT's vocabulary, the pairs are random words whose lengths are lognormal around XNLI's mean
of 41 wordpieces. Every side is a program of its own, and all programs of a measure begin their timed steps together:

    as given   every row padded to 128 tokens, fp32: what run_xnli.py does by default
    stronger   padded to the longest of the batch, bf16 autocast
    packed     ours, each batch in the shape that it has
    recorded   ours, in few shapes, recorded once and played again; Adafactor, mT5's, cannot be recorded, so there it is packed

Utilization is the work on real tokens, forward and twice that backward, over what the GPU's best bf16 matrix product does in the
same time. The work on a pair is that of benchmarks/peak.py; on one of n tokens and an answer of m for a text-to-text model of width d,
heads of h dimensions together, feed-forward f and vocabulary V it is

    encoder layers x (2n (4dh + 3df) + 4 n^2 h) + decoder layers x (2m (6dh + 3df) + 2n 2dh + 4 m^2 h + 4mn h) + 2m dV

A measure takes minutes and none is judged: a first run on a GPU is to say what can be asked of one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness, words
from benchmarks.harness import Measure, Setting
from xfer_ray.models import MT5, PAPER

if TYPE_CHECKING:
    from benchmarks.training import Subject

SIDES = ("as given", "stronger", "packed", "recorded")
MODELS = ("mbert", "mt5-base")


@dataclass(frozen=True)
class Part:
    """What one program found: its steps' seconds, work and tokens, the seconds before them, and its largest use of the GPU's memory."""

    seconds: float
    before: float
    tokens: int
    work: float
    bytes: int


# ------------------------------------------------------------------------------ one program


def subject(kind: str, folder: Path, given: argparse.Namespace) -> Subject:
    """What a program trains."""
    from benchmarks import texts, training

    batch, steps = 16 if given.quick else 128, given.before + given.steps
    examples = texts.english(10 * batch) if given.mirror else words.pairs(10 * batch, tiny=given.quick)
    if kind == "mbert":
        return training.of_pairs(folder, examples, replace(PAPER, epochs=None, steps=steps, batch_size=batch))
    recipe = replace(MT5, batch_tokens=None, select_every=None, steps=steps, batch_size=batch, max_length=128)
    return training.of_words(folder, examples, recipe)


def checkpoint(kind: str, folder: Path, given: argparse.Namespace) -> Path:
    """What they begin with: random weights, and mBERT's tokenizer where there is a mirror."""
    words.checkpoint(kind, folder, {"mbert": given.mbert, "mt5-base": given.mt5}[kind], tiny=given.quick)
    if given.mirror:
        from benchmarks import texts

        tokenizer = texts.tokenizer()
        tokenizer.eos_token = tokenizer.sep_token  # with which it ends a text
        tokenizer.save_pretrained(folder)
    return folder


def train(kind: str, side: str, folder: Path, given: argparse.Namespace) -> Part:
    """Take the steps of one side; those that count begin when the others are ready too."""
    import torch

    from xfer_ray.models.batches import plan

    held = subject(kind, folder, given)
    started, clock = time.perf_counter(), [0.0]

    def report(step: int, steps: int) -> None:
        if step in (given.before, steps):
            harness.now()  # waits for the GPU
            clock.append(time.perf_counter())
        if step == given.before:
            print("ready", flush=True)
            sys.stdin.readline()
            clock[-1:] = [clock[-1] - started, time.perf_counter()]

    batches = list(plan(held.lessons.tokens.lengths, held.run.recipe, 0))
    _steps(side, held, given)(batches, report)
    _, before, begun, ended = clock
    timed = np.concatenate(batches[given.before :])
    lengths, config = held.lessons.tokens.lengths[timed], held.run.model.config
    if kind == "mbert":
        from benchmarks import peak, shapes

        done = peak.work(lengths, shapes.Shape(kind, config.num_hidden_layers, config.hidden_size))
    else:
        done = words.work(lengths, held.lessons.weights[timed].astype(int), config)
    most = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return Part(ended - begun, before, int(lengths.sum()), done, most)


Report = Callable[[int, int], None]


def _steps(side: str, held: Subject, given: argparse.Namespace) -> Callable[[Sequence[NDArray[np.int64]], Report], None]:
    from benchmarks import training
    from xfer_ray.core import Layout
    from xfer_ray.models import training as ours

    if side in ("as given", "stronger"):
        plain = replace(held, run=replace(held.run, recipe=replace(held.run.recipe, precision="fp32")))
        width, which = (held.run.recipe.max_length, plain) if side == "as given" else (None, held)

        def theirs(batches: Sequence[NDArray[np.int64]], report: Report) -> None:
            step = training.theirs(which, width, len(batches))
            for number, batch in enumerate(batches, start=1):
                step(batch)
                report(number, len(batches))

        return theirs
    layout: Layout = "recorded" if side == "recorded" else "packed"

    def train(batches: Sequence[NDArray[np.int64]], report: Report) -> None:
        with ours.seeded(0):
            ours.train(replace(held.run, context=replace(held.run.context, report=report, layout=layout)), held.lessons)

    return train


def product(seconds: float) -> float:
    """Floating-point operations a second of the best bf16 matrix product."""
    import torch

    from xfer_ray.models.training import device

    best, where = 0.0, device()
    for size in (4096, 8192) if where.type == "cuda" else (256,):
        left = torch.randn(size, size, device=where, dtype=torch.bfloat16)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            before = harness.now()
            for _ in range(10):
                left @ left
            best = max(best, 10 * 2 * size**3 / harness.since(before).wall)
    return best


# ------------------------------------------------------------------------------ all of them


def together(command: Sequence[str], count: int) -> list[Part]:
    """What so many programs find that take their steps at the same time."""
    programs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    for program in programs:
        while program.stdout and program.stdout.readline() not in ("ready\n", ""):
            pass
    for program in programs:
        if program.poll() is None and program.stdin:
            program.stdin.write("go\n")
            program.stdin.flush()
    ends = [program.communicate()[0] for program in programs]
    if any(program.returncode for program in programs):
        raise SystemExit(f"{' '.join(command)} ended with {[program.returncode for program in programs]}; the reason is above")
    return [Part(**json.loads(end.splitlines()[-1])) for end in ends]


def command(kind: str, side: str, folder: Path, given: argparse.Namespace) -> list[str]:
    """What starts one program."""
    told = {name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()}
    return [sys.executable, "-m", "benchmarks.gpu", "--child", kind, side, str(folder), json.dumps(told)]


def measured(kind: str, given: argparse.Namespace, folder: Path, peak: float) -> Iterator[Measure]:
    """Every side of a model with each number of programs, round by round there and back."""
    found: dict[tuple[str, int], list[list[Part]]] = {(side, count): [] for side in SIDES for count in given.processes}
    for number in range(given.rounds):
        for side, count in list(found)[::-1] if number % 2 else list(found):
            found[(side, count)].append(together(command(kind, side, folder, given), count))
    slowest = statistics.median(rate(parts) for parts in found[(SIDES[0], given.processes[0])])
    for (side, count), rounds in found.items():
        rates, each = tuple(map(rate, rounds)), [part for parts in rounds for part in parts]
        share = 100 * statistics.median(rate(parts, "work") for parts in rounds) / peak
        yield Measure(
            f"{kind}, {side}, {count} at once",
            "tokens/s",
            rates,
            note=f"{harness.number(statistics.median(rates) / slowest)} × as given; {harness.number(share)} % of the matrix peak; "
            f"{max(part.bytes for part in each) / 2**30:.1f} GiB each; {max(part.before for part in each):.1f} s before",
        )


def rate(parts: Sequence[Part], of: str = "tokens") -> float:
    """What programs do together in a second."""
    return float(sum(getattr(part, of) for part in parts)) / max(part.seconds for part in parts)


def benchmark(setting: Setting) -> Iterator[Measure]:
    """All sides of both models."""
    import torch

    given = setting.options
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        print(
            "PyTorch finds no GPU on this machine, and this benchmark measures one; --quick --device cpu shows that it runs",
            file=sys.stderr,
        )
        raise SystemExit(4)
    peak = product(0.1 if given.quick else 2.0)
    yield Measure("bf16 matrix product", "TFLOP/s", (peak / 1e12,))
    for kind in MODELS:
        yield from measured(kind, given, checkpoint(kind, setting.scratch / kind, given), peak)


def options(parser: argparse.ArgumentParser) -> None:
    """What is this benchmark's own."""
    parser.add_argument("--mbert", type=Path, metavar="FILE", help="a config.json in place of mBERT's shape")
    parser.add_argument("--mt5", type=Path, metavar="FILE", help="a config.json in place of mT5-Base's shape")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 3, 4], metavar="N", help="how many programs at once")
    parser.add_argument("--before", type=int, default=40, metavar="N", help="steps that do not count; recording is among them")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="steps that count")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each measure is taken")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")


def main() -> None:
    """One program of a measure, or all measures."""
    if sys.argv[1:2] == ["--child"]:
        kind, side, folder, told = sys.argv[2:]
        print(json.dumps(asdict(train(kind, side, Path(folder), argparse.Namespace(**json.loads(told))))), flush=True)
    else:
        harness.run(__file__, __doc__, benchmark, options)


if __name__ == "__main__":
    main()
