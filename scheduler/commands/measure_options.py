"""Options of `measure`, and the task that they describe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.layers import Model
from velodrome.adapters.protocol import Timing
from velodrome.adapters.registry import Framework
from velodrome.adapters.tolerances import DTYPES
from velodrome.agents.environments.accelerators import is_cuda
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import available_frameworks, with_version
from velodrome.agents.environments.recipes import did_you_mean
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.node import Node
from velodrome.agents.phases import choose_optimizer
from velodrome.agents.task import Limits, Task
from velodrome.scheduler.errors import ConfigError, EnvironmentUnavailable
from velodrome.scheduler.plans.eligibility import resolve_threads
from velodrome.scheduler.sweeps import model_files, quantities, settings
from velodrome.scheduler.sweeps.device_support import explain_missing_devices
from velodrome.scheduler.sweeps.groups import find_undivided
from velodrome.scheduler.sweeps.phases import parse_optimizer, parse_phases
from velodrome.scheduler.sweeps.quantities import read_option
from velodrome.scheduler.sweeps.sweep import BatchSize, BatchSizeRule, Device, ThreadRule, Threads

Value = TypeVar("Value")


@dataclass(frozen=True)
class MeasureOptions:
    """Options as the user typed them; empty where absent. Each has the name of its parameter."""

    framework: str
    model: str
    variant: str
    batch_size: str
    device: str
    threads: str
    seed: str
    target: str
    min_samples: str
    min_seconds: str
    max_seconds: str
    deadline: str
    memory: str
    gpu_model: str = ""
    build: str = ""
    dtype: str = "float32"
    sampling_hz: str = ""
    shared: bool = False
    canary: bool = False
    phases: Sequence[str] | None = None
    optimizer: str = ""
    price: str = ""


OPTIONS = tuple(field.name for field in fields(MeasureOptions))


def make_task(options: MeasureOptions, node: Node, environments: EnvironmentStore) -> Task:
    """Make the task that the options describe. ConfigError names the wrong option and the fix."""
    framework = _look_up(
        "FRAMEWORK", options.framework, with_version(available_frameworks(), options.framework)
    )
    model = _find_model(options.model, framework)
    variant = options.variant or framework.default_variant
    _look_up("--variant", variant, dict.fromkeys(framework.variants, variant))
    device = _read_device(options, framework)
    _check_dtype(options.dtype, device)
    phases = parse_phases(options.phases or (), model.name)
    own_batch_size = model.default_batch_size(device.kind, device.count)
    default = Task(framework.name, variant, model.name, own_batch_size)
    batch_size, rule = _read_batch_size(options.batch_size, own_batch_size, device)
    return Task(
        framework=framework.name,
        variant=variant,
        model=model.name,
        batch_size=batch_size,
        device=device.kind,
        gpu_count=device.gpu_count,
        gpu_model=device.gpu_model,
        threads=_read_threads(options.threads, node, device),
        dtype=options.dtype,
        seed=read_option("--seed", options.seed, settings.parse_seed, default.seed),
        timing=_read_timing(options),
        limits=_read_limits(options),
        exclusive=not options.shared,
        sampling_hz=read_option(
            "--sampling-hz", options.sampling_hz, settings.parse_sampling_hz, default.sampling_hz
        ),
        lock_hash=_lock_hash(environments, framework, options.build or device.kind),
        build=options.build,
        canary=settings.choose_canary(device.kind, settings.GPU_CANARY) if options.canary else "",
        phases=phases,
        optimizer=choose_optimizer(phases, parse_optimizer(options.optimizer, phases)),
        batch_size_rule=rule,
        processes=device.processes,
    )


def _find_model(text: str, framework: Framework) -> Model:
    """Return a model by its name, or that of a file that holds one."""
    names: tuple[str, ...] = (text,)
    if model_files.names_file(text):
        names = model_files.add_model_file(text, Path.cwd(), "command line, MODEL")
    if len(names) > 1:
        mend = f"Set VELODROME_MODELS={text}, and name one: {', '.join(names)}."
        raise _make_error("MODEL", f"{text} holds {len(names)} models", mend)
    model = _look_up("MODEL", names[0], MODELS)
    model_files.require_framework(names, [framework.name], "command line, MODEL")
    return model


def _read_batch_size(text: str, own: BatchSize, device: Device) -> tuple[int, str]:
    """Return the batch size of all devices together, and the rule that finds it, if one does."""
    size = read_option("--batch-size", text, settings.parse_batch_size, own)
    number, rule = (0, size.value) if isinstance(size, BatchSizeRule) else (size, "")
    if problem := find_undivided(number, rule, device.count):
        raise _make_error("--batch-size", problem, f"Give a multiple of {device.count}.")
    return number, rule


def _read_device(options: MeasureOptions, framework: Framework) -> Device:
    """Read a device as in a sweep file: cpu, cpu:2 for two processes, gpu, or gpu:2 for two."""
    nothing: Device | None = None
    device = read_option("--device", options.device, settings.parse_device, nothing)
    if device is None:
        raise _make_error(
            "--device", f"there is no '{options.device}'", "Give cpu, cpu:2, gpu or gpu:2."
        )
    if device.kind not in framework.devices:
        devices = " and ".join(framework.devices)
        raise _make_error(
            "--device",
            f"{framework.name} has {explain_missing_devices(framework)[device.kind]}",
            f"It has {devices}.",
        )
    if options.gpu_model and device.kind != "gpu":
        raise _make_error("--gpu-model", "the task is for a CPU", "Give --device gpu.")
    if options.build and (device.kind != "gpu" or not is_cuda(options.build)):
        mend = "Give a CUDA such as cuda12, and --device gpu."
        raise _make_error("--build", f"{options.build} is no build for {device.kind}", mend)
    return replace(device, gpu_model=options.gpu_model)


def _check_dtype(dtype: str, device: Device) -> None:
    _look_up("--dtype", dtype, dict.fromkeys(DTYPES, dtype))
    if problem := settings.find_missing_precision(device.kind, dtype):
        raise _make_error("--dtype", problem, "Give another, or --device gpu.")


def _lock_hash(environments: EnvironmentStore, framework: Framework, accelerator: str) -> str:
    try:
        return environments.lock_hash(framework.name, accelerator)
    except EnvironmentFailed as failure:  # of a version that is locked here for the first time
        raise EnvironmentUnavailable(failure.reason) from failure


def _read_threads(text: str, node: Node, device: Device) -> int:
    """Return the threads of each device."""
    words: dict[str, Threads] = {
        "": ThreadRule.PHYSICAL,
        **{rule.value: rule for rule in ThreadRule},
    }
    threads = words.get(text) or read_option("--threads", text, settings.parse_threads, 1)
    number = resolve_threads(threads, node, device.count)
    if number * device.count > node.logical:
        each = f"{device.count} x " if device.count > 1 else ""
        mend = f"This machine has {node.physical} cores."
        raise _make_error("--threads", f"{each}{text or number} threads do not fit", mend)
    return number


def _read_timing(options: MeasureOptions) -> Timing:
    default = Timing()
    timing = Timing(
        read_option("--target", options.target, quantities.parse_share, default.target),
        read_option(
            "--min-samples", options.min_samples, quantities.parse_whole, default.min_samples
        ),
        read_option(
            "--min-seconds", options.min_seconds, quantities.parse_decimal, default.min_seconds
        ),
        read_option(
            "--max-seconds", options.max_seconds, quantities.parse_positive, default.max_seconds
        ),
    )
    if not options.min_seconds:  # then --max-seconds wins
        return timing._replace(min_seconds=min(timing.min_seconds, timing.max_seconds))
    if problem := settings.find_contradiction(timing):
        raise _make_error("--min-seconds, --max-seconds", problem, "Give a smaller --min-seconds.")
    return timing


def _read_limits(options: MeasureOptions) -> Limits:
    default = Limits()
    return Limits(
        read_option(
            "--deadline", options.deadline, quantities.parse_duration_s, default.deadline_s
        ),
        read_option("--memory", options.memory, quantities.parse_size_bytes, default.memory_bytes),
    )


def _look_up(option: str, name: str, choices: Mapping[str, Value]) -> Value:
    if name not in choices:
        raise _make_error(option, f"there is no '{name}'", did_you_mean(name, choices))
    return choices[name]


def _make_error(option: str, problem: str, mend: str) -> ConfigError:
    return ConfigError(f"command line, {option}", problem, mend)
