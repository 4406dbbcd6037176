"""A cluster of two nodes on this machine, one of which is lost while it works."""

import json

import pandas as pd
import pytest
from toy import Toy


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.mark.slow
@pytest.mark.fault("F6", injected="a node of a cluster is removed while it works")
def test_a_lost_node_costs_no_result(tmp_path, cluster):
    calm = tmp_path / "calm"
    calm.mkdir()
    undisturbed = Toy(calm)
    assert undisturbed.run("--in-process").returncode == 0

    (tmp_path / "cluster").mkdir()
    toy = Toy(tmp_path / "cluster")
    toy.declare(seconds=3)
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    driver = toy.start("run", "toy.py", "--address", cluster.address)
    running = toy.results / "running"
    toy.wait_for(lambda: running.is_dir() and len(list(running.glob("toy.*.json"))) == 2)
    cluster.remove_node(node, allow_graceful=False)
    _, err = driver.communicate(timeout=120)

    assert driver.returncode == 0, err
    assert "again    toy.toy-model." in err, "the lost node was not at work"
    pd.testing.assert_series_equal(toy.scores(), undisturbed.scores())
    assert toy.status()["counts"]["done"] == 6
    assert not list(running.glob("*"))


def test_a_dead_address_is_named(tmp_path):
    run = Toy(tmp_path).run("--address", "127.0.0.1:1")
    assert run.returncode == 4
    assert "xfer-ray: Ray at 127.0.0.1:1 does not answer" in run.stderr
    told = [line for line in run.stderr.strip().splitlines() if "the token file" not in line]  # Ray makes its own readable to all
    assert len(told) == 1, json.dumps(run.stderr)
