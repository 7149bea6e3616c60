"""Ceilings and efficiencies, filled in where a sweep's files become one."""

from pathlib import Path

import pytest
from made_measurements import VERIFIED, make_measurement, make_times

from velodrome.agents.measurement import Measurement
from velodrome.agents.node import Core, Node
from velodrome.scheduler.results.store import Store

SWEEP, LATER = "20261124-063012-a1b2", "20261125-063012-a1b2"
NODE = Node("n1", "host1", "Some CPU", (Core(0, (0,)),), 2**34)
FLOP = 2 * 1024**3


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def ran(model: str, gradient_ms: float, batch_size: int, **changes: object) -> Measurement:
    times = make_times(gradient_ms / 2, gradient_ms, spread=0.0)
    return make_measurement(
        model=model,
        batch_size=batch_size,
        verified=VERIFIED,
        forward=times["forward"],
        gradient=None if model == "copy" else times["gradient"],
        **changes,
    )


def keep(store: Store, sweep_id: str, *measurements: Measurement) -> None:
    with store.hold_sweep(sweep_id):
        for one in measurements:
            store.put(sweep_id, one)
        store.put_nodes(sweep_id, [NODE])
        store.compact(sweep_id)


def columns(store: Store, sweep_id: str, model: str) -> tuple[object, ...]:
    (row,) = [one for one in store.read("tasks", sweep_id).to_pylist() if one["model"] == model]
    return row["ceiling_flops_per_s"], row["ceiling_source"], row["gradient_efficiency"]


def test_a_finished_sweep_has_the_efficiency_of_each_task(
    store: Store,
) -> None:
    lenet = ran("lenet", 50, 64)
    keep(store, SWEEP, ran("gemm-1024", 100, 1024), ran("copy", 100, 1), lenet)
    per_s, by, efficiency = columns(store, SWEEP, "lenet")
    assert per_s == pytest.approx(2 * FLOP / 100e-3)
    assert by == "torch eager, gemm-1024"
    flops = store.read("tasks", SWEEP).to_pylist()
    (own,) = [row["gradient_flops"] for row in flops if row["model"] == "lenet"]
    assert efficiency == pytest.approx(own / 50e-3 / (2 * FLOP / 100e-3))


def test_nodes_keep_their_ceilings(store: Store) -> None:
    keep(store, SWEEP, ran("gemm-1024", 100, 1024), ran("copy", 100, 1))
    assert store.read("nodes", SWEEP)["ceilings"].to_pylist() == [
        [
            {
                "device": "cpu",
                "gemm_flops_per_s": pytest.approx(2 * FLOP / 100e-3),
                "copy_bytes_per_s": pytest.approx(2**29 / 50e-3),
            }
        ]
    ]


def test_nodes_keep_their_ceilings_in_each_precision(store: Store) -> None:
    keep(store, SWEEP, ran("gemm-1024", 100, 1024), ran("gemm-1024", 20, 1024, dtype="bfloat16"))
    (found,) = store.read("nodes", SWEEP)["ceilings_by_dtype"].to_pylist()
    rates = {entry["computes_in"]: entry["gemm_flops_per_s"] for entry in found}
    assert rates["bfloat16"] == pytest.approx(5 * rates["float32"])


def test_a_sweep_without_ceilings_uses_those_of_an_earlier_sweep(store: Store) -> None:
    keep(store, SWEEP, ran("gemm-1024", 100, 1024), ran("copy", 100, 1))
    keep(store, LATER, ran("lenet", 50, 64))
    assert columns(store, LATER, "lenet")[1] == f"torch eager, gemm-1024, in sweep {SWEEP}"
    assert store.read("nodes", LATER)["ceilings"].to_pylist() == [None]  # it measured none


def test_without_any_ceiling_the_columns_are_null(store: Store) -> None:
    keep(store, SWEEP, ran("lenet", 50, 64))
    assert columns(store, SWEEP, "lenet") == (None, None, None)


def test_a_resumed_sweep_is_filled_again(store: Store) -> None:
    keep(store, SWEEP, ran("gemm-1024", 100, 1024), ran("lenet", 50, 64))
    keep(store, SWEEP, ran("gemm-2048", 400, 2048))
    assert columns(store, SWEEP, "lenet")[1] == "torch eager, gemm-2048"
