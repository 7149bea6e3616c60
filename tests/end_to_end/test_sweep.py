"""One sweep over a working framework and every faulty one, and all reports of it."""

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas
import pyarrow.dataset
import pytest

pytestmark = pytest.mark.slow

SWEEP = """
name: faults
frameworks: [numpy, segfaults, hangs, exhausts_memory, floods_stdout, missing_import, forks]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {autoencoder-400-200-100/ae1: [4]}
threads: [1]
repeats: 2
exclusive: false
timing: {target: 50%, min_samples: 3, min_seconds: 0, max_seconds: 1}
limits: {deadline: 15s, memory: 1GiB}
"""
FATES = {
    "numpy": "ok",
    "segfaults": "crashed",
    "hangs": "timed_out",
    "exhausts_memory": "out_of_memory",
    "floods_stdout": "ok",
    "missing_import": "environment_failed",
    "forks": "ok",
}


@dataclass(frozen=True)
class Sweep:
    done: "subprocess.CompletedProcess[str]"
    results: Path
    rows: list[dict]

    def of(self, framework: str) -> list[dict]:
        return [row for row in self.rows if row["framework"] == framework]


@pytest.fixture(scope="module")
def sweep(command) -> Sweep:
    command.sweep(SWEEP)
    done = command.run("run", "sweep.yaml", "--results", "results")
    results = command.folder / "results"
    dataset = pyarrow.dataset.dataset(results / "tasks", partitioning="hive")
    return Sweep(done, results, dataset.to_table().to_pylist())


def test_every_task_has_one_row_per_repeat_whatever_happens_to_others(sweep: Sweep) -> None:
    computed_ns = sorted((row["framework"], row["repeat"]) for row in sweep.rows)
    assert computed_ns == sorted((name, repeat) for name in FATES for repeat in (0, 1)), (
        sweep.done.stderr
    )


@pytest.mark.parametrize("framework", FATES)
def test_each_fault_has_its_status(sweep: Sweep, framework: str) -> None:
    accepted = {FATES[framework], "unstable"} if FATES[framework] == "ok" else {FATES[framework]}
    computed_ns = [(row["status"], row["reason"]) for row in sweep.of(framework)]
    assert {status for status, _ in computed_ns} <= accepted, computed_ns


@pytest.mark.parametrize("framework", [name for name, fate in FATES.items() if fate != "ok"])
def test_each_fault_has_a_reason_and_the_command_that_runs_it_again(
    sweep: Sweep, framework: str
) -> None:
    for row in sweep.of(framework):
        assert row["reason"]
        assert shlex.split(row["rerun"])[:3] == ["velodrome", "measure", framework]


def test_the_row_of_a_crash_holds_the_end_of_its_log(sweep: Sweep) -> None:
    assert "Segmentation fault" in sweep.of("segfaults")[0]["log_tail"]


def test_long_output_is_kept_only_in_part(sweep: Sweep) -> None:
    assert all(len(row["log_tail"] or "") < 20_000 for row in sweep.rows)


def test_the_command_ends_with_status_1_and_names_its_files(sweep: Sweep) -> None:
    assert sweep.done.returncode == 1, sweep.done.stderr
    assert re.search(r"next: \S*velodrome report", sweep.done.stdout)
    assert "timed_out" in sweep.done.stdout


def test_every_time_has_its_verification(sweep: Sweep) -> None:
    for row in sweep.rows:
        timed = row["gradient_median_ns"] is not None
        assert timed == (row["status"] in ("ok", "unstable"))
        if timed:
            assert row["verified"]
            assert row["gradient_error"] < 1e-3


def test_a_finished_sweep_is_one_file_per_table(sweep: Sweep) -> None:
    for table in ("tasks", "samples", "utilization", "nodes", "parameters"):
        files = [path for path in (sweep.results / table).rglob("*") if path.is_file()]
        assert len(files) == 1, (table, files)


def test_pandas_and_duckdb_read_the_rows_directly(sweep: Sweep) -> None:
    assert len(pandas.read_parquet(sweep.results / "tasks")) == len(sweep.rows)
    query = f"select count(*) from read_parquet('{sweep.results}/tasks/*/*.parquet')"
    assert duckdb.sql(query).fetchall() == [(len(sweep.rows),)]


def test_the_medians_of_a_row_are_those_of_its_samples(sweep: Sweep) -> None:
    query = f"""
        select t.gradient_median_ns, median(s.elapsed_ns / s.calls)
        from read_parquet('{sweep.results}/tasks/*/*.parquet') t
        join read_parquet('{sweep.results}/samples/*/*.parquet') s
        using (sweep_id, task_id, repeat) where s.phase = 'gradient' and t.framework = 'numpy'
        group by all
    """
    pairs = duckdb.sql(query).fetchall()
    assert len(pairs) == 2
    assert all(stored_ns == pytest.approx(computed_ns) for stored_ns, computed_ns in pairs)


def test_utilization_is_reported_by_phase_and_high_while_timed(sweep: Sweep) -> None:
    query = f"""
        select phase, max(cpu_percent), max(rss_bytes)
        from read_parquet('{sweep.results}/utilization/*/*.parquet') group by phase
    """
    phases = {phase: (busy, rss) for phase, busy, rss in duckdb.sql(query).fetchall()}
    # One task may import between two readings; one that hangs while it warms up is there for long.
    assert {"import", "warmup"} <= set(phases)
    assert all(rss > 1_000_000 for _, rss in phases.values())
    assert phases["import"][1] > 10_000_000


def test_reports_have_every_cell_in_every_form(sweep: Sweep, command) -> None:
    for form in ("--markdown", "--csv", "--json"):
        text = command.run("report", form, "--results", "results").stdout
        assert all(name in text for name in FATES), form
    rows = json.loads(command.run("report", "--json", "--results", "results").stdout)
    assert len(rows) == len(sweep.rows)


def test_the_cores_that_each_framework_used_are_reported(sweep: Sweep, command) -> None:
    done = command.run("report", "--utilization", "--json", "--results", "results")
    used = {line["framework"]: line for line in json.loads(done.stdout)}
    assert {"numpy", "forks"} <= set(used) <= {name for name in FATES if FATES[name] == "ok"}
    assert used["numpy"]["forward_readings"] + used["numpy"]["gradient_readings"] > 0
    assert 0 < used["numpy"]["share"] < 1.5
    assert used["numpy"]["peak_rss_bytes"] > 10_000_000


def test_a_sweep_without_probes_has_no_extensibility_table(sweep: Sweep, command) -> None:
    done = command.run("report", "--extensibility", "--results", "results")
    assert done.returncode == 2
    assert "there is no probe in this sweep. Run sweeps/probes.yaml" in done.stderr


def test_the_rerun_command_of_a_row_runs_its_task_again(sweep: Sweep, command) -> None:
    again = shlex.split(sweep.of("segfaults")[0]["rerun"])[1:]
    done = command.run(*again, "--json")
    row = json.loads(done.stdout)
    assert done.returncode == 1
    assert row["status"] == "crashed"
    assert row["task_id"] == sweep.of("segfaults")[0]["task_id"]
