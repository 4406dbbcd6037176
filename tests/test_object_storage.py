"""A sweep in a bucket: an S3 server on loopback that loses answers, is busy, forgets conditions, or is not there."""

import json
import os
import pickle
import re
import socket
import time
from pathlib import Path

import obstore
import pandas as pd
import pytest
from obstore.store import AzureStore, GCSStore, S3Store

from tests import bucket
from tests.toy import Toy
from xfer_ray import redact, storage
from xfer_ray.errors import DeclarationError, SetupError, StorageError
from xfer_ray.storage import Storage, clients, open_storage

NOBODY = "no credentials for s3:// were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run on a machine whose role may use the bucket"


@pytest.fixture(scope="module")
def proxy():
    with bucket.served() as proxy:
        yield proxy


@pytest.fixture
def served(proxy, monkeypatch):
    """The proxy, without faults, and this process's environment set to it."""
    for name, value in bucket.environment(proxy.url).items():
        monkeypatch.setenv(name, value)
    storage._place.cache_clear()
    yield proxy
    proxy.faults.clear()
    storage._place.cache_clear()


@pytest.fixture
def store(served, tmp_path):
    return open_storage(f"s3://{bucket.BUCKET}/{tmp_path.name}")


# ------------------------------------------------------------------------------ answers that are lost


@pytest.mark.fault("F32", injected="a server of S3 on this machine stores, and drops its answer")
@pytest.mark.parametrize(("kind", "times"), [("drop", 3), ("cut", 3), ("stall", 1)])
def test_a_create_whose_answer_is_lost_is_this_writers_own(served, store, kind, times):
    lost = served.add("PUT", "/toy/x", kind, times=times)
    assert store.create("toy/x", b"mine") is True
    assert lost.happened == times
    assert (store.read("toy/x"), store.create("toy/x", b"other")) == (b"mine", False)


@pytest.mark.fault("F32", injected="an answer is lost where another writer was first")
def test_after_a_lost_answer_another_writers_file_is_not_taken_for_ones_own(served, store):
    lost = served.add("PUT", "/toy/x", "cut", times=1)
    other = served.add("PUT", "/toy/x", "swap", times=1, data=b"theirs")
    assert store.create("toy/x", b"mine") is False
    assert (lost.happened, other.happened) == (1, 1)
    assert store.read("toy/x") == b"theirs"


def test_a_conflict_with_a_put_on_its_way_is_tried_again(served, store):
    conflict = served.add("PUT", "/toy/x", 409, times=2)
    assert store.create("toy/x", b"mine") is True
    assert (conflict.happened, store.read("toy/x")) == (2, b"mine")


@pytest.mark.fault("F32", injected="503 from a server of S3 on this machine")
@pytest.mark.parametrize("act", ["create", "replace", "read", "sizes", "put_file"])
def test_a_busy_store_is_waited_for(served, store, tmp_path, act):
    (tmp_path / "file").write_bytes(b"x")
    store.replace("toy/there", b"x")
    busy = [served.add(method, holds, 503, times=2) for method, holds in [("PUT", "/toy/"), ("GET", tmp_path.name)]]
    acts = {
        "create": lambda: store.create("toy/new", b"x"),
        "replace": lambda: store.replace("toy/new", b"x"),
        "read": lambda: store.read("toy/there") == b"x",
        "sizes": lambda: store.sizes("toy") == {"there": 1},
        "put_file": lambda: store.put_file("toy/new", tmp_path / "file"),
    }
    assert acts[act]() in (True, None)
    assert max(fault.happened for fault in busy) == 2


def test_a_store_that_stays_busy_is_given_up_with_a_sentence(served, store, monkeypatch):
    monkeypatch.setenv("XFER_RAY_STORAGE_SECONDS", "2")
    storage._place.cache_clear()
    busy, start = served.add("PUT", "/toy/x", 503), time.monotonic()
    with pytest.raises(
        StorageError, match=rf"^cannot write 4 bytes to {store.url}/toy/x: the store kept answering SlowDown for \d s; try again later$"
    ):
        store.create("toy/x", b"mine")
    assert time.monotonic() - start < 60
    assert busy.happened > 2
    with pytest.raises(FileNotFoundError):
        store.read("toy/x")


def test_an_upload_that_fails_half_way_leaves_nothing(served, store, tmp_path):
    (tmp_path / "big").write_bytes(os.urandom(40 * 2**20))
    refused = served.add("PUT", "partNumber=3", 403)
    with pytest.raises(StorageError, match="permission denied"):
        store.put_file("toy/big", tmp_path / "big")
    assert refused.happened
    assert (store.exists("toy/big"), store.sizes("toy")) == (False, {})
    assert "<UploadId>" not in uploads(served), "the parts are still there, and cost money"


def uploads(served) -> str:
    _, _, body = bucket.forward(int(served.url.rpartition(":")[2]), "GET", f"/{bucket.BUCKET}?uploads", {"Host": "127.0.0.1"}, b"")
    return body.decode()


def test_a_file_that_changes_while_it_is_copied_is_not_mixed(served, store, tmp_path):
    store.replace("toy/big", bytes(20 * 2**20))
    served.add("GET", "/toy/big", 503, times=1)
    before = served.fault

    def change(method: str, address: str):
        if method == "GET" and len([line for line in served.seen if line.startswith("GET") and "/toy/big" in line]) == 2:
            obstore.put(clients.client(store.url, patient=True), "toy/big", b"x" * 20 * 2**20)
        return before(method, address)

    served.fault = change
    try:
        with pytest.raises(StorageError, match=r"^cannot copy .*/toy/big"):
            store.get_file("toy/big", tmp_path / "copy")
    finally:
        served.fault = before


# ------------------------------------------------------------------------------ preflight


@pytest.mark.fault("F33", injected="a server of S3 that refuses conditional puts, among others")
@pytest.mark.parametrize(
    ("method", "holds", "kind", "code", "sentence"),
    [
        ("PUT", "probe-", "unconditional", "", r"^storage {url} let a file be created twice; it ignores the condition If-None-Match of a put"),
        ("PUT", "probe-", 501, "", r": the store does not know this call \(NotImplemented\); give a store that has conditional puts"),
        ("PUT", "probe-", 403, "", rf": permission denied \(AccessDenied\); allow these credentials to get, put, list and delete objects of '{bucket.BUCKET}'$"),
        ("DELETE", "", 403, "", "permission denied"),
        ("GET", "list-type", 403, "", "permission denied"),
        ("GET", "list-type", 403, "SignatureDoesNotMatch", r"the store does not accept the credentials \(SignatureDoesNotMatch\); renew them"),
        ("GET", "list-type", 403, "ExpiredToken", r"the store does not accept the credentials \(ExpiredToken\); renew them"),
        ("GET", "list-type", 301, "", "the bucket is in another region; set AWS_REGION to the bucket's$"),
        ("GET", "list-type", 503, "", r"the store kept answering SlowDown for \d+ s; try again later$"),
    ],
)  # fmt: skip
def test_preflight_says_in_seconds_what_is_wrong(served, tmp_path, method, holds, kind, code, sentence):
    url, start = f"s3://{bucket.BUCKET}/{tmp_path.name}", time.monotonic()
    fault = served.add(method, holds, kind, code=code)
    with pytest.raises(StorageError, match=sentence.format(url=url)) as refused:
        open_storage(url).preflight()
    assert fault.happened
    assert time.monotonic() - start < 30
    assert one_sentence(str(refused.value))


def one_sentence(text: str) -> bool:
    return "\n" not in text and len(text) < 400 and not re.search("AKIA|<|Debug|Error performing", text) and bucket.SECRET_KEY not in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url": "s3://nowhere/x"}, r"there is no bucket 'nowhere' at http://127.0.0.1:\d+; make it, or mend the URL$"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, r"no answer at http://127.0.0.1:1; check the endpoint, the region and the network$"),
        ({"AWS_ENDPOINT_URL": "http://me:hunter2@127.0.0.1:1"}, r"no answer at http://\[secret\]@127.0.0.1:1; check the endpoint"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, f"^{re.escape(NOBODY)}$"),
        ({"AWS_ACCESS_KEY_ID": None}, f"^{re.escape(NOBODY)}$"),  # half of a pair
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_EC2_METADATA_DISABLED": None}, f": {re.escape(NOBODY)}$"),  # asks AWS_METADATA_ENDPOINT, a closed port here
        ({"AWS_ACCESS_KEY_ID": None, "AWS_PROFILE": "absent"}, r"^the AWS profile gives no credentials \(ProfileNotFound\); no credentials for s3://"),
        ({"url": "gs://some-bucket", "GOOGLE_SERVICE_ACCOUNT_KEY": None, "NO_GCE_CHECK": "true", "HOME": "/nonexistent"}, "^no credentials for gs:// were found; set GOOGLE_APPLICATION_CREDENTIALS"),
        ({"url": "az://container", "AZURE_STORAGE_USE_EMULATOR": None}, "^az:// needs to know the account; set AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_opened_is_refused_in_seconds(served, monkeypatch, changes, sentence):
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name)
        elif name != "url":
            monkeypatch.setenv(name, value)
    start = time.monotonic()
    with pytest.raises(StorageError, match=sentence) as refused:
        open_storage(changes.get("url", f"s3://{bucket.BUCKET}/x"))
    assert time.monotonic() - start < 30
    assert one_sentence(str(refused.value))


def test_an_endpoint_that_never_answers_is_refused_in_seconds(served, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(StorageError, match=r"no answer in time at http://127.0.0.1:\d+; check the network, and try again$"):
            open_storage("s3://bucket/x")
        assert time.monotonic() - start < 60


def test_a_profile_gives_the_credentials_and_the_region(served, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(f"[lab]\naws_access_key_id = {bucket.ACCESS_KEY}\naws_secret_access_key = {bucket.SECRET_KEY}\n")
    (tmp_path / "config").write_text("[profile lab]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    open_storage(f"s3://{bucket.BUCKET}/{tmp_path.name}").preflight()
    assert clients.client("s3://b", patient=True).config["region"] == "eu-north-1"


def test_patience_must_be_a_number_of_seconds(served, monkeypatch):
    monkeypatch.setenv("XFER_RAY_STORAGE_SECONDS", "an hour")
    with pytest.raises(
        DeclarationError, match=r"^XFER_RAY_STORAGE_SECONDS='an hour' is not a number of seconds; give one above 0, at most 280$"
    ):
        open_storage("s3://bucket/x")


def test_a_profile_without_boto3_says_what_to_install(served, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.setattr(clients.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"read by boto3, which is not installed; run: pip install 'xfer-ray\[aws\]'$"):
        open_storage("s3://bucket/x")


# ------------------------------------------------------------------------------ many files, other stores


def test_a_listing_of_more_than_a_thousand_files_is_whole(served, store):
    for i in range(1100):
        bucket.forward(
            int(served.url.rpartition(":")[2]),
            "PUT",
            f"/{bucket.BUCKET}/{store.url.rpartition('/')[2]}/many/{i}",
            {"Host": "127.0.0.1"},
            b"x",
        )
    served.seen.clear()
    assert store.sizes("many") == {str(i): 1 for i in range(1100)}
    assert len(served.seen) == 2


def test_a_storage_travels_without_its_client_and_credentials(store):
    text = pickle.dumps(store)
    assert bucket.SECRET_KEY.encode() not in text
    assert len(text) < 300
    assert pickle.loads(text) == store == Storage(store.url)


def test_google_and_azure_have_their_clients(monkeypatch):
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", bucket.google_key())
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "lab")
    google, azure = clients.client("gs://some-bucket/a/b", patient=True), clients.client("az://container/a/b", patient=True)
    assert (type(google), google.prefix, type(azure), azure.prefix) == (GCSStore, "a/b", AzureStore, "a/b")
    assert isinstance(clients.client("s3://bucket", patient=True), S3Store)


def test_azure_is_asked_to_create_and_not_to_overwrite(served, tmp_path):
    store = Storage(f"az://{bucket.BUCKET}/{tmp_path.name}")
    assert [store.create("toy/x", data) for data in (b"one", b"two", b"one")] == [True, False, True]
    assert (store.read("toy/x"), store.exists("toy/x"), store.exists("toy/y")) == (b"one", True, False)


# ------------------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key AKIAQ5TESTONLYEXMPL7 here", "key [secret] here"),
        ("token hf_abcdefghijklmnopqrst!", "token [secret]!"),
        ("https://me:pass@host/x", "https://[secret]@host/x"),
        (
            "https://b.s3/x?X-Amz-Signature=0123456789abcdef&X-Amz-Date=20261125",
            "https://b.s3/x?X-Amz-Signature=[secret]&X-Amz-Date=20261125",
        ),
        ("https://a.blob/c?sv=1&sig=abc%2Bdef%3D", "https://a.blob/c?sv=1&sig=[secret]"),
        ("<AWSAccessKeyId>abc</AWSAccessKeyId>", "<AWSAccessKeyId>[secret]</AWSAccessKeyId>"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: [secret]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc", "[secret]"),
        ('{"secret_access_key": "abcdefghi"}', '{"secret_access_key": "[secret]"}'),
        ("en-MT-de-MT-en~opus.s0 at step 3: accuracy=0.51", "en-MT-de-MT-en~opus.s0 at step 3: accuracy=0.51"),
        ("see https://host/x@y and tokens=512, a signature", "see https://host/x@y and tokens=512, a signature"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text, shown):
    assert redact.redacted(text) == shown
    assert redact.redacted(shown) == shown


def test_the_environments_own_secrets_are_masked_wherever_they_turn_up(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.SECRET_KEY)
    assert redact.redacted(f"odd <{bucket.SECRET_KEY}> place") == "odd <[secret]> place"


# ------------------------------------------------------------------------------ sweeps


@pytest.fixture
def toy(tmp_path, served):
    toy = Toy(tmp_path)
    toy.declare(seconds=0.01)
    return toy


def url_of(toy: Toy) -> str:
    return f"s3://{bucket.BUCKET}/{toy.folder.name}-sweep"


def scores(url: str) -> pd.Series:
    import io

    store = Storage(url)
    frames = [pd.read_parquet(io.BytesIO(store.read(f"toy/scores/{name}"))) for name in store.sizes("toy/scores")]
    return pd.concat(frames).set_index(["source", "seed", "target"])["score"].sort_index()


def test_a_sweep_in_a_bucket_equals_one_in_a_folder(toy, served):
    url = url_of(toy)
    said = toy.run("--in-process")
    assert said.returncode == 0, said.stderr
    lost = served.add("PUT", "/toy/scores/", "drop", times=2)
    busy = served.add("PUT", "/toy/predictions/", 503, times=2)
    outputs = [toy.run("--in-process", "--storage", url)]
    assert outputs[0].returncode == 0, outputs[0].stderr
    assert (lost.happened, busy.happened) == (2, 2)
    assert len(toy.trained()) == 12  # six trials, once for each storage
    pd.testing.assert_series_equal(scores(url), toy.scores())

    outputs += [toy.run("--in-process", "--storage", f"{url}/")]
    assert (outputs[-1].returncode, len(toy.trained())) == (0, 12)
    outputs += [
        toy.command(*words.split())
        for words in (f"status {url}/toy --json", f"tables {url}/toy", f"check {url}/toy", f"plan toy.py --storage {url}")
    ]
    outputs += [toy.command("rescore", f"{url}/toy", "--metric", "accuracy")]
    assert [done.returncode for done in outputs[1:5]] == [0, 0, 0, 0], outputs
    assert json.loads(outputs[2].stdout)["counts"] == json.loads(toy.command("status", "results/toy", "--json").stdout)["counts"]
    assert outputs[3].stdout == toy.command("tables", "results/toy").stdout
    assert_no_secret(url, [done.stdout + done.stderr for done in outputs], toy.folder)


def assert_no_secret(url: str, texts: list[str], folder: Path) -> None:
    store = Storage(url)
    names = store.sizes("toy")
    assert len(names) > 18
    held = [store.read(f"toy/{name}") for name in names] + [text.encode() for text in texts]
    held += [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    assert not [content for content in held if bucket.SECRET_KEY.encode() in content or bucket.ACCESS_KEY.encode() in content]


def test_a_sweep_on_ray_commits_to_a_bucket(toy, served):
    url = url_of(toy)
    done = toy.command("run", "toy.py", "--storage", url, "--max-concurrent", "2", RAY_TMPDIR="/tmp", RAY_DISABLE_DOCKER_CPU_WARNING="1")
    assert done.returncode == 0, done.stderr
    assert toy.run("--in-process").returncode == 0
    pd.testing.assert_series_equal(scores(url), toy.scores())
    assert_no_secret(url, [done.stdout, done.stderr], toy.folder)


@pytest.mark.fault("F13", injected="the command is started twice on a server of S3")
def test_two_runs_at_once_end_in_one_result_per_trial(toy, served):
    url = url_of(toy)
    toy.declare(seconds=0.3, seeds=(0,))
    both = [toy.start("run", "toy.py", "--in-process", "--storage", url) for _ in range(2)]
    outputs = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert (len(toy.trained()) > 3, len(Storage(url).sizes("toy/scores")), Storage(url).sizes("toy/conflicts")) == (True, 3, {})


def test_a_sweep_whose_store_goes_away_ends_with_the_storages_exit_code(toy, served):
    gone = served.add("PUT", "/toy/scores/", 403)
    done = toy.run("--in-process", "--storage", url_of(toy))
    assert (done.returncode, gone.happened > 0) == (6, True)
    assert "permission denied (AccessDenied)" in done.stderr
    assert bucket.ACCESS_KEY not in done.stderr


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("s3://{bucket}", "s3://{bucket} is a bucket, not the results of a sweep in it; give STORAGE/NAME, such as s3://{bucket}/demo"),
        ("s3://{bucket}/none/demo/", "s3://{bucket}/none/demo/ holds no sweep.json, so it is not the results of a sweep; give STORAGE/NAME, such as results/demo"),
    ],
)  # fmt: skip
def test_results_that_are_not_there(served, folder, sentence):
    from xfer_ray.cli.options import open_results

    with pytest.raises(DeclarationError) as refused:
        open_results(folder.format(bucket=bucket.BUCKET))
    assert str(refused.value) == sentence.format(bucket=bucket.BUCKET)


def test_scores_are_imported_into_a_bucket(toy, served):
    (toy.folder / "theirs.csv").write_text(
        "task,model,source,seed,target,metric,score\nxnli,theirs,en,0,de,accuracy,0.7\nxnli,theirs,de,0,de,accuracy,0.8\n"
    )
    done = toy.command("import", "theirs.csv", "--storage", url_of(toy))
    assert done.returncode == 0, done.stderr
    assert toy.command("tables", f"{url_of(toy)}/theirs", "--values", "ability").stdout.count("theirs")
