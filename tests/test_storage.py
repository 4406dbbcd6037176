"""Bytes on a real disk and in a bucket: whole or absent, created once, and refused with a sentence."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import bucket
from xfer_ray import folders
from xfer_ray.errors import DataError, DeclarationError, StorageError
from xfer_ray.storage import checked, open_storage

NAME = "toy/scores/xnli.mbert-small.en-MT-de-MT-en~opus_2.1.s0-0123456789ab.parquet"


@pytest.fixture(scope="module")
def served():
    with bucket.served() as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment(proxy.url).items():
            patch.setenv(name, value)
        yield proxy


@pytest.fixture(params=["folder", "s3", "gs"])
def store(request, tmp_path):
    if request.param != "folder":
        request.getfixturevalue("served")
        return open_storage(f"{request.param}://{bucket.BUCKET}/{tmp_path.name}/results")
    return open_storage(str(tmp_path / "results"))


def test_what_is_put_is_read_and_listed(store):
    assert store.create(NAME, b"one") is True
    assert store.create(NAME, b"two") is False
    assert store.create(NAME, b"one") is True  # it may be this writer's own, the answer to which was lost
    assert (store.read(NAME), store.exists(NAME)) == (b"one", True)
    if store.is_local:
        assert Path(store.url, NAME).read_bytes() == b"one"  # the very name, tilde and dots included
    store.replace(NAME, b"three")
    assert store.sizes("toy/scores") == {NAME.rpartition("/")[2]: 5}
    assert store.sizes("toy/sco") == {}
    assert store.folders() == ["toy"]
    store.move(NAME, "toy/damaged/x")
    assert (store.exists(NAME), store.read("toy/damaged/x")) == (False, b"three")
    store.delete("toy/damaged/x")
    store.delete("toy/damaged/x")
    for read in (store.read, lambda path: store.get_file(path, Path("/dev/null")), lambda path: store.move(path, "x")):
        with pytest.raises(FileNotFoundError, match="damaged/x"):
            read("toy/damaged/x")


def test_a_file_that_is_empty_and_one_in_many_pieces(store, tmp_path):
    for size in (0, 1, 40_000_001):
        (tmp_path / "file").write_bytes(os.urandom(size))
        store.put_file("toy/models/x/file", tmp_path / "file")
        store.get_file("toy/models/x/file", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
        assert store.sizes("toy") == {"models/x/file": size}


def test_a_folder_is_there_when_its_marker_is_and_damage_is_named(store, tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("config.json", "weights"):
        (tmp_path / "model" / name).write_bytes(name.encode() * 1000)
    folders.put(store, "pretrained/abc", tmp_path / "model")
    (tmp_path / "copy").mkdir()
    folders.copy(store, "pretrained/abc", tmp_path / "copy")
    assert {p.name: p.read_bytes() for p in (tmp_path / "copy").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "model").iterdir()
    }
    store.replace("pretrained/abc/weights", b"other")
    with pytest.raises(DataError, match=f"^{store.url}/pretrained/abc/weights is damaged"):
        folders.copy(store, "pretrained/abc", tmp_path / "copy")
    folders.delete(store, "pretrained/abc")
    assert (folders.exists(store, "pretrained/abc"), store.sizes("pretrained")) == (False, {})


def test_many_threads_read_and_write_one_storage(store):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: store.replace(f"toy/many/{i}", str(i).encode()), range(200)))
        assert list(pool.map(lambda i: store.read(f"toy/many/{i}"), range(200))) == [str(i).encode() for i in range(200)]
    assert len(store.sizes("toy/many")) == 200


def test_looking_into_a_storage_does_not_make_it(store, tmp_path):
    assert (store.exists(NAME), store.sizes("toy/scores"), store.folders()) == (False, {}, [])
    store.delete(NAME)
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


def test_of_many_threads_one_creates(store):
    start, contents = threading.Barrier(8), [bytes([i]) * 1000 for i in range(8)]

    def write(data: bytes) -> bool:
        start.wait(30)
        return store.create("toy/x", data)

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(write, contents))
    assert (sum(created), store.read("toy/x")) == (1, contents[created.index(True)])


def test_preflight_leaves_nothing(store):
    store.preflight()
    assert store.sizes(".staging") == {}
    assert not [p for p in Path(store.url).rglob("*") if p.is_file()]


def test_a_folder_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for below in ("file", "file/below"):
        with pytest.raises(StorageError, match=r"^cannot write 5 bytes to .*file.*Not a directory.*; mend that, or choose another folder$"):
            open_storage(str(tmp_path / below)).preflight()


def test_a_link_that_leads_nowhere_is_named_and_one_that_leads_somewhere_serves(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for below in ("link", "link/below"):
        with pytest.raises(StorageError) as refused:
            open_storage(str(tmp_path / below))
        assert str(refused.value) == (
            f"{tmp_path}/link is a link that leads to {tmp_path}/nowhere, which does not exist; make that, or choose another folder"
        )
    (tmp_path / "nowhere").mkdir()
    open_storage(str(tmp_path / "link")).preflight()


@pytest.mark.parametrize(
    ("url", "same"),
    [("s3://bucket", "s3://bucket"), ("s3://bucket/a/b/", "s3://bucket/a/b"), ("gs://my_bucket.org/x", "gs://my_bucket.org/x"), ("az://container/é x", "az://container/é x")],
)  # fmt: skip
def test_urls_of_buckets(url, same):
    assert checked(url) == same


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "storage '' is neither a folder nor a bucket; give one, such as 'results' or 's3://bucket/prefix'"),
        ("ftp://x/y", "storage 'ftp://x/y' has the unknown scheme 'ftp'; give a local folder, s3://, gs:// or az://"),
        ("s3:/bucket/x", "storage 's3:/bucket/x' is not a folder; for a bucket give s3://BUCKET/PREFIX"),
        ("s3://", "storage 's3://' names no bucket; give s3://BUCKET/PREFIX"),
        ("gs:///x", "storage 'gs:///x' names no bucket; give gs://BUCKET/PREFIX"),
        ("az://box/a//b", "storage 'az://box/a//b' has the part [''] in its prefix; give az://BUCKET/PREFIX with plain names"),
        ("s3://bucket/../x", "storage 's3://bucket/../x' has the part ['..'] in its prefix; give s3://BUCKET/PREFIX with plain names"),
    ],
)
def test_urls_that_are_refused(url, sentence):
    with pytest.raises(DeclarationError) as refused:
        open_storage(url)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "url",
    ["s3://AKIAQ5TESTONLYEXMPL7:hunter2@bucket/x", "https://me:hunter2@host/x", "az://c/x?sig=hunter2", "s3://bucket/AKIAQ5TESTONLYEXMPL7", "gs://b/x#hunter2"],
)  # fmt: skip
def test_a_url_with_a_secret_is_refused_and_not_shown(url):
    with pytest.raises(
        DeclarationError, match=r"^the storage's URL \(not shown here\) carries credentials or a query; give SCHEME"
    ) as refused:
        open_storage(url)
    assert "hunter2" not in str(refused.value)
    assert "AKIA" not in str(refused.value)


@pytest.mark.parametrize("store", ["folder", "s3"], indirect=True)
def test_a_large_file_passes_through_little_memory(store, tmp_path):
    size = 300 * 2**20
    with (tmp_path / "big").open("wb") as file:
        file.truncate(size)
    code = """
import resource
from pathlib import Path
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.create("toy/x", b"x")
store.put_file("toy/big", Path("big"))
store.get_file("toy/big", Path("copy"))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    grown = int(run(code, store.url, cwd=tmp_path))
    assert (tmp_path / "copy").stat().st_size == size
    assert grown < 180, f"{grown} MiB were held at once"


def run(code: str, folder, cwd=None) -> str:
    program = (
        f"from xfer_ray.storage import open_storage\nfrom xfer_ray.errors import StorageError\nstore = open_storage({str(folder)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program + code], capture_output=True, text=True, timeout=180, cwd=cwd)
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
