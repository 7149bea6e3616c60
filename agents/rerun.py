"""The shell command that runs one task again, alone, where it is typed."""

import shlex

from velodrome.adapters.protocol import Timing
from velodrome.agents.task import Limits, Task


def rerun_command(task: Task) -> str:
    """All that decides the task's number is in it, as far as it is not the default."""
    words = ["velodrome", "measure", task.framework, task.model]
    words += ["--variant", task.variant, "--batch-size", str(task.batch_size)]
    words += ["--device", task.device, "--threads", str(task.threads)]
    if task.seed:
        words += ["--seed", str(task.seed)]
    return shlex.join([*words, *_timing(task.timing), *_limits(task.limits)])


def _timing(timing: Timing) -> list[str]:
    default = Timing()
    words = []
    if timing.target != default.target:
        words += ["--target", _number(timing.target)]
    if timing.min_samples != default.min_samples:
        words += ["--min-samples", str(timing.min_samples)]
    if timing.min_seconds != default.min_seconds:
        words += ["--min-seconds", _number(timing.min_seconds)]
    if timing.max_seconds != default.max_seconds:
        words += ["--max-seconds", _number(timing.max_seconds)]
    return words


def _limits(limits: Limits) -> list[str]:
    default = Limits()
    words = []
    if limits.deadline_s != default.deadline_s:
        words += ["--deadline", f"{_number(limits.deadline_s)}s"]
    if limits.memory_bytes != default.memory_bytes:
        words += ["--memory", f"{limits.memory_bytes}B"]
    return words


def _number(value: float) -> str:
    """Never with an exponent, which the command line does not read."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
