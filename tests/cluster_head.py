"""A cluster's head on this machine, started as a user starts one, with a token of its own; ended with its process group."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from xfer_ray import access
from xfer_ray.errors import SetupError

BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for made in sockets:
        made.bind(("127.0.0.1", 0))
    ports = [made.getsockname()[1] for made in sockets]
    for made in sockets:
        made.close()
    return ports


class Head:
    """`ray start --head --block` in a process group of its own; `token` is what it asks for, None for an open one."""

    def __init__(self, *, cpus: int, protected: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="xr", dir="/tmp"))  # Ray's sockets need a short path
        self.token = secrets.token_hex(24) if protected else None
        self.token_file = self.folder / "token"
        port, dashboard, agent, client = free_ports(4)
        self.url, self.address = f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}"
        arguments = {"num-cpus": cpus, "port": port, "dashboard-host": "127.0.0.1", "dashboard-port": dashboard}
        arguments |= {"dashboard-agent-listen-port": agent, "ray-client-server-port": client, "object-store-memory": 80_000_000}
        arguments |= {"temp-dir": self.folder / "ray"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {"PATH": f"{BIN}:{os.environ['PATH']}", "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(self.folder)}
        if self.token:
            self.token_file.write_text(self.token)
            self.token_file.chmod(0o600)
            environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_file)}
        command = [str(BIN / "ray"), "start", "--head", "--block", *(f"--{name}={value}" for name, value in arguments.items())]
        self.said = (self.folder / "said.txt").open("w")
        self.process = subprocess.Popen(command, env=environment, stdout=self.said, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self.wait_for(self.url)
            ip = re.search(r"Local node IP.*?(\d+\.\d+\.\d+\.\d+)", (self.folder / "said.txt").read_text())
            self.agent = f"http://{ip[1]}:{agent}"
            self.wait_for(self.agent)
        except BaseException:
            self.stop()
            raise

    def wait_for(self, url: str) -> None:
        end = time.monotonic() + 180
        while True:
            try:
                access.is_open(url)
                return
            except SetupError:
                assert self.process.poll() is None, (self.folder / "said.txt").read_text()
                assert time.monotonic() < end, (self.folder / "said.txt").read_text()
                time.sleep(0.5)

    def stop(self) -> None:
        """End this head and nobody else's."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(timeout=5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self.said.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Tunnel:
    """Another port of loopback that leads to a head, as `ray dashboard` makes one; `cut` breaks what goes through it."""

    def __init__(self, url: str) -> None:
        self.target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self.pairs: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, far = self.listener.accept()[0], socket.create_connection(self.target)
                self.pairs += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> int:
        """Break all connections; how many there were."""
        broken, self.pairs = self.pairs, []
        for end in broken:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        return len(broken)
