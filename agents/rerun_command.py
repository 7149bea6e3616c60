"""The shell command that runs one task again, alone."""

import shlex
from decimal import Decimal

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.models.user_models import find_file
from velodrome.adapters.protocol import Timing
from velodrome.agents.phases import USUAL_OPTIMIZER
from velodrome.agents.task import Limits, Task, device_name


def rerun_command(task: Task) -> str:
    """Return the command, with every setting that decides the time and is not the default.

    It leaves out the node and the choice among equal GPUs. Empty for a task on several nodes, which
    needs a cluster.
    """
    if task.nodes > 1:
        return ""
    words = ["velodrome", "measure", task.framework, _name_model(task.model)]
    size = str(task.batch_size or task.batch_size_rule)  # a found size is given as it is
    words += ["--variant", task.variant, "--batch-size", size]
    words += [
        "--device",
        device_name(task.device, task.node_devices, ""),
        "--threads",
        str(task.threads),
    ]
    return shlex.join([*words, *_settings(task), *_timing(task.timing), *_limits(task.limits)])


def _name_model(model: str) -> str:
    """Return a model's name; of code its file, which holds no other model."""
    return find_file(model) if is_code(MODELS.get(model)) else model


def _settings(task: Task) -> list[str]:
    default = Task(task.framework, task.variant, task.model, task.batch_size)
    words = []
    if task.gpu_model:
        words += ["--gpu-model", task.gpu_model]
    if task.build:
        words += ["--build", task.build]
    if task.dtype != default.dtype:
        words += ["--dtype", task.dtype]
    if task.phases != default.phases:
        words += ["--phases", ",".join(task.phases)]
    if task.optimizer not in ("", USUAL_OPTIMIZER):
        words += ["--optimizer", task.optimizer]
    if task.seed != default.seed:
        words += ["--seed", str(task.seed)]
    if task.sampling_hz != default.sampling_hz:
        words += ["--sampling-hz", _number(task.sampling_hz)]
    if not task.exclusive:
        words += ["--shared"]
    return words


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
    """Format exactly and without an exponent, which the option does not accept."""
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
