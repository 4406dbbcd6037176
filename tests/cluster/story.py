"""What happens to the cluster: a sweep in peace, and the same sweep while one host dies and another is cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cluster
import hosts
from cluster import Command
from hosts import CHECKOUT, PATIENCE, SHARED, Host, wait_for

SWEEP = Path("/root/sweep/rehearsal.py")  # on the laptop; the hosts get it with the job
HOLD = SHARED / "hold"
TRAINED = SHARED / "trained.txt"


@dataclass
class Diary:
    """What happened when, in seconds since the start, and what was not as promised."""

    begun: float = field(default_factory=time.monotonic)
    wrong: list[str] = field(default_factory=list)

    def note(self, text: str) -> float:
        """Write down what has just happened; gives the time, to reckon with."""
        print(f"{time.monotonic() - self.begun:7.1f} s  {text}", flush=True)
        return time.monotonic()

    def check(self, promise: str, holds: bool, found: object = "") -> None:
        """Write down whether a promise is kept."""
        if not holds:
            self.wrong.append(promise)
        self.note(f"{'yes' if holds else 'NO '}  {promise}{'' if holds or found == '' else f': {found}'}")


@dataclass(frozen=True)
class Job:
    """A submitted sweep: its id, its results, and the command that follows its log."""

    id: str
    results: Path
    log: Command


def put_sweep() -> None:
    """Lay the sweep file where a user would have it: on the laptop, in a folder of its own."""
    SWEEP.parent.mkdir()
    SWEEP.write_text((CHECKOUT / "tests" / "cluster" / "rehearsal.py").read_text())
    HOLD.mkdir()


def reference_run(diary: Diary) -> None:
    """The scores that all runs must reach: the sweep in one process, without Ray."""
    arguments = [cluster.program("xfer-ray"), "run", str(SWEEP), "--in-process", "--storage", str(SHARED / "reference")]
    done = cluster.start("reference", arguments, REHEARSAL_SECONDS="0")
    diary.check("`xfer-ray run --in-process` on the laptop makes the scores to compare with", done.wait() == 0, done.text()[-2000:])


def submit(name: str) -> Job:
    """Hand the sweep to the cluster from outside, and follow its log."""
    TRAINED.unlink(missing_ok=True)
    storage = str(SHARED / name)
    given = cluster.start(f"submit-{name}", [cluster.program("xfer-ray"), "submit", str(SWEEP), "--storage", storage])
    if given.wait():
        raise RuntimeError(f"xfer-ray submit failed: {given.text()}")
    job = given.text().split()[0]
    return Job(job, SHARED / name / "rehearsal", cluster.start(f"logs-{name}", [cluster.program("xfer-ray"), "logs", "--follow", job]))


def calm_run(diary: Diary) -> float:
    """The sweep on three hosts that nothing happens to; gives its seconds."""
    job = submit("calm")
    begun = diary.note(f"`xfer-ray submit` has handed in the sweep; its job is {job.id}")
    code = job.log.wait()
    diary.check("undisturbed, the sweep ends with exit code 0", code == 0, job.log.text()[-3000:])
    seconds = time.monotonic() - begun
    diary.note(f"undisturbed, {len(committed(job))} trials on three hosts took {seconds:.0f} s; trainings by host: {by_host()}")
    return seconds


def disturbed_run(diary: Diary, token: str, workers: Sequence[Host]) -> tuple[Job, set[str], float]:
    """The sweep while hosts are lost; gives the job, the trials that the cut-off host was at, and the seconds it took."""
    one, two = workers
    job = submit("disturbed")
    begun = diary.note(f"the same sweep with another storage; its job is {job.id}")
    wait_for("trials on both workers", lambda: len(committed(job)) >= 4 and at_work(job, one) and at_work(job, two), PATIENCE)
    lost = at_work(job, one)
    hosts.kill(one)
    killed = diary.note(f"host one KILLED, with {len(committed(job))} trials done; it was at {told(lost)}")
    notice(diary, job, token, (one, lost), killed)
    held = cut(diary, job, token, two)
    code = job.log.wait()
    diary.check("disturbed, the sweep ends with exit code 0", code == 0, job.log.text()[-3000:])
    return job, held, time.monotonic() - begun


def cut(diary: Diary, job: Job, token: str, host: Host) -> set[str]:
    """Cut a host off while it is at work, let it finish unseen what others do again, and join it again."""
    (HOLD / host.name).touch()
    time.sleep(3)  # what was at its last step is done by then
    held = wait_for("trials to hold", lambda: at_work(job, host), PATIENCE)
    hosts.cut_off(host)
    begun = diary.note(f"host {host.name} CUT OFF, with {len(committed(job))} trials done; it goes on with {told(held)}")
    notice(diary, job, token, (host, held), begun)
    seen: set[str] = set()

    def begun_again() -> bool:
        seen.update(elsewhere(job, held, host))
        return seen == held or ended(job)

    wait_for("another host to begin them again", begun_again, PATIENCE)
    alive = any("TrialRunner" in line for line in hosts.processes(host))
    diary.note(f"another host has begun {told(seen)} again; the cut-off host is {'still' if alive else 'no longer'} at it")
    (HOLD / host.name).unlink()
    if alive:
        wait_for("the cut-off host to finish", lambda: any(line.endswith(f" {host.name}") for line in trained(held)), PATIENCE)
        diary.note(f"the cut-off host has ended a training, and writes to the shared storage; {len(committed(job))} trials are done")
    hosts.join_again(host)
    diary.note(f"host {host.name} JOINED AGAIN")
    return held


def all_back(diary: Diary, token: str, dead: Host) -> Host:
    """Wait until the host that was cut off is in the cluster again, switch the dead one on, wait for it too; gives the new one."""
    cluster.wait_for_nodes(token, 2)
    diary.note("Ray sees two nodes: the host that was cut off is in the cluster again, by itself")
    begun = diary.note(f"host {dead.name} SWITCHED ON again, bare")
    new = hosts.make_host(dead.name, dead.address)
    cluster.wait_for_nodes(token, 3)
    diary.note(f"Ray sees three nodes, {time.monotonic() - begun:.0f} s after")
    return new


def notice(diary: Diary, job: Job, token: str, loss: tuple[Host, set[str]], since: float) -> None:
    """Wait until the sweep and Ray have missed a host, and say how long each took."""
    host, trials = loss
    signs: dict[str, Callable[[], bool]] = {
        f"the sweep has put what host {host.name} was at up for another try": lambda: all(
            f"again    {t}" in job.log.text() for t in trials
        ),
        f"Ray takes host {host.name} for dead": lambda: cluster.nodes(token).get(host.address) == "DEAD",
    }
    while signs:
        seen = wait_for(f"host {host.name} to be missed", lambda: [what for what, there in signs.items() if there()], PATIENCE, every=0.5)
        for what in seen:
            diary.note(f"{what}, {time.monotonic() - since:.0f} s after")
            del signs[what]


def ended(job: Job) -> bool:
    """Whether the sweep has ended."""
    return job.log.process.poll() is not None


def committed(job: Job) -> set[str]:
    """The trials that are done."""
    return {file.name.removesuffix(".parquet") for file in (job.results / "scores").glob("*.parquet")}


def beats(job: Job) -> dict[str, tuple[str, int]]:
    """Of each trial that says it runs: the host and the step."""
    found = {}
    for file in (job.results / "running").glob("*.json"):
        try:
            beat = json.loads(file.read_text())
        except (OSError, ValueError):
            continue  # it has just ended
        found[file.name.removesuffix(".json")] = (beat["host"], beat["step"])
    return found


def at_work(job: Job, host: Host) -> set[str]:
    """The trials that a host says it is at."""
    return {trial for trial, (name, _) in beats(job).items() if name == host.name}


def elsewhere(job: Job, trials: set[str], host: Host) -> set[str]:
    """Those of the trials that another host says it is at."""
    return {trial for trial, (name, _) in beats(job).items() if trial in trials and name != host.name}


def trained(trials: set[str] | None = None) -> list[str]:
    """The trainings that came to their end, "<source>.s<seed> <host>" each; of some trials or of all."""
    lines = TRAINED.read_text().splitlines() if TRAINED.exists() else []
    return [line for line in lines if trials is None or any(same(trial, line) for trial in trials)]


def same(trial: str, line: str) -> bool:
    """Whether a line of `trained.txt` is of this trial."""
    source, _, seed = line.split()[0].partition(".")
    parts = trial.split(".")
    return parts[-2].split("-")[0] == source and parts[-1].split("-")[0] == seed


def by_host() -> str:
    """How many trainings each host has ended."""
    names = [line.split()[1] for line in trained()]
    return ", ".join(f"{name} {names.count(name)}" for name in sorted(set(names)))


def told(trials: set[str]) -> str:
    """Trials by source and seed, for people."""
    return " and ".join(sorted(trial.split(".", 2)[2].rsplit("-", 1)[0] for trial in trials)) or "nothing"
