"""Interruptions of a sweep at many moments: finished runs stay, and no process is left."""

import itertools
import random
import signal
import time

import pyarrow.dataset
import pyarrow.parquet
import pytest

pytestmark = pytest.mark.slow

SWEEP = """
name: interrupted
frameworks: [numpy]
models: [autoencoder-400-200-100/ae1, autoencoder-400-200-100/ae3]
batch_sizes: {autoencoder-400-200-100/ae1: [2, 4], autoencoder-400-200-100/ae3: [2, 4]}
threads: [1]
repeats: 2
timing: {target: 50%, min_samples: 3, min_seconds: 0.1, max_seconds: 1}
"""
EXPECTED = 2 * 2 * 2
GONE_S = 2.0


def list_runs(results) -> list[tuple[str, int]]:
    if not any((results / "tasks").glob("*/*.parquet")):  # a folder is made before its first file
        return []
    table = pyarrow.dataset.dataset(results / "tasks", partitioning="hive").to_table()
    return sorted(zip(table["task_id"].to_pylist(), table["repeat"].to_pylist(), strict=True))


def assert_all_gone(command) -> None:
    deadline = time.monotonic() + GONE_S
    while (left := command.survivors()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []


def assert_whole(results) -> None:
    """Assert that every file that a reader would open is a whole Parquet file."""
    for table in ("tasks", "samples", "utilization", "nodes", "parameters"):
        for path in (results / table).rglob("*.parquet"):
            pyarrow.parquet.read_table(path)


def signal_when(command, words, condition, number, after_s: float):
    """Start the command, wait until `condition` holds, a moment more, and send the signal."""
    running = command.start(*words)
    deadline = time.monotonic() + 120
    while not condition() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(after_s)
    running.send_signal(number)
    started = time.monotonic()
    running.communicate(timeout=60)
    return running.returncode, time.monotonic() - started


@pytest.mark.full
def test_a_repeatedly_killed_sweep_ends_with_the_rows_of_an_undisturbed_one(command) -> None:
    command.sweep(SWEEP)
    undisturbed = command.folder / "undisturbed"
    assert command.run("run", "sweep.yaml", "--results", "undisturbed").returncode == 0

    results = command.folder / "killed"
    moments = random.Random(20160330)
    first = ("run", "sweep.yaml", "--results", "killed")
    signal_when(command, first, lambda: len(list_runs(results)) >= 2, signal.SIGKILL, 0.3)
    assert_all_gone(command)
    assert_whole(results)
    kept = list_runs(results)
    assert len(kept) >= 2

    again = ("run", "--resume", "last", "--results", "killed")
    for _ in range(2):
        before = len(list_runs(results))
        signal_when(
            command,
            again,
            lambda at_least=before + 1: len(list_runs(results)) >= at_least,
            signal.SIGKILL,
            moments.uniform(0.0, 1.0),
        )
        assert_all_gone(command)
        assert_whole(results)
        assert set(kept) <= set(list_runs(results))
    last = command.run(*again)
    assert last.returncode == 0, last.stderr
    assert list_runs(results) == list_runs(undisturbed)
    assert len(list_runs(results)) == EXPECTED


def test_ctrl_c_ends_the_sweep_cleanly_and_names_the_resume_command(command) -> None:
    command.sweep(SWEEP + "exclusive: false\n")  # tests beside it need not wait for its cores
    results = command.folder / "interrupted"
    words = ("run", "sweep.yaml", "--results", "interrupted")
    status, took_s = signal_when(
        command, words, lambda: len(list_runs(results)) >= 1, signal.SIGINT, 0.1
    )
    assert status == 130
    assert took_s < 15
    assert_all_gone(command)
    done = command.run("run", "--resume", "last", "--results", "interrupted")
    assert done.returncode == 0, done.stderr
    assert len(list_runs(results)) == EXPECTED


@pytest.mark.full
@pytest.mark.parametrize("after_s", [0.2, 2.0, 5.0])
def test_a_command_killed_while_it_starts_leaves_no_process(command, after_s: float) -> None:
    command.sweep(SWEEP)
    words = ("run", "sweep.yaml", "--results", "early")
    signal_when(command, words, lambda: True, signal.SIGKILL, after_s)
    assert_all_gone(command)


@pytest.mark.full
def test_two_sweeps_at_once_never_time_at_the_same_moment(command) -> None:
    command.sweep(SWEEP)
    running = [
        command.start("run", "sweep.yaml", "--results", f"side{number}") for number in (1, 2)
    ]
    for one in running:
        _, err = one.communicate(timeout=200)
        assert one.returncode == 0, err
    spans = sorted(
        (row["started_ns"], row["started_ns"] + row["elapsed_ns"], number)
        for number in (1, 2)
        for row in pyarrow.dataset.dataset(command.folder / f"side{number}" / "samples")
        .to_table(columns=["started_ns", "elapsed_ns"])
        .to_pylist()
    )
    overlaps = [
        (earlier, later) for earlier, later in itertools.pairwise(spans) if later[0] < earlier[1]
    ]
    assert len({number for _, _, number in spans}) == 2
    assert overlaps == []
