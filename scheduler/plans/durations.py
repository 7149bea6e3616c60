"""Rough durations of tasks, good enough to start the long ones first. Pure.

A list of tasks ends soonest if the long ones do not come last (R. L. Graham, Bounds on
multiprocessing timing anomalies, SIAM J. Appl. Math. 17(2), 1969).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from velodrome.adapters.models import MODELS, products
from velodrome.agents.task import Task

Estimate = Callable[[Task], float]

START_S = 3.0  # interpreter, import, build, proof
# Of one CPU core, and of one GPU by precision; right within a factor of ten will do. Cores without
# matrix units are no faster in bfloat16.
CORE_FLOPS_PER_S = 1e10
GPU_FLOPS_PER_S = {"float32": 1e13, "tf32": 5e13, "bfloat16": 1e14, "float16": 1e14}
USUAL_SAMPLES = 30  # by then most times are known; velodrome.adapters.timing.stopping


def estimate_s(task: Task) -> float:
    """Estimate seconds from the model's arithmetic and the sweep's timing settings."""
    rate = task.gpu_count * GPU_FLOPS_PER_S.get(task.dtype, 1e13) or task.threads * CORE_FLOPS_PER_S
    return START_S + sum(_estimate_phase_s(task, flops / rate) for flops in _count_flops(task))


@dataclass(frozen=True)
class DurationEstimates:
    """Expected durations of tasks in seconds.

    error: the usual relative error of past estimates; None: unknown.
    """

    estimate: Estimate
    error: float | None = None


BY_ARITHMETIC = DurationEstimates(estimate_s)


def _count_flops(task: Task) -> tuple[float, float]:
    """Return forward and gradient operations; 0 for a model that is not in the zoo."""
    return _count_model_flops(task.model, task.batch_size) if task.model in MODELS else (0.0, 0.0)


@cache
def _count_model_flops(name: str, batch_size: int) -> tuple[float, float]:
    model = MODELS[name]
    forward = products.count_forward_flops(model, batch_size)
    return forward, products.count_gradient_flops(model, batch_size)


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
