"""A sweep of PyTorch on one and two processes: its rows, its speed-ups, and a framework without."""

import json
import shlex

import pytest

from velodrome.agents.inventory import take_inventory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.framework,
    pytest.mark.skipif(take_inventory().physical < 2, reason="two processes need two cores"),
]

MODEL = "autoencoder-400-200-100/ae3"
SWEEP = f"""
name: groups
frameworks: [torch, numpy]
models: [{MODEL}, allreduce-64kib, allreduce-256kib]
batch_sizes: {{{MODEL}: [4]}}
threads: [1]
processes: [1, 2]
scaling: [strong, weak]
phases: [gradient]
exclude:
  - {{framework: numpy, processes: 1}}
  - {{framework: numpy, batch_size: 8}}
  - {{framework: numpy, model: "allreduce-*"}}
  - {{processes: 1, model: "allreduce-*"}}
repeats: 1
timing: {{target: 50%, min_samples: 5, min_seconds: 0.1, max_seconds: 2}}
"""


@pytest.fixture(scope="module")
def at_home(command, framework_environment):
    python = framework_environment("torch").python
    variables = {**command.variables, "VELODROME_PYTHON_TORCH": str(python)}
    return type(command)(command.folder, variables)


@pytest.fixture(scope="module")
def swept(at_home):
    at_home.sweep(SWEEP, "groups.yaml")
    done = at_home.run("run", "groups.yaml", "--results", "groups", timeout_s=560)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def rows(at_home, swept) -> dict[tuple[str, int, int], dict]:
    done = at_home.run(
        "query", f"from tasks where model = '{MODEL}'", "--results", "groups", "--json"
    )
    found = json.loads(done.stdout)
    return {(row["framework"], row["processes"], row["batch_size"]): row for row in found}


@pytest.fixture(scope="module")
def all_reduces(at_home, swept) -> dict[str, dict]:
    done = at_home.run(
        "query", f"from tasks where model <> '{MODEL}'", "--results", "groups", "--json"
    )
    return {row["model"]: row for row in json.loads(done.stdout)}


def test_every_cell_on_one_and_two_processes_is_verified(rows) -> None:
    assert rows.keys() == {
        ("torch", 1, 4),
        ("torch", 2, 4),
        ("torch", 2, 8),
        ("numpy", 2, 4),
    }
    for (framework, _, _), row in rows.items():
        if framework == "torch":
            assert row["status"] in ("ok", "unstable"), row["reason"]
            assert row["verified"] and row["threads"] == 1


def test_a_framework_without_a_form_for_several_devices_is_unsupported_as_expected(rows) -> None:
    row = rows["numpy", 2, 4]
    assert (row["status"], row["unexpected"]) == ("unsupported", False)
    assert "computes on one device" in row["reason"]


def test_the_report_states_the_speed_up_of_two_processes_in_both_ways(at_home, swept, rows) -> None:
    assert "Scaling over devices" in swept.stdout
    done = at_home.run("report", "--scaling", "--results", "groups", "--json")
    found = {one["scaling"]: one for one in json.loads(done.stdout)}
    assert found.keys() == {"strong", "weak", None}  # numpy has none
    one = rows["torch", 1, 4]["gradient_median_ns"]
    strong = one / rows["torch", 2, 4]["gradient_median_ns"]
    weak = 2 * one / rows["torch", 2, 8]["gradient_median_ns"]
    assert found["strong"]["speedup"] == pytest.approx(strong)
    assert found["weak"]["speedup"] == pytest.approx(weak)
    assert found["weak"]["efficiency"] == pytest.approx(weak / 2)
    assert found["weak"]["speedup_low"] is None  # one process against one


def test_the_report_tells_which_share_of_a_gradient_is_communication(
    at_home, rows, all_reduces
) -> None:
    done = at_home.run("report", "--scaling", "--results", "groups", "--json")
    weak = next(one for one in json.loads(done.stdout) if one["scaling"] == "weak")
    both = rows["torch", 2, 8]["gradient_median_ns"]
    one = rows["torch", 1, 4]["gradient_median_ns"]
    assert weak["communication_measured"] == pytest.approx((both - one) / both)
    trained = 200 * 100 + 100 + 100 * 200 + 200  # those of the encoders before it are frozen
    assert weak["gradient_bytes"] == 4 * trained
    small, large = (all_reduces[f"allreduce-{size}"] for size in ("64kib", "256kib"))
    assert small["verified"] and large["verified"]
    between = (weak["gradient_bytes"] - 2**16) / (2**18 - 2**16)
    times = [row["forward_median_ns"] for row in (small, large)]
    exchange = times[0] + between * (times[1] - times[0])
    assert weak["communication_predicted"] == pytest.approx(exchange / both)
    assert weak["communication_predicted_from"] == "allreduce-64kib allreduce-256kib"


def test_the_report_of_ceilings_shows_the_bus_bandwidth_of_both_processes(
    at_home, all_reduces
) -> None:
    done = at_home.run("report", "--ceilings", "--results", "groups", "--json")
    reached = {one["processes"]: one["bus_bytes_per_s"] for one in json.loads(done.stdout)}
    best = max(
        size / all_reduces[f"allreduce-{name}"]["forward_median_ns"] * 1e9
        for name, size in (("64kib", 2**16), ("256kib", 2**18))
    )
    assert reached == {1: None, 2: pytest.approx(best)}


def test_the_command_that_runs_a_cell_again_names_its_processes(rows) -> None:
    words = shlex.split(rows["torch", 2, 8]["rerun"])
    assert words[words.index("--device") + 1] == "cpu:2"
    assert words[words.index("--batch-size") + 1] == "8"


def test_a_resumed_sweep_has_nothing_left_to_do(at_home, rows) -> None:
    sweep_id = next(iter(rows.values()))["sweep_id"]
    done = at_home.run("run", "--resume", sweep_id, "--results", "groups")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 of 6 runs to do" in done.stdout + done.stderr
