"""Where checkpoints are found, which commit they are, and that no pickle is executed."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from xfer_ray.errors import SetupError
from xfer_ray.models import checkpoints, encoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MBERT = "google-bert/bert-base-multilingual-cased"


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("XFER_RAY_MIRROR", raising=False)


@pytest.fixture
def pickled(tmp_path) -> Path:
    """A checkpoint that has only a pytorch_model.bin."""
    folder = tiny.bert(tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_a_folder_is_itself_and_its_revision_is_local(tmp_path):
    assert checkpoints.locate(str(tmp_path)) == str(tmp_path)
    assert checkpoints.resolve(str(tmp_path), None) == "local"


def test_a_mirror_stands_for_the_hub(mirror, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    assert checkpoints.locate(MBERT, COMMIT) == str((mirror / MBERT).resolve())
    assert checkpoints.resolve(MBERT, COMMIT) == "mirror"
    with pytest.raises(SetupError, match="checkpoint 'nobody/nothing' is not in the mirror: no folder .*/nobody/nothing"):
        checkpoints.locate("nobody/nothing", None)


def test_without_a_mirror_a_name_is_a_hub_id_and_a_commit_is_taken_at_its_word():
    assert checkpoints.locate(MBERT, None) == MBERT
    assert checkpoints.resolve(MBERT, COMMIT) == COMMIT


@pytest.mark.parametrize("name", ["./absent", "/absent/folder", "a/b/c", "../x", "a b"])
def test_what_is_neither_folder_nor_hub_id_is_refused(name):
    with pytest.raises(SetupError, match="is no folder and no hub id such as 'google-bert/bert-base-multilingual-cased'"):
        checkpoints.locate(name, None)


def test_a_checkpoint_without_weights_is_refused_with_the_way_out(mirror, tmp_path):
    with pytest.raises(
        SetupError,
        match=r"has no weights: neither model.safetensors nor pytorch_model.bin in .*; a Pretraining with steps=0 makes a random one",
    ):
        checkpoints.loadable(str(mirror / MBERT), None, tmp_path)


def _outside(code: str, **variables: str) -> str:
    """What a fresh process prints: the hub's client reads its variables once, when it is imported."""
    imports = "from xfer_ray.models import checkpoints\nfrom xfer_ray.errors import SetupError\n"
    program = imports + f"try:\n  print({code})\nexcept SetupError as error:\n  print('SetupError', error)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | variables, capture_output=True, text=True, timeout=60, check=True
    )
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_hubs_cache_serves_without_a_network_and_names_the_commit(tmp_path):
    cached = tmp_path / "hub" / "models--somebody--small"
    tiny.bert(cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    printed = _outside(
        "*(checkpoints.resolve('somebody/small', None), checkpoints.fetched('somebody/small').name)",
        HF_HOME=str(tmp_path),
        HF_HUB_OFFLINE="1",
    )
    assert printed.split() == [COMMIT, COMMIT]


def test_an_empty_cache_without_a_network_is_one_sentence(tmp_path):
    printed = _outside("checkpoints.fetched('somebody/small')", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    sentence = "is not in the local cache and the hub cannot be reached; give a folder, or set XFER_RAY_MIRROR"
    assert printed.strip() == f"SetupError checkpoint 'somebody/small' {sentence}"


class _Hub(BaseHTTPRequestHandler):
    """A hub that refuses in the way its path says."""

    def do_GET(self):
        gated = "gated" in self.path
        self.send_response(403 if gated else 401)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("X-Error-Message", f"refused {self.headers['Authorization']}")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.mark.fault("F26", injected="401 and 403 from a server on this machine that repeats the token")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("somebody/gated", "is gated: accept its licence on the hub and set HF_TOKEN to a token that may read it"),
        ("somebody/private", "is not on the hub, or HF_TOKEN may not read it"),
    ],
)
def test_a_refused_token_is_never_printed(tmp_path, name, sentence):
    server = HTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        printed = _outside(
            f"checkpoints.fetched('{name}')",
            HF_HOME=str(tmp_path),
            HF_HUB_OFFLINE="0",
            HF_TOKEN="hf_secretsecretsecret",
            HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
        )
    finally:
        server.shutdown()
    assert printed.strip() == f"SetupError checkpoint '{name}' {sentence}"


def test_pickled_weights_are_converted_once_and_train_as_they_would(pickled, tmp_path):
    first = checkpoints.loadable(str(pickled), None, tmp_path)
    inode = (first / "model.safetensors").stat().st_ino
    second = checkpoints.loadable(str(pickled), None, tmp_path)
    assert first == second != pickled
    assert (second / "model.safetensors").stat().st_ino == inode
    answers = [
        encoder.fine_tune(tiny.TASK, tiny.examples(150), None, tiny.RECIPE, 0, tiny.context(folder, tmp_path))(tiny.examples(20))
        for folder in (pickled, tiny.bert(tmp_path / "safe"))
    ]
    assert answers[0] == answers[1]


def test_tied_weights_survive_the_conversion(pickled, tmp_path):
    weights = torch.load(pickled / "pytorch_model.bin", weights_only=True)
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
    torch.save(weights, pickled / "pytorch_model.bin")
    found = load_file(checkpoints.converted(pickled, tmp_path / "into") / "model.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


class _Bomb:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("damage", ["code", "torn", "empty"])
def test_a_pickle_with_code_or_damage_is_refused_unexecuted(pickled, tmp_path, damage):
    file = pickled / "pytorch_model.bin"
    content = {"code": pickle.dumps({"weight": _Bomb(tmp_path / "exploded")}, protocol=2), "torn": file.read_bytes()[:-100], "empty": b""}
    file.write_bytes(content[damage])
    with pytest.raises(
        SetupError, match=r"pytorch_model.bin is damaged, or holds more than weights, and is not read; give a model.safetensors"
    ):
        checkpoints.converted(pickled, tmp_path / "into")
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "into").exists()


def test_two_makers_at_once_leave_one_complete_folder(tmp_path):
    both = threading.Barrier(2, timeout=10)

    def write(folder: Path) -> None:
        (folder / "a").write_text("a")
        both.wait()
        (folder / "b").write_text("b")

    with ThreadPoolExecutor(2) as pool:
        made = [future.result() for future in [pool.submit(checkpoints.made, tmp_path / "made", write) for _ in range(2)]]
    assert made == [tmp_path / "made"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert sorted(path.name for path in made[0].iterdir()) == ["a", "b"]


def test_a_maker_that_fails_leaves_nothing(tmp_path):
    def write(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        checkpoints.made(tmp_path / "made", write)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_literals_loads_nothing_heavy():
    heavy = {"torch", "transformers", "datasets", "ray", "pandas", "pyarrow"}
    code = f"import sys, xfer_ray.models as m; print({heavy} & set(sys.modules), len(m.MODELS) == len({{x.name for x in m.MODELS}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set() True"
