"""Trials that end as runs of Weights & Biases, where the extra is installed; without the network, as its offline mode has it."""

import importlib.util

import pytest
from toy import Toy


def test_trials_that_end_reach_weights_and_biases(tmp_path):
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    toy = Toy(tmp_path)
    toy.fault("de.s0", "data")
    key = "0123456789abcdef" * 2 + "01234567"
    ran = toy.command(
        "run", "toy.py", "--wandb", "languages", "--in-process", WANDB_MODE="offline", WANDB_ERROR_REPORTING="false", WANDB_API_KEY=key
    )
    assert ran.returncode == 5, ran.stderr
    assert "W&B did not" not in ran.stderr
    runs = {folder.name.split("-", 3)[3]: folder for folder in (tmp_path / "cache" / "wandb" / "wandb").glob("offline-run-*")}
    assert set(runs) == {trial["trial"] for trial in toy.status()["trials"]}
    for trial, folder in runs.items():
        (file,) = folder.glob("*.wandb")
        told = file.read_bytes()
        assert trial.encode() in told
        assert b"languages" in told
        assert (b"asked to fail" if ".de-HT-en.s0-" in trial else b"last/ru-HT-en/accuracy") in told
    left = [path for path in tmp_path.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert left == [], "the key is in no file"


@pytest.mark.parametrize("missing", ["the package", "a key"])
def test_wandb_without_what_it_needs_is_refused_before_anything_starts(tmp_path, missing):
    if (importlib.util.find_spec("wandb") is None) != (missing == "the package"):
        pytest.skip("this is about an installation " + ("without" if missing == "the package" else "with") + " the extra `wandb`")
    toy = Toy(tmp_path)
    ran = toy.command("run", "toy.py", "--wandb", "languages", WANDB_API_KEY="", WANDB_MODE="", NETRC=str(tmp_path / "none"))
    assert ran.returncode == 4, ran.stderr
    told = {
        "the package": "--wandb needs the package wandb, which is not installed; pip install 'xfer-ray[wandb]'",
        "a key": "--wandb finds no key for api.wandb.ai; set WANDB_API_KEY, run `wandb login`, or set WANDB_MODE=offline",
    }
    assert told[missing] in ran.stderr
    assert toy.trained() == []


def test_no_key_travels_to_the_workers(monkeypatch):
    from xfer_ray.desk import Placement
    from xfer_ray.sweep import connecting

    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert "secret" not in connecting.worker_environment(Placement(wandb="languages"), None).values()
