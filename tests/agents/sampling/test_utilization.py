from dataclasses import replace

import pytest

from velodrome.adapters.protocol import Phase
from velodrome.agents.measurement import GpuReading, PhaseEnergy, Reading, Sample
from velodrome.agents.sampling.energy_integration import counter_growth, integrate
from velodrome.agents.sampling.utilization import summarize_utilization, timed_windows

S = 10**9
PHASES = (
    Phase("import", 0),
    Phase("warmup", 2 * S),
    Phase("forward", 3 * S),
    Phase("warmup", 5 * S),
    Phase("gradient", 6 * S),
)


def reading(second: float, cpu: float = 0.0, rss: int = 1, *gpus: GpuReading) -> Reading:
    return Reading(int(second * S), "", cpu, rss, threads=1, gpus=gpus)


def test_only_forward_and_gradient_are_timed() -> None:
    assert timed_windows(PHASES, 9 * S) == ((3 * S, 5 * S), (6 * S, 9 * S))


def test_the_mean_weighs_each_reading_by_its_overlap_with_the_timed_phases() -> None:
    readings = [reading(0, 900), reading(2, 300), reading(4, 100), reading(8, 50), reading(9, 200)]
    # By hand: 1 s of 100 in (2, 4]; 1 + 2 s of 50 in (4, 8]; 1 s of 200 in (8, 9].
    assert summarize_utilization(readings, PHASES).cpu_percent_mean == (100 + 3 * 50 + 200) / 5


def test_the_peak_is_the_samplers_if_it_is_higher() -> None:
    readings = [reading(1, rss=70), reading(2, rss=90)]
    assert summarize_utilization(readings, PHASES).peak_rss_bytes == 90
    assert summarize_utilization(readings, PHASES, peak_rss_bytes=120).peak_rss_bytes == 120


def test_without_readings_every_figure_is_unknown() -> None:
    known = summarize_utilization((), ())
    assert known.cpu_percent_mean is None
    assert known.peak_rss_bytes is None
    assert known.gpu_percent_mean is None
    assert known.peak_gpu_memory_bytes is None
    assert (known.energy_j, known.energy_source) == (None, "unavailable")


def test_a_figure_without_a_timed_phase_is_unknown() -> None:
    assert summarize_utilization([reading(0), reading(1)], PHASES[:1]).cpu_percent_mean is None


def make_gpu_readings(*figures: dict[str, float | int | None]) -> list[Reading]:
    """Make one reading a second, from 0 on, of one GPU."""
    gpus = [GpuReading(0, "a", **figure) for figure in figures]  # type: ignore[arg-type]
    return [reading(second, 0.0, 1, gpu) for second, gpu in enumerate(gpus)]


def joules_per_call(readings: list[Reading], samples: list[Sample]) -> dict[str, float]:
    used = summarize_utilization(readings, PHASES, samples=samples)
    return {one.phase: one.per_call_j for one in used.energies}


def test_energy_is_the_growth_of_the_counter_in_the_timed_phases() -> None:
    counts = [0, 1000, 2000, 4000, 6000, 7000, 7500, 8000, 9000, 12000]
    used = summarize_utilization(
        make_gpu_readings(*({"energy_mj": count} for count in counts)), PHASES
    )
    # By hand: 7000 - 4000 and 12000 - 7500 mJ.
    assert (used.energy_j, used.energy_source) == (7.5, "measured")


def test_energy_without_a_counter_is_estimated_from_power() -> None:
    watts = [0, 0, 0, 100, 200, 100, 100, 100, 300, 300]
    used = summarize_utilization(
        make_gpu_readings(*({"power_w": power} for power in watts)), PHASES
    )
    # By hand: 150 + 150 J and 100 + 200 + 300 J.
    assert (used.energy_j, used.energy_source) == (900.0, "estimated")


def test_energy_is_estimated_after_the_counter_was_reset() -> None:
    counts = [50, 60, 70, 80, 0, 10, 20, 30, 40, 50]
    readings = make_gpu_readings(*({"energy_mj": count, "power_w": 10.0} for count in counts))
    used = summarize_utilization(readings, PHASES)
    assert (used.energy_j, used.energy_source) == (50.0, "estimated")


def test_partly_estimated_energy_is_estimated() -> None:
    counted = GpuReading(0, "a", energy_mj=0)
    readings = [
        reading(s, 0.0, 1, replace(counted, energy_mj=1000 * s), GpuReading(1, "b", power_w=10.0))
        for s in range(10)
    ]
    used = summarize_utilization(readings, PHASES)
    assert (used.energy_j, used.energy_source) == (5.0 + 50.0, "estimated")


def test_energy_of_only_one_of_two_gpus_is_unavailable() -> None:
    readings = [
        reading(s, 0.0, 1, GpuReading(0, "a", power_w=10.0), GpuReading(1, "b")) for s in range(10)
    ]
    used = summarize_utilization(readings, PHASES)
    assert (used.energy_j, used.energy_source) == (None, "unavailable")


def test_a_long_gap_of_the_power_meter_gives_no_energy() -> None:
    at_ms = [0, 100, 200, 300, 400, 701, 800, 900]
    points = [(ms * 10**6, 10.0) for ms in at_ms]
    assert integrate(points, (0, 900 * 10**6)) is None
    assert integrate(points, (0, 350 * 10**6)) == pytest.approx(3.5)


def test_an_energy_counter_bridges_a_gap_in_its_readings() -> None:
    points = [(ms * 10**6, float(ms)) for ms in (0, 100, 200, 800, 900, 1000)]
    assert counter_growth(points, (50 * 10**6, 950 * 10**6)) == pytest.approx(900)
    assert counter_growth(points, (50 * 10**6, 500 * 10**6)) is None


def test_a_phase_boundary_between_two_readings_is_interpolated() -> None:
    # By hand, power 0 at 0 s to 20 W at 2 s: between 0.5 s and 1.5 s the mean is 10 W.
    points = [(0, 0.0), (S, 10.0), (2 * S, 20.0)]
    assert integrate(points, (S // 2, S + S // 2)) == pytest.approx(10.0)


def test_a_gap_of_one_interval_at_the_end_is_filled() -> None:
    points = [(s * S, 10.0) for s in range(5)]
    assert integrate(points, (0, 5 * S)) == pytest.approx(50.0)
    assert integrate(points, (0, 6 * S)) is None


def test_the_energy_of_a_cpu_task_is_that_of_the_sockets() -> None:
    readings = [replace(reading(s), package_energy_uj=2_000_000 * s) for s in range(10)]
    used = summarize_utilization(readings, PHASES)
    assert (used.energy_j, used.energy_source, used.cpu_energy_j) == (10.0, "measured", 10.0)


def test_the_energy_of_gpus_and_of_sockets_is_kept_apart() -> None:
    readings = [
        replace(reading(s, 0.0, 1, GpuReading(0, "a", energy_mj=0)), package_energy_uj=10**6 * s)
        for s in range(10)
    ]
    used = summarize_utilization(readings, PHASES)
    assert (used.energy_j, used.cpu_energy_j) == (0.0, 5.0)


def test_gpu_figures_are_means_and_sums_over_the_tasks_gpus() -> None:
    readings = [
        reading(
            s,
            0.0,
            1,
            GpuReading(0, "a", percent=100.0, memory_bytes=10 + s),
            GpuReading(1, "b", percent=50.0, memory_bytes=5),
        )
        for s in range(10)
    ]
    used = summarize_utilization(readings, PHASES)
    assert used.gpu_percent_mean == 75.0
    assert used.peak_gpu_memory_bytes == 19 + 5


def test_gpu_memory_of_the_workers_own_processes_is_preferred() -> None:
    gpus = [
        {"memory_bytes": 900, "process_memory_bytes": None},
        {"memory_bytes": 900, "process_memory_bytes": 300},
    ]
    assert summarize_utilization(make_gpu_readings(*gpus), PHASES).peak_gpu_memory_bytes == 300


def test_gradients_with_fewer_than_three_readings_give_no_energy_per_gradient() -> None:
    readings = make_gpu_readings(*({"energy_mj": 1000 * second} for second in range(10)))
    long = [Sample("gradient", index, 2, (6 + index) * S, S) for index in range(3)]
    assert joules_per_call(readings, long) == {"gradient": 3.0 / 6}
    assert joules_per_call(readings, long[:2]) == {}
    assert joules_per_call(readings, []) == {}


@pytest.mark.parametrize(
    ("period_s", "energies"), [(1, {"step": 1.5}), (2, {"step": 1.5}), (3, {})]
)
def test_a_phase_with_fewer_than_three_updates_of_the_counter_has_no_energy(
    period_s: int, energies: dict[str, float]
) -> None:
    counts = [{"energy_mj": 1000 * (second // period_s * period_s)} for second in range(20)]
    samples = [Sample("step", 0, 4, 6 * S, 6 * S)]
    assert joules_per_call(make_gpu_readings(*counts), samples) == energies


def test_the_energy_per_gradient_on_a_cpu_is_that_of_the_sockets() -> None:
    readings = [replace(reading(s), package_energy_uj=2_000_000 * s) for s in range(10)]
    samples = [Sample("forward", 0, 9, 3 * S, S), Sample("gradient", 0, 4, 6 * S, 3 * S)]
    used = summarize_utilization(readings, PHASES, samples=samples)
    assert used.energies == (PhaseEnergy("gradient", 6.0 / 4),)  # forward has one reading
    assert used.energy_source == "measured"


def test_without_a_meter_the_reason_says_so() -> None:
    used = summarize_utilization([reading(second) for second in range(10)], PHASES)
    assert used.energy_source == "unavailable"
    assert used.energy_reason == "the sockets have no readable energy counter (RAPL)"
