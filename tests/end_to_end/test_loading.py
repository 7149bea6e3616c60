"""A measurement of loading from the command line: times, worker processes, and the node's files."""

import json
from dataclasses import replace

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.framework]

PHASES = "gradient,load,prefetched_load,fed_gradient"
WORDS = ("measure", "torch", "lenet", "--threads", "2", "--batch-size", "16", "--phases", PHASES)
QUICK = ("--min-samples", "3", "--max-seconds", "1")


@pytest.fixture(scope="module")
def trained(command, framework_environment):
    """The command with torch's own interpreter."""
    if psutil.cpu_count(logical=False) < 2:
        pytest.skip("needs two cores: one for the loader's worker")
    python = str(framework_environment("torch").python)
    return replace(command, variables={**command.variables, "VELODROME_PYTHON_TORCH": python})


@pytest.fixture(scope="module")
def row(trained) -> dict:
    done = trained.run(*WORDS, *QUICK, "--results", "loaded", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["status"] in ("ok", "unstable"), found["reason"]
    return found


def test_each_phase_is_timed_and_the_workers_end_with_the_task(row) -> None:
    assert [name for name in PHASES.split(",") if not row[f"{name}_median_ns"]] == []
    assert any("1 workers that read 2 batches ahead" in note for note in row["notes"])
    assert not any("outlived" in note for note in row["notes"])
    alone, fed = row["gradient_median_ns"], row["fed_gradient_median_ns"]
    assert row["hidden_load_share"] == pytest.approx(1 - (fed - alone) / row["load_median_ns"])
    assert row["loaded_bytes"] == 16 * 28 * 28 * 4


def test_the_data_sets_of_a_node_are_kept_and_used_again(trained, row, shared_home) -> None:
    before = {path: path.stat().st_ino for path in (shared_home / "datasets").iterdir()}
    assert before
    assert trained.run(*WORDS, *QUICK).returncode == 0
    after = {path: path.stat().st_ino for path in (shared_home / "datasets").iterdir()}
    assert before.items() <= after.items()  # a busy machine may need another unread one


def test_rates_are_computed_and_the_share_is_in_words(trained, row) -> None:
    sql = "select prefetched_load_examples_per_s as examples, prefetched_load_bytes_per_s as bytes"
    done = trained.run("query", f"{sql} from tasks", "--results", "loaded", "--json")
    (found,) = json.loads(done.stdout)
    assert found["bytes"] == pytest.approx(28 * 28 * 4 * found["examples"])
    shown = trained.run(*WORDS, *QUICK).stdout
    assert "loading: a gradient hides" in shown


def test_a_framework_without_a_loader_says_so(command) -> None:
    words = ("measure", "numpy", "lenet", "--batch-size", "2", "--phases", "load", *QUICK)
    done = command.run(*words)
    assert "unsupported" in done.stdout
    assert "no loader of its own" in done.stdout


def test_a_model_of_padded_sequences_has_no_such_phase(command) -> None:
    done = command.run("measure", "numpy", "lstm", "--phases", "gradient,load")
    assert done.returncode == 2
    assert "lstm has no load: its examples are sequences of many lengths" in done.stderr
