"""A sweep in two precisions, each verified within its own tolerance; what lacks one says so."""

import json

import pytest

pytestmark = pytest.mark.slow

MODEL = "autoencoder-400-200-100/ae3"
SWEEP = f"""
name: precisions
frameworks: [rounded, numpy]
models: [{MODEL}]
batch_sizes: {{{MODEL}: [16]}}
dtypes: [float32, bfloat16]
threads: [1]
repeats: 1
exclusive: false
timing: {{target: 50%, min_samples: 3, min_seconds: 0, max_seconds: 1}}
"""
QUICK = ("--threads", "1", "--batch-size", "16", "--min-samples", "3", "--max-seconds", "0.5")


@pytest.fixture(scope="module")
def swept(extended):
    extended.sweep(SWEEP, "precisions.yaml")
    return extended.run("run", "precisions.yaml", "--results", "precisions")


def query(extended, sql: str) -> list[dict]:
    done = extended.run("query", sql, "--results", "precisions", "--json")
    return json.loads(done.stdout)


def test_each_precision_is_verified_within_its_own_tolerance(extended, swept) -> None:
    assert swept.returncode == 0, swept.stdout + swept.stderr
    rows = query(
        extended,
        "select dtype, framework, any_value(status) as status, max(error) as error, "
        "min(allowed) as allowed from tasks left join parameters using (sweep_id, task_id, repeat) "
        "group by all",
    )
    found = {(row["framework"], row["dtype"]): row for row in rows}
    full, half = (found["rounded", dtype] for dtype in ("float32", "bfloat16"))
    assert full["error"] < 1e-5 < full["allowed"] == 5e-5
    assert 5e-4 < half["error"] < half["allowed"] * 0.5
    assert found["numpy", "bfloat16"]["status"] == "unsupported"


def test_the_grid_has_a_table_for_each_precision_and_one_of_ratios(swept) -> None:
    text = " ".join(swept.stdout.split())  # a title wraps at the width of its table
    titles = ("cpu, 1 thread, float32", "cpu, 1 thread, bfloat16", "time relative to float32")
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    assert "gradient, bfloat16" in text[places[-1] :]
    assert "all runs ended as expected" in text


def test_a_resumed_sweep_runs_nothing_again(extended, swept) -> None:
    done = extended.run("run", "--resume", "last", "--results", "precisions")
    assert done.returncode == 0, done.stdout + done.stderr
    assert query(extended, "select count(*) as n from tasks") == [{"n": 4}]


def test_two_precisions_of_a_cell_can_be_compared(extended, swept) -> None:
    sides = ("framework=rounded dtype=float32", "framework=rounded dtype=bfloat16")
    done = extended.run("compare", *sides, "--results", "precisions")
    assert "precision: float32 in the base, bfloat16 in the candidate" in done.stdout


def test_a_plan_names_the_precision_and_selects_by_it(extended) -> None:
    extended.sweep(SWEEP, "precisions.yaml")
    done = extended.run("plan", "precisions.yaml", "--only", "dtype=bfloat16 framework=rounded")
    assert f"rounded[sound] {MODEL} b16 cpu 1t bfloat16" in done.stdout


def test_measure_shows_the_gradient_nearest_to_its_tolerance(extended) -> None:
    done = extended.run("measure", "rounded", MODEL, "--dtype", "float16", *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nearest to its tolerance: " in done.stdout


def test_fewer_bits_than_the_precision_has_disagree(extended) -> None:
    words = ("--variant", "coarse", "--dtype", "bfloat16", "--json")
    done = extended.run("measure", "rounded", MODEL, *words, *QUICK)
    row = json.loads(done.stdout)
    assert (done.returncode, row["status"], row["verified"]) == (1, "disagreed", False)


def test_a_framework_without_a_precision_is_unsupported_as_expected(extended) -> None:
    done = extended.run("measure", "numpy", MODEL, "--dtype", "bfloat16", "--json", *QUICK)
    row = json.loads(done.stdout)
    assert (done.returncode, row["status"], row["unexpected"]) == (1, "unsupported", False)
    assert row["reason"] == "the reference computes in float64, not bfloat16"
