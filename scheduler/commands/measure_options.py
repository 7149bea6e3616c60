"""The options of `measure`, as they were typed, to the task that they mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Timing
from velodrome.adapters.registry import Framework
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import available, with_version
from velodrome.agents.environments.recipes import did_you_mean
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.node import Node
from velodrome.agents.task import Limits, Task
from velodrome.scheduler.errors import ConfigError, EnvironmentUnavailable
from velodrome.scheduler.sweeps import quantities
from velodrome.scheduler.sweeps.canaries import ON_GPUS, canary_on
from velodrome.scheduler.sweeps.parts import Device
from velodrome.scheduler.sweeps.settings import DTYPES, MOST_SAMPLING_HZ, device_named

Value = TypeVar("Value")


@dataclass(frozen=True)
class Options:
    """The command line as it was typed; empty, 0 or below 0 where nothing was said."""

    framework: str
    model: str
    variant: str
    batch_size: int
    device: str
    threads: str
    seed: int
    target: str
    min_samples: int
    min_seconds: float
    max_seconds: float
    deadline: str
    memory: str
    gpu_model: str = ""
    dtype: str = "float32"
    sampling_hz: float = 10.0
    is_shared: bool = False
    has_canary: bool = False


def to_task(options: Options, node: Node, environments: EnvironmentStore) -> Task:
    """ConfigError names the option that is wrong, and the mend."""
    framework = _known("FRAMEWORK", options.framework, with_version(available(), options.framework))
    model = _known("MODEL", options.model, MODELS)
    variant = options.variant or framework.default_variant
    _known("--variant", variant, dict.fromkeys(framework.variants, variant))
    device = _device(options, framework)
    _known("--dtype", options.dtype, dict.fromkeys(DTYPES, options.dtype))
    if not 0 <= options.sampling_hz <= MOST_SAMPLING_HZ:
        mend = f"Give a rate up to {MOST_SAMPLING_HZ}; 0 samples nothing."
        raise _wrong("--sampling-hz", f"{options.sampling_hz:g} is no rate", mend)
    if options.batch_size < 0:
        raise _wrong("--batch-size", f"{options.batch_size} is no batch", "Give a number above 0.")
    return Task(
        framework=framework.name,
        variant=variant,
        model=model.name,
        batch_size=options.batch_size or model.default_batch_size(device.kind),
        device=device.kind,
        gpu_count=device.gpu_count,
        gpu_model=device.gpu_model,
        threads=_threads(options.threads, node),
        dtype=options.dtype,
        seed=options.seed,
        timing=_timing(options),
        limits=_limits(options),
        exclusive=not options.is_shared,
        sampling_hz=options.sampling_hz,
        lock_hash=_lock_hash(environments, framework, device.kind),
        canary=canary_on(device.kind, ON_GPUS) if options.has_canary else "",
    )


def _device(options: Options, framework: Framework) -> Device:
    """As in a sweep file: cpu, gpu, or gpu:2 for two."""
    device = device_named(options.device)
    if device is None:
        raise _wrong("--device", f"there is no '{options.device}'", "Give cpu, gpu or gpu:2.")
    if device.kind not in framework.devices:
        devices = " and ".join(framework.devices)
        raise _wrong(
            "--device", f"{framework.name} has no {device.kind} path", f"It has {devices}."
        )
    if options.gpu_model and device.kind != "gpu":
        raise _wrong("--gpu-model", "the task is for a CPU", "Give --device gpu.")
    return replace(device, gpu_model=options.gpu_model)


def _lock_hash(environments: EnvironmentStore, framework: Framework, device: str) -> str:
    try:
        return environments.lock_hash(framework.name, device)
    except EnvironmentFailed as failure:  # of a version that is locked here for the first time
        raise EnvironmentUnavailable(failure.reason) from failure


def _threads(text: str, node: Node) -> int:
    named = {"physical": node.physical, "logical": node.logical}
    if text in named:
        return named[text]
    if not text.isdecimal() or int(text) < 1:
        mend = "Give a number above 0, `physical` or `logical`."
        raise _wrong("--threads", f"'{text}' is no number of threads", mend)
    if int(text) > node.logical:
        mend = f"This machine has {node.physical} cores."
        raise _wrong("--threads", f"{text} threads do not fit", mend)
    return int(text)


def _timing(options: Options) -> Timing:
    default = Timing()
    timing = Timing(
        target=_read("--target", options.target, quantities.share, quantities.SHARE_MEND)
        or default.target,
        min_samples=options.min_samples or default.min_samples,
        min_seconds=default.min_seconds if options.min_seconds < 0 else options.min_seconds,
        max_seconds=default.max_seconds if options.max_seconds < 0 else options.max_seconds,
    )
    if timing.min_samples < 1 or timing.max_seconds <= 0:
        raise _wrong(
            "--min-samples, --max-seconds", "nothing would be timed", "Give numbers above 0."
        )
    return timing


def _limits(options: Options) -> Limits:
    default = Limits()
    deadline = _read(
        "--deadline", options.deadline, quantities.duration_s, quantities.DURATION_MEND
    )
    memory = _read("--memory", options.memory, quantities.size_bytes, quantities.SIZE_MEND)
    return Limits(deadline or default.deadline_s, memory or default.memory_bytes)


def _read(option: str, text: str, read: Callable[[str], Value | None], mend: str) -> Value | None:
    if not text:
        return None
    value = read(text)
    if value is None:
        raise _wrong(option, f"'{text}' cannot be read", mend)
    return value


def _known(option: str, name: str, known: Mapping[str, Value]) -> Value:
    if name not in known:
        raise _wrong(option, f"there is no '{name}'", did_you_mean(name, known))
    return known[name]


def _wrong(option: str, problem: str, mend: str) -> ConfigError:
    return ConfigError(f"command line, {option}", problem, mend)
