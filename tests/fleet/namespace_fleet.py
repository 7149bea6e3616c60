"""A Ray cluster of several hosts on one machine: each with its own name, address and hardware."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from driver_session import Session
from fake_hardware import Host, fake_nvml, hardware_of
from namespace_hosts import Network

SESSION = Path(__file__).with_name("ray_session.py")
HEAD, HEAD_NUMBER, PORT = "head", 1, 6379
START_S = 200.0
TRIES = 3
AT_ONCE = 3
NOTICE_S = 30.0
POLL_S = 0.1
# Of Ray's sockets: a path longer than 107 bytes cannot be bound, and Ray adds 65 to its folder's.
LONGEST_FOLDER = 24

RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # For a silent node. Measured: detected as dead after 1.3 s instead of 15.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    # Without these a caller waits for a node that was cut off long after Ray knows that it is.
    "RAY_grpc_client_keepalive_time_ms": "2000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
    # Lean, for there are many on one machine.
    "RAY_enable_open_telemetry": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
}

# Of whatever runs the tests; GPUs are to be found, not named.
_FOREIGN = ("RAY_ADDRESS", "CUDA_VISIBLE_DEVICES")


class NotStarted(Exception):
    """A Ray did not come up; the text is the end of its log."""


class NamespaceFleet:
    """Hosts that a test may kill, cut off and add. stop() leaves nothing.

    folder must be empty and have a short path. variables are those of every host and driver. Not
    to be used in several threads.
    """

    address = f"10.77.0.{HEAD_NUMBER}:{PORT}"

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        if len(str(folder)) > LONGEST_FOLDER:
            raise ValueError(f"{folder} is too long for sockets. Take one such as /tmp/fleet-1")
        self.folder = folder
        self._network = Network()
        self._numbers: dict[str, int] = {HEAD: HEAD_NUMBER}
        self._hosts = {HEAD: Host(HEAD)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._drivers: list[subprocess.Popen[str]] = []
        self._watcher: Session | None = None
        found = os.environ.get("LD_LIBRARY_PATH", "")
        self._libraries = [str(fake_nvml(folder)), *([found] if found else [])]
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self.variables = {
            **{key: value for key, value in os.environ.items() if key not in _FOREIGN},
            "VELODROME_HOME": str(folder / "shared"),
            **RAY,
            "RAY_AUTH_TOKEN_PATH": str(token),
            **(variables or {}),
        }

    def start_head(self) -> None:
        """Start a head without CPUs and GPUs, and return when its Ray answers."""
        if HEAD not in self._running:
            self._network.connect(HEAD, HEAD_NUMBER)
        self._begin_head()
        self._await(self._is_started, (HEAD,), START_S)

    def add_node(self, name: str, **traits: Any) -> None:
        """Add a node with the traits of a Host, and return when it is a member of the cluster."""
        self.add_nodes([Host(name, **traits)])

    def add_nodes(self, hosts: Sequence[Host]) -> None:
        """Add nodes, a few at a time: more would each miss Ray's start limit of 30 s."""
        for first in range(0, len(hosts), AT_ONCE):
            batch = hosts[first : first + AT_ONCE]
            self.boot(batch)
            self.await_nodes([host.name for host in batch])

    def boot(self, hosts: Sequence[Host]) -> None:
        """Start nodes without waiting for them. A killed one comes back as the same host."""
        for host in hosts:
            if host.name in self._running:
                raise ValueError(f"{host.name} runs. Kill it first")
            self._numbers.setdefault(host.name, HEAD_NUMBER + len(self._numbers))
            self._hosts[host.name] = host
            self._begin_node(host)

    def await_nodes(self, names: Sequence[str], within_s: float = START_S) -> None:
        """Wait until Ray lists the nodes as alive. NotStarted."""
        self._await(self.is_alive, names, within_s)

    def await_loss(self, name: str, within_s: float = NOTICE_S) -> float:
        """Wait until Ray lists the node as dead, and return the seconds. TimeoutError."""
        began = time.monotonic()
        while self.is_alive(name):
            if time.monotonic() - began > within_s:
                raise TimeoutError(f"Ray takes {name} for alive, {within_s:.0f} s later")
            time.sleep(POLL_S)
        return time.monotonic() - began

    def kill(self, name: str) -> None:
        """Send SIGKILL to every process of a node. The kernel closes its connections."""
        running = self._running.pop(name)
        running.kill()
        running.wait()
        self._network.disconnect(name)

    def power_off(self, name: str) -> None:
        """Kill a node without closing its connections, as a power failure does."""
        self._network.cut(name)
        self.kill(name)

    def slow_link(self, first: str, second: str, rate: str) -> None:
        """Limit the rate between two nodes, in both directions, such as to `4mbit`."""
        for one, other in ((first, second), (second, first)):
            self._network.slow(one, self._numbers[other], rate)

    def kill_raylet(self, name: str) -> None:
        """Send SIGKILL to the raylet alone; its host lives on."""
        for process in self.processes(name):
            if process.name() == "raylet":
                process.kill()

    def kill_head(self) -> None:
        """Send SIGKILL to the head's Ray, not to the drivers there. start_head starts another."""
        self._stop_watching()
        self._end_ray_of_head()

    def cut(self, name: str) -> None:
        """Cut a node off the network: it runs on, but no packet reaches or leaves it."""
        self._network.cut(name)

    def heal(self, name: str) -> None:
        self._network.heal(name)

    def driver(
        self,
        *words: str,
        variables: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        errors: Path | None = None,
    ) -> "subprocess.Popen[str]":
        """Start a command on the head's host that finds this cluster; return its own process.

        Its streams are pipes, unless errors names a file. It hears SIGINT, whatever started the
        tests.
        """
        environ = {**self._environ(Host(HEAD)), "RAY_ADDRESS": self.address, **(variables or {})}
        with (errors or Path(os.devnull)).open("ab") as log:
            started = subprocess.Popen(
                self._network.words_aside(HEAD, words),
                cwd=cwd or self.folder,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log if errors else subprocess.PIPE,
                text=True,
                preexec_fn=_heed_interrupts,
            )
        self._drivers.append(started)
        return started

    def velodrome(
        self, *words: str, variables: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> "subprocess.Popen[str]":
        """Start `velodrome WORDS` as a driver with the cluster's address."""
        command = (sys.executable, "-m", "velodrome.scheduler.cli", *words)
        return self.driver(*command, variables=variables, cwd=cwd)

    def session(self) -> Session:
        """Start a driver that runs scripts on request."""
        log = self.folder / f"session-{len(self._drivers)}.log"
        return Session(self.driver(sys.executable, str(SESSION), errors=log), log)

    def nodes(self) -> list[dict[str, Any]]:
        """Return Ray's list of nodes, dead ones included."""
        if self._watcher is None:
            self._watcher = self.session()
        return self._watcher.run_script("answer = ray.nodes()")

    def runs(self, name: str) -> bool:
        """Return True while the node's own process runs, whatever Ray's list says."""
        running = self._running.get(name)
        return running is not None and running.poll() is None

    def is_alive(self, name: str) -> bool:
        """Return True if Ray lists the node as alive."""
        address = self.ip(name)
        return any(node["Alive"] and node["NodeManagerAddress"] == address for node in self.nodes())

    @property
    def mark(self) -> str:
        """The prefix of its namespaces' names."""
        return self._network.mark

    def ip(self, name: str) -> str:
        return f"10.77.0.{self._numbers[name]}"

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the host's processes, by their pids on this machine."""
        return self._network.processes(name)

    def stop(self) -> None:
        """End every host and driver; do nothing if they ended before."""
        self._stop_watching()
        for process in (*self._drivers, *self._running.values()):
            process.kill()
        self._network.close()
        for process in (*self._drivers, *self._running.values()):
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        self._drivers.clear()
        self._running.clear()

    def _end_ray_of_head(self) -> None:
        while left := self._ray_of_head():
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=POLL_S)
        self._running[HEAD].wait()

    def _ray_of_head(self) -> list[psutil.Process]:
        drivers = {driver.pid for driver in self._drivers}
        found = []
        for process in self.processes(HEAD):
            with suppress(psutil.NoSuchProcess):
                if not {process.pid, *(above.pid for above in process.parents())} & drivers:
                    found.append(process)
        return found

    def _ray(self, name: str, *words: str) -> list[str]:
        return [
            sys.executable,
            *("-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
            f"--node-ip-address={self.ip(name)}",
            f"--temp-dir={self.folder / str(self._numbers[name])}",
            f"--object-store-memory={80_000_000}",
            "--include-log-monitor=false",  # a fifth of what a node costs to start
            *words,
        ]

    def _joining(self, host: Host) -> list[str]:
        labels = ",".join(f"{key}={value}" for key, value in host.labels.items())
        words = [f"--address={self.address}", f"--num-cpus={host.cores}", *host.ray_words]
        return self._ray(host.name, *words, *([f"--labels={labels}"] if labels else []))

    def _environ(self, host: Host) -> dict[str, str]:
        own = self.folder / f"{host.name}.own"
        for folder in ("home", "tmp", "locks"):
            (own / folder).mkdir(parents=True, exist_ok=True)
        return {
            **self.variables,
            "HOME": str(own / "home"),
            "TMPDIR": str(own / "tmp"),
            "VELODROME_LOCKS": str(own / "locks"),
            # Hosts without GPUs get it too: what this machine has is not theirs.
            "LD_LIBRARY_PATH": os.pathsep.join(self._libraries),
            "FAKE_NVML": host.gpus,
            "FAKE_NVML_NODE": str(self._numbers[host.name]),
            **host.variables,
        }

    def _begin_head(self) -> None:
        # A Ray that was killed leaves its address, and Ray refuses to start beside that.
        (self.folder / str(HEAD_NUMBER) / "ray_current_cluster").unlink(missing_ok=True)
        words = ("--head", f"--port={PORT}", "--include-dashboard=false", "--no-monitor")
        command = self._network.words_aside(HEAD, self._ray(HEAD, *words, "--num-cpus=0"))
        with self._log(HEAD).open("wb") as log:
            self._running[HEAD] = subprocess.Popen(
                command, env=self._environ(Host(HEAD)), stdout=log, stderr=log
            )

    def _begin_node(self, host: Host) -> None:
        number = self._numbers[host.name]
        self._network.connect(host.name, number)
        self._running[host.name] = self._network.run_apart(
            host.name,
            hardware_of(host, number, self.folder),
            self._joining(host),
            self._environ(host),
            self._log(host.name),
        )

    def _begin_again(self, name: str) -> None:
        if name == HEAD:
            self._end_ray_of_head()
            self._begin_head()
        else:
            self.kill(name)
            self._begin_node(self._hosts[name])

    def _await(
        self, is_there: Callable[[str], bool], names: Sequence[str], within_s: float
    ) -> None:
        """Start a Ray, again if it gives up, as it does on a busy machine."""
        deadline = time.monotonic() + within_s
        tries = dict.fromkeys(names, 1)
        waited_for = list(names)
        while waited_for := [name for name in waited_for if not is_there(name)]:
            for name in filter(self._has_given_up, waited_for):
                if tries[name] == TRIES:
                    raise NotStarted(f"{name}: {self._end_of_log(name)}")
                tries[name] += 1
                self._begin_again(name)
            if time.monotonic() > deadline:
                raise NotStarted(f"{waited_for[0]}: {self._end_of_log(waited_for[0])}")
            time.sleep(POLL_S)

    def _is_started(self, name: str) -> bool:
        return "Ray runtime started" in self._log(name).read_text()

    def _has_given_up(self, name: str) -> bool:
        ended = self._running[name].poll() is not None
        return ended or "ended with status" in self._log(name).read_text()

    def _stop_watching(self) -> None:
        if self._watcher:
            self._watcher.close()
            self._watcher = None

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _end_of_log(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")[-2000:]


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
