"""The sampler's cost: the same task with and without readings, alternately."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from velodrome.agents.measurement import Measurement
from velodrome.agents.task import Task
from velodrome.scheduler.gpu_check.gpu_tasks import Bench
from velodrome.scheduler.gpu_check.steps import StepOutcome, failed, passed

WITHOUT_HZ = 1e-3  # one reading at the start and one at the end: a sampler that only waits
BOUND = 0.02  # of the task's time, below which the cost is not called one
LEAST_PAIRS = 3  # with two each, one of six orders of equal runs is the worst one


def check_sampling_cost(bench: Bench, task: Task, pairs: int, left_s: float) -> StepOutcome:
    """Measure pairs of tasks, whose order alternates; fail if sampling slows every one down."""
    ends: dict[float, list[Measurement]] = {task.sampling_hz: [], WITHOUT_HZ: []}
    for pair in range(pairs):
        order = list(ends) if pair % 2 == 0 else list(reversed(ends))
        for hz in order:
            ended = bench.measure(replace(task, sampling_hz=hz), left_s)
            if ended.decisive is None:
                return failed(f"{ended.status}: {ended.reason}", {"log": ended.log_tail})
            ends[hz].append(ended)
    sampled = ends[task.sampling_hz]
    return judge_cost(_medians_ns(sampled), _medians_ns(ends[WITHOUT_HZ]), _cpu_share(sampled))


def judge_cost(
    with_ns: Sequence[float], without_ns: Sequence[float], cpu_percent: float
) -> StepOutcome:
    """Judge medians of tasks with and without sampling. cpu_percent: of one core, by the sampler.

    It fails if each with it is slower than all without it, by more than BOUND: with three of each
    kind, equal runs are in that order once in 20 times even without a bound.
    """
    ratio = statistics.median(with_ns) / statistics.median(without_ns)
    figures = {
        "with_ns": list(with_ns),
        "without_ns": list(without_ns),
        "ratio_of_medians": ratio,
        "sampler_cpu_percent": cpu_percent,
    }
    few = "; too few runs to judge" if len(with_ns) < LEAST_PAIRS else ""
    text = (
        f"{100 * (ratio - 1):+.2f} % ({len(with_ns)} runs each), "
        f"sampler {cpu_percent:.1f} % of a core{few}"
    )
    is_slower = min(with_ns) > (1 + BOUND) * max(without_ns)
    return failed(text, figures) if is_slower and not few else passed(text, figures)


def _medians_ns(ended: Sequence[Measurement]) -> list[float]:
    return [one.decisive.median_ns for one in ended if one.decisive]


def _cpu_share(ended: Sequence[Measurement]) -> float:
    """Return the CPU time of the samplers over the time of their readings, in percent."""
    spent_s = sum(one.sampling_cpu_s or 0.0 for one in ended)
    spans = [one.readings[-1].at_ns - one.readings[0].at_ns for one in ended if one.readings]
    return 100 * spent_s / (sum(spans) / 1e9) if sum(spans) else 0.0
