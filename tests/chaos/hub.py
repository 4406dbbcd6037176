"""A hub on this machine that serves one checkpoint and misbehaves as it is told."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "model.safetensors"


class Hub:
    """Serves the files of a folder as one repository; `troubles` befall the next requests for its weights, one each.

    A number is the status to answer with, "cut" ends the connection in the middle, "pause" waits there for some seconds.
    """

    def __init__(self, folder: Path, *troubles: int | str, everything: int = 0, pause: float = 12.0) -> None:
        self.folder, self.troubles, self.everything, self.pause = folder, list(troubles), everything, pause
        self.happened: list[int | str] = []
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.asked.append(f"{request.command} {path}")
        name = path.rpartition("/")[2]
        if self.everything:
            self.happened.append(self.everything)
            code = {401: "RepoNotFound", 403: "GatedRepo"}.get(self.everything, "")
            _send(request, self.everything, b"{}", {"X-Error-Code": code, "X-Error-Message": f"refused {request.headers['Authorization']}"})
        elif "/tree/" in path:
            _send_json(
                request, [{"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _oid(file)} for file in self._files()]
            )
        elif path.startswith("/api/models/"):
            siblings = [{"rfilename": file.name} for file in self._files()]
            _send_json(request, {"id": "somebody/small", "sha": COMMIT, "siblings": siblings})
        elif not (self.folder / name).is_file():
            _send(request, 404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            self._file(request, self.folder / name)

    def _files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def _file(self, request: BaseHTTPRequestHandler, file: Path) -> None:
        data = file.read_bytes()
        begin = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0] or 0)
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        trouble = self.troubles.pop(0) if self.troubles and file.name == WEIGHTS and request.command == "GET" else None
        if trouble is not None:
            self.happened.append(trouble)
        if isinstance(trouble, int):
            _send(request, trouble, b"", {"Retry-After": "1"})
        else:
            self._body(request, data[begin:], 206 if begin else 200, headers, trouble)

    def _body(self, request: BaseHTTPRequestHandler, data: bytes, status: int, headers: dict[str, str], trouble: str | None) -> None:
        half = len(data) // 2 if trouble else len(data)
        _send(request, status, data[:half], headers | {"Content-Length": str(len(data))})
        if trouble == "pause":
            request.wfile.flush()
            time.sleep(self.pause)
            request.wfile.write(data[half:])
        if trouble == "cut":
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(2)


def _oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


def _send_json(request: BaseHTTPRequestHandler, value: object) -> None:
    _send(request, 200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _send(request: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in ({"Content-Length": str(len(data))} | headers).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(data)
