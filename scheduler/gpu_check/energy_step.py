"""The energy of a task, compared with the driver's counter as another process reads it."""

from collections.abc import Sequence
from itertools import pairwise

from velodrome.adapters.protocol import TIMED_PHASES, Phase
from velodrome.agents.measurement import Measurement
from velodrome.agents.sampling.energy_integration import Window, counter_growth
from velodrome.agents.task import Task
from velodrome.scheduler.gpu_check.counter_process import CounterPoints, Point
from velodrome.scheduler.gpu_check.gpu_tasks import Bench, list_figures
from velodrome.scheduler.gpu_check.steps import StepOutcome, failed, passed, skipped

TOLERANCE = 0.05  # both read one counter, at other instants; the driver updates it in steps


def check_energy(bench: Bench, task: Task, left_s: float) -> StepOutcome:
    """Measure a task while the counter is read beside it, and compare the timed phases."""
    if bench.gpu.is_amd:
        return skipped("the counter is NVIDIA's")
    begun: list[Phase] = []
    with CounterPoints(bench.gpu.uuid) as counter:
        measurement = bench.measure(task, left_s, begun.append)
    return compare_energy(measurement, begun, counter.points, counter.problem)


def compare_energy(
    measurement: Measurement, begun: Sequence[Phase], points: Sequence[Point], problem: str
) -> StepOutcome:
    """Compare a measurement's energy with the counter's points. problem: why there are none."""
    figures: dict[str, object] = dict(list_figures(measurement))
    if not measurement.status.has_number:
        return failed(f"{measurement.status}: {measurement.reason}", figures)
    if not points:
        return skipped(f"the driver has no energy counter: {problem.strip()}", figures)
    counted = [counter_growth(points, window) for window in list_timed_windows(begun)]
    known = [joules for joules in counted if joules is not None]
    figures["counter_timed_j"] = sum(known)
    figures["counter_whole_task_j"] = points[-1][1] - points[0][1]
    figures["deviation_of_power_percent"] = measurement.energy_deviation_percent
    ours = measurement.energy_j
    if ours is None or measurement.energy_source != "measured":
        return failed(
            f"energy is {measurement.energy_source}: {measurement.energy_reason}", figures
        )
    if len(known) < len(counted) or not sum(known):
        return skipped("the process that reads the counter was held back too long", figures)
    ratio = ours / sum(known)
    figures["ratio"] = ratio
    text = f"{ours:.1f} J, by the counter {sum(known):.1f} J: {100 * (ratio - 1):+.2f} %"
    return passed(text, figures) if abs(ratio - 1) <= TOLERANCE else failed(text, figures)


def list_timed_windows(begun: Sequence[Phase]) -> list[Window]:
    """List the windows of the timed phases: each ends where the next phase begins."""
    return [
        (phase.at_ns, following.at_ns)
        for phase, following in pairwise(begun)
        if phase.name in TIMED_PHASES
    ]
