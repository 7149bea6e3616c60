"""Calls of NVIDIA's driver that return None if it does not answer."""

import os
from collections.abc import Callable
from typing import TypeVar

import pynvml

Value = TypeVar("Value")

# The first PID namespace: PROC_PID_INIT_INO in Linux' include/linux/proc_ns.h.
HOST_PID_NAMESPACE = "pid:[4026531836]"


def call_or_none(call: Callable[..., Value], *arguments: object) -> Value | None:
    """Call the driver; None for any error, a missing function included."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None


def call_by_name(name: str, *arguments: object) -> object | None:
    """Call a function that some releases of nvidia-ml-py lack; None if it is missing."""
    call = getattr(pynvml, name, None)
    return None if call is None else call_or_none(call, *arguments)


def memory_bytes(handle: object) -> tuple[int, int] | None:
    """Return total and used memory. Version 1 counts the driver's own memory as used."""
    memory = call_or_none(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    memory = memory or call_or_none(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return None if memory is None else (int(memory.total), int(memory.used))


def parent_gpu(handle: object) -> object | None:
    """Return the GPU of a MIG instance; None if it is not an instance."""
    return call_or_none(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle)


def pid_namespace() -> str:
    """Return the PID namespace of this process; empty if unknown."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return ""
