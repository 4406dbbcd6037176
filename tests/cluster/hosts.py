"""Hosts made from namespaces: each with its own processes, network, name, /tmp and /root, and an sshd to get in by.

They hang on a bridge in the namespace of a "laptop", so this machine's own network never sees an address of theirs. The laptop's
first process is the script itself: when it ends, however it ends, every host, mount, address and file of theirs is gone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
CHECKOUT = Path(__file__).resolve().parents[2]
KEPT = (CHECKOUT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())  # what every host may read
BASE = Path("/mnt")  # a file system in memory, seen by the laptop and its hosts alone
SHARED = BASE / "shared"  # what a cluster would have as NFS
LAPTOP = "10.77.0.1"
NOT_COPIED = (".git", ".venv", "results", "dist")
NEEDED = {"sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync", "ip": "iproute2", "unshare": "util-linux"}
NAMESPACES = ("--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")
PATIENCE = 600.0  # seconds; the machine may be loaded

SSHD = """
Port 22
HostKey {home}/host_key
AuthorizedKeysFile {base}/client_key.pub
PidFile none
UsePAM no
UseDNS no
PasswordAuthentication no
PermitRootLogin prohibit-password
StrictModes no
MaxStartups 100
"""


@dataclass(frozen=True)
class Host:
    """A machine of its own as far as its processes can tell: a name, an address, and its first process as the laptop sees it."""

    name: str
    address: str
    pid: int

    @property
    def home(self) -> Path:
        """Where its /tmp, /root and /run lie; they outlive it, so that its logs can be read after its death."""
        return BASE / "hosts" / self.name

    @property
    def link(self) -> str:
        """Its port on the laptop's bridge."""
        return f"to-{self.name}"


def missing() -> str:
    """What this machine lacks for namespaces with an sshd each, as a sentence; empty if nothing."""
    if os.geteuid():
        return "namespaces with a network of their own need root, and this user is not root"
    absent = [f"{program} (package {package})" for program, package in NEEDED.items() if not _which(program)]
    if absent:
        return f"these programs are absent: {', '.join(absent)}"
    tried = subprocess.run(["unshare", *NAMESPACES, "sh", "-c", TRIAL], capture_output=True, text=True)
    return f"namespaces are not permitted here: {tried.stderr.strip()}" if tried.returncode else ""


TRIAL = "mount -t tmpfs tmpfs /mnt && ip link add bridge0 type bridge && ip link add end0 type veth peer name end1"


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def enter(script: Path) -> tuple[int, str]:
    """Run a script as the first process of the laptop, where everything dies with it, as it does with us; its exit code and lines."""
    heard = []
    words = ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, sys.executable, str(script), "--inside"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as inside:
        for line in inside.stdout or ():
            print(line, end="", flush=True)
            heard.append(line)
    return inside.returncode, "".join(heard)


def make_laptop() -> None:
    """Make the machine outside the cluster: a network of its own, a key, and nothing else that can be written but memory."""
    do("mount", "-t", "tmpfs", "tmpfs", str(BASE))
    SHARED.mkdir()
    for folder in KEPT[1:]:
        bind(folder, Path(f"{BASE}/kept{folder}"))
    copy = Path(f"{BASE}/kept{CHECKOUT}")  # as it is now, whoever may be at work on it
    do("rsync", "-a", "--mkpath", *(f"--exclude=/{name}" for name in NOT_COPIED), f"{CHECKOUT}/", f"{copy}/")
    (BASE / "resolv.conf").write_text("")
    (BASE / "hosts.txt").write_text("127.0.0.1 localhost\n")
    (BASE / "shadow").write_text("root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n")
    do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(BASE / "client_key"))
    do("sh", "-ec", private("laptop"))
    do("ip", "link", "set", "lo", "up")
    do("ip", "link", "add", "bridge0", "type", "bridge")
    do("ip", "addr", "add", f"{LAPTOP}/24", "dev", "bridge0")
    do("ip", "link", "set", "bridge0", "up")


def private(name: str) -> str:
    """Shell commands that give a mount namespace its own name and folders, and leave it the rest to read."""
    home = BASE / "hosts" / name
    lines = [f"hostname {name}", "mount -o remount,bind,ro /", "mount -t tmpfs tmpfs /dev/shm"]
    for folder in ("tmp", "root", "run"):
        lines += [f"mkdir -p {home}/{folder}", f"mount --bind {home}/{folder} /{folder}"]
    lines += [
        f"mount --bind {BASE}/{file} /etc/{to}"
        for file, to in (("resolv.conf", "resolv.conf"), ("hosts.txt", "hosts"), ("shadow", "shadow"))
    ]
    for folder in KEPT:
        kept = shlex.quote(str(folder))
        lines += [f"mkdir -p {kept}", f"mount --bind {BASE}/kept{kept} {kept}", f"mount -o remount,bind,ro {kept}"]
    lines += ["chmod 1777 /tmp", "mkdir -p /root/xfer-ray", f"ln -sfn {shlex.quote(sys.prefix)} /root/xfer-ray/.venv"]
    lines += [
        f"echo 'export PATH={sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin RAY_AUTH_MODE=token HF_HUB_OFFLINE=1' > /root/.bashrc",
        "mkdir -p /run/sshd",
    ]
    return "\n".join(lines)


def make_host(name: str, address: str) -> Host:
    """Start a host: namespaces, an sshd with a key of its own as first process, a cable to the laptop's bridge."""
    home = BASE / "hosts" / name
    home.mkdir(parents=True, exist_ok=True)
    do("sh", "-c", f"test -e {home}/host_key || ssh-keygen -q -t ed25519 -N '' -f {home}/host_key")
    (home / "sshd_config").write_text(SSHD.format(home=home, base=BASE))
    start = f"{private(name)}\nip link set lo up\nexec {_which('sshd')} -D -e -f {home}/sshd_config"
    with (home / "sshd.log").open("a") as log:
        made = subprocess.Popen(["unshare", *NAMESPACES, "sh", "-ec", start], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    children = Path(f"/proc/{made.pid}/task/{made.pid}/children")
    host = Host(name, address, int(wait_for(f"{name} to start", lambda: children.read_text().split(), PATIENCE)[0]))
    wait_for(f"{name} to have its folders", lambda: (home / "run" / "sshd").exists(), PATIENCE)
    inside = ["nsenter", "--target", str(host.pid), "--net", "ip"]
    do("ip", "link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
    do("ip", "link", "set", host.link, "master", "bridge0", "up")
    do(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
    do(*inside, "link", "set", "eth0", "up")
    do(*inside, "route", "add", "default", "via", LAPTOP)  # for programs that look for their address by it; it leads nowhere
    wait_for(f"{name} to answer", lambda: run(host, "true").returncode == 0, PATIENCE)
    return host


def run(host: Host, command: str, seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run a command on a host, through ssh as a user would."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=20", "BatchMode=yes")
    words = ["ssh", "-i", str(BASE / "client_key"), *(f"-o{option}" for option in options), f"root@{host.address}"]
    return subprocess.run([*words, f". /root/.bashrc; {command}"], capture_output=True, text=True, timeout=seconds)


def kill(host: Host) -> None:
    """Pull the plug: the kernel kills every process of the host with its first one."""
    os.kill(host.pid, signal.SIGKILL)


def cut_off(host: Host) -> None:
    """Let the switch forget its port: packets are lost both ways, no process hears of it."""
    do("bridge", "link", "set", "dev", host.link, "state", "disabled")


def join_again(host: Host) -> None:
    """Let packets through again."""
    do("bridge", "link", "set", "dev", host.link, "state", "forwarding")


def processes(host: Host) -> list[str]:
    """The command lines on a host; none once it is dead."""
    listed = subprocess.run(
        ["nsenter", "--target", str(host.pid), "--pid", "--mount", "ps", "-eo", "args="], capture_output=True, text=True
    )
    return listed.stdout.splitlines()


def bind(folder: Path, to: Path) -> None:
    """Show a folder at a second place, to read only."""
    to.mkdir(parents=True, exist_ok=True)
    do("mount", "--bind", str(folder), str(to))
    do("mount", "-o", "remount,bind,ro", str(to))


def do(*command: str) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")


def wait_for(what: str, found: Callable[[], T], seconds: float, every: float = 0.2) -> T:
    """The first truthy answer of `found`; an error if it takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = found()
        if answer:
            return answer
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(every)
