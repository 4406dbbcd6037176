"""What a sweep has done and has yet to do, read from its files alone: the facts behind `plan`, `status` and `run`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from xfer_ray import compact, records, results
from xfer_ray.core import Model, Trial
from xfer_ray.identity import Json
from xfer_ray.planfile import PlannedTrial
from xfer_ray.recipe import Pretraining
from xfer_ray.results import Results
from xfer_ray.sources import Corpus, Source

STATES = ("done", "to_run", "failed", "blocked")
RUNNABLE = ("to_run", "failed")
Number = TypeVar("Number", int, float)
SAMPLE = 20  # committed trials read per task and model for an estimate


@dataclass(frozen=True)
class State:
    """Where a planned trial stands: done, running, to_run, failed (and why), blocked (and what would help).

    `elsewhere`: the sweep of the same storage that has committed it, so that a run takes it over in a moment.
    """

    trial: PlannedTrial
    state: str
    reason: str = ""
    elsewhere: str = ""

    def json(self) -> dict[str, Json]:
        """As `plan --json` and `status --json` print it."""
        t = self.trial
        return {
            "trial": t.trial,
            "task": t.task,
            "model": t.model,
            "source": t.source,
            "seed": t.seed,
            "digest": t.digest,
            "state": self.state,
            "reason": self.reason or None,
        }


@dataclass(frozen=True)
class Probed:
    """What one trial of a task and model takes, by a probe of it: seconds, on the CPU ("cpu") or a GPU of this name."""

    seconds: float
    device: str


@dataclass(frozen=True)
class Part:
    """What some of the trials to run will cost, and where that is known from: "committed trials", or "probe" on a device.

    `gpu_seconds` count the model's share of a GPU; None where a model that takes one was timed on a CPU. `size` is in bytes.
    """

    origin: str
    trials: int
    seconds: float
    gpu_seconds: float | None
    size: int | None
    device: str


@dataclass(frozen=True)
class Estimate:
    """What the trials to run will cost, as far as it is known; a total is None unless it is known of every trial."""

    trials: int
    parts: tuple[Part, ...]

    @property
    def covered(self) -> int:
        """For how many of the trials something of the same task and model tells the time."""
        return sum(part.trials for part in self.parts)

    @property
    def worker_hours(self) -> float | None:
        """Hours of one worker after another."""
        return self._total([part.seconds / 3600 for part in self.parts])

    @property
    def gpu_hours(self) -> float | None:
        """Hours of a whole GPU; None, too, where nothing ran on one."""
        on_gpu = any(part.device != "cpu" for part in self.parts)
        return self._total([None if p.gpu_seconds is None else p.gpu_seconds / 3600 for p in self.parts]) if on_gpu else None

    @property
    def disk_bytes(self) -> int | None:
        """What the trials will leave; a probe leaves nothing."""
        return self._total([part.size for part in self.parts])

    @property
    def origin(self) -> str | None:
        """Where all that is known from: "committed trials", "probe", or "committed trials and probe"."""
        return " and ".join(dict.fromkeys(part.origin for part in self.parts)) if self._whole else None

    def json(self) -> dict[str, Json]:
        """As `plan --json` prints it."""
        return {
            "gpu_hours": self.gpu_hours,
            "from": self.origin,
            "money": None,
            "disk_bytes": self.disk_bytes,
            "worker_hours": self.worker_hours,
            "covered": self.covered,
        }

    @property
    def _whole(self) -> bool:
        return 0 < self.covered == self.trials

    def _total(self, values: Sequence[Number | None]) -> Number | None:
        known = [value for value in values if value is not None]
        return sum(known[1:], known[0]) if self._whole and len(known) == len(values) else None


def states(found: Results, trials: Iterable[PlannedTrial], blocked: Mapping[str, str]) -> tuple[State, ...]:
    """The state of each trial; `blocked` gives reasons by trial."""
    done, failures = results.done(found), records.failed(found)
    there = tuple(_state(found, trial, done, failures, blocked) for trial in trials)
    elsewhere = _elsewhere(found, {state.trial.digest for state in there if state.state in RUNNABLE})
    return tuple(_shared(state, elsewhere) if state.state in RUNNABLE else state for state in there)


def _elsewhere(found: Results, digests: set[str]) -> dict[str, str]:
    """By digest, another sweep of the same storage that has committed such a trial, by the names of files alone."""
    others = [Results(found.storage, name) for name in found.storage.folders() if name != found.sweep] if digests else []
    held = {trial.rpartition("-")[2]: other.sweep for other in others for trial in sorted(results.done(other))}
    return {digest: held[digest] for digest in digests if digest in held}


def _shared(state: State, elsewhere: Mapping[str, str]) -> State:
    sweep = elsewhere.get(state.trial.digest, "")
    return State(state.trial, state.state, state.reason or f"sweep {sweep} has done it: taken over, not run", sweep) if sweep else state


def _state(found: Results, trial: PlannedTrial, done: set[str], failures: set[str], blocked: Mapping[str, str]) -> State:
    if trial.trial in done:
        return State(trial, "done")
    if trial.trial in blocked:
        return State(trial, "blocked", blocked[trial.trial])
    if trial.trial in failures:
        recorded = records.read_failure(found, trial.trial)
        return State(trial, "failed", recorded.error if recorded else "")
    return State(trial, "to_run")


def with_running(found: Results, trials: Iterable[State]) -> tuple[State, ...]:
    """The same states, with what says that it is running told apart; where it is, and since when it has said nothing more."""
    alive = records.running(found)
    return tuple(_running(found, state) if state.trial.trial in alive and state.state != "done" else state for state in trials)


def _running(found: Results, state: State) -> State:
    beat = records.read_running(found, state.trial.trial)
    return State(state.trial, "running", f"step {beat.step} of {beat.steps} on {beat.host} at {beat.at}") if beat else state


def counts(trials: Iterable[State]) -> dict[str, int]:
    """How many trials are in each state; `failed` ones are run again by the next `run`."""
    found = Counter(state.state for state in trials)
    return {state: found.get(state, 0) for state in (*STATES, *sorted(set(found) - set(STATES)))}


def blocked(trials: Sequence[Trial]) -> dict[str, str]:
    """By trial, what it needs and does not exist yet, with what would make it; looks at folders only, never at the hub."""
    mirror = os.environ.get("XFER_RAY_MIRROR")
    reasons: dict[tuple[int, int, Source], str] = {}  # the seeds of a source need the same
    found = {}
    for trial in trials:
        need = (id(trial.task), id(trial.model), trial.source)
        if need not in reasons:
            reasons[need] = _missing_checkpoint(trial.model, mirror) or _missing_corpus(trial)
        if reasons[need]:
            found[trial.id] = reasons[need]
    return found


def _missing_corpus(trial: Trial) -> str:
    """What a task's `load` says of the corpora that a trial reads, if it can say such a thing."""
    missing: Callable[[Corpus, str], str] | None = getattr(trial.task.load, "missing", None)
    if missing is None:
        return ""
    return next(filter(None, (missing(corpus, split) for corpus, split in trial.reads)), "")


def _missing_checkpoint(model: Model, mirror: str | None) -> str:
    name = model.checkpoint
    if isinstance(name, Pretraining) or not name:
        return ""
    if name.startswith((".", "/", "~")):
        if Path(name).expanduser().is_dir():
            return ""
        return f"checkpoint folder {name} does not exist; `xfer-ray pretrain FILE --output {name}` or save_pretrained makes it"
    if mirror is None or Path(name).is_dir():
        return ""
    folder = Path(mirror) / name
    if any(folder.glob("*.safetensors")) or (folder / "pytorch_model.bin").exists():
        return ""
    return f"the mirror holds no weights of {name}; put model.safetensors into {folder}, or leave --mirror out to use the hub"


def estimate(
    found: Results, trials: Iterable[State], gpus: Mapping[str, float], probed: Mapping[tuple[str, str], Probed | str] | None = None
) -> Estimate:
    """Price the trials to run: by committed trials of the same task and model, else by a probe of them.

    `gpus` is the share of a GPU that each model takes.
    """
    trials = tuple(trials)
    wanted = _wanted(trials)
    samples = _samples(trials, wanted)
    sizes = results.sizes_of(found, [trial for done in samples.values() for trial in done])
    parts = []
    for (task, model), done in samples.items():
        rows = compact.read_scores(found, done).drop_duplicates("trial")
        each = float((rows["train_seconds"] + rows["eval_seconds"]).mean())
        device = "cpu" if (rows["device"] == "cpu").any() else str(rows["device"].iloc[0])
        size = int(sum(sizes[trial] for trial in done) / len(done))
        parts.append(_part("committed trials", wanted[task, model], Probed(each, device), gpus.get(model, 1.0), size))
    for (task, model), told in (probed or {}).items():
        if isinstance(told, Probed):
            parts.append(_part("probe", wanted[task, model], told, gpus.get(model, 1.0), None))
    return Estimate(sum(wanted.values()), tuple(parts))


def _part(origin: str, number: int, each: Probed, share: float, size: int | None) -> Part:
    """So many trials at a cost of `each`, of a model that takes such a share of a GPU, and of so many bytes each."""
    gpu = None if share and each.device == "cpu" else number * each.seconds * share
    return Part(origin, number, number * each.seconds, gpu, None if size is None else number * size, each.device)


def unpriced(trials: Iterable[State]) -> list[str]:
    """The trials to run of whose task and model none is committed."""
    trials = tuple(trials)
    known = _samples(trials, _wanted(trials))
    return [s.trial.trial for s in trials if _costs(s) and (s.trial.task, s.trial.model) not in known]


def _costs(state: State) -> bool:
    return state.state in RUNNABLE and not state.elsewhere


def _wanted(trials: Iterable[State]) -> Counter[tuple[str, str]]:
    """How many trials of each task and model are to be run."""
    return Counter((s.trial.task, s.trial.model) for s in trials if _costs(s))


def _samples(trials: Iterable[State], wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """A few committed trials of each task and model that is wanted and has some."""
    found: dict[tuple[str, str], list[str]] = {}
    for state in trials:
        key = (state.trial.task, state.trial.model)
        if state.state == "done" and key in wanted and len(found.get(key, ())) < SAMPLE:
            found.setdefault(key, []).append(state.trial.trial)
    return found


def models_of(trials: Iterable[Trial]) -> dict[str, Model]:
    """The models of some trials, by name, in the order of first mention."""
    return {trial.model.name: trial.model for trial in trials}
