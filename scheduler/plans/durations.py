"""Rough durations of tasks, good enough to start the long ones first. Pure.

A list of tasks ends soonest if the long ones do not come last (R. L. Graham, Bounds on
multiprocessing timing anomalies, SIAM J. Appl. Math. 17(2), 1969).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from velodrome.adapters.models import MODELS, products
from velodrome.adapters.models.traffic import estimate_update_bytes
from velodrome.adapters.protocol import TRAINING_PHASES
from velodrome.agents.phases import USUAL_OPTIMIZER
from velodrome.agents.task import Task

Estimate = Callable[[Task], float]

START_S = 3.0  # interpreter, import, build, proof
# Of one CPU core, and of one GPU by precision; right within a factor of ten will do. Cores without
# matrix units are no faster in bfloat16.
CORE_FLOPS_PER_S = 1e10
GPU_FLOPS_PER_S = {"float32": 1e13, "tf32": 5e13, "bfloat16": 1e14, "float16": 1e14}
CORE_BYTES_PER_S, GPU_BYTES_PER_S = 5e9, 1e12  # of one, likewise
USUAL_SAMPLES = 30  # by then most times are known; velodrome.adapters.timing.stopping


def estimate_s(task: Task) -> float:
    """Estimate seconds from the model's arithmetic and the sweep's timing settings."""
    return START_S + sum(
        _estimate_phase_s(task, _estimate_call_s(task, phase)) for phase in task.phases
    )


@dataclass(frozen=True)
class DurationEstimates:
    """Expected durations of tasks in seconds.

    error: the usual relative error of past estimates; None: unknown.
    """

    estimate: Estimate
    error: float | None = None


BY_ARITHMETIC = DurationEstimates(estimate_s)


def _estimate_call_s(task: Task, phase: str) -> float:
    """Estimate one call: a step is a gradient and an update. 0 for a model not in the zoo.

    For a batch size that the node will find, the model's own stands in.
    """
    if task.model not in MODELS:
        return 0.0
    rate = (
        task.gpu_count * GPU_FLOPS_PER_S.get(task.dtype, 1e13)
        or task.total_threads * CORE_FLOPS_PER_S
    )
    batch_size = task.batch_size or MODELS[task.model].default_batch_size(task.device)
    call_s = _count_flops(task.model, batch_size, phase) / rate
    if phase not in TRAINING_PHASES:
        return call_s
    # Each of several devices updates its own copy of the parameters.
    bandwidth = GPU_BYTES_PER_S if task.gpu_count else task.threads * CORE_BYTES_PER_S
    return call_s + _count_update_bytes(task.model, task.optimizer) / bandwidth


@cache
def _count_flops(name: str, batch_size: int, phase: str) -> float:
    return products.count_phase_flops(MODELS[name], batch_size, phase)


@cache
def _count_update_bytes(name: str, optimizer: str) -> float:
    return estimate_update_bytes(MODELS[name], optimizer or USUAL_OPTIMIZER)


def _estimate_phase_s(task: Task, call_s: float) -> float:
    timing = task.timing
    enough_s = max(timing.min_seconds, max(timing.min_samples, USUAL_SAMPLES) * call_s)
    # A time that is not stable by then runs to max_seconds; first calls come on top.
    return min(enough_s, max(timing.max_seconds, call_s)) + 3 * call_s


def format_seconds(seconds: float) -> str:
    """Format e.g. `2h05m`, `3m12s`, `9s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
