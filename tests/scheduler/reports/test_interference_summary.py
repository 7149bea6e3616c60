"""The warning above a report, from texts of the agents' own code."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from made_measurements import make_measurement
from made_rows import task_row_with

from velodrome.adapters.protocol import Timing
from velodrome.agents.canary import CanaryResult, add_canaries
from velodrome.agents.measurement import GpuProcess, GpuReading, Reading
from velodrome.agents.sampling import gpu_throttling
from velodrome.agents.sampling.background_load import CpuCounts
from velodrome.agents.sampling.gpu_interference import find_gpu_interference
from velodrome.agents.sampling.interference import summarize_interference
from velodrome.agents.sampling.interference_finding import Phrase
from velodrome.agents.sampling.top_processes import TopProcess
from velodrome.scheduler.reports.interference_summary import describe_interference
from velodrome.scheduler.results.typed_rows import TaskRow

OTHERS = "its cores were used by others while it was timed, 50 % of one core: stress-ng (pid 123)"
STEAL = "other machines took 3.0 % of its cores' time (steal)"
ALONE = Reading(
    0, "forward", 100.0, 1, 1, other_cpu_percent=0.5, steal_percent=0.0, other_cores_percent=3.0
)
GPU = GpuReading(0, "a", sm_mhz=1400, throttle_reasons=0, other_processes=())


def ran(task: str, interference: str = "", **changes: object) -> TaskRow:
    plain = {"task_id": task, "repeat": 0, "attempt": 1, "forward_median_ns": 1e6}
    about = {"interference_free": not interference, "interference": interference}
    return task_row_with(**plain | about | changes)


def test_a_sweep_with_interference_reports_the_affected_runs_and_the_sources() -> None:
    rows = [ran("1", OTHERS), ran("2", f"{OTHERS}; {STEAL}"), ran("3"), ran("4")]
    assert describe_interference(rows) == (
        "2 of 4 timed runs had interference: other processes on their cores in 2, "
        "other virtual machines (steal) in 1 "
        "(stress-ng)"
    )


def test_a_sweep_without_known_interference_reports_nothing() -> None:
    assert describe_interference([ran("1"), ran("2", interference_free=None)]) == ""


def test_untimed_runs_and_repeated_attempts_do_not_count() -> None:
    rows = [
        ran("1", OTHERS),
        ran("1", attempt=2),
        ran("2", STEAL),
        ran("3", OTHERS, forward_median_ns=None),
    ]
    assert (
        describe_interference(rows)
        == "1 of 2 timed runs had interference: other virtual machines (steal) in 1"
    )


def test_an_unknown_source_is_counted_too() -> None:
    assert describe_interference([ran("1", "an earthquake")]).endswith("another source in 1")


def test_control_characters_in_results_reach_no_headline() -> None:
    summary = describe_interference(
        [ran("1", "its cores were used by others: evil\x1b[31m (pid 1)")]
    )
    assert "\x1b" not in summary and "other processes on their cores" in summary


def series(**figures: object) -> list[Reading]:
    """Readings every 100 ms. A figure is one value, or a list with the value of each reading."""
    return [
        replace(ALONE, at_ns=at * 10**8, **{key: _at(value, at) for key, value in figures.items()})
        for at in range(10)
    ]


def _at(value: object, index: int) -> object:
    return value[index] if isinstance(value, list) else value


def on_gpu(**figures: object) -> list[Reading]:
    gpus = [(replace(GPU, **{k: _at(v, at) for k, v in figures.items()}),) for at in range(10)]
    early = [replace(reading, phase="") for reading in series(gpus=gpus)]
    return [*early, *series(gpus=gpus)]


FALL = [3600.0] * 5 + [2000.0] * 5
GROWTH = list(range(0, 10_000, 1000))


@pytest.mark.parametrize(
    ("readings", "kind"),
    [
        (series(other_cpu_percent=50.0, cpu_percent=50.0), "other processes on their cores"),
        (series(other_cores_percent=300.0), "other processes on other cores"),
        (series(steal_percent=3.0), "other virtual machines (steal)"),
        (series(other_cpu_percent=None, pressure_percent=25.0), "waiting for a CPU"),
        (series(cpu_mhz=FALL), "a lower CPU clock"),
        (series(thermal_throttles=GROWTH), "thermal throttling"),
        (series(quota_us=[10 * us for us in GROWTH]), "the container's CPU limit"),
        (series(memory_pressure_percent=9.0), "memory pressure"),
        (series(swapped_in_pages=GROWTH), "memory pressure"),
        (on_gpu(other_processes=(GpuProcess(7, "python", 1),)), "other processes on their GPU"),
        (on_gpu(other_processes=None, percent=90.0), "other processes on their GPU"),
        (on_gpu(throttle_reasons=gpu_throttling.HARDWARE_SLOWDOWN), "GPU throttling"),
        (on_gpu(sm_mhz=[int(mhz) for mhz in FALL]), "a lower GPU clock"),
        (on_gpu(lost=True), "a lost GPU"),
    ],
)
def test_each_interference_text_of_an_agent_has_its_kind(
    readings: Sequence[Reading], kind: str
) -> None:
    cpus = CpuCounts(task_cpus=1, core_cpus=1, machine_cpus=4)
    found = summarize_interference(readings, cpus, find_gpu_interference(readings))
    summary = describe_interference([ran("1", found.interference)])
    assert summary.startswith(f"1 of 1 timed runs had interference: {kind} in 1"), (
        found.interference
    )


def test_a_canary_whose_time_changed_has_its_kind() -> None:
    timing = Timing(target=0.1, min_samples=1, min_seconds=0.1, max_seconds=0.1)
    canaries = CanaryResult("canary", 10e6), CanaryResult("canary", 15e6)
    found = add_canaries(make_measurement(timing=timing), *canaries)
    assert describe_interference([ran("1", found.interference)]).endswith(
        "a canary whose time changed in 1"
    )


def test_the_names_that_an_agent_writes_are_read_back() -> None:
    stressor = TopProcess(123, "stress-ng", 98.0, on_task_cores=True, running=True)
    readings = series(other_cpu_percent=50.0, cpu_percent=50.0, top_processes=(stressor,))
    found = summarize_interference(readings, CpuCounts(1, 1, 4))
    assert describe_interference([ran("1", found.interference)]).endswith(" in 1 (stress-ng)")


@pytest.mark.parametrize("phrase", Phrase)
def test_each_phrase_of_the_agents_has_a_kind(phrase: Phrase) -> None:
    assert "another source" not in describe_interference([ran("1", f"before {phrase} after")])
