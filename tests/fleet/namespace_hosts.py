"""Hosts made of network and process namespaces, joined by a switch.

The switch is a bridge in a network namespace that nothing else lives in, and no end of a cable is
in the machine's own: its interfaces, routes and firewall are not touched, and two networks with
the same addresses never meet. Names carry the pid of their creator, so what a killed test run
has left is found and removed by the next.
"""

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PREFIX = "velofleet"
SUBNET = "10.77.0"
NAMES = Path("/run/netns")  # where iproute2 keeps them
BRIDGE = "bridge0"
COMMANDS = ("ip", "unshare", "nsenter", "setpriv", "taskset", "mount")
GONE_S = 20.0
_numbers = itertools.count()

# $1 the host's name, $2 its cpuinfo or nothing; the rest is run. The host outlives it, as machines
# do, and its first process collects orphans.
BOOT = """
mount -t tmpfs -o size=512m tmpfs /dev/shm
if [ -n "$2" ]; then mount --bind "$2" /proc/cpuinfo; fi
echo "$1" > /proc/sys/kernel/hostname
shift 2
"$@" || echo "ended with status $?"
sleep infinity
"""
# The same without processes of its own: what runs there is seen by others, as a driver must be.
NAMED = 'name=$1; shift; echo "$name" > /proc/sys/kernel/hostname; exec "$@"'


class Refused(Exception):
    """The system refused to make or change a namespace; the text is its message."""


def missing() -> str:
    """Return the reason why this machine cannot make namespaces; empty if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "machines of namespaces need root on Linux"
    absent = [command for command in COMMANDS if not shutil.which(command)]
    if absent:
        return f"machines of namespaces need {', '.join(absent)} (iproute2 and util-linux)"
    try:
        with closing(Network()) as trial:
            trial.connect("trial", 1)
            trial.run_aside("trial", ["true"])
    except Refused as refusal:
        return f"this system refuses namespaces: {refusal}"
    return ""


@dataclass(frozen=True)
class Hardware:
    """The hardware that a host sees. cpus: for its use. cpuinfo: in place of /proc/cpuinfo."""

    cpus: tuple[int, ...] = ()
    cpuinfo: Path | None = None


class Network:
    """A switch and the hosts on it. close() leaves no process, namespace or interface."""

    def __init__(self) -> None:
        _remove_leftovers()
        self.mark = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._cables: dict[str, int] = {}
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0")
        _ip("-n", self._switch, "link", "set", BRIDGE, "up")

    def connect(self, host: str, number: int) -> str:
        """Make a network namespace on the switch; return its address, which ends in number."""
        name, cable, address = self.namespace(host), f"port{number}", f"{SUBNET}.{number}"
        _ip("netns", "add", name)
        peer = ("peer", "name", "eth0", "netns", name)
        _ip("link", "add", cable, "netns", self._switch, "type", "veth", *peer)
        self._cables[host] = number
        _ip("-n", self._switch, "link", "set", cable, "master", BRIDGE, "up")
        _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        for interface in ("lo", "eth0"):
            _ip("-n", name, "link", "set", interface, "up")
        return address

    def disconnect(self, host: str) -> None:
        """End all processes of a host and remove its namespace."""
        _end(self.namespace(host))
        # By itself it would go a moment after its namespace, and stand in the way of the next.
        _ip("-n", self._switch, "link", "delete", f"port{self._cables.pop(host)}")
        _ip("netns", "delete", self.namespace(host))

    def cut(self, host: str) -> None:
        """Drop every packet of a host from now on, without closing a connection."""
        self._port(host, "down")

    def slow(self, host: str, number: int, rate: str) -> None:
        """Let no more than this rate, such as `4mbit`, out of a host to another one's number."""
        words = ("netns", "exec", self.namespace(host), "tc")
        root = ("root", "handle", "1:", "htb", "default", "1")
        _ip(*words, "qdisc", "add", "dev", "eth0", *root)
        for kind, speed in (("1:1", "10gbit"), ("1:2", rate)):
            _ip(*words, "class", "add", "dev", "eth0", "classid", kind, "htb", "rate", speed)
        to = ("match", "ip", "dst", f"{SUBNET}.{number}/32", "flowid", "1:2")
        _ip(*words, "filter", "add", "dev", "eth0", "protocol", "ip", "u32", *to)

    def heal(self, host: str) -> None:
        self._port(host, "up")

    def run_apart(
        self,
        host: str,
        hardware: Hardware,
        command: Sequence[str],
        variables: Mapping[str, str],
        log: Path,
    ) -> "subprocess.Popen[bytes]":
        """Boot a host with processes, mounts and a /dev/shm of its own, and run a command there.

        To kill the returned process kills all of them. Call this in a thread that lives
        as long as the host.
        """
        cpus = ",".join(map(str, hardware.cpus))
        boot = ["sh", "-euc", BOOT, "sh", host, str(hardware.cpuinfo or "")]
        words = [
            *self._entering(host),
            *(["taskset", "-c", cpus] if cpus else []),
            *["unshare", "-u", "-m", "-p", "-f", "--mount-proc", "--kill-child=SIGKILL"],
            *boot,
            *command,
        ]
        with log.open("wb") as output:
            return subprocess.Popen(
                words, env=dict(variables), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def words_aside(self, host: str, command: Sequence[str]) -> list[str]:
        """Return the words that run a command on a host with only its own address and name.

        Each program becomes the next, so the process started is the command itself.
        """
        naming = ["unshare", "-u", "sh", "-euc", NAMED, "sh", host]
        return [*self._entering(host), *naming, *command]

    def run_aside(self, host: str, command: Sequence[str]) -> None:
        """Run a command on a host that is not booted. Refused if it fails."""
        _run(self.words_aside(host, command))

    def processes(self, host: str) -> list[psutil.Process]:
        """Return the host's live processes, by their pids on this machine."""
        return _living(self.namespace(host))

    def namespace(self, host: str) -> str:
        return f"{self.mark}-{host}"

    @property
    def _switch(self) -> str:
        return f"{self.mark}.switch"

    def close(self) -> None:
        """Remove all hosts and the switch; do nothing if they are gone."""
        for host in tuple(self._cables):
            self.disconnect(host)
        if (NAMES / self._switch).exists():
            _ip("netns", "delete", self._switch)

    def _entering(self, host: str) -> list[str]:
        place = NAMES / self.namespace(host)
        return ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={place}"]

    def _port(self, host: str, state: str) -> None:
        _ip("-n", self._switch, "link", "set", f"port{self._cables[host]}", state)


def _remove_leftovers() -> None:
    """Remove the namespaces of test runs that were killed."""
    for path in NAMES.glob(f"{PREFIX}-*"):
        pid = path.name.split("-")[1]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            _end(path.name)
            with suppress(Refused):  # another run was faster
                _ip("netns", "delete", path.name)


def _end(namespace: str) -> None:
    """Kill until no process is found: one that is being killed may still fork."""
    deadline = time.monotonic() + GONE_S
    while processes := _living(namespace):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{processes} outlive SIGKILL")
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=0.2)


def command_of(process: psutil.Process) -> str:
    """Return its command line; empty if it ended since it was listed."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _living(namespace: str) -> list[psutil.Process]:
    return list(_each_living(namespace))


def _each_living(namespace: str) -> Iterator[psutil.Process]:
    for pid in _ip("netns", "pids", namespace).split():
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid))
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _ip(*words: str) -> str:
    return _run(["ip", *words])


def _run(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        error = done.stderr.strip() or f"exit status {done.returncode}"
        raise Refused(f"{' '.join(words[:6])}: {error}")
    return done.stdout
