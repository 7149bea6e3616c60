"""A sweep of every phase: its rows, its reports, and the command that runs a cell again."""

import json
import shlex

import pytest

pytestmark = pytest.mark.slow

PHASES = ("forward", "gradient", "inference", "update", "step")
SWEEP = """
name: phases
frameworks: [numpy]
models: [autoencoder-400-200-100/ae3]
batch_sizes: {autoencoder-400-200-100/ae3: [2]}
threads: [1]
phases: [step, update, inference, gradient, forward]
optimizer: adamw
repeats: 1
canary: true
timing: {target: 50%, min_samples: 400, min_seconds: 0.1, max_seconds: 3}
"""


@pytest.fixture(scope="module")
def swept(command):
    command.sweep(SWEEP, "phases.yaml")
    return command.run("run", "phases.yaml", "--results", "phases")


@pytest.fixture(scope="module")
def row(command, swept) -> dict:
    assert swept.returncode == 0, swept.stdout + swept.stderr
    done = command.run("query", "from tasks", "--results", "phases", "--json")
    (found,) = json.loads(done.stdout)
    assert found["status"] in ("ok", "unstable"), found["reason"]
    return found


def test_every_phase_is_verified_and_timed_with_the_optimizer_of_the_sweep(row) -> None:
    assert row["verified"]
    assert (row["phases"], row["optimizer"]) == ([*PHASES], "adamw")
    assert [phase for phase in PHASES if not row[f"{phase}_median_ns"]] == []
    assert row["gradient_median_ns"] < row["step_median_ns"]
    assert {check["phase"] for check in row["checks"]} == {*PHASES}
    assert any(note.startswith("AdamW: learning rate 0.001") for note in row["notes"])


def test_inference_has_percentiles_and_the_first_step_a_time(row) -> None:
    # A busy machine's samples depend on each other, and may be too few for the higher ones.
    known = [row[f"inference_{name}_ns"] for name in ("median", "p95", "p99")]
    reached = [ns for ns in known if ns is not None]
    assert reached == sorted(reached) == known[: len(reached)]
    parts = row["import_ns"] + row["build_ns"] + row["first_call_ns"]
    assert row["time_to_first_step_ns"] == parts


def test_samples_of_every_phase_are_stored_and_those_of_inference_are_single_calls(
    command, row
) -> None:
    sql = "select phase, count(*) as samples, min(calls) as calls from samples group by all"
    done = command.run("query", sql, "--results", "phases", "--json")
    found = {one["phase"]: one for one in json.loads(done.stdout)}
    assert found.keys() == {*PHASES}
    assert found["inference"]["calls"] == 1
    assert found["step"]["samples"] == row["step_samples"]


def test_the_canary_keeps_its_own_phases(row) -> None:
    assert row["canary_before_ns"] > 0 and row["canary_after_ns"] > 0


def test_progress_grid_and_plan_show_every_phase(command, swept) -> None:
    for phase in PHASES:
        assert f"{phase} " in next(
            line for line in (swept.stdout + swept.stderr).splitlines() if "ae3 b2 cpu 1t:" in line
        )
    report = command.run("report", "--results", "phases", "--csv").stdout
    assert {f"{phase}_median_ns" for phase in PHASES} <= set(report.splitlines()[0].split(","))
    plan = command.run("plan", "phases.yaml").stdout
    assert f"phases: {', '.join(PHASES)} (adamw)" in plan


def test_the_command_of_a_row_runs_the_same_task_again(command, row) -> None:
    words = shlex.split(row["rerun"])[1:]
    assert words[words.index("--phases") + 1] == ",".join(PHASES)
    again = json.loads(command.run(*words, "--json").stdout)
    assert again["task_id"] == row["task_id"]
    assert again["step_median_ns"] > 0


def test_one_phase_can_be_measured_alone(command) -> None:
    words = "measure numpy autoencoder-400-200-100/ae3 --batch-size 2 --threads 1 --phase inference"
    done = command.run(*shlex.split(words), "--min-samples", "400", "--max-seconds", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "inference latency:" in line]
    assert line.startswith("  inference latency: p50 ")
    assert "forward:" not in done.stdout
