"""Sweeps submitted to a cluster as jobs: they outlive the submitter and can be followed."""

import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow.dataset
import pytest

from velodrome.agents.isolation.supervised import SupervisedProcess, run_supervised

pytestmark = pytest.mark.slow

LOCKED = Path(__file__).parents[2] / "requirements" / "jobs.txt"
UP_S = 120.0
STARTS = 3  # Ray's head gives up after 30 s, which a busy machine takes
HOSTILE = 'it\'s; $(touch pwned) `touch pwned` & "quoted"'
TINY = f"""
name: {json.dumps(HOSTILE)}
frameworks: [numpy]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {{autoencoder-400-200-100/ae1: [4]}}
threads: [1]
repeats: 1
timing: {{target: 50%, min_samples: 3, min_seconds: 0, max_seconds: 1}}
"""
LONG = TINY.replace("repeats: 1", "repeats: 4").replace("min_seconds: 0", "min_seconds: 3")
LONG = LONG.replace("max_seconds: 1", "max_seconds: 4")


@dataclass(frozen=True)
class Cluster:
    """A head that takes jobs, and the command with its token."""

    address: str
    command: Any

    def jobs(self) -> list[dict[str, object]]:
        found = self.command.run("attach", "--json", "--address", self.address)
        assert found.returncode == 0, found.stderr
        jobs: list[dict[str, object]] = json.loads(found.stdout)
        return jobs

    def attach(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.command.run("attach", *words, "--address", self.address, timeout_s=120)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install Ray's job packages for these tests alone: every other test's Ray would load them."""
    folder = tmp_path_factory.mktemp("packages")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    words = ("--target", folder, "--no-deps", "--require-hashes", "-r", LOCKED)
    subprocess.run([*pip, *words], check=True)
    return folder


@pytest.fixture(scope="module")
def cluster(command: Any, packages: Path) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="vj-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "token").touch(mode=0o600)
        (folder / "token").write_text(secrets.token_hex(32))
        variables = {
            **command.variables,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(packages),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_enable_open_telemetry": "0",
        }
        variables.pop("RAY_ADDRESS", None)
        port = start_head(stack, folder, variables)
        theirs = replace(command, variables=variables)
        yield Cluster(f"http://127.0.0.1:{port}", theirs)


def start_head(stack: ExitStack, folder: Path, variables: dict[str, str]) -> int:
    for number in range(STARTS):
        port, log = free_port(), folder / f"log-{number}"
        with ExitStack() as trying:
            words = head_command(folder / str(number), port)
            running = trying.enter_context(run_supervised(words, variables, log))
            if is_up(running, log):
                stack.enter_context(trying.pop_all())
                return port
    pytest.fail(f"no Ray came up: {log.read_text()[-2000:]}")


def head_command(folder: Path, port: int) -> list[str]:
    folder.mkdir()
    options = (
        *("--head", "--block", "--port=0", "--num-cpus=2", "--num-gpus=0"),
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"),
        *("--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0"),
        *("--disable-usage-stats", f"--temp-dir={folder}", "--object-store-memory=100000000"),
        '--system-config={"enable_metrics_collection": false}',
    )
    return [sys.executable, "-m", "ray.scripts.scripts", "start", *options]


def is_up(running: SupervisedProcess, log: Path) -> bool:
    deadline = time.monotonic() + UP_S
    while running.poll(0.1) is None and time.monotonic() < deadline:
        if log.exists() and "Ray runtime started" in log.read_text(errors="replace"):
            return True
    return False


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def wait_for_line(running: "subprocess.Popen[str]", word: str) -> str:
    """Wait for the first line with this word and return it."""
    assert running.stdout
    seen = []
    for line in running.stdout:
        seen.append(line)
        if word in line:
            return line
    pytest.fail(f"'{word}' never came: {''.join(seen)}")


def driver(sweep_id: str) -> psutil.Process:
    """Return the process of the job's driver, not the shell's."""
    (found,) = (
        process
        for process in psutil.process_iter(["cmdline"])
        if (words := process.info["cmdline"])
        and "velodrome.scheduler.cli" in words
        and any(word.endswith(sweep_id) for word in words)
    )
    return found


def runs(results: Path, sweep_id: str) -> list[tuple[str, int]]:
    dataset = pyarrow.dataset.dataset(results / "tasks" / f"sweep={sweep_id}")
    rows = dataset.to_table().to_pylist()
    fates = {(row["status"], row["reason"]) for row in rows}
    assert {status for status, _ in fates} <= {"ok", "unstable"}, fates
    return [(row["task_id"], row["repeat"]) for row in rows]


@pytest.mark.full
def test_a_job_outlives_its_submitter_and_never_reaches_a_shell(
    cluster: Cluster,
) -> None:
    command = cluster.command
    file = command.sweep(TINY, f"{HOSTILE}.yaml")
    results = command.folder / f"rows {HOSTILE}"
    words = ("run", str(file), "--submit", "--address", cluster.address)
    with command.start(*words, "--results", str(results)) as handing:
        wait_for_line(handing, "submitted as velodrome-it-s-touch-pwned-")
        handing.kill()
    (job,) = cluster.jobs()
    followed = cluster.attach()
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert "[1/1]" in followed.stdout
    assert f"{job['job_id']} ended with exit status 0" in followed.stdout
    assert len(runs(results, str(job["sweep_id"]))) == 1
    assert not [path for path in command.folder.rglob("pwned*")]


@pytest.mark.full
def test_a_job_keeps_its_rows_when_left_killed_resumed_and_stopped(
    cluster: Cluster,
) -> None:
    command, results = cluster.command, cluster.command.folder / "kept"
    file = command.sweep(LONG, "long.yaml")
    words = ("run", str(file), "--submit", "--json", "--address", cluster.address)
    handed = json.loads(command.run(*words, "--results", str(results)).stdout)
    job_id, sweep_id = handed["job_id"], handed["sweep_id"]

    with command.start("attach", job_id, "--address", cluster.address) as following:
        wait_for_line(following, "[1/4]")
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=30)
        assert following.returncode == 130
        assert f"{job_id} continues" in err
        assert f"attach {job_id}" in err

    driver(sweep_id).kill()
    ended = cluster.attach(job_id)
    assert ended.returncode == 137
    assert f"{job_id} was killed by signal 9" in ended.stdout
    (again,) = (line for line in ended.stdout.splitlines() if line.startswith("resume with: "))
    assert len(done := runs(results, sweep_id)) >= 1

    resumed = command.run(*shlex.split(again.removeprefix("resume with: "))[1:])
    assert resumed.returncode == 0, resumed.stderr
    with command.start("attach", sweep_id, "--address", cluster.address) as following:
        assert "4 of 4" not in wait_for_line(following, "of 4 runs to do")
        stopped = cluster.attach("--stop", sweep_id)
        assert stopped.returncode == 0, stopped.stderr
        assert f"velodrome run --resume {sweep_id}" in stopped.stdout
        out, _ = following.communicate(timeout=60)
        assert following.returncode == 143
        assert "was stopped; finished runs are kept" in out
    kept_runs = runs(results, sweep_id)
    assert set(done) <= set(kept_runs)
    assert len(kept_runs) == len(set(kept_runs)) < 4


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("--results", "rows"), 2, "the cluster cannot see a folder of this machine"),
        (("--results", "/srv/rows", "--only", "model"), 2, "--only:1:1"),
        (("--results", "/srv/rows"), 3, "Connection refused"),
        *(
            pytest.param(*case, marks=pytest.mark.full)
            for case in (
                (("--results", "hdfs://bucket/rows"), 2, "hdfs"),
                (("--results", "s3://bucket/rows"), 3, "Connection refused"),
                (("--results", "/srv/rows", "--resume", "last"), 2, "Give the sweep's id"),
                (("--results", "/srv/rows", "--patience", "soon"), 2, "--patience"),
            )
        ),
    ],
)
def test_errors_are_reported_before_anything_is_submitted(
    command: Any, packages: Path, words: tuple[str, ...], status: int, message: str
) -> None:
    theirs = replace(command, variables={**command.variables, "PYTHONPATH": str(packages)})
    file = command.sweep(TINY, "tiny.yaml")
    address = f"http://127.0.0.1:{free_port()}"
    done = theirs.run("run", str(file), "--submit", "--address", address, *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_a_wrong_token_and_a_missing_job_give_different_errors(cluster: Cluster) -> None:
    missing = cluster.attach("velodrome-none")
    assert (missing.returncode, "there is no job" in missing.stderr) == (2, True)
    forged = cluster.command.folder / "forged"
    forged.write_text("f" * 64)
    variables = {**cluster.command.variables, "RAY_AUTH_TOKEN_PATH": str(forged)}
    refused = replace(cluster.command, variables=variables)
    done = refused.run("attach", "--address", cluster.address)
    assert (done.returncode, "token" in done.stderr) == (3, True)
