"""What must hold after hosts were lost: every trial done once, the scores of an undisturbed run, nothing left, no secret told."""

from __future__ import annotations

import contextlib
import json
import subprocess

import cluster
import hosts
import pandas as pd
from cluster import program, start
from hosts import BASE, PATIENCE, SHARED, Host, wait_for
from story import Diary, Job, committed, trained

KEY = ["task", "model", "source", "seed", "target", "metric"]


def of_results(diary: Diary, job: Job, held: set[str]) -> None:
    """The results are those of an undisturbed run, each there once, although trials were trained twice."""
    planned = {trial["trial"] for trial in json.loads((job.results / "sweep.json").read_text())["trials"]}
    diary.check(f"the {len(planned)} planned trials are committed, and no others", committed(job) == planned)
    scores, wanted = (pd.read_parquet(folder / "scores") for folder in (job.results, SHARED / "reference" / "rehearsal"))
    diary.check("no key is there twice", not scores.duplicated(KEY).any())
    columns = [*KEY, "score", "n", "digest"]
    same = scores[columns].sort_values(KEY, ignore_index=True).equals(wanted[columns].sort_values(KEY, ignore_index=True))
    diary.check(f"all {len(scores)} scores equal those of the undisturbed run, to the last bit", same)
    twice = [line for line in trained(held)]
    diary.check(f"what the cut-off host was at was trained on both sides: {', '.join(sorted(twice))}", len(twice) == 2 * len(held), twice)
    checked = start("check", [program("xfer-ray"), "check", str(job.results)])
    diary.check(
        "`xfer-ray check` finds no partial or damaged file", checked.wait() == 0 and ": 0 damaged" in checked.text(), checked.text()
    )
    said = start("status", [program("xfer-ray"), "status", str(job.results), "--json"])
    counts = json.loads(said.text())["counts"] if said.wait() == 0 else {}
    diary.check("`xfer-ray status` counts all as done", counts.get("done") == len(planned) == sum(counts.values()), counts)
    left = [f"{folder}/{file.name}" for folder in ("running", "conflicts") for file in (job.results / folder).glob("*")]
    diary.check("no heartbeat and no conflict is left", not left, left)


def of_cluster(diary: Diary, token: str, job: Job, living: list[Host]) -> None:
    """The job says what became of it, and the cluster is as free as before."""
    states = {each["submission_id"]: each["status"] for each in cluster.jobs(token)}
    diary.check("Ray says that both jobs succeeded", set(states.values()) == {"SUCCEEDED"} and job.id in states, states)
    with contextlib.suppress(RuntimeError):
        wait_for("resources to come back", lambda: not cluster.busy(token), PATIENCE / 4, every=1)
    diary.check("all resources are returned", not cluster.busy(token), cluster.busy(token))
    orphans = [line for host in living for line in hosts.processes(host) if "TrialRunner" in line]
    diary.check("no process of a trial is left on a living host", not orphans, orphans)


def of_secrets(diary: Diary, token: str, living: list[Host]) -> None:
    """The token stands in its own file on each host, and nowhere else."""
    told = json.dumps([cluster.jobs(token), cluster.ask("/api/v0/jobs?detail=1", token)[1]])
    diary.check("no job description tells the token", token not in told)
    found = subprocess.run(["grep", "-rlF", "--devices=skip", token, str(BASE)], capture_output=True, text=True).stdout.split()
    own = [file for file in found if file.endswith("/.ray/auth_token")]
    others = sorted(set(found) - set(own))
    diary.check(f"no log, result or other file tells the token, but {len(own)} token files", not others and len(own) >= 3, others)
    modes = {oct((BASE / file).stat().st_mode & 0o777) for file in own}
    diary.check("every token file is its user's alone (0600)", modes == {"0o600"}, modes)
    lines = [line for host in living for line in hosts.processes(host) if token in line]
    diary.check("no command line tells the token", not lines)
