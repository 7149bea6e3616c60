import math
import random

import pytest

from velodrome.scheduler.statistics.cell_interval import (
    CellInterval,
    ProcessVariation,
    compute_cell_interval,
    estimate_from_canaries,
    estimate_from_sweeps,
)
from velodrome.scheduler.statistics.replication import Repeat


def exact(*medians_ns: float) -> list[Repeat]:
    return [Repeat(median, median, median) for median in medians_ns]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_fewer_than_six_processes_without_a_history_have_no_interval(count: int) -> None:
    assert compute_cell_interval(exact(*range(100, 100 + count))) is None


def test_six_processes_have_students_interval_or_at_least_their_range() -> None:
    # Logs 0 to 0.05: mean 0.025, deviation 0.0187083, t of 5 degrees 2.57058, half 0.0196333.
    found = compute_cell_interval(exact(*(math.exp(0.01 * n) for n in range(6))))
    assert found == CellInterval(1.0, math.exp(0.05))
    # One outlier: mean 0.05, deviation 0.122474, half 0.128529; the range ends at 0.
    far = compute_cell_interval(exact(*[1.0] * 5, math.exp(0.3)))
    assert far is not None
    assert far.low_ns == pytest.approx(math.exp(0.05 - 0.128529))
    assert far.high_ns == pytest.approx(math.exp(0.3))


def test_one_process_takes_its_interval_from_other_sweeps_and_names_them() -> None:
    # Logs 0, 0.01 .. 0.05: deviation 0.0187083, t of 5 degrees 2.57058, half 0.0480914.
    past = estimate_from_sweeps(math.exp(0.01 * n) for n in range(6))
    assert past is not None and (past.degrees, past.source) == (5, "6 other sweeps")
    found = compute_cell_interval(exact(math.exp(0.02)), [past])
    assert found is not None and found.source == "6 other sweeps"
    assert found.low_ns == pytest.approx(math.exp(0.02 - 0.0480914))
    assert found.high_ns == pytest.approx(math.exp(0.02 + 0.0480914))


def test_a_changed_cells_interval_covers_its_old_and_new_times() -> None:
    found = compute_cell_interval(
        exact(140.0), [estimate_from_sweeps([100, 101, 102, 100, 101, 102])]
    )
    assert found is not None
    assert found.low_ns == 100 and found.high_ns > 140


def test_canaries_estimate_the_spread_of_processes_but_not_the_median() -> None:
    canaries = estimate_from_canaries(1e6 * math.exp(0.01 * n) for n in range(6))
    assert canaries is not None and canaries.source == "6 canaries"
    found = compute_cell_interval(exact(100.0), [canaries])
    assert found is not None
    assert (found.low_ns, found.high_ns) == pytest.approx(
        (100 * math.exp(-0.0480914), 100 * math.exp(0.0480914))
    )


@pytest.mark.parametrize("tell", [estimate_from_sweeps, estimate_from_canaries])
def test_five_other_sweeps_are_too_few(tell) -> None:
    assert tell([100.0] * 5) is None
    assert tell([*[100.0] * 5, 0.0]) is None  # no time


def test_other_sweeps_never_narrow_an_interval_below_that_of_processes_or_samples() -> None:
    alike = ProcessVariation(1e-9, 5, "others")
    assert compute_cell_interval([Repeat(100, 90, 111)], [alike]).high_ns > 111
    differing = compute_cell_interval(exact(100, 101, 102), [alike])
    # Logs of 100, 101, 102: deviation 0.0099; t of 2 degrees 4.30265, half 0.0246.
    assert differing.low_ns == pytest.approx(101 * math.exp(-0.0246), abs=0.01)


def test_an_interval_wider_than_its_median_is_omitted() -> None:
    wide = ProcessVariation(
        math.log(2) / 2.570582, 5, "others"
    )  # half of it is as much as the median
    assert compute_cell_interval(exact(100.0), [wide]) is not None
    assert (
        compute_cell_interval(exact(100.0), [ProcessVariation(1.01 * wide.deviation, 5, "others")])
        is None
    )


@pytest.mark.parametrize("kind", ["normal", "two kinds"])
def test_the_interval_covers_the_median_of_all_processes(kind: str) -> None:
    draw = random.Random(kind)

    def process() -> float:
        noise = math.exp(draw.gauss(0, 0.01))
        return noise * (1.2 if kind == "two kinds" and draw.random() < 0.35 else 1.0)

    median = sorted(process() for _ in range(100_001))[50_000]
    cells = [
        (6, 0),
        (1, 6),
        (3, 6),
    ]
    for processes, sweeps in cells:
        held = 0
        for _ in range(600):
            past = estimate_from_sweeps(process() for _ in range(sweeps))
            found = compute_cell_interval(
                exact(*(process() for _ in range(processes))), [past] if past else []
            )
            held += found is not None and found.low_ns <= median <= found.high_ns
        # Fewer than 553 of 600 come up once in 1000 times where 95 % is true.
        assert held >= 553, (processes, sweeps)
