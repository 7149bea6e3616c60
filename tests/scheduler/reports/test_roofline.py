from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from made_rows import task_row_with, values

from velodrome.scheduler.reports.roofline import build_rooflines
from velodrome.scheduler.results.ceilings import (
    Ceilings,
    RateUnit,
    build_dtype_ceilings,
    build_node_ceilings,
)
from velodrome.scheduler.results.derived_columns import fill_ceilings
from velodrome.scheduler.results.rows import to_table
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
FLOP = 2 * 1024**3  # of one product of gemm-1024
GB = 1e9


def row(
    model: str, forward_ms: float, gradient_ms: float | None = None, **changes: object
) -> TaskRow:
    """Make a row of torch on one thread of node n1. A gemm's gradient is two products."""
    batch_size = {"gemm-1024": 1024, "copy": 1}.get(model, 64)
    flop = {"gemm-1024": FLOP, "copy": 0.0}.get(model, 1e9)
    columns: dict[str, object] = {
        "sweep_id": "s2",
        "task_id": f"{model} {changes}",
        "repeat": 0,
        "attempt": 1,
        "status": "ok",
        "verified": True,
        "framework": "torch",
        "variant": "eager",
        "model": model,
        "batch_size": batch_size,
        "device": "cpu",
        "threads": 1,
        "dtype": "float32",
        "node_id": "n1",
        "hostname": "host1",
        "node_type": "t1",
        "cpu_model": "Some CPU",
        "gpu_name": None,
        "gpu_count": 0,
        "started_at": NOW,
        "forward_median_ns": forward_ms * 1e6,
        "forward_flops": flop,
        "gradient_median_ns": gradient_ms * 1e6 if gradient_ms else None,
        "gradient_flops": 2 * flop if gradient_ms else flop,
        **changes,
    }
    return task_row_with(**columns)


def fill_rows(rows: Sequence[TaskRow], ceilings: Ceilings) -> list[TaskRow]:
    return task_rows(fill_ceilings(to_table("tasks", map(values, rows)), ceilings))


SWEEP = [
    row("gemm-1024", 100, 160, framework="torch"),
    row("gemm-1024", 80, 200, framework="tensorflow"),
    row("copy", 50),
    row("lenet", 20, 50),
]


def test_the_ceiling_is_the_best_rate_of_any_framework_in_any_phase() -> None:
    ceilings = Ceilings(SWEEP)
    flops, bytes_ = (ceilings.of(SWEEP[3], unit) for unit in RateUnit)
    assert flops is not None
    assert bytes_ is not None
    assert flops.per_s == pytest.approx(FLOP / 80e-3)  # torch: 2 FLOP / 160 ms is as good
    assert bytes_.per_s == pytest.approx(2**29 / 50e-3)
    assert flops.by == "torch eager, gemm-1024"


def test_every_row_gets_its_share_of_the_ceiling() -> None:
    efficiencies = [found.gradient_efficiency for found in fill_rows(SWEEP, Ceilings(SWEEP))]
    ceiling = FLOP / 80e-3
    assert efficiencies == [
        pytest.approx(1.0),
        pytest.approx(0.8),
        None,  # it only copies
        pytest.approx(2e9 / 50e-3 / ceiling),
    ]


def test_a_share_above_the_ceiling_is_shown_unchanged() -> None:
    rows = [*SWEEP, row("lenet", 20, 0.05)]
    assert fill_rows(rows, Ceilings(rows))[4].gradient_efficiency > 1


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 2},
        {"device": "gpu"},
        {"variant": "bfloat16"},
        {"dtype": "bfloat16"},
        {"node_type": "t2", "node_id": "n2"},
    ],
)
def test_a_ceiling_applies_only_to_its_node_device_threads_and_dtype(
    change: dict[str, object],
) -> None:
    assert Ceilings(SWEEP).of(row("lenet", 20, 50, **change), RateUnit.FLOPS) is None


def test_the_threads_that_feed_a_gpu_do_not_count() -> None:
    gpu = {"device": "gpu", "gpu_name": "Some GPU", "gpu_count": 1}
    gemm = row("gemm-1024", 1, 2, threads=4, **gpu)
    assert Ceilings([gemm]).of(row("lenet", 1, 2, threads=1, **gpu), RateUnit.FLOPS) is not None


@pytest.mark.parametrize("change", [{"status": "crashed"}, {"verified": False}])
def test_an_unverified_rate_is_no_ceiling(change) -> None:
    assert Ceilings([row("gemm-1024", 100, 160, **change)]).of(SWEEP[3], RateUnit.FLOPS) is None


def test_a_node_without_a_ceiling_uses_that_of_another_node_of_its_type() -> None:
    lenet = row("lenet", 20, 50, node_id="n2", hostname="host2")
    found = fill_rows([lenet], Ceilings(SWEEP))[0]
    assert found.ceiling_source == "torch eager, gemm-1024, on host1, of the same type"
    own = row("gemm-1024", 200, 400, node_id="n2", hostname="host2")
    assert fill_rows([lenet], Ceilings([*SWEEP, own]))[0].ceiling_source == "torch eager, gemm-1024"


def test_ceilings_of_an_older_sweep_are_used_and_named() -> None:
    older = row("gemm-1024", 90, 180, sweep_id="s1", started_at=NOW - timedelta(days=3))
    lenet = row("lenet", 20, 50)
    found = fill_rows([lenet], Ceilings([lenet], [older]))[0]
    assert found.ceiling_source == "torch eager, gemm-1024, in sweep s1"
    assert found.gradient_efficiency == pytest.approx(2e9 / 50e-3 / (FLOP / 90e-3))


def test_ceilings_of_a_sweep_ninety_days_ago_are_not_used() -> None:
    old = row("gemm-1024", 90, 180, sweep_id="s1", started_at=NOW - timedelta(days=90))
    assert fill_rows([row("lenet", 20, 50)], Ceilings([], [old]))[0].gradient_efficiency is None


def test_repeats_of_one_contestant_count_by_their_median() -> None:
    """Else the ceiling would be the luckiest of many."""
    rows = [row("gemm-1024", ms, 2 * ms, repeat=i) for i, ms in enumerate((100, 101, 20))]
    found = Ceilings(rows).of(SWEEP[3], RateUnit.FLOPS)
    assert found is not None
    assert found.per_s == pytest.approx(FLOP / 100e-3)


def test_a_node_keeps_its_best_over_all_threads() -> None:
    rows = [*SWEEP, row("gemm-1024", 45, 90, threads=2)]
    assert build_node_ceilings(Ceilings(rows).own, "n1") == [
        {
            "device": "cpu",
            "gemm_flops_per_s": pytest.approx(FLOP / 45e-3),
            "copy_bytes_per_s": pytest.approx(2**29 / 50e-3),
        }
    ]


def test_a_product_in_bfloat16_is_a_ceiling_of_bfloat16_alone() -> None:
    rows = [*SWEEP, row("gemm-1024", 10, 20, dtype="bfloat16"), row("copy", 40, dtype="bfloat16")]
    ceilings = Ceilings(rows)
    in_full, in_half = (row("lenet", 20, 50, dtype=name) for name in ("float32", "bfloat16"))
    rates = [ceilings.of(one, RateUnit.FLOPS).per_s for one in (in_full, in_half)]
    assert rates == [pytest.approx(FLOP / 80e-3), pytest.approx(FLOP / 10e-3)]
    half = {"gemm_flops_per_s": pytest.approx(FLOP / 10e-3)}
    half |= {"copy_bytes_per_s": pytest.approx(2**29 / 40e-3)}
    full = {"gemm_flops_per_s": pytest.approx(FLOP / 80e-3)}
    full |= {"copy_bytes_per_s": pytest.approx(2**29 / 50e-3)}
    assert build_node_ceilings(ceilings.own, "n1") == [{"device": "cpu", **full}]
    assert build_dtype_ceilings(ceilings.own, "n1") == [
        {"device": "cpu", "computes_in": "bfloat16", **half},
        {"device": "cpu", "computes_in": "float32", **full},
    ]


def test_each_precision_has_a_roofline_whose_points_move_fewer_bytes() -> None:
    rows = [row("lenet", 20, 50), row("lenet", 20, 50, dtype="bfloat16")]
    half, full = sorted(build_rooflines(rows), key=lambda found: found.place.computes_in)
    assert (half.place.computes_in, full.place.computes_in) == ("bfloat16", "float32")
    ratios = [
        low.intensity / high.intensity for low, high in zip(half.points, full.points, strict=True)
    ]
    assert all(1.2 < ratio < 2.0 for ratio in ratios)


def test_a_roofline_has_a_slope_a_ridge_and_a_point_per_phase() -> None:
    (found,) = build_rooflines(SWEEP)
    assert found.ridge == pytest.approx(FLOP / 80e-3 / (2**29 / 50e-3))
    assert found.roof(1.0) == pytest.approx(2**29 / 50e-3)
    assert found.roof(1e6) == pytest.approx(FLOP / 80e-3)
    names = [(point.framework, point.model, point.phase) for point in found.points]
    assert ("torch", "lenet", "forward") in names
    assert len(names) == 6  # two gemms and lenet, forward and gradient; a copy has no FLOP
    lenet = next(p for p in found.points if (p.model, p.phase) == ("lenet", "gradient"))
    assert lenet.flops_per_s == pytest.approx(2e9 / 50e-3)


def test_a_roofline_without_ceilings_still_has_its_points() -> None:
    (found,) = build_rooflines([row("lenet", 20, 50)])
    assert (found.flops, found.bytes, found.ridge, found.roof(1.0)) == (None, None, None, None)
    assert len(found.points) == 2
