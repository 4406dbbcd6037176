"""Bytes on a real disk: whole or absent, created once, and refused with a sentence."""

import multiprocessing
import os
import pickle
import subprocess
import sys

import pytest

from xfer_ray.errors import SetupError, StorageError
from xfer_ray.storage import open_storage

NAME = "toy/scores/xnli.mbert-small.en-MT-de-MT-en~opus_2.1.s0-0123456789ab.parquet"


@pytest.fixture
def store(tmp_path):
    return open_storage(str(tmp_path / "results"))


def test_what_is_put_is_read_and_listed(store, tmp_path):
    assert store.create(NAME, b"one") is True
    assert store.create(NAME, b"two") is False
    assert (store.read(NAME), store.exists(NAME)) == (b"one", True)
    assert (tmp_path / "results" / NAME).read_bytes() == b"one"  # the very name, tilde and dots included
    store.replace(NAME, b"three")
    assert store.sizes("toy/scores") == {NAME.rpartition("/")[2]: 5}
    assert store.folders() == ["toy"]
    store.move(NAME, "toy/damaged/x")
    assert (store.exists(NAME), store.read("toy/damaged/x")) == (False, b"three")
    store.delete("toy/damaged/x")
    store.delete("toy/damaged/x")
    with pytest.raises(FileNotFoundError):
        store.read("toy/damaged/x")


def test_looking_into_a_storage_does_not_make_it(store, tmp_path):
    assert (store.exists(NAME), store.sizes("toy/scores"), store.folders()) == (False, {}, [])
    assert not (tmp_path / "results").exists()


def create(args):
    return pickle.loads(args[0]).create("toy/x", args[1])


def test_of_many_writers_one_creates(store):
    contents = [bytes([i]) * 100_000 for i in range(12)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        created = pool.map(create, [(pickle.dumps(store), data) for data in contents], chunksize=1)
    assert sum(created) == 1
    assert store.read("toy/x") == contents[created.index(True)]
    assert list(store.sizes("toy")) == ["x"]


def test_preflight_leaves_nothing(store, tmp_path):
    store.preflight()
    assert not [p for p in (tmp_path / "results").rglob("*") if p.is_file()]


def test_a_folder_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for below in ("file", "file/below"):
        with pytest.raises(StorageError, match=r"^cannot write 5 bytes to .*file.*Not a directory.*; mend that, or choose another folder$"):
            open_storage(str(tmp_path / below)).preflight()


@pytest.mark.parametrize("url", ["s3://bucket/x", "gs://bucket", "az://c/x"])
def test_object_stores_are_not_there_yet(url):
    with pytest.raises(SetupError, match="object stores are not supported by this version; give a local folder"):
        open_storage(url)


def run(code: str, folder) -> str:
    program = (
        f"from xfer_ray.storage import open_storage\nfrom xfer_ray.errors import StorageError\nstore = open_storage({str(folder)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_disk_that_fills_leaves_nothing_that_counts(tmp_path):
    code = """
import resource, signal
store.create("toy/small", b"x")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for put in (store.create, store.replace):
    try:
        put("toy/big", bytes(100_000))
    except StorageError as error:
        print(error)
"""
    said = run(code, tmp_path).splitlines()
    assert len(said) == 2
    assert all(line.startswith(f"cannot write 100000 bytes to {tmp_path}/toy/big: File too large") for line in said)
    assert [p.name for p in (tmp_path / "toy").iterdir()] == ["small"]


@pytest.mark.parametrize(("options", "sentence"), [("ro", "Read-only file system"), ("size=64k", "No space left on device")])
def test_a_read_only_and_a_full_file_system(tmp_path, options, sentence):
    folder = tmp_path / "mounted"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    code = "try:\n    store.preflight()\n    store.create('toy/x', bytes(200_000))\nexcept StorageError as error:\n    print(error)"
    try:
        assert sentence in run(code, folder)
        assert not [p for p in folder.rglob("*") if p.is_file()]
    finally:
        subprocess.run(["umount", folder], check=True)
