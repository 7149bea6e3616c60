"""Exit status of `velodrome run`, which depends on the sweep's rows alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Measurement, Status
from velodrome.scheduler.commands.run import run
from velodrome.scheduler.commands.target import Target
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE, ExpectedOutcome
from velodrome.scheduler.plans.preparation import plan_sweep
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.sweep_file import load_sweep

TEXT = "frameworks: [torch, theano]\nmodels: [lenet]\nthreads: [1]\nrepeats: 1\n"
SWEEP = "20261124-063012-a1b2"
LACKS = ExpectedOutcome(("unsupported",), "it has no convolution")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "sweep.yaml").write_text(TEXT)
    return tmp_path / "results"


def ended(
    results: Path, theano: Status, expected: ExpectedOutcome, *, as_json: bool = False
) -> int:
    """Return the status of a run with nothing to do: torch agreed, theano has this status."""
    sweep, node = load_sweep(results.parent / "sweep.yaml"), take_inventory()
    plan = plan_sweep(sweep, "", (node,), EnvironmentStore(default_root()))
    store = Store(results)
    store.begin(SWEEP, TEXT, plan)
    for placement in plan.placements:
        is_told = placement.task.framework == "theano"
        status = theano if is_told else Status.OK
        row = Measurement(placement.task, 0, 1, status, "told", node.node_id, "h", "t", 1.0, 2.0)
        store.put(SWEEP, row, expected if is_told else TO_AGREE)
    return run(None, results, "last", "", Target(), as_json=as_json)


def test_a_failure_that_was_expected_ends_well(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(results, Status.UNSUPPORTED, LACKS) == 0
    text = capsys.readouterr().out
    assert "all runs ended as expected" in text
    assert "unsupported [1] -" in text


def test_a_failure_that_was_not_expected_ends_with_1(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(results, Status.CRASHED, LACKS) == 1
    text = capsys.readouterr().out
    assert "1 of 2 runs did not end as expected" in text
    assert "crashed: told (expected unsupported: it has no convolution)" in text


def test_a_success_that_was_not_expected_ends_with_1(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(results, Status.OK, LACKS, as_json=True) == 1
    rows = {row["framework"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["torch"]["expected"], rows["torch"]["unexpected"]) == ("agreed", False)
    assert (rows["theano"]["expected"], rows["theano"]["unexpected"]) == ("unsupported", True)
    assert rows["theano"]["expected_reason"] == "it has no convolution"


def test_a_time_that_did_not_settle_agrees_all_the_same(results: Path) -> None:
    assert ended(results, Status.UNSTABLE, TO_AGREE) == 0


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (["report", "--odd"], "--odd is named --outliers now"),
        (["report", "--fail-on-odd"], "--fail-on-odd is named --fail-on-outlier now"),
        (["plan", "sweep.yaml", "--why"], "--why is named --explain now"),
    ],
)
def test_an_option_that_was_renamed_is_answered_with_its_new_name(
    typed: list[str], named: str
) -> None:
    command = [sys.executable, "-m", "velodrome.scheduler", *typed]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert named in ended.stderr
