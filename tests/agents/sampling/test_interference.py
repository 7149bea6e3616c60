"""Interference with a timed task, judged from made-up readings."""

from dataclasses import replace

import pytest

from velodrome.agents.measurement import Reading
from velodrome.agents.sampling.background_load import CpuCounts
from velodrome.agents.sampling.interference import InterferenceSummary, summarize_interference
from velodrome.agents.sampling.interference_finding import InterferenceFinding, Severity
from velodrome.agents.sampling.top_processes import TopProcess

MS = 10**6
FOUR_CORES = CpuCounts(task_cpus=1, core_cpus=1, machine_cpus=4)
TWO_CORES = CpuCounts(task_cpus=1, core_cpus=1, machine_cpus=2)
CALM = Reading(
    at_ns=0,
    phase="forward",
    cpu_percent=100.0,
    rss_bytes=1,
    threads=1,
    other_cpu_percent=0.5,
    interrupt_percent=0.2,
    steal_percent=0.0,
    other_cores_percent=3.0,
    pressure_percent=0.0,
    memory_pressure_percent=0.0,
)
STRESSOR = TopProcess(123, "stress-ng", 98.0, on_task_cores=True, running=True)
NEIGHBOUR = TopProcess(456, "rsync", 99.0, on_task_cores=False, running=False)


def series(count: int = 20, **figures: object) -> list[Reading]:
    """Make readings every 100 ms, of forward by default, calm except for these figures."""
    return [replace(CALM, at_ns=100 * MS * n, **figures) for n in range(count)]


def join(*parts: list[Reading]) -> list[Reading]:
    readings = [reading for part in parts for reading in part]
    return [replace(reading, at_ns=100 * MS * n) for n, reading in enumerate(readings)]


def judge(place: CpuCounts = FOUR_CORES, **figures: object) -> InterferenceSummary:
    return summarize_interference(series(**figures), place)


def test_a_task_alone_on_its_cores_is_interference_free() -> None:
    verdict = judge()
    assert (verdict.interference_free, verdict.interference, verdict.minor_interference) == (
        True,
        "",
        "",
    )
    assert (verdict.other_cpu_percent, verdict.steal_percent) == (pytest.approx(0.5), 0.0)


def test_coarse_ticks_average_out_over_many_readings() -> None:
    wrong = [(-9.0, 109.0), (9.0, 91.0), (0.0, 100.0)] * 5
    readings = [
        replace(CALM, at_ns=100 * MS * n, other_cpu_percent=foreign, cpu_percent=own)
        for n, (foreign, own) in enumerate(wrong)
    ]
    assert summarize_interference(readings, FOUR_CORES).interference_free is True


def test_a_stressor_on_the_tasks_core_is_named_with_its_share() -> None:
    verdict = judge(cpu_percent=50.0, other_cpu_percent=50.0, top_processes=(STRESSOR, NEIGHBOUR))
    assert verdict.interference_free is False
    assert verdict.interference == (
        "its cores were used by others while it was timed, 50 % of one core: stress-ng (pid 123)"
    )
    assert verdict.other_cpu_percent == pytest.approx(50.0)


def test_a_stressor_that_was_active_before_the_timing_is_reported_as_such() -> None:
    early = series(phase="build", other_cpu_percent=50.0, top_processes=(STRESSOR,))
    late = series(other_cpu_percent=50.0, cpu_percent=50.0)
    during = summarize_interference(join(early, late), FOUR_CORES)
    assert "its cores were used by others before and while it was timed" in during.interference
    only_before = summarize_interference(join(early, series()), FOUR_CORES)
    assert only_before.interference_free is True
    assert only_before.minor_interference == (
        "its cores were used by others before it was timed, 50 % of one core: stress-ng (pid 123)"
    )


def test_a_stressor_after_the_timing_is_no_interference() -> None:
    late = series(phase="prove", other_cpu_percent=100.0)
    assert summarize_interference(join(series(), late), FOUR_CORES).interference_free is True


def test_unseen_processes_and_interrupts_are_reported() -> None:
    verdict = judge(other_cpu_percent=30.0, cpu_percent=70.0)
    assert verdict.interference.endswith(
        "no process that can be seen from here (it ended, or runs in another container)"
    )
    verdict = judge(other_cpu_percent=30.0, cpu_percent=70.0, interrupt_percent=28.0)
    assert verdict.interference.endswith(": interrupts")


def test_the_name_of_a_process_is_sanitized() -> None:
    hostile = TopProcess(7, "\x1b[2Jevil\nname", 90.0, on_task_cores=True, running=True)
    nameless = TopProcess(8, "\x1b[2J", 90.0, on_task_cores=True, running=True)
    verdict = judge(other_cpu_percent=50.0, cpu_percent=50.0, top_processes=(hostile, nameless))
    assert verdict.interference.endswith(": evil name (pid 7), nameless (pid 8)")


def test_a_process_seen_on_the_core_is_named_before_a_busier_one() -> None:
    wanderer = TopProcess(5, "wanderer", 150.0, on_task_cores=True, running=False)
    little = TopProcess(6, "little", 2.0, on_task_cores=True, running=True)
    verdict = judge(
        other_cpu_percent=50.0, cpu_percent=50.0, top_processes=(wanderer, STRESSOR, little)
    )
    assert verdict.interference.endswith(": stress-ng (pid 123), wanderer (pid 5)")


@pytest.mark.parametrize("phase", ["warmup", "prove"])
def test_a_process_found_between_or_after_the_timed_phases_is_named(phase: str) -> None:
    timed = {"other_cpu_percent": 50.0, "cpu_percent": 50.0}
    between = series(3, phase=phase, top_processes=(STRESSOR,))
    gradient = series(phase="gradient", **timed) if phase == "warmup" else []
    readings = join(series(**timed), between, gradient)
    assert summarize_interference(readings, FOUR_CORES).interference.endswith(
        ": stress-ng (pid 123)"
    )


def test_other_load_is_reported_and_not_flagged_if_a_core_is_spare() -> None:
    verdict = judge(other_cores_percent=101.0, top_processes=(NEIGHBOUR,))
    assert (verdict.interference_free, verdict.interference) == (True, "")
    assert verdict.minor_interference == (
        "others used 1.0 of the 3 other CPUs while it was timed: rsync (pid 456)"
    )
    assert verdict.other_cores_percent == pytest.approx(101.0)


@pytest.mark.parametrize(
    ("place", "other_cores_percent"),
    [
        (TWO_CORES, 101.0),  # none is left for the system's own work
        (TWO_CORES, 30.0),
        (FOUR_CORES, 290.0),
        (CpuCounts(1, 2, 64), 3300.0),  # most of them busy: clock and memory are shared
    ],
)
def test_other_load_is_flagged_if_no_core_is_spare(
    place: CpuCounts, other_cores_percent: float
) -> None:
    verdict = judge(place, other_cores_percent=other_cores_percent)
    assert verdict.interference_free is False
    assert "other CPUs while it was timed" in verdict.interference


@pytest.mark.parametrize(
    ("cpus", "percent"), [(1, 5.0), (2, 10.0), (3, 11.0), (32, 40.0), (256, 50.0)]
)
def test_the_tolerated_load_of_others_grows_with_the_cpus(cpus: int, percent: float) -> None:
    place = CpuCounts(task_cpus=cpus, core_cpus=cpus, machine_cpus=512)
    below = {"cpu_percent": 100.0 * cpus - percent, "other_cpu_percent": percent - 0.5}
    assert judge(place, **below).interference_free is True
    above = {"cpu_percent": 100.0 * cpus - percent, "other_cpu_percent": percent + 0.5}
    assert judge(place, **above).interference_free is False


def test_few_ticks_are_no_finding() -> None:
    # 40 % of 30 ticks: by chance alone, 10 % of a core more or less are nothing.
    half_idle = {"cpu_percent": 30.0, "other_cpu_percent": 10.0}
    assert summarize_interference(series(4, **half_idle), FOUR_CORES).interference_free is True
    assert summarize_interference(series(400, **half_idle), FOUR_CORES).interference_free is False


@pytest.mark.parametrize(
    ("figures", "story"),
    [
        ({"steal_percent": 3.0}, "other machines took 3.0 % of its cores' time (steal)"),
        ({"memory_pressure_percent": 9.0}, "some process waited for memory 9 % of the time"),
    ],
)
def test_each_loss_of_cpu_time_is_flagged(figures: dict[str, float], story: str) -> None:
    verdict = judge(**figures)
    assert (verdict.interference_free, verdict.interference) == (False, story)


@pytest.mark.parametrize(
    ("figure", "steps", "story"),
    [
        ("thermal_throttles", 1, "its cores were slowed down for heat 9 times"),
        ("quota_us", 5000, "the container's CPU limit stopped it for 45 ms, all CPUs together"),
        ("swapped_in_pages", 100, "900 pages of memory came back from swap"),
    ],
)
def test_only_the_growth_of_counters_during_the_timing_counts(
    figure: str, steps: int, story: str
) -> None:
    early = [replace(CALM, phase="build", **{figure: 10**6 * n}) for n in range(3)]
    last = 2 * 10**6
    timed = [replace(CALM, **{figure: last + steps * n}) for n in range(10)]
    after = [replace(CALM, phase="prove", **{figure: 10**9})]
    verdict = summarize_interference(join(early, timed, after), FOUR_CORES)
    assert verdict.interference == story
    assert (
        summarize_interference(join(early, timed[:1] * 10, after), FOUR_CORES).interference_free
        is True
    )


def test_a_temporary_clock_drop_is_reported_with_both_frequencies() -> None:
    fast, slow = series(16, cpu_mhz=3600.0), series(4, cpu_mhz=3000.0)
    verdict = summarize_interference(join(fast, slow, series(4, cpu_mhz=2900.0)), FOUR_CORES)
    assert verdict.interference == "the clock of its cores fell from 3600 to 3000 MHz in forward"
    assert summarize_interference(join(fast, slow[:2]), FOUR_CORES).interference_free is True


def test_the_clock_of_an_idle_core_or_another_phase_is_no_drop() -> None:
    idle = series(20, cpu_mhz=800.0, cpu_percent=5.0)
    other = series(20, cpu_mhz=3000.0, phase="gradient")
    readings = join(series(20, cpu_mhz=3600.0), idle, other)
    assert summarize_interference(readings, FOUR_CORES).interference_free is True


def test_waiting_for_cpus_is_flagged_only_if_the_load_of_cores_is_unknown() -> None:
    verdict = judge(pressure_percent=25.0)
    assert (verdict.interference_free, verdict.minor_interference) == (
        True,
        "some process waited for a CPU 25 % of the time",
    )
    verdict = judge(pressure_percent=25.0, other_cpu_percent=None)
    assert (verdict.interference_free, verdict.interference) == (
        False,
        "some process waited for a CPU 25 % of the time",
    )


@pytest.mark.parametrize(
    "readings",
    [
        [],
        series(3),
        series(other_cpu_percent=None),
        series(other_cpu_percent=-99.0),  # a sandbox whose CPUs have no counts
    ],
)
def test_unknown_interference_is_neither_present_nor_absent(readings: list[Reading]) -> None:
    verdict = summarize_interference(readings, FOUR_CORES)
    assert (verdict.interference_free, verdict.interference, verdict.other_cpu_percent) == (
        None,
        "",
        None,
    )


def test_findings_of_other_sources_are_part_of_the_verdict() -> None:
    hot = InterferenceFinding("GPU 0 was hot")
    cap = InterferenceFinding("GPU 0 has a power cap", Severity.REPORTED)
    verdict = summarize_interference(series(), FOUR_CORES, [hot, cap, hot])
    assert (verdict.interference_free, verdict.interference, verdict.minor_interference) == (
        False,
        "GPU 0 was hot",
        "GPU 0 has a power cap",
    )
