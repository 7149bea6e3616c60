"""The example of docs/adding-a-framework.md: it builds, is proven, and names what it lacks."""

import json
import os
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.framework, pytest.mark.full]

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
QUICK = ("--threads", "1", "--min-samples", "3", "--max-seconds", "0.5", "--json")


@pytest.fixture
def with_examples(command):
    """The command with the user's own cache and the page's examples."""
    variables = {**os.environ, "VELODROME_ADAPTERS": str(EXAMPLES)}
    variables["VELODROME_TEST_MARK"] = command.variables["VELODROME_TEST_MARK"]
    return type(command)(command.folder, variables)


def test_a_user_framework_is_built_verified_and_timed(with_examples) -> None:
    done = with_examples.run("measure", "autograd", "autoencoder-400-200-100/ae2", *QUICK)
    row = json.loads(done.stdout)
    assert done.returncode == 0, row
    assert row["verified"]
    assert {"not_seen_before", "follows_parameters"} <= set(row["proved"]), row["unproved"]
    assert row["gradient_median_ns"] > row["forward_median_ns"] > 0


def test_a_missing_operation_is_unsupported_and_named(with_examples) -> None:
    done = with_examples.run("measure", "autograd", "lenet", *QUICK)
    row = json.loads(done.stdout)
    assert done.returncode == 1
    assert (row["status"], row["reason"]) == ("unsupported", "autograd has no Conv")
