"""Peaks and prices in rows, and what is computed from them: MFU and cost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_measurements import VERIFIED, make_measurement, make_times
from made_rows import CELL

from velodrome.agents.measurement import NodePrice
from velodrome.scheduler.results.rate_columns import add_rates
from velodrome.scheduler.results.rows import to_table
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.task_row import task_row

SWEEP = "20261124-063012-a1b2"


def computed(**columns: object) -> dict[str, object]:
    (row,) = add_rates(to_table("tasks", [CELL | columns])).to_pylist()
    return dict(row)


def test_mfu_is_the_share_of_the_vendors_peak() -> None:
    row = computed(gradient_flops=3e12, gradient_median_ns=1e9, vendor_peak_flops_per_s=12e12)
    assert row["mfu"] == pytest.approx(0.25)


def test_a_million_examples_cost_the_hours_that_they_take() -> None:
    """64 examples in 0.36 s: a million take 5625 s, 1.5625 hours."""
    row = computed(batch_size=64, gradient_median_ns=0.36e9, task_price_per_hour=2.0)
    assert row["cost_per_million_examples"] == pytest.approx(3.125)
    assert row["cost_per_million_tokens"] is None


def test_tokens_cost_less_than_the_examples_that_hold_them() -> None:
    row = computed(batch_size=2, tokens=200.0, gradient_median_ns=3.6e9, task_price_per_hour=1.0)
    assert row["cost_per_million_tokens"] == pytest.approx(5.0)
    assert row["cost_per_million_examples"] == pytest.approx(500.0)


def test_without_a_peak_or_a_price_there_is_neither_mfu_nor_cost() -> None:
    row = computed(gradient_flops=3e12, gradient_median_ns=1e9)
    assert (row["mfu"], row["cost_per_million_examples"]) == (None, None)


def test_a_row_has_the_peak_and_the_price_of_its_measurement() -> None:
    one = make_measurement(
        vendor_peak_flops_per_s=1e12,
        vendor_peak_source="a data sheet",
        price=NodePrice(16.0, 2.0, "USD"),
    )
    row = task_row(SWEEP, one)
    assert (row["vendor_peak_flops_per_s"], row["vendor_peak_source"]) == (1e12, "a data sheet")
    assert (row["node_price_per_hour"], row["task_price_per_hour"]) == (16.0, 2.0)
    assert (row["price_currency"], row["vendor_peak_reason"]) == ("USD", None)


def test_sql_finds_the_cheapest_and_the_best_used(store: Store) -> None:
    for framework, ms, per_hour in (("torch", 10.0, 4.0), ("jax", 20.0, 1.0)):
        one = make_measurement(
            framework=framework,
            verified=VERIFIED,
            vendor_peak_flops_per_s=1e12,
            price=NodePrice(per_hour, per_hour, "USD"),
            **make_times(1.0, ms),
        )
        store.put(SWEEP, one)
    query = "SELECT framework FROM tasks ORDER BY {}"
    by_cost = run_query(store, query.format("cost_per_million_examples")).to_pylist()
    by_mfu = run_query(store, query.format("mfu DESC")).to_pylist()
    assert [row["framework"] for row in by_cost] == ["jax", "torch"]
    assert [row["framework"] for row in by_mfu] == ["torch", "jax"]


def test_a_real_task_has_the_price_that_was_typed_and_a_peak_or_the_reason_for_none(
    tmp_path: Path,
) -> None:
    words = ["measure", "numpy", "autoencoder-400-200-100/ae1", "--batch-size", "2"]
    words += ["--threads", "1", "--max-seconds", "0.1", "--price", "2.5 USD", "--json"]
    words += ["--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", *words],
        env=os.environ | {"VELODROME_PYTHON_NUMPY": sys.executable},
        capture_output=True,
        text=True,
    )
    row = json.loads(done.stdout)
    assert (row["node_price_per_hour"], row["task_price_per_hour"]) == (2.5, 2.5), done.stderr
    assert bool(row["vendor_peak_flops_per_s"]) != bool(row["vendor_peak_reason"])
    (node,) = Store(tmp_path).read("nodes").to_pylist()
    assert (node["price_per_hour"], node["price_currency"]) == (2.5, "USD")
