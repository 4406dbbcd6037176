"""A hub that is out of reach, fails in the middle, refuses, or pauses; it is a server on this machine."""

import time
from pathlib import Path

import pytest
import tiny
from chaos.disturbed import invariants, processes
from chaos.hub import COMMIT, WEIGHTS, Hub
from toy import Toy

pytestmark = pytest.mark.slow

TOKEN = "hf_" + "secretsecret" * 3


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("XFER_RAY_MIRROR", raising=False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("bert"))


def encoding(folder: Path) -> Toy:
    """A sweep of two trials whose checkpoint lies on a hub."""
    folder.mkdir()
    toy = Toy(folder)
    toy.declare(languages=("en", "de"), seeds=(0,))
    file = folder / "toy.py"
    recipe = "Recipe(steps=3, learning_rate=1e-3, batch_size=4, max_length=32)"
    text = file.read_text().replace("family=fine_tune", 'family="encoder", checkpoint="somebody/small"')
    file.write_text(text.replace("Recipe(steps=10, learning_rate=0.1, batch_size=1)", recipe))
    return toy


def home(toy: Toy, url: str, **more: str) -> dict[str, str]:
    """The environment of a hub at an address, with a cache of its own."""
    return {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": url, "HF_HOME": str(toy.folder / "hf"), "NO_PROXY": "127.0.0.1", **more}


def whole(toy: Toy, code: int) -> None:
    """The invariants for a sweep of the encoder: the undisturbed scores are those of a folder in the hub's place."""
    calm = encoding(toy.folder.parent / "calm")
    file = calm.folder / "toy.py"
    local = next((toy.folder / "hf" / "hub" / "models--somebody--small" / "snapshots").iterdir())
    file.write_text(file.read_text().replace("somebody/small", str(local)))
    done = calm.run("--in-process")
    assert done.returncode == 0, done.stderr
    invariants(toy, calm.scores(), code)


@pytest.mark.fault("F24", injected="a closed port in the hub's place, an empty cache")
def test_a_hub_out_of_reach_is_told_in_seconds(tmp_path):
    toy = encoding(tmp_path / "sweep")
    start = time.monotonic()
    run = toy.command("run", "toy.py", **home(toy, "http://127.0.0.1:9"))
    assert time.monotonic() - start < 30
    assert run.returncode == 4, run.stderr
    assert "checkpoint 'somebody/small' is not in the local cache and the hub cannot be reached" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    assert not (toy.results / "scores").exists()
    assert processes(toy) == []


@pytest.mark.fault("F24", injected="a closed port in the hub's place, a full cache")
def test_a_full_cache_does_without_the_hub(tmp_path, checkpoint):
    toy = encoding(tmp_path / "sweep")
    cached = toy.folder / "hf" / "hub" / "models--somebody--small"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    tiny.bert(cached / "snapshots" / COMMIT)
    run = toy.command("run", "toy.py", "--in-process", **home(toy, "http://127.0.0.1:9"))
    assert run.returncode == 0, run.stderr
    whole(toy, run.returncode)


@pytest.mark.fault("F25", injected="503, a cut connection, and 429 for the weights, from a server on this machine")
def test_a_hub_that_fails_for_a_while_is_waited_for(tmp_path, checkpoint):
    toy = encoding(tmp_path / "sweep")
    with Hub(checkpoint, 503, "cut", 429) as hub:
        run = toy.command("run", "toy.py", "--in-process", **home(toy, hub.url))
    assert hub.happened == [503, "cut", 429], hub.asked
    assert run.returncode == 0, run.stderr
    whole(toy, run.returncode)


@pytest.mark.fault("F25", injected="503 for the weights for ever, from a server on this machine")
def test_a_hub_that_fails_for_ever_fails_the_trial_and_leaves_no_half_checkpoint(tmp_path, checkpoint):
    toy = encoding(tmp_path / "sweep")
    with Hub(checkpoint, *[503] * 1000) as hub:
        run = toy.command("run", "toy.py", "--in-process", **home(toy, hub.url))
    assert len(hub.happened) > 2
    assert run.returncode == 5, run.stderr
    assert (
        "checkpoint 'somebody/small' at revision 0123456789abcdef0123456789abcdef01234567 could not be fetched from the hub" in run.stderr
    )
    assert not list((toy.folder / "hf").rglob(WEIGHTS))
    with Hub(checkpoint) as hub:
        again = toy.command("run", "toy.py", "--in-process", **home(toy, hub.url))
    assert again.returncode == 0, again.stderr
    whole(toy, again.returncode)


@pytest.mark.fault("F26", injected="401 and 403 from a server on this machine that repeats the token in its answer")
@pytest.mark.parametrize(
    ("status", "sentence"), [(403, "is gated: accept its licence on the hub"), (401, "is not on the hub, or HF_TOKEN may not")]
)
def test_a_refused_token_ends_the_run_and_is_printed_nowhere(tmp_path, checkpoint, status, sentence):
    toy = encoding(tmp_path / "sweep")
    with Hub(checkpoint, everything=status) as hub:
        run = toy.command("run", "toy.py", **home(toy, hub.url, HF_TOKEN=TOKEN))
    assert status in hub.happened
    assert run.returncode == 4, run.stderr
    assert sentence in run.stderr
    written = [file.read_bytes() for file in toy.folder.rglob("*") if file.is_file()]
    assert TOKEN not in run.stdout + run.stderr
    assert not any(TOKEN.encode() in data for data in written)
    assert processes(toy) == []


@pytest.mark.fault("F31", injected="a pause of 20 s in the middle of the weights")
def test_a_pause_of_the_network_is_waited_for(tmp_path, checkpoint):
    toy = encoding(tmp_path / "sweep")
    with Hub(checkpoint, "pause", pause=20) as hub:
        run = toy.command("run", "toy.py", "--in-process", **home(toy, hub.url))
    assert hub.happened == ["pause"]
    assert run.returncode == 0, run.stderr
    whole(toy, run.returncode)
