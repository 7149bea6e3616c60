"""Parsers for keys of a sweep file that need no other key: threads, devices, timing, limits ..."""

import re
from collections.abc import Callable
from typing import TypeVar

from velodrome.adapters.protocol import Timing
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.adapters.tolerances import DTYPES
from velodrome.agents.task import Limits
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import quantities, value_parsers
from velodrome.scheduler.sweeps.sweep import (
    BatchSize,
    BatchSizeRule,
    Device,
    PlacementRule,
    ThreadRule,
    Threads,
)
from velodrome.scheduler.sweeps.yaml_nodes import Fields, Scalar, Value

MOST_THREADS = 65536
MOST_GPUS = 64
MOST_REPEATS = 1000
MOST_SEED = 2**32 - 1  # the largest for numpy.random.RandomState
MOST_SAMPLING_HZ = 100
CPU_CANARY = "numpy"  # which is always available
GPU_CANARY = "torch"
DEVICE_MEND = "Give cpu, gpu, gpu:2 for two, cpu:2 for two processes, or {gpu: H100} for a model."

T = TypeVar("T")


def read_threads(value: Value, name: str) -> tuple[Threads, ...]:
    return _read_distinct(value, name, "[1, physical]", _read_thread_setting)


def read_batch_sizes(value: Value, name: str) -> tuple[BatchSize, ...]:
    return _read_distinct(value, name, "[64]", _read_batch_size)


def read_devices(value: Value, name: str) -> tuple[Device, ...]:
    return _read_distinct(value, name, "[cpu, gpu]", _read_device)


def parse_device(text: str) -> Device | None:
    """Parse `cpu`, `cpu:2`, `gpu` or `gpu:2`; None for any other text.

    InvalidQuantity if the number of GPUs or processes is out of bounds.
    """
    kind, colon, digits = text.partition(":")
    if kind not in ("cpu", "gpu") or (colon and not re.fullmatch(r"[+-]?[0-9]+", digits)):
        return None
    try:
        count = quantities.parse_whole(digits, most=MOST_GPUS) if colon else 1
    except quantities.InvalidQuantity:
        raise quantities.InvalidQuantity(f"Give {kind}:1 to {kind}:{MOST_GPUS}.") from None
    return Device("gpu", count) if kind == "gpu" else Device(processes=count)


def read_dtypes(value: Value, name: str) -> tuple[str, ...]:
    choices = {dtype: (dtype,) for dtype in DTYPES}
    return value_parsers.read_names(value, name, "dtype", choices, "[float32, bfloat16]")


def find_missing_precision(device: str, dtype: str) -> str:
    """Describe why no framework has a precision on a kind of device; empty if some may have it."""
    return "no CPU computes in tf32" if (device, dtype) == ("cpu", "tf32") else ""


def read_where(value: Value, name: str) -> PlacementRule:
    return PlacementRule(
        value_parsers.read_one_of(value, name, "rule", [rule.value for rule in PlacementRule])
    )


def read_repeats(value: Value, name: str) -> int:
    return value_parsers.read_whole(value, name, most=MOST_REPEATS)


def read_seed(value: Value, name: str) -> int:
    return value_parsers.read_number(value, name, parse_seed)


def parse_seed(text: str) -> int:
    return quantities.parse_whole(text, least=0, most=MOST_SEED)


def read_sampling_hz(value: Value, name: str) -> float:
    """Read the sampling rate; 0: nothing is sampled."""
    return value_parsers.read_number(value, name, parse_sampling_hz)


def parse_sampling_hz(text: str) -> float:
    return quantities.parse_decimal(text, most=MOST_SAMPLING_HZ)


def read_timing(value: Value, name: str) -> Timing:
    found = value_parsers.read_fields(value, name, "{target: 1%, max_seconds: 60}")
    value_parsers.check_keys(found, Timing._fields, "key of timing")
    default = Timing()
    timing = Timing(
        target=_read_entry(found, "target", _read_share, default.target),
        min_samples=_read_entry(
            found, "min_samples", value_parsers.read_whole, default.min_samples
        ),
        min_seconds=_read_entry(found, "min_seconds", _read_seconds, default.min_seconds),
        max_seconds=_read_entry(found, "max_seconds", _read_positive, default.max_seconds),
    )
    if problem := find_contradiction(timing):
        raise ConfigError(found.place, problem, "Give a smaller min_seconds.")
    return timing


def find_contradiction(timing: Timing) -> str:
    """Describe a contradiction between timing settings; empty if there is none."""
    if timing.min_seconds <= timing.max_seconds:
        return ""
    return f"min_seconds {timing.min_seconds:g} is over max_seconds {timing.max_seconds:g}"


def read_canary(value: Value, name: str) -> str:
    """Read the framework of canaries on GPUs; empty: there are no canaries at all."""
    on_gpus = [name for name, framework in FRAMEWORKS.items() if "gpu" in framework.devices]
    choices = {**dict(zip(on_gpus, on_gpus, strict=True)), "true": GPU_CANARY, "false": ""}
    if isinstance(value, Scalar) and value.text in choices:
        return choices[value.text]
    names = f"{', '.join(on_gpus[:-1])} or {on_gpus[-1]}"
    mend = f"Give true, false, or the framework that runs them on GPUs: {names}."
    raise value_parsers.make_value_error(value, name, mend)


def choose_canary(device: str, on_gpus: str) -> str:
    """Return the framework of a task's canaries. on_gpus: the result of read_canary."""
    return CPU_CANARY if on_gpus and device == "cpu" else on_gpus


def read_limits(value: Value, name: str) -> Limits:
    found = value_parsers.read_fields(value, name, "{deadline: 15m, memory: 16GiB}")
    value_parsers.check_keys(found, ("deadline", "memory", "disk"), "key of limits")
    default = Limits()
    return Limits(
        deadline_s=_read_entry(found, "deadline", _read_duration, default.deadline_s),
        memory_bytes=_read_entry(found, "memory", value_parsers.read_memory, default.memory_bytes),
        disk_bytes=_read_entry(found, "disk", value_parsers.read_memory, default.disk_bytes),
    )


def read_labels(value: Value, name: str) -> tuple[tuple[str, str], ...]:
    found = value_parsers.read_fields(value, name, "{pool: lab}")
    return tuple(
        sorted(
            (key.text, value_parsers.read_text(label, f"label {key.text}"))
            for key, label in found.entries
        )
    )


def _read_thread_setting(value: Value, name: str) -> Threads:
    if isinstance(value, Scalar) and value.text in tuple(ThreadRule):
        return ThreadRule(value.text)
    return value_parsers.read_number(value, name, parse_threads)


def parse_threads(text: str) -> int:
    """Parse a number of threads; InvalidQuantity also names the words that are allowed instead."""
    try:
        return quantities.parse_whole(text, most=MOST_THREADS)
    except quantities.InvalidQuantity as error:
        raise quantities.InvalidQuantity(f"{str(error)[:-1]}, `physical` or `logical`.") from None


def _read_batch_size(value: Value, name: str) -> BatchSize:
    if isinstance(value, Scalar) and value.text in tuple(BatchSizeRule):
        return BatchSizeRule(value.text)
    return value_parsers.read_number(value, name, parse_batch_size)


def parse_batch_size(text: str) -> BatchSize:
    """Parse a batch size; InvalidQuantity also names the word that is allowed instead."""
    if text in tuple(BatchSizeRule):
        return BatchSizeRule(text)
    try:
        return quantities.parse_whole(text)
    except quantities.InvalidQuantity as error:
        raise quantities.InvalidQuantity(f"{str(error)[:-1]}, or `auto`.") from None


def _read_device(value: Value, name: str) -> Device:
    if isinstance(value, Fields):
        return _read_gpu_model(value, name)
    if not isinstance(value, Scalar):
        raise value_parsers.make_value_error(value, name, DEVICE_MEND)
    device = value_parsers.read_quantity(value, name, parse_device)
    if device is None:
        raise value_parsers.make_value_error(value, name, DEVICE_MEND)
    return device


def _read_gpu_model(found: Fields, name: str) -> Device:
    value_parsers.check_keys(found, ("gpu", "count"), "key of a device")
    model = found.get("gpu")
    if model is None:
        raise ConfigError(found.place, f"{name} holds a mapping without `gpu`", DEVICE_MEND)
    model_name = value_parsers.read_text(model, "gpu")
    if model_name.isdecimal():
        mend = f"Write gpu:{model_name} if you mean so many."
        raise ConfigError(model.place, f"'{model_name}' is not a GPU model", mend)
    count = found.get("count")
    most = MOST_GPUS
    return Device(
        "gpu",
        1 if count is None else value_parsers.read_whole(count, "count", most=most),
        model_name,
    )


def _read_positive(value: Value, name: str) -> float:
    return value_parsers.read_number(value, name, quantities.parse_positive)


def _read_seconds(value: Value, name: str) -> float:
    return value_parsers.read_number(value, name, quantities.parse_decimal)


def _read_share(value: Value, name: str) -> float:
    return value_parsers.read_quantity(value, name, quantities.parse_share)


def _read_duration(value: Value, name: str) -> float:
    return value_parsers.read_quantity(value, name, quantities.parse_duration_s)


def _read_distinct(
    value: Value, name: str, example: str, read: Callable[[Value, str], T]
) -> tuple[T, ...]:
    return tuple(
        dict.fromkeys(read(item, name) for item in value_parsers.read_items(value, name, example))
    )


def _read_entry(found: Fields, name: str, read: Callable[[Value, str], T], default: T) -> T:
    value = found.get(name)
    return default if value is None else read(value, name)
