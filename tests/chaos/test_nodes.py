"""A cluster on this machine loses all its workers, or its head's control store, while a sweep runs."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from chaos.disturbed import invariants, steps, stepwise

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture
def open_cluster(cluster):
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    return cluster


@pytest.mark.fault("F7", injected="the only two workers of a cluster are removed, one comes after 20 s")
def test_a_run_without_workers_waits_for_one(tmp_path, cluster, undisturbed):
    toy = stepwise(tmp_path / "sweep", seconds=6)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    driver = toy.start("run", "toy.py", "--address", cluster.address)
    toy.wait_for(lambda: len(steps(toy, "en.s0")) > 3, 200)
    for node in nodes:
        cluster.remove_node(node, allow_graceful=False)
    lost = len((toy.folder / "steps.txt").read_text().splitlines())
    time.sleep(20)
    assert driver.poll() is None, driver.communicate()
    assert len((toy.folder / "steps.txt").read_text().splitlines()) - lost < 3, "a trial went on without a node"
    cluster.add_node(num_cpus=1)
    _, said = driver.communicate(timeout=240)
    assert "again    toy.toy-model." in said, "no trial was lost"
    assert "no node" in said or "waiting" in said, f"nothing says what is waited for: {said}"
    invariants(toy, undisturbed, driver.returncode)


@pytest.mark.fault("F12", injected="SIGKILL to the gcs_server of a cluster")
def test_a_lost_head_ends_the_run_and_another_completes_it(tmp_path, cluster, undisturbed):
    toy = stepwise(tmp_path / "sweep", seconds=6)
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    driver = toy.start("run", "toy.py", "--address", cluster.address)
    toy.wait_for(lambda: toy.committed(), 200)
    store = cluster.head_node.all_processes["gcs_server"][0].process
    assert Path(f"/proc/{store.pid}/comm").read_text().strip() == "gcs_server"
    store.kill()
    start = time.monotonic()
    _, said = driver.communicate(timeout=240)
    print(f"noticed after {time.monotonic() - start:.0f} s, exit {driver.returncode}: {said[-600:]}")
    assert len(toy.committed()) < 6
    assert driver.returncode == 4, said
    assert "xfer-ray run toy.py" in said, "nothing says how to go on"
    again = toy.run("--in-process")
    invariants(toy, undisturbed, again.returncode)


@pytest.mark.fault(
    "F38", injected="a cluster on this machine that asks for no token; the command believes to be on a machine of another name"
)
def test_a_run_refuses_a_cluster_of_others_that_asks_for_no_token(tmp_path, open_cluster):
    toy = stepwise(tmp_path / "sweep")
    command = [*toy.start("--help").args[:3], "run", "toy.py", "--address", open_cluster.address]
    elsewhere = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    if os.geteuid() or subprocess.run([*elsewhere, "true"], capture_output=True).returncode:
        pytest.skip("another host name needs root")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "XFER_RAY_CACHE": str(toy.folder / "cache")
    }
    run = subprocess.run([*elsewhere, *command], cwd=toy.folder, env=environment, capture_output=True, text=True, timeout=240)
    assert run.returncode == 4, run.stderr
    assert f"Ray at {open_cluster.address} asks for no token, so whoever reaches it can run programs on it" in run.stderr
    assert "RAY_AUTH_MODE=token" in run.stderr
    assert steps(toy, "en.s0") == []
