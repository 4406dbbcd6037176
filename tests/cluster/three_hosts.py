"""A rehearsal with three hosts: `ray up`, `xfer-ray submit`, one host killed and another cut off in mid-sweep, nothing lost.

    python tests/cluster/three_hosts.py        # as root; `make test-cluster` does it; some ten minutes where the machine is busy

Exit codes: 0 all is as promised, 1 it is not, 77 this machine cannot make the hosts (0 with --skip).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import checks
import cluster
import hosts
import story
from hosts import Host
from story import Diary

CANNOT = 77


def main() -> int:
    """Make the hosts, or say in one sentence why not."""
    parser = argparse.ArgumentParser(description="Lose hosts of a cluster in the middle of a sweep, and nothing else.")
    parser.add_argument("--skip", action="store_true", help="where hosts cannot be made, say so and end well (for CI)")
    parser.add_argument("--log", type=Path, help="also write the log to this file")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        return rehearse()
    lacking = hosts.missing()
    if lacking:
        print(f"{'skipped' if asked.skip else 'cannot make three hosts'}: {lacking}", file=sys.stderr)
        return 0 if asked.skip else CANNOT
    code, lines = hosts.enter(Path(__file__).resolve())
    if asked.log is not None:
        asked.log.write_text(lines)
    return code


def rehearse() -> int:
    """The whole rehearsal, as the first process of the laptop."""
    diary = Diary()
    hosts.make_laptop()
    story.put_sweep()
    head, one, two = (hosts.make_host(name, f"10.77.0.{last}") for name, last in (("head", 2), ("one", 3), ("two", 4)))
    diary.note("three hosts answer to ssh")
    token = bring_up(diary, head, (one, two))
    story.reference_run(diary)
    calm = story.calm_run(diary)
    job, held, disturbed = story.disturbed_run(diary, token, (one, two))
    diary.note(f"with two hosts lost the sweep took {disturbed:.0f} s, undisturbed {calm:.0f} s")
    checks.of_results(diary, job, held)
    one = story.all_back(diary, token, one)
    checks.of_cluster(diary, token, job, [head, one, two])
    checks.of_secrets(diary, token, [head, one, two])
    diary.note("all is as promised" if not diary.wrong else f"NOT as promised: {'; '.join(diary.wrong)}")
    return 1 if diary.wrong else 0


def bring_up(diary: Diary, head: Host, workers: tuple[Host, ...]) -> str:
    """From bare hosts to a cluster whose door asks for a token; gives the token."""
    token = cluster.make_token()
    cluster.write_cluster_file(head, workers)
    up = cluster.ray_up()
    if up.wait():
        raise RuntimeError(f"ray up failed:\n{up.text()[-6000:]}")
    diary.note("`ray up -y onprem.yaml` has brought up the head")
    cluster.tunnel()
    hosts.wait_for("the dashboard", lambda: cluster.ask("/api/version", token)[0], hosts.PATIENCE)
    door = tuple(cluster.ask("/api/jobs/", key)[0] for key in ("", "wrong" + token[5:], token))
    diary.check("through `ray dashboard`: 401 without a token, 403 with a wrong one, 200 with ours", door == (401, 403, 200), door)
    cluster.wait_for_nodes(token, 1 + len(workers))
    diary.note("Ray sees three nodes")
    words = [cluster.program("xfer-ray"), "doctor", "--address", cluster.DASHBOARD, "--storage", str(hosts.SHARED / "doctor")]
    doctor = cluster.start("doctor", words)
    diary.check("`xfer-ray doctor` finds the cluster fit, with its exit code 0", doctor.wait() == 0, doctor.text())
    return token


if __name__ == "__main__":
    sys.exit(main())
