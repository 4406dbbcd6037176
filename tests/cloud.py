"""AWS without AWS: a moto server on this machine, and stand-ins so that `ray up` sends nothing to the addresses it hands out."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import parse_qsl

import boto3
from moto.moto_api import recorder
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).resolve().parents[1]
REGION = "us-west-2"
IMAGE = "ami-12c6146b"  # one that moto knows

STAND_IN = """#!{python}
import json, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv) + "\\n")
"""

# Python's own report of every connection it makes, before it makes it. What does not lead to this machine is refused.
GUARD = """
import sys
def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        with open({log!r}, "a") as log:
            log.write(str(arguments[1][0]) + "\\n")
        if arguments[1][0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError("refused by the test: " + repr(arguments[1]))
sys.addaudithook(watch)
"""


class Cloud:
    """A moto server, and a home folder whose commands know nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.log, self.connected = folder, folder / "home", folder / "commands", folder / "connected"
        for each in (self.home, folder / "bin", folder / "guard", folder / "tmp"):
            each.mkdir()
        for name in ("ssh", "rsync", "scp"):
            stand_in = folder / "bin" / name
            stand_in.write_text(STAND_IN.format(python=sys.executable, log=str(self.log)))
            stand_in.chmod(0o755)
        (folder / "guard" / "sitecustomize.py").write_text(GUARD.format(log=str(self.connected)))
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self._post("reset")
        recorder._location = str(folder / "recorded")  # else it writes into the current folder
        recorder.start_recording()

    def close(self) -> None:
        recorder.stop_recording()
        self._server.stop()

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RAY_", "XFER_RAY")) and "proxy" not in k.lower()}
        return kept | {
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": str(self.folder / "guard"),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """A command as a user types it in the root of the checkout."""
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=240)

    def client(self, name: str):
        keys = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
        return boto3.client(name, region_name=REGION, endpoint_url=self.url, **keys)

    def requests(self, action: str) -> list[dict[str, str]]:
        """The requests of one action that reached the cloud, each with its fields."""
        file = self.folder / "recorded"
        bodies = [_body(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
        return [fields for fields in map(dict, map(parse_qsl, bodies)) if fields.get("Action") == action]

    def commands(self, program: str) -> list[list[str]]:
        """What the stand-ins were asked to do."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [words for words in map(json.loads, lines) if Path(words[0]).name == program]

    def _post(self, what: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(urllib.request.Request(f"{self.url}/moto-api/{what}", method="POST"), timeout=30).close()


def _body(recorded: dict) -> str:
    body = recorded.get("body") or ""
    return base64.b64decode(body).decode("utf-8", "replace") if recorded.get("body_encoded") else body
