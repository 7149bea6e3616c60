"""Every framework in one sweep on the study's models, in environments built from nothing.

Of its two stacks of auto-encoders the smaller one, whose layers are of the same kind, and AlexNet
without groups and LRN, of which each framework has a probe.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.interpreters import find_interpreter
from velodrome.agents.environments.recipes import read_recipe
from velodrome.agents.inventory import take_inventory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.framework,
    pytest.mark.full,
    pytest.mark.serial,
    pytest.mark.timeout(3600),
]

ALL = Path(__file__).parents[2] / "sweeps" / "all.yaml"
SMALLER = "model=lenet|alexnet-plain|autoencoder-400*|lstm"
AGREED = ("ok", "unstable")


@dataclass(frozen=True)
class Sweep:
    done: "subprocess.CompletedProcess[bytes]"
    results: Path
    rows: list[dict[str, Any]]

    def of(self, framework: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["framework"] == framework]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Run the sweep of all frameworks with its progress on pytest's output: it takes minutes."""
    results = tmp_path_factory.mktemp("all") / "results"
    command = [sys.executable, "-m", "velodrome.scheduler.cli", "run", str(ALL), "--only", SMALLER]
    done = subprocess.run([*command, "--results", str(results)])
    rows = pyarrow.dataset.dataset(results / "tasks", partitioning="hive").to_table().to_pylist()
    return Sweep(done, results, rows)


def find_missing_tool(framework: str) -> str:
    """Return what the machine lacks for the environment, as the row must say; empty if nothing."""
    if framework == "neon" and not os.environ.get("VELODROME_SOURCE_NEON"):
        return "VELODROME_SOURCE_NEON"
    recipe = read_recipe(Path(FRAMEWORKS[framework].folder))
    if recipe.kind == "debian" and not shutil.which("mmdebstrap"):
        return "mmdebstrap"
    minors = {minor for lock in recipe.locks_for("cpu") for minor in lock.python}
    if minors and max(minors, key=lambda minor: int(minor[2:])) < "3.7":
        return "" if find_interpreter(sorted(minors), os.environ) else min(minors)
    return ""


def test_a_sweep_over_every_framework_ends_as_expected(sweep: Sweep) -> None:
    assert {row["framework"] for row in sweep.rows} == set(FRAMEWORKS) - {"numpy"}
    if not any(find_missing_tool(name) for name in FRAMEWORKS if name != "neon"):
        assert sweep.done.returncode == 0, list_unexpected(sweep)


def list_unexpected(sweep: Sweep) -> list[str]:
    return [
        f"{row['framework']} {row['model']}: {row['status']}: {row['reason']}"
        for row in sweep.rows
        if row["unexpected"]
    ]


@pytest.mark.parametrize("framework", sorted(set(FRAMEWORKS) - {"numpy"}))
def test_a_framework_is_verified_on_every_model_that_it_supports(
    sweep: Sweep, framework: str
) -> None:
    missing = find_missing_tool(framework)
    for row in sweep.of(framework):
        if missing:
            assert row["status"] == "environment_failed"
            assert missing in row["reason"]
        elif row["status"] != "unsupported":
            assert row["status"] in AGREED, row["reason"]
            assert row["verified"] and row["loss_error"] <= 1e-4
            assert row["gradient_error"] is None or row["gradient_error"] <= 1e-3
    agreed = sum(row["status"] in AGREED for row in sweep.of(framework))
    assert missing or agreed >= 6


@pytest.mark.parametrize("framework", sorted(set(FRAMEWORKS) - {"numpy"}))
def test_alexnet_drops_half_of_the_activations_while_it_is_timed(
    sweep: Sweep, framework: str
) -> None:
    rows = [row for row in sweep.of(framework) if row["model"].startswith("alexnet")]
    for row in rows:
        if row["status"] in AGREED:
            for layer in ("drop6", "drop7"):
                (note,) = (n for n in row["notes"] if n.startswith(f"dropout {layer} kept "))
                assert float(note.split()[3]) == pytest.approx(0.5, abs=0.05)
    assert find_missing_tool(framework) or any(row["status"] in AGREED for row in rows)


def test_tasks_run_in_parallel_if_there_are_enough_cores(sweep: Sweep) -> None:
    """Tasks overlap if there are cores for it; the next test depends on that."""
    timed = sorted(
        (row["started_at"], row["finished_at"]) for row in sweep.rows if row["status"] in AGREED
    )
    overlap = any(later[0] < earlier[1] for earlier, later in pairwise(timed))
    assert overlap == (take_inventory().physical > 1)


@pytest.mark.parametrize("framework", sorted(set(FRAMEWORKS) - {"numpy"}))
def test_one_thread_uses_one_core_at_most(sweep: Sweep, framework: str) -> None:
    """The sampler's CPU figures of the timed phases stay within one core."""
    keys = ("task_id", "repeat")
    ours = {tuple(row[key] for key in keys) for row in sweep.of(framework)}
    table = pyarrow.dataset.dataset(sweep.results / "utilization", partitioning="hive").to_table()
    used = [
        row["cpu_percent"]
        for row in table.to_pylist()
        if tuple(row[key] for key in keys) in ours
        and row["phase"] in ("forward", "gradient")
        and row["cpu_percent"] is not None
    ]
    assert used or find_missing_tool(framework)
    assert not used or sum(used) / len(used) <= 105
