"""The files that start clusters: Ray takes them, nothing in them is open, and what they call does what it says."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CLUSTERS = [path for path in (ROOT / "cluster.yaml", ROOT / "deploy" / "onprem.yaml", ROOT / "deploy" / "gcp.yaml") if path.exists()]
each_cluster = pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
START = ("head_start_ray_commands", "worker_start_ray_commands")


def prepared(path):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(path.read_text()))
    validate_config(config)
    return config


def commands(config):
    return [line for key, lines in config.items() if key.endswith("_commands") for line in lines]


@each_cluster
def test_ray_takes_the_file(path):
    config = prepared(path)
    assert config["head_node_type"] in config["available_node_types"]


@each_cluster
def test_every_start_asks_for_the_token_and_listens_to_this_machine_alone(path):
    config = prepared(path)
    starts = [line for key in START for line in config[key] if "ray start" in line]
    assert len(starts) == 2
    for line in starts:
        assert "RAY_AUTH_MODE=token" in line
        assert "chmod 600 ~/.ray/auth_token" in line
        assert "RAY_ROTATION_MAX_BYTES=" in line
        assert "XFER_RAY_CACHE=" in line
        assert "HF_HOME=" in line
    head = next(line for line in starts if "--head" in line)
    assert "--dashboard-host=127.0.0.1" in head
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head
    assert "--disable-usage-stats" in head
    assert "0.0.0.0" not in path.read_text()


@each_cluster
def test_the_token_is_mounted_and_no_other_file_of_the_user(path):
    mounts = prepared(path)["file_mounts"]
    assert mounts.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    for remote, local in mounts.items():
        assert remote.startswith("~/xfer-ray/")
        assert not Path(local).is_absolute()
        assert (ROOT / local).exists()
    wheel = {"pyproject.toml", "README.md", "xfer_ray", "analysis", "sweeps", "constraints.txt"}
    assert wheel <= {Path(remote).name for remote in mounts}


@each_cluster
def test_every_command_is_sound_shell(path):
    for line in commands(prepared(path)):
        done = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr}"


@each_cluster
def test_versions_come_from_the_constraints_alone(path):
    """No command installs on its own; the one that installs pins Ray to what this environment has."""
    import ray

    lines = commands(prepared(path))
    assert not [line for line in lines if re.search(r"pip|\.whl|conda", line)]
    assert [line for line in lines if line.endswith("bash ~/xfer-ray/install.sh")]
    assert f"\nray=={ray.__version__}\n" in (ROOT / "constraints.txt").read_text()
    assert "--constraint constraints.txt" in (ROOT / "deploy" / "install.sh").read_text()


def test_on_aws_workers_are_spot_and_start_from_none_and_the_head_is_neither():
    config = prepared(ROOT / "cluster.yaml")
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["resources"]["CPU"] == 0
    assert head["node_config"]["IamInstanceProfile"] == {"Name": "xfer-ray-head"}
    assert len([kind for kind in types.values() if kind["resources"].get("GPU")]) >= 3
    for kind in types.values():
        assert kind["min_workers"] == 0
        assert kind["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
        assert kind["node_config"]["IamInstanceProfile"] == {"Name": "xfer-ray-worker"}
        assert kind["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert kind["node_config"]["SecurityGroupIds"] == head["node_config"]["SecurityGroupIds"]
        assert bool(kind["resources"].get("GPU")) == (kind["node_config"]["InstanceType"][0] in "gp")
    assert config["idle_timeout_minutes"] <= 10
    assert config["provider"]["cache_stopped_nodes"] is False


def test_on_premises_the_older_autoscaler_starts_all_workers():
    config = prepared(ROOT / "deploy" / "onprem.yaml")
    (node,) = config["available_node_types"].values()
    assert node["min_workers"] == node["max_workers"] == len(config["provider"]["worker_ips"])
    head = next(line for line in config["head_start_ray_commands"] if "--head" in line)
    assert head.index("RAY_enable_autoscaler_v2=0") < head.index("ray start"), "ray up exports 1 before the line"


@each_cluster
def test_workers_of_a_cloud_hear_that_they_are_taken_back(path):
    config = prepared(path)
    watching = [line for line in config["worker_start_ray_commands"] if "-m xfer_ray.spot $RAY_HEAD_IP:6379" in line]
    assert len(watching) == (config["provider"]["type"] != "local")
    assert not [line for line in config["head_start_ray_commands"] if "xfer_ray.spot" in line]


def test_on_google_workers_are_spot_and_have_an_account_of_their_own():
    config = prepared(ROOT / "deploy" / "gcp.yaml")
    head = config["available_node_types"].pop(config["head_node_type"])
    assert "scheduling" not in head["node_config"]
    for kind in config["available_node_types"].values():
        assert kind["min_workers"] == 0
        assert kind["node_config"]["scheduling"]["provisioningModel"] == "SPOT"
        assert kind["node_config"]["serviceAccounts"][0]["email"].startswith("xfer-ray-worker@")
        assert kind["node_config"]["networkInterfaces"][0]["subnetwork"].endswith("/xfer-ray")


def test_on_kubernetes_the_token_and_the_version_are_set_and_the_image_has_what_it_copies():
    import ray

    cluster = next(each for each in yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text()) if each["kind"] == "RayCluster")
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    assert cluster["spec"]["rayVersion"] == ray.__version__
    assert cluster["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert all(group["minReplicas"] == 0 for group in cluster["spec"]["workerGroupSpecs"])
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert copied
    assert all((ROOT / word).exists() for word in copied)
    assert all("--constraint constraints.txt" in line for line in lines if "pip install" in line)
    assert "RAY_AUTH_MODE=token" in "\n".join(lines)


# ------------------------------------------------------------------------------ installing


@pytest.fixture
def node(tmp_path):
    """A machine's home with the mounted pieces in it, and an environment whose Python only notes what it is asked."""
    place = tmp_path / "xfer-ray"
    for remote, local in yaml.safe_load((ROOT / "cluster.yaml").read_text())["file_mounts"].items():
        if remote.startswith("~/xfer-ray/"):
            source, target = ROOT / local, tmp_path / remote.removeprefix("~/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    (place / ".venv" / "bin").mkdir(parents=True)
    python = place / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    python.chmod(0o755)
    (tmp_path / ".ray").mkdir(mode=0o755)
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    (tmp_path / ".ray" / "auth_token").chmod(0o644)
    return tmp_path


def install(node, **extra):
    done = subprocess.run(
        ["bash", str(node / "xfer-ray" / "install.sh")], env={**os.environ, "HOME": str(node), **extra}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    asked = (node / "asked").read_text().splitlines() if (node / "asked").exists() else []
    (node / "asked").write_text("")
    return asked


def test_installing_is_by_the_constraints_and_only_when_something_changed(node):
    first = install(node, XFER_RAY_EXTRAS="aws", XFER_RAY_PIP_FLAGS="--no-index --find-links /wheels")
    assert len(first) == 2
    assert all("--no-index --find-links /wheels --constraint constraints.txt" in line for line in first)
    assert first[0].endswith(".[aws]")
    assert install(node, XFER_RAY_EXTRAS="aws") == []
    assert len(install(node)) == 2, "other extras are another environment"
    (node / "xfer-ray" / "xfer_ray" / "core.py").write_text("changed")
    assert len(install(node)) == 2
    assert install(node) == []


def test_installing_closes_the_token_and_names_ray_for_the_login_shell_once(node):
    install(node)
    install(node)
    assert stat.S_IMODE((node / ".ray" / "auth_token").stat().st_mode) == 0o600
    assert stat.S_IMODE((node / ".ray").stat().st_mode) == 0o700
    lines = (node / ".bashrc").read_text().splitlines()
    assert lines == [f'export PATH="{node}/xfer-ray/.venv/bin:$PATH" RAY_AUTH_MODE=token # xfer-ray']


def test_a_machine_without_a_fit_python_says_so(node):
    shutil.rmtree(node / "xfer-ray" / ".venv")
    few = node / "few"
    few.mkdir()
    for name in ("bash", "find", "sort", "xargs", "sha256sum", "cut", "cat", "chmod", "hostname"):
        (few / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        ["bash", str(node / "xfer-ray" / "install.sh")], env={"HOME": str(node), "PATH": str(few)}, capture_output=True, text=True
    )
    assert done.returncode == 4
    assert "no Python 3.11 to 3.13 with venv" in done.stderr
