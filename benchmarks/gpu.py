"""A GPU's training steps: ours recorded and not, beside those of a Trainer, with one to four trials at once.

Models with random weights, shaped as mBERT and as mT5-Base, are fine-tuned on batches of 128 pairs, 128 tokens at most. Unless
--mirror gives XNLI in English and mBERT's vocabulary, the pairs are random words whose lengths are lognormal around XNLI's mean
of 41 wordpieces. Every side is a program of its own, and all programs of a measure begin their timed steps together:

    as given   every row padded to 128 tokens, fp32: what run_xnli.py does by default
    stronger   padded to the longest of the batch, bf16 autocast
    packed     ours, each batch in the shape that it has
    captured   ours, in few shapes, recorded once and played again

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
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness, words
from xfer_ray.models import MT5, PAPER

if TYPE_CHECKING:
    from benchmarks.training import Subject

SIDES = ("as given", "stronger", "packed", "captured")
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

    batch, steps = 16 if given.tiny else 128, given.before + given.steps
    examples = texts.english(10 * batch) if given.mirror else words.pairs(10 * batch, tiny=given.tiny)
    if kind == "mbert":
        return training.of_pairs(folder, examples, replace(PAPER, epochs=None, steps=steps, batch_size=batch))
    recipe = replace(MT5, batch_tokens=None, select_every=None, steps=steps, batch_size=batch, max_length=128)
    return training.of_words(folder, examples, recipe)


def checkpoint(kind: str, folder: Path, given: argparse.Namespace) -> Path:
    """What they begin with: random weights, and mBERT's tokenizer where there is a mirror."""
    words.checkpoint(kind, folder, {"mbert": given.mbert, "mt5-base": given.mt5}[kind], tiny=given.tiny)
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
    from xfer_ray.models import captured
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
    captured.DEVICES = (given.device,) if side == "captured" else ()

    def train(batches: Sequence[NDArray[np.int64]], report: Report) -> None:
        with ours.seeded(0):
            ours.train(replace(held.run, context=replace(held.run.context, report=report)), held.lessons)

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
    said = ["".join(iter(lambda p=program: _until_ready(p), "")) for program in programs]  # type: ignore[misc]
    for program in programs:
        if program.poll() is None and program.stdin:
            program.stdin.write("go\n")
            program.stdin.flush()
    ends = [program.communicate()[0] for program in programs]
    if any(program.returncode for program in programs):
        raise SystemExit(f"{' '.join(command)} ended with {[program.returncode for program in programs]}: {said}")
    return [Part(**json.loads(end.splitlines()[-1])) for end in ends]


def _until_ready(program: subprocess.Popen[str]) -> str:
    line = program.stdout.readline() if program.stdout else ""
    return "" if line == "ready\n" else line


def measured(given: argparse.Namespace, scratch: Path) -> Iterator[dict[str, Any]]:
    """Every side of every model, with each number of programs, round by round there and back."""
    for kind in MODELS:
        folder = checkpoint(kind, scratch / kind, given)
        found: dict[tuple[str, int], list[list[Part]]] = {(side, count): [] for side in SIDES for count in given.processes}
        for number in range(given.rounds):
            for side, count in list(found)[::-1] if number % 2 else list(found):
                command = [sys.executable, "-m", "benchmarks.gpu", *given.told, "--child", kind, side, str(folder)]
                found[(side, count)].append(together(command, count))
        slowest = statistics.median(_rate(parts) for parts in found[("as given", given.processes[0])])
        for (side, count), rounds in found.items():
            rates = [_rate(parts) for parts in rounds]
            yield {
                "model": kind,
                "side": side,
                "processes": count,
                "tokens_a_second": rates,
                "times_as_given": statistics.median(rates) / slowest,
                "work_a_second": [_rate(parts, "work") for parts in rounds],
                "seconds_before": [max(part.before for part in parts) for parts in rounds],
                "bytes_each": max(part.bytes for parts in rounds for part in parts),
            }


def _rate(parts: Sequence[Part], of: str = "tokens") -> float:
    return float(sum(getattr(part, of) for part in parts)) / max(part.seconds for part in parts)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mirror", type=Path, metavar="DIR", help="read XNLI and mBERT's vocabulary from DIR, laid out like the hub")
    parser.add_argument("--mbert", type=Path, metavar="FILE", help="a config.json in place of mBERT's shape")
    parser.add_argument("--mt5", type=Path, metavar="FILE", help="a config.json in place of mT5-Base's shape")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 3, 4], metavar="N", help="how many programs at once")
    parser.add_argument("--before", type=int, default=40, metavar="N", help="steps that do not count; recording is among them")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="steps that count")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each measure is taken")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that it runs")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the JSON file; default: benchmarks/results/gpu.json")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if given.mirror:
        os.environ["XFER_RAY_MIRROR"] = str(given.mirror.absolute())
    if given.child:
        kind, side, folder = given.child
        print(json.dumps(asdict(train(kind, side, Path(folder), given))), flush=True)
        return
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        print(
            "PyTorch finds no GPU on this machine, and this benchmark measures one; --tiny --device cpu shows that it runs", file=sys.stderr
        )
        raise SystemExit(4)
    given.told = sys.argv[1:]
    _write(given, product(0.1 if given.tiny else 2.0))


def _write(given: argparse.Namespace, peak: float) -> None:
    found = []
    with tempfile.TemporaryDirectory(prefix="xfer-ray-gpu-") as scratch:
        for measure in measured(given, Path(scratch)):
            found.append(measure | {"utilization": statistics.median(measure["work_a_second"]) / peak})
            print(_told(found[-1]), flush=True)
    record = {
        "benchmark": "gpu",
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "tiny": given.tiny,
        "machine": harness.machine(),
        "versions": harness.versions(),
        "steps": {"before": given.before, "counted": given.steps},
        "bf16_product": peak,
        "measures": found,
    }
    output = given.output or harness.RESULTS / "gpu.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _told(found: dict[str, Any]) -> str:
    rate, memory = statistics.median(found["tokens_a_second"]), found["bytes_each"] / 2**30
    return (
        f"{found['model']}, {found['side']}, {found['processes']} at once: {rate:,.0f} tokens/s, {found['times_as_given']:.2f} x as given, "
        f"{100 * found['utilization']:.1f} % of the matrix peak, {memory:.1f} GiB each, {max(found['seconds_before']):.1f} s before"
    )


if __name__ == "__main__":
    main()
