"""A collective operation of PyTorch on two processes, from `measure` to a report of bandwidths."""

import csv
import io
import json

import pytest

from velodrome.agents.inventory import take_inventory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.framework,
    pytest.mark.skipif(take_inventory().physical < 2, reason="two processes need two cores"),
]

MEASURE = ("measure", "torch", "allreduce-1mib", "--threads", "1", "--results", "links")
BRIEF = ("--min-seconds", "0.2", "--max-seconds", "1", "--target", "0.5", "--min-samples", "5")


@pytest.fixture(scope="module")
def at_home(command, framework_environment):
    python = framework_environment("torch").python
    variables = {**command.variables, "VELODROME_PYTHON_TORCH": str(python)}
    return type(command)(command.folder, variables)


@pytest.fixture(scope="module")
def measured(at_home) -> str:
    done = at_home.run(*MEASURE, *BRIEF, "--device", "cpu:2", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def test_measure_names_the_size_and_both_bandwidths(measured) -> None:
    (line,) = [line for line in measured.splitlines() if "bus bandwidth" in line]
    assert line.startswith("  allreduce of 1048576 bytes: ")
    assert "algorithm bandwidth" in line


def test_the_row_is_verified_and_its_bandwidth_is_the_size_over_the_time(at_home, measured) -> None:
    found = at_home.run("query", "from tasks", "--results", "links", "--json")
    (row,) = json.loads(found.stdout)
    assert row["verified"]
    assert (row["processes"], row["batch_size"]) == (2, 2)
    assert "timed_is_checked" in row["proved"]
    table = at_home.run("report", "--csv", "--results", "links").stdout
    (cell,) = csv.DictReader(io.StringIO(table))
    expected = pytest.approx(2**20 / row["forward_median_ns"] * 1e9)
    assert float(cell["algorithm_bytes_per_s"]) == expected
    assert float(cell["bus_bytes_per_s"]) == expected  # 2 (n - 1) / n of two devices is 1


def test_a_report_shows_bus_bandwidth_and_no_speed_up(at_home, measured) -> None:
    shown = at_home.run("report", "--unit", "busbw", "--results", "links").stdout
    assert "B/s" in shown
    assert "Scaling over devices" not in shown


def test_one_device_exchanges_nothing_which_is_unsupported_as_expected(at_home, measured) -> None:
    done = at_home.run(*MEASURE, *BRIEF, "--device", "cpu", "--json", timeout_s=300)
    row = json.loads(done.stdout)
    assert row["status"] == "unsupported"
    assert "is an operation of several devices" in row["reason"]
    assert not row["unexpected"]
