"""Nodes on demand, by Ray's autoscaler and its fake provider: from none to some, and to none."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.dataset
import pytest
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from velodrome.agents.isolation.supervised import SupervisedProcess, run_supervised

pytestmark = [pytest.mark.slow, pytest.mark.full]

TEMPLATE = Path(__file__).with_name("elastic_cluster.yaml")
UP_S, COMES_S, GOES_S = 120.0, 150.0, 90.0
STARTS = 3  # Ray's head gives up after 30 s, which a busy machine takes
POLL_S = 0.2
EVERYWHERE = {  # most of it as in cluster.yaml
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "2000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
    "RAY_enable_open_telemetry": "0",
    "RAY_enable_metrics_collection": "0",
    # All of it on loopback; else Ray puts the machine's own address in place of 127.0.0.1.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
HEAD = {  # what Ray's launcher sets, and what makes its provider a fake one
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_NODE_TYPE_NAME": "ray.head.default",
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}
SWEEP = """
name: on-demand
frameworks: [numpy]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {{autoencoder-400-200-100/ae1: [4]}}
threads: [1]
labels: {{pool: {pool}}}
where: each-type
repeats: 2
timing: {{target: 50%, min_samples: 3, min_seconds: 0, max_seconds: 0.5}}
"""


@dataclass(frozen=True)
class Elastic:
    """An autoscaled cluster's head, and the command with its token."""

    folder: Path
    address: str
    variables: dict[str, str]

    def run(
        self, pool: str, patience: str, command: tuple[str, ...] = ("run",)
    ) -> "subprocess.CompletedProcess[str]":
        path = self.folder / f"{pool}.yaml"
        path.write_text(SWEEP.format(pool=pool))
        words = (*command, str(path), "--results", str(self.folder / pool))
        where = ("--address", self.address, "--cluster", str(self.folder / "cluster.yaml"))
        typed = (sys.executable, "-m", "velodrome.scheduler.cli", *words, *where)
        return subprocess.run(
            [*typed, "--patience", patience],
            env=self.variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMES_S,
        )

    def rows(self, pool: str, table: str = "tasks") -> list[dict]:
        place = self.folder / pool / table
        return pyarrow.dataset.dataset(place, partitioning="hive").to_table().to_pylist()

    def record(self) -> list[str]:
        """Return the cloud's log, in order."""
        written = self.folder / "record"
        return written.read_text().splitlines() if written.exists() else []

    def nodes(self) -> int:
        """Count the Ray nodes on this machine, the head included."""
        marks = (process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"]))
        here = f"{self.folder}/"
        return sum(
            bool(words) and words[0].endswith("/raylet") and any(here in word for word in words)
            for words in marks
        )


@pytest.fixture(scope="module")
def elastic() -> Iterator[Elastic]:
    with tempfile.TemporaryDirectory(prefix="ve-", dir="/tmp") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "token").touch(mode=0o600)
        (folder / "token").write_text(secrets.token_hex(32))
        foreign = ("RAY_ADDRESS", "CUDA_VISIBLE_DEVICES")
        variables = {
            **{key: value for key, value in os.environ.items() if key not in foreign},
            **EVERYWHERE,
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "VELODROME_HOME": str(folder / "home"),
            "VELODROME_PYTHON_NUMPY": sys.executable,
        }
        yield Elastic(folder, start_head(stack, folder, variables), variables)


def start_head(stack: ExitStack, folder: Path, variables: dict[str, str]) -> str:
    """Start a head and return its address."""
    of_head = {
        **variables,
        **HEAD,
        "PYTHONPATH": str(Path(__file__).parent),  # where fake_cloud is
        "FAKE_CLOUD_RECORD": str(folder / "record"),
    }
    for number in range(STARTS):
        address, log = f"127.0.0.1:{free_port()}", folder / f"log-{number}"
        (folder / "cluster.yaml").write_text(TEMPLATE.read_text().replace("ADDRESS", address))
        with ExitStack() as trying:
            words = head_command(folder, number, address)
            if is_up(trying.enter_context(run_supervised(words, of_head, log)), log):
                stack.enter_context(trying.pop_all())
                return address
    pytest.fail(f"no Ray came up: {log.read_text()[-2000:]}")


def head_command(folder: Path, number: int, address: str) -> list[str]:
    place, _, port = address.partition(":")
    options = (
        *("--head", "--block", "--num-cpus=0", f"--node-ip-address={place}", f"--port={port}"),
        *("--include-dashboard=false", "--include-log-monitor=false", "--disable-usage-stats"),
        *(f"--temp-dir={folder / str(number)}", "--object-store-memory=80000000"),
        f"--autoscaling-config={folder / 'cluster.yaml'}",
    )
    return [sys.executable, "-m", "ray.scripts.scripts", "start", *options]


def is_up(running: SupervisedProcess, log: Path) -> bool:
    deadline = time.monotonic() + UP_S
    while running.poll(POLL_S) is None and time.monotonic() < deadline:
        if log.exists() and "Ray runtime started" in log.read_text(errors="replace"):
            return True
    return False


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


Ran = "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def swept(elastic: Elastic) -> Ran:
    assert elastic.nodes() == 1
    return elastic.run("cpu", "2m", ("nightly", "--budget", "1h"))


@pytest.fixture(scope="module")
def given_up(elastic: Elastic, swept: Ran) -> Ran:
    """Run the second sweep after the first, whose nodes are idle meanwhile."""
    return elastic.run("dear", "8s")


def test_each_node_type_starts_from_zero_for_a_nightly_run_and_runs_its_own_tasks(
    elastic: Elastic, swept: Ran
) -> None:
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "nightly run 1 of on-demand: 2 cells on 2 nodes" in swept.stdout
    types = {
        row["node_id"]: {pair["key"]: pair["value"] for pair in row["labels"]}["velodrome"]
        for row in elastic.rows("cpu", "nodes")
    }
    measured = sorted((types[row["node_id"]], row["status"]) for row in elastic.rows("cpu"))
    assert [name for name, _ in measured] == ["cpu-one"] * 2 + ["cpu-two"] * 2
    assert {status for _, status in measured} <= {"ok", "unstable"}


def test_a_node_type_that_cannot_start_is_given_up_with_the_reason(
    elastic: Elastic, given_up: Ran
) -> None:
    assert given_up.returncode == 1, given_up.stdout + given_up.stderr
    fates = {(row["status"], row["reason"]) for row in elastic.rows("dear")}
    assert fates == {("lost", "neither sold-out nor another suitable node joined in 8 s")}
    assert "refused sold-out" in elastic.record()


def test_nodes_stop_afterwards_and_no_unneeded_gpu_node_starts(
    elastic: Elastic, given_up: Ran
) -> None:
    types = ("cpu-one", "cpu-two")
    deadline = time.monotonic() + GOES_S
    while not all(f"ended {name}" in elastic.record() for name in types) or elastic.nodes() > 1:
        assert time.monotonic() < deadline, elastic.record()
        time.sleep(POLL_S)
    moved = [line for line in elastic.record() if not line.startswith("refused")]
    assert sorted(moved) == sorted(
        f"{what} {name}" for what in ("started", "ended") for name in types
    )
