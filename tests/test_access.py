"""Who may use a cluster: a real open one, one that pretends to be elsewhere, and where a token is looked for."""

import http.server
import json
import os
import signal
import socket
import subprocess
import threading

import pytest
from cluster_head import BIN, Head, free_ports
from toy import Toy

from xfer_ray import access
from xfer_ray.errors import DeclarationError, SetupError


@pytest.fixture(autouse=True)
def no_token(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def answering():
    """A server on loopback that answers each path as told; what it was asked with is kept in `seen`."""
    servers = []

    def start(pages, server="Python aiohttp"):
        class Page(http.server.BaseHTTPRequestHandler):
            server_version = server

            def do_GET(self):
                made.seen.append(dict(self.headers))
                status, body = pages.get(self.path, (404, ""))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *arguments):
                pass

        made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        made.seen = []
        threading.Thread(target=made.serve_forever, daemon=True).start()
        servers.append(made)
        return made, f"http://127.0.0.1:{made.server_address[1]}"

    yield start
    for made in servers:
        made.shutdown()
        made.server_close()


def nodes(hostname, ip):
    summary = [{"hostname": hostname, "ip": ip, "raylet": {"state": "ALIVE"}}]
    return {"/api/version": (200, "{}"), "/nodes?view=summary": (200, json.dumps({"data": {"summary": summary}}))}


@pytest.fixture(scope="module")
def head():
    """An open one."""
    made = Head(cpus=1, protected=False)
    yield made
    made.stop()


def test_an_open_head_of_this_machine_is_seen_and_brings_a_warning(head):
    assert access.is_open(head.url)
    assert access.is_open(head.agent), "the agent of a node answers without a token too"
    warning = access.demand_protected(head.url)
    assert warning.startswith(f"the Ray at {head.url} asks for no token, so whoever reaches this machine can run programs on it")
    assert "RAY_AUTH_MODE=token" in warning


@pytest.fixture
def elsewhere(head):
    """Another node of it, on a machine of another name."""
    script = 'hostname elsewhere && exec "$@"'
    command = ["unshare", "-u", "sh", "-c", script, "sh", str(BIN / "ray"), "start", "--block", f"--address={head.address}", "--num-cpus=1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"RAY_AUTH_MODE": "disabled"}
    with (head.folder / "elsewhere.txt").open("w") as said:
        node = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
    yield node
    os.killpg(node.pid, signal.SIGKILL)
    node.wait()


@pytest.mark.fault("F38", injected="an open head with a node of another name; `run` and `submit` show a token")
@pytest.mark.skipif(os.geteuid() != 0, reason="another host name needs root")
def test_an_open_cluster_of_several_machines_is_refused_to_who_shows_a_token(head, elsewhere, tmp_path):
    toy, token = Toy(tmp_path), tmp_path / "token"
    token.write_text("0" * 48)
    token.chmod(0o600)
    toy.wait_for(lambda: "elsewhere" in {name for name, _ in access.nodes(head.url, {})}, 120)
    for command in (["run", "--address", head.address], ["submit", "--storage", str(tmp_path / "results"), "--address", head.url]):
        done = toy.command(command[0], "toy.py", *command[1:], RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
        assert done.returncode == 4, done.stderr
        [line] = done.stderr.strip().splitlines()
        assert f"at {command[-1]} asks for no token, so whoever reaches it can run programs on it: set RAY_AUTH_MODE=token" in line
    assert toy.trained() == []


@pytest.mark.fault("F38", injected="a dashboard that asks for no token, of another machine")
@pytest.mark.parametrize(("hostname", "ip"), [("somewhere-else", "127.0.0.1"), (socket.gethostname(), "192.0.2.77")])
def test_a_tunnel_to_an_open_cluster_is_refused(answering, hostname, ip):
    _, url = answering(nodes(hostname, ip))
    with pytest.raises(
        SetupError, match="asks for no token, so whoever reaches it can run programs on it: set RAY_AUTH_MODE=token in every"
    ):
        access.demand_protected(url)


@pytest.mark.parametrize("status", [401, 403])
def test_a_cluster_that_asks_for_a_token_is_welcome_and_is_not_shown_one(answering, monkeypatch, status):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "this-users-token")
    server, url = answering({"/api/version": (status, "")})
    assert access.demand_protected(url) == ""
    assert server.seen
    assert not any("this-users-token" in str(headers) for headers in server.seen)


def test_what_is_no_dashboard_is_named(answering):
    _, url = answering({}, server="nginx")
    with pytest.raises(SetupError, match=f"what answers at {url} is no Ray dashboard"):
        access.is_open(url)
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(SetupError, match=f"no Ray dashboard answers at {dead}: connection refused"):
        access.is_open(dead)


def test_loopback_is_asked_directly_though_a_proxy_is_set(answering, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_ports(1)[0]}")
    _, url = answering({"/api/version": (401, "")})
    assert not access.is_open(url)
    access.bypass_proxy(url)
    assert "127.0.0.1" in __import__("os").environ["NO_PROXY"].split(",")


@pytest.mark.parametrize("url", ["127.0.0.1:8265", "ray://127.0.0.1:10001", "auto", "http://", "http://127.0.0.1:none"])
def test_an_address_that_is_none_of_a_dashboard_is_misuse(url):
    with pytest.raises(DeclarationError, match="is not the address of a dashboard; give one like http://127.0.0.1:8265"):
        access.is_open(url)


def test_an_address_with_a_password_is_refused_without_showing_it():
    with pytest.raises(DeclarationError) as refused:
        access.is_open("http://me:hunter22@127.0.0.1:8265")
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("local", True),
        ("http://127.0.0.1:8265", True),
        ("http://localhost:8265", True),
        ("[::1]:6379", True),
        ("127.3.2.1:6379", True),
        ("10.0.0.7:6379", False),
        ("http://127.0.0.1.example.org:8265", False),
        ("ray://head:10001", False),
        ("auto", False),
    ],
)
def test_loopback_is_told_from_the_rest(address, local):
    assert access.is_local(address) is local


def test_a_token_is_found_where_ray_looks_in_the_same_order(monkeypatch, tmp_path):
    assert access.token() is None
    assert access.authorization() == {}
    default = tmp_path / ".ray" / "auth_token"
    default.parent.mkdir()
    default.write_text("from-home\n")
    assert access.token() == "from-home"
    named = tmp_path / "named"
    named.write_text("from-path")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert (access.token(), access.token_file()) == ("from-path", named)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-environment")
    assert access.authorization() == {"Authorization": "Bearer from-environment"}


def test_a_named_token_file_that_is_absent_is_an_error_as_for_ray(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(SetupError, match="which is absent or empty"):
        access.token()


def test_a_token_that_would_cross_a_network_unencrypted_is_named(monkeypatch):
    assert access.in_clear("http://10.0.0.7:8265") == "", "there is no token yet"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "this-users-token")
    assert access.in_clear("http://10.0.0.7:8265").startswith("the token goes to http://10.0.0.7:8265 unencrypted; let `ray dashboard")
    assert access.in_clear("http://127.0.0.1:8265") == access.in_clear("https://10.0.0.7:8265") == ""


def test_a_token_file_that_others_may_read_is_named(monkeypatch, tmp_path):
    named = tmp_path / "token"
    named.write_text("secret-token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    named.chmod(0o640)
    assert access.exposed_token() == f"the token file {named} has mode 0640, so others may read it; run: chmod 600 {named}"
    named.chmod(0o600)
    assert access.exposed_token() == ""
