"""Rates and energies per unit of work: computed when rows are read, in SQL and for JSON alike."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_measurements import VERIFIED, make_measurement, make_times
from made_rows import CELL

from velodrome.scheduler.results.rate_columns import RATE_COLUMNS, RATE_NAMES, add_rates
from velodrome.scheduler.results.rows import to_table
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store

SWEEP = "20261124-063012-a1b2"


def computed(**columns: object) -> dict[str, object]:
    (row,) = add_rates(to_table("tasks", [CELL | columns])).to_pylist()
    return {name: row[name] for name in RATE_NAMES}


def test_images_per_second_are_the_batch_over_the_median_time() -> None:
    row = computed(batch_size=64, forward_median_ns=2e6, gradient_median_ns=8e6)
    assert row["forward_examples_per_s"] == pytest.approx(32_000)
    assert row["gradient_examples_per_s"] == pytest.approx(8_000)
    assert row["forward_tokens_per_s"] is None


def test_tokens_and_energy_are_per_true_token() -> None:
    row = computed(batch_size=4, tokens=452.0, gradient_median_ns=1e9, energy_per_gradient_j=90.4)
    assert row["gradient_tokens_per_s"] == pytest.approx(452)
    assert row["gradient_j_per_token"] == pytest.approx(0.2)
    assert row["gradient_j_per_example"] == pytest.approx(22.6)
    assert row["step_j_per_token"] is None


@pytest.mark.parametrize("phase", ["forward", "inference", "step", "load", "fed_gradient"])
def test_each_phase_of_examples_has_an_energy_of_its_own(phase: str) -> None:
    row = computed(batch_size=4, **{f"energy_per_{phase}_j": 6.0})
    assert row[f"{phase}_j_per_example"] == pytest.approx(1.5)
    assert row["gradient_j_per_example"] is None


def test_an_update_works_on_no_examples() -> None:
    assert "update_j_per_example" not in RATE_NAMES


def test_flops_per_second_are_of_the_definition() -> None:
    row = computed(forward_flops=3e9, forward_median_ns=1e9)
    assert (row["forward_flops_per_s"], row["gradient_flops_per_s"]) == (pytest.approx(3e9), None)


def test_a_time_of_0_gives_no_rate() -> None:
    assert computed(forward_median_ns=0.0)["forward_examples_per_s"] is None


@pytest.fixture
def filled(store: Store) -> Store:
    """Store a finished sweep and an unfinished one."""
    for sweep_id, model in ((SWEEP, "gpt2-tiny"), ("20261125-063012-a1b2", "lenet")):
        one = make_measurement(model=model, batch_size=2, verified=VERIFIED, **make_times(1, 4))
        with store.hold_sweep(sweep_id):
            store.put(sweep_id, one)
            if sweep_id == SWEEP:
                store.compact(sweep_id)
    return store


def test_sql_and_json_have_the_same_rates(filled: Store) -> None:
    by_sql = run_query(filled, "SELECT * FROM tasks ORDER BY sweep_id")
    by_arrow = add_rates(filled.read("tasks")).sort_by("sweep_id")
    for name in RATE_NAMES:
        assert by_sql[name].to_pylist() == pytest.approx(by_arrow[name].to_pylist())
    gpt2, lenet = by_sql.to_pylist()
    assert gpt2["gradient_tokens_per_s"] == pytest.approx(2 * 12 / 4e-3)
    assert (lenet["gradient_tokens_per_s"], lenet["gradient_examples_per_s"]) == (None, 500.0)


def test_rates_can_be_named_in_conditions_and_groups(filled: Store) -> None:
    query = (
        "SELECT model, max(gradient_examples_per_s) AS best FROM tasks "
        "WHERE gradient_tokens_per_s > 1 GROUP BY model"
    )
    assert run_query(filled, query).to_pylist() == [{"model": "gpt2-tiny", "best": 500.0}]


def test_no_file_holds_a_rate(filled: Store) -> None:
    paths, _ = filled.countable_files("tasks")
    assert len(paths) == 2
    for path in paths:
        assert not set(RATE_NAMES) & set(pq.read_schema(path).names)


def test_every_computed_column_is_of_columns_of_numbers_and_has_a_unit() -> None:
    schema = TABLES["tasks"]
    for column in RATE_COLUMNS:
        for name in (*column.over, *column.under):
            kind = schema.field(name).type
            assert pa.types.is_floating(kind) or pa.types.is_integer(kind)
        assert column.unit
