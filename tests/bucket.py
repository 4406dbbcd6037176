"""An S3 server on loopback, and a proxy in front of it that loses, refuses and garbles what it is asked to.

The server is moto's, one request at a time: so the condition of a put is looked at and obeyed in one step, as S3 does. To a
client of Google's or Azure's the proxy translates what these say in other headers; that is no test of their servers.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import http.server
import json
import os
import threading
import time
from collections.abc import Iterator

ACCESS_KEY = "AKIAQ5TESTONLYEXMPL7"
SECRET_KEY = "tEsT0nly/SeCrEt+oFn0bOdy1234567890abcdEF"  # nobody's: what tests look for in everything that a run leaves
BUCKET = "sweeps"
ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>asked to</Message><AWSAccessKeyId>{key}</AWSAccessKeyId></Error>'
CODES = {301: "PermanentRedirect", 403: "AccessDenied", 409: "ConditionalRequestConflict", 501: "NotImplemented", 503: "SlowDown"}


class Fault:
    """What happens to the next `times` requests of a method whose address holds a text.

    `drop` carries the request out and loses the answer, `stall` does so after twelve seconds, `cut` loses the request, `unconditional` forgets the condition,
    `swap` has another writer put `data` there first; a number is the status that is answered.
    """

    def __init__(self, method: str, holds: str, kind: str | int, times: int = 10**9, code: str = "", data: bytes = b"") -> None:
        self.method, self.holds, self.kind, self.times, self.code, self.data = method, holds, kind, times, code, data
        self.happened = 0

    def fits(self, method: str, address: str) -> bool:
        return self.happened < self.times and method == self.method and self.holds in address


class Handler(http.server.BaseHTTPRequestHandler):
    """Passes one request on, or does to it what its fault says."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def handle_any(self) -> None:
        proxy = self.server.proxy
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client gave up in the middle
            self.close_connection = True
            return
        address, headers = translated(self.path, {name.lower(): value for name, value in self.headers.items()})
        fault = proxy.fault(self.command, self.path)
        kind = fault.kind if fault is not None else ""
        if isinstance(kind, int):
            self.answer(kind, [], ERROR.format(code=fault.code or CODES[kind], key=ACCESS_KEY).encode())
            return
        if kind == "unconditional":
            headers.pop("if-none-match", None)
        if kind == "swap":
            forward(proxy.port, "PUT", address, {"host": headers["host"]}, fault.data)
        answer = (0, [], b"") if kind == "cut" else forward(proxy.port, self.command, address, headers, body)
        if kind == "stall":
            time.sleep(12)
        if kind in ("drop", "cut", "stall"):
            self.close_connection = True
            self.connection.close()
        else:
            self.answer(*answer)

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        held = {name.lower(): value for name, value in headers}
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", held.get("content-length", "0") if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any


class Quiet(http.server.ThreadingHTTPServer):
    """Says nothing of a client that went away, or of an answer that was to be lost."""

    daemon_threads = True

    def handle_error(self, *args) -> None:
        pass


class Proxy:
    """A server of its own port that passes on what no fault fits."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        self._lock = threading.Lock()
        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def fault(self, method: str, address: str) -> Fault | None:
        with self._lock:
            self.seen.append(f"{method} {address}")
            fault = next((f for f in self.faults if f.fits(method, address)), None)
            if fault is not None:
                fault.happened += 1
            return fault

    def add(self, *arguments, **options) -> Fault:
        self.faults.append(Fault(*arguments, **options))
        return self.faults[-1]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def translated(address: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """A request in S3's words."""
    address = address.removeprefix("/devstoreaccount1")
    if headers.pop("x-goog-if-generation-match", "") == "0":
        headers["if-none-match"] = "*"
    if "x-goog-copy-source" in headers:
        headers["x-amz-copy-source"] = headers.pop("x-goog-copy-source")
    if not headers.get("authorization", "").startswith("AWS4"):
        headers["authorization"] = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    return address, headers


def forward(port: int, method: str, address: str, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, address, body, headers)
        response = connection.getresponse()
        return response.status, response.getheaders(), response.read()
    finally:
        connection.close()


@contextlib.contextmanager
def moto_server() -> Iterator[int]:
    """The port of a new S3 server on loopback, without a bucket."""
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@functools.cache
def google_key() -> str:
    """A service account of nobody's that asks no other server for a token."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return json.dumps(
        {
            "private_key": pem.decode(),
            "private_key_id": "x",
            "client_email": "a@b",
            "disable_oauth": True,
            "gcs_base_url": "http://127.0.0.1:1",
        }
    )


def environment(url: str) -> dict[str, str]:
    """The variables with which a program reaches the server, and nothing else."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_METADATA_ENDPOINT": "http://127.0.0.1:1",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "GOOGLE_BASE_URL": url,
        "GOOGLE_SERVICE_ACCOUNT_KEY": google_key(),
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": url,
        "NO_PROXY": "127.0.0.1",
        "XFER_RAY_STORAGE_SECONDS": "10",
    }


@contextlib.contextmanager
def served() -> Iterator[Proxy]:
    """A proxy in front of a server that has an empty bucket."""
    with moto_server() as port:
        status, _, _ = forward(port, "PUT", f"/{BUCKET}", {"Host": f"127.0.0.1:{port}"}, b"")
        assert status == 200
        proxy = Proxy(port)
        try:
            yield proxy
        finally:
            proxy.close()
