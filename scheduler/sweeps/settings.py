"""The settings of a sweep file that stand by themselves: threads, devices, timing, limits ..."""

import re
from collections.abc import Callable
from typing import TypeVar

from velodrome.adapters.protocol import Timing
from velodrome.agents.task import Limits
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import values
from velodrome.scheduler.sweeps.parts import Device, ThreadRule, Threads, Where
from velodrome.scheduler.sweeps.yaml_nodes import Fields, Scalar, Value

DTYPES = ("float32",)
MOST_THREADS = 65536
MOST_GPUS = 64
MOST_REPEATS = 1000
MOST_SEED = 2**32 - 1  # what numpy.random.RandomState takes
MOST_SAMPLING_HZ = 100
THREADS_MEND = "Give a whole number above 0, `physical` or `logical`."
DEVICE_MEND = "Give cpu, gpu, gpu:2 for two, or {gpu: H100} for a model."

T = TypeVar("T")


def read_threads(value: Value, name: str) -> tuple[Threads, ...]:
    return _distinct(value, name, "[1, physical]", _threads)


def read_devices(value: Value, name: str) -> tuple[Device, ...]:
    return _distinct(value, name, "[cpu, gpu]", _device)


def device_named(text: str) -> Device | None:
    """The device of `cpu`, `gpu` or `gpu:2`; None where the text is none of these."""
    if text == "cpu":
        return Device()
    found = re.fullmatch(r"gpu(?::(\d{1,4}))?", text)
    if not found or not 1 <= int(found[1] or 1) <= MOST_GPUS:
        return None
    return Device("gpu", int(found[1] or 1))


def read_dtypes(value: Value, name: str) -> tuple[str, ...]:
    known = {dtype: (dtype,) for dtype in DTYPES}
    return values.listed(value, name, "dtype", known, "[float32]")


def read_where(value: Value, name: str) -> Where:
    return Where(values.one_of(value, name, "rule", [rule.value for rule in Where]))


def read_repeats(value: Value, name: str) -> int:
    return values.whole(value, name, most=MOST_REPEATS)


def read_seed(value: Value, name: str) -> int:
    return values.whole(value, name, least=0, most=MOST_SEED)


def read_sampling_hz(value: Value, name: str) -> float:
    """0: nothing is sampled."""
    rate = values.decimal(value, name)
    if rate > MOST_SAMPLING_HZ:
        raise values.wrong(value, name, f"Give a rate up to {MOST_SAMPLING_HZ}.")
    return rate


def read_timing(value: Value, name: str) -> Timing:
    found = values.fields(value, name, "{target: 1%, max_seconds: 60}")
    values.known_keys(found, Timing._fields, "key of timing")
    default = Timing()
    timing = Timing(
        target=_entry(found, "target", values.part, default.target),
        min_samples=_entry(found, "min_samples", values.whole, default.min_samples),
        min_seconds=_entry(found, "min_seconds", values.decimal, default.min_seconds),
        max_seconds=_entry(found, "max_seconds", _above_zero, default.max_seconds),
    )
    if timing.min_seconds > timing.max_seconds:
        problem = f"min_seconds {timing.min_seconds:g} is over max_seconds {timing.max_seconds:g}"
        raise ConfigError(found.place, problem, "Give a smaller min_seconds.")
    return timing


def read_limits(value: Value, name: str) -> Limits:
    found = values.fields(value, name, "{deadline: 15m, memory: 16GiB}")
    values.known_keys(found, ("deadline", "memory", "disk"), "key of limits")
    default = Limits()
    return Limits(
        deadline_s=_entry(found, "deadline", values.seconds, default.deadline_s),
        memory_bytes=_entry(found, "memory", values.memory, default.memory_bytes),
        disk_bytes=_entry(found, "disk", values.memory, default.disk_bytes),
    )


def read_labels(value: Value, name: str) -> tuple[tuple[str, str], ...]:
    found = values.fields(value, name, "{pool: lab}")
    return tuple(
        sorted((key.text, values.text(label, f"label {key.text}")) for key, label in found.entries)
    )


def _threads(value: Value, name: str) -> Threads:
    if isinstance(value, Scalar) and value.text in tuple(ThreadRule):
        return ThreadRule(value.text)
    try:
        return values.whole(value, name, most=MOST_THREADS)
    except ConfigError as error:
        raise ConfigError(error.place, error.problem, THREADS_MEND) from None


def _device(value: Value, name: str) -> Device:
    if isinstance(value, Fields):
        return _gpu_of_a_model(value, name)
    if not isinstance(value, Scalar):
        raise values.wrong(value, name, DEVICE_MEND)
    device = device_named(value.text)
    if device is None:
        raise values.wrong(value, name, DEVICE_MEND)
    return device


def _gpu_of_a_model(found: Fields, name: str) -> Device:
    values.known_keys(found, ("gpu", "count"), "key of a device")
    model = found.get("gpu")
    if model is None:
        raise ConfigError(found.place, f"{name} holds a mapping without `gpu`", DEVICE_MEND)
    model_name = values.text(model, "gpu")
    if model_name.isdigit():
        mend = f"Write gpu:{model_name} if you mean so many."
        raise ConfigError(model.place, f"'{model_name}' is no model of GPU", mend)
    count = found.get("count")
    most = MOST_GPUS
    return Device(
        "gpu", 1 if count is None else values.whole(count, "count", most=most), model_name
    )


def _above_zero(value: Value, name: str) -> float:
    number = values.decimal(value, name)
    if number == 0:
        raise values.wrong(value, name, "Give a number above 0.")
    return number


def _distinct(
    value: Value, name: str, example: str, read: Callable[[Value, str], T]
) -> tuple[T, ...]:
    return tuple(dict.fromkeys(read(item, name) for item in values.items(value, name, example)))


def _entry(found: Fields, name: str, read: Callable[[Value, str], T], default: T) -> T:
    value = found.get(name)
    return default if value is None else read(value, name)
