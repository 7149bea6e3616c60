"""A user's workload in code, in JAX: the example of docs/own-code.md."""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.framework, pytest.mark.full]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "jax_network.py"
QUICK = ("--threads", "1", "--min-samples", "3", "--max-seconds", "0.5", "--json")


@pytest.fixture(scope="module")
def in_jax(command, framework_environment):
    """Run `velodrome measure jax FILE` with the tests' own environment of JAX."""
    python = str(framework_environment("jax").python)
    own = type(command)(command.folder, {**command.variables, "VELODROME_PYTHON_JAX": python})

    def measure(path: Path, *words: str) -> dict[str, object]:
        done = own.run("measure", "jax", str(path), *words, *QUICK)
        assert "Traceback" not in done.stderr, done.stderr
        return json.loads(done.stdout)

    return measure


@pytest.mark.parametrize("variant", ["jit", "eager"])
def test_a_pure_function_is_verified_against_itself_and_timed(in_jax, variant: str) -> None:
    row = in_jax(EXAMPLE, "--variant", variant, "--phases", "forward,gradient,inference")
    assert row["status"] in ("ok", "unstable"), row["reason"]
    assert (row["model"], row["verified_against"]) == ("jax-network", "itself")
    assert 0 < row["gradient_error"] < 5e-5
    assert row["inference_median_ns"] > 0
    proved = {"drained", "timed_is_checked", "not_seen_before", "follows_parameters"}
    assert proved <= set(row["proved"]), row["unproved"]


def test_a_lower_precision_is_unsupported_and_says_why(in_jax) -> None:
    row = in_jax(EXAMPLE, "--dtype", "bfloat16")
    assert row["status"] == "unsupported", row["reason"]
    assert "no way to predict the errors of bfloat16" in row["reason"]


def test_an_error_while_it_is_traced_names_its_line(in_jax, tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    path = tmp_path / "changed.py"
    path.write_text(text.replace('batch["label"][:, None]', 'batch["labels"][:, None]'))
    line = next(n for n, own in enumerate(text.splitlines(), 1) if "take_along_axis" in own)
    row = in_jax(path)
    assert row["status"] == "crashed", row["reason"]
    assert row["reason"].startswith(f"changed.py:{line}: forward raised KeyError: 'labels'")
