"""A sweep in an object store: killed, resumed, reported and queried by its URI."""

import json
import logging
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pyarrow import fs

from velodrome.scheduler.results.store import Store

pytestmark = pytest.mark.slow

SWEEP = """
name: in-a-bucket
frameworks: [numpy]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {autoencoder-400-200-100/ae1: [2, 4]}
threads: [1]
repeats: 3
timing: {target: 50%, min_samples: 3, min_seconds: 0.1, max_seconds: 1}
"""
EXPECTED = 2 * 3
BUCKET = "velodrome-sweeps"
RESULTS = f"s3://{BUCKET}/lab/results"


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Start an S3 server with a bucket in this process; yield its variables."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    uri = f"s3://{BUCKET}?allow_bucket_creation=true&region=us-east-1"
    filesystem, path = fs.FileSystem.from_uri(uri)
    filesystem.create_dir(path)
    yield found
    server.stop()


def rows_of_tasks() -> int:
    filesystem, path = fs.FileSystem.from_uri(f"{RESULTS}/tasks?region=us-east-1")
    selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
    return sum(bool(info.size) for info in filesystem.get_file_info(selector))


@pytest.mark.full
def test_a_killed_sweep_in_a_bucket_can_be_resumed(command, variables) -> None:
    command = replace(command, variables={**command.variables, **variables})
    command.sweep(SWEEP)
    running = command.start("run", "sweep.yaml", "--results", RESULTS)
    deadline = time.monotonic() + 120
    while not rows_of_tasks() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    _, err = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL, err

    half = Store.for_reading(RESULTS).read("tasks").num_rows
    assert 0 < half < EXPECTED

    done = command.run("run", "--resume", "last", "--results", RESULTS)
    assert done.returncode == 0, done.stderr
    assert f"velodrome report --results {RESULTS} --sweep" in done.stdout

    report = command.run("report", "--results", RESULTS, "--json")
    assert report.returncode == 0, report.stderr
    rows = json.loads(report.stdout)
    assert len({(row["task_id"], row["repeat"]) for row in rows}) == len(rows) == EXPECTED
    assert {row["status"] for row in rows} <= {"ok", "unstable"}
    assert all("timed_is_checked" in row["proved"] and row["checks"] for row in rows)

    query = "select count(*) as n from samples join tasks using (sweep_id, task_id, repeat)"
    shown = command.run("query", query, "--results", RESULTS, "--format", "csv")
    assert shown.returncode == 0, shown.stderr
    assert int(shown.stdout.split()[1]) >= 2 * 3 * EXPECTED
    assert rows_of_tasks() == 1  # compacted
    assert command.survivors() == []
