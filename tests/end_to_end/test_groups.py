"""Sweeps of tasks on several processes: planned, run, recorded and compared like every other."""

import json
import os
import signal
import time

import psutil
import pytest

pytestmark = pytest.mark.slow

SWEEP = """
name: groups
frameworks: [shared]
models: [lenet]
batch_sizes: {lenet: [4]}
threads: [1]
processes: [1, 2]
repeats: 1
timing: {target: 50%, min_samples: 3, min_seconds: 0, max_seconds: 1}
"""
LONG = ("--threads", "1", "--batch-size", "8", "--min-seconds", "200", "--max-seconds", "300")

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two cores are needed")


@pytest.fixture(scope="module")
def swept(extended):
    extended.sweep(SWEEP, "groups.yaml")
    return extended.run("run", "groups.yaml", "--results", "groups")


def find_followers(extended):
    """Find the following processes of groups that this command has started."""
    home = extended.variables["VELODROME_HOME"]
    found = psutil.process_iter(["cmdline", "environ"])
    return [each for each in found if is_follower(each) and is_from(each, home)]


def is_follower(process):
    return "velodrome.adapters.groups.follower" in (process.info["cmdline"] or ())


def is_from(process, home):
    return any(home in value for value in (process.info["environ"] or {}).values())


def await_follower(extended, deadline_s=120):
    """Wait until a group runs, and return its one follower."""
    ended_s = time.monotonic() + deadline_s
    while time.monotonic() < ended_s:
        found = find_followers(extended)
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError("no group was started")


@two_cores
def test_a_sweep_over_processes_is_verified_in_every_cell(extended, swept) -> None:
    assert swept.returncode == 0, swept.stdout + swept.stderr
    found = extended.run(
        "query",
        "select processes, device, threads, batch_size, status, gradient_error from tasks "
        "order by processes",
        "--results",
        "groups",
        "--json",
    )
    one, two = json.loads(found.stdout)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["batch_size"] == two["batch_size"] == 4
    assert {one["status"], two["status"]} <= {"ok", "unstable"}
    assert two["gradient_error"] < 1e-12
    assert "cpu:2" in swept.stdout


@two_cores
def test_a_report_of_a_sweep_over_processes_gives_speed_up_and_efficiency(extended, swept) -> None:
    done = extended.run("report", "--results", "groups")
    assert "peed-up" in done.stdout
    assert "fficiency" in done.stdout


@two_cores
@pytest.mark.parametrize(
    ("sent", "reason"),
    [(signal.SIGKILL, "was killed by signal 9"), (signal.SIGSTOP, "was stopped by a signal")],
)
def test_a_lost_rank_ends_the_task_at_once_with_a_row_that_says_so(extended, sent, reason) -> None:
    with extended.start(
        "measure", "shared", "lenet", "--device", "cpu:2", *LONG, "--results", f"lost{sent}"
    ) as running:
        follower = await_follower(extended)
        time.sleep(3.0)
        lost_s = time.monotonic()
        follower.send_signal(sent)
        out, err = running.communicate(timeout=60)
        took_s = time.monotonic() - lost_s
    assert f"rank 1 of 2 {reason}" in out + err
    assert took_s < 30
    assert not find_followers(extended)


def test_more_processes_than_cores_fit_nowhere_and_the_plan_says_why(extended) -> None:
    extended.sweep(SWEEP.replace("[1, 2]", "[64]").replace("[4]", "[64]"), "wide.yaml")
    done = extended.run("plan", "wide.yaml")
    assert "needs 64 " in done.stdout + done.stderr
