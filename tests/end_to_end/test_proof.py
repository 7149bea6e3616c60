"""A sweep of a working framework and one that caches its results; the latter has no time."""

import csv
import io
import json
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pandas
import pytest

pytestmark = pytest.mark.slow

ADAPTER = """
from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound


class Adapter(Sound):
    kept = {}

    def forward(self, index):
        return self._kept("forward", index, super().forward)

    def gradient(self, index):
        return self._kept("gradient", index, super().gradient)

    def _kept(self, phase, index, call):
        if (phase, index) not in self.kept:
            self.kept[phase, index] = call(index)
        return self.kept[phase, index]
"""
ENVIRONMENT = """
kind = "existing"
about = "NumPy that keeps the result of each batch"
python = "{python}"
module = "numpy"
variants = ["float64"]
devices = ["cpu"]
"""
SWEEP = """
name: proof
frameworks: [keeping, numpy]
models: [autoencoder-400-200-100/ae1, gemm-1024]
batch_sizes: {autoencoder-400-200-100/ae1: [4], gemm-1024: [1024]}
threads: [1]
repeats: 1
timing: {target: 50%, min_samples: 3, min_seconds: 0, max_seconds: 1}
"""


@dataclass(frozen=True)
class Swept:
    command: object
    results: Path
    done: object
    rows: list[dict]

    def of(self, framework: str) -> list[dict]:
        return [row for row in self.rows if row["framework"] == framework]

    def read_output(self, *words: str) -> str:
        done = self.command.run(*words, "--results", str(self.results))
        assert done.returncode in (0, 1), done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def swept(command) -> Swept:
    folder = command.folder / "planted" / "keeping"
    folder.mkdir(parents=True)
    (folder / "adapter.py").write_text(ADAPTER)
    (folder / "environment.toml").write_text(ENVIRONMENT.format(python=sys.executable))
    variables = {**command.variables, "VELODROME_ADAPTERS": str(folder.parent)}
    own = replace(command, variables=variables)
    own.sweep(SWEEP, "proof.yaml")
    done = own.run("run", "proof.yaml", "--results", "proof")
    results = own.folder / "proof"
    report = own.run("report", "--results", str(results), "--json")
    return Swept(own, results, done, json.loads(report.stdout))


@pytest.mark.full
def test_a_framework_that_caches_results_has_no_time_and_names_the_failed_check(swept) -> None:
    rows = swept.of("keeping")
    assert len(rows) == 2, swept.done.stderr
    for row in rows:
        assert (row["status"], row["verified"]) == ("disagreed", False)
        assert (row["forward_median_ns"], row["gradient_median_ns"]) == (None, None)
        failed = [one for one in row["checks"] if one["outcome"] == "failed"]
        assert failed and all(one["figures"] and one["reason"] for one in failed)
        first = failed[0]
        assert row["reason"] == f"{first['name']} of {first['phase']} failed: {first['reason']}"
        assert any(text.startswith(f"{first['name']} ") for text in row["unproved"])
        assert first["name"] not in row["proved"]


def test_a_valid_row_lists_passed_checks_and_checks_that_could_not_tell(swept) -> None:
    for row in swept.of("numpy"):
        assert row["verified"], row["reason"]
        assert {"drained", "timed_is_checked", "not_seen_before"} <= set(row["proved"])
        outcomes = {(one["name"], one["phase"]): one["outcome"] for one in row["checks"]}
        assert {phase for _, phase in outcomes} == {"forward", "gradient"}
        unproved = {text.split(":")[0] for text in row["unproved"]}
        others = {key for key, outcome in outcomes.items() if outcome != "passed"}
        assert unproved == {f"{name} {phase}" for name, phase in others}
        assert "failed" not in outcomes.values()


def test_the_checks_are_read_by_duckdb_and_by_pandas(swept) -> None:
    files = str(swept.results / "tasks" / "*" / "*.parquet")
    query = (
        "select framework, one.name, figure.name, figure.value from (select framework, "
        f"unnest(checks) as one from read_parquet('{files}')), unnest(one.figures) as f(figure) "
        "where one.name = 'drained' and one.phase = 'forward'"
    )
    found = duckdb.sql(query).fetchall()
    assert ("numpy", "drained", "beyond_ns") in {row[:3] for row in found}
    frame = pandas.read_parquet(swept.results / "tasks")
    sound = frame[frame.framework == "numpy"].iloc[0]
    assert "drained" in list(sound.proved)
    assert sound.checks[0]["figures"][0]["value"] >= 0


def test_the_grid_names_the_failed_check_as_the_reason(swept) -> None:
    grid = swept.read_output("report")
    assert "disagreed [1] ✗ !" in grid
    reason = swept.of("keeping")[0]["reason"].split(":")[0]
    assert f"disagreed: {reason}" in grid
    table = list(csv.DictReader(io.StringIO(swept.read_output("report", "--csv"))))
    by_framework = {row["framework"]: row for row in table}
    assert "drained" in by_framework["numpy"]["proved"].split("; ")
    assert ": failed: " in by_framework["keeping"]["unproved"]


def test_cached_results_raise_no_ceiling(swept) -> None:
    for row in swept.rows:
        assert row["ceiling_source"] == "numpy float64, gemm-1024"
    query = "select ceilings[1].gemm_flops_per_s as best from nodes"
    best = json.loads(swept.read_output("query", query, "--json"))[0]["best"]
    (sound,) = [row for row in swept.of("numpy") if row["model"] == "gemm-1024"]
    rates = [
        sound[f"{phase}_flops"] / sound[f"{phase}_median_ns"] * 1e9
        for phase in ("forward", "gradient")
    ]
    assert best == pytest.approx(max(rates))


def test_a_comparison_calls_cached_results_broken_without_a_ratio(swept) -> None:
    comparison = json.loads(
        swept.read_output("compare", "last framework=numpy", "last framework=keeping", "--json")
    )
    assert len(comparison["cells"]) == 2
    for cell in comparison["cells"]:
        assert cell["verdict"] == "broke"
        assert "disagreed" in json.dumps(cell)
        assert cell.get("ratio") is None


def test_the_queries_of_the_verification_page_return_rows(swept) -> None:
    lines = (Path(__file__).parents[2] / "docs" / "proof.md").read_text().splitlines()
    queries = [shlex.split(line)[2] for line in lines if line.startswith("velodrome query")]
    assert len(queries) == 2
    for query in queries:
        assert json.loads(swept.read_output("query", query, "--json"))


def test_measure_reports_the_failed_check(swept) -> None:
    quick = ("--threads", "1", "--batch-size", "4", "--min-samples", "3", "--max-seconds", "0.3")
    model = "autoencoder-400-200-100/ae1"
    sound = swept.command.run("measure", "numpy", model, *quick)
    assert "  proved: different values, clocked by two, possible, drained" in sound.stdout
    planted = swept.command.run("measure", "keeping", model, *quick)
    assert planted.returncode == 1
    assert "  failed: possible, forward: " in planted.stdout
    assert "verified" not in planted.stdout
