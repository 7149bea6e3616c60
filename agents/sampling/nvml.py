"""Questions to NVIDIA's driver, answered by None where it does not tell."""

import os
from collections.abc import Callable
from typing import TypeVar

import pynvml

Value = TypeVar("Value")

# The first PID namespace: PROC_PID_INIT_INO in Linux' include/linux/proc_ns.h.
HOST_PID_NAMESPACE = "pid:[4026531836]"


def ask(call: Callable[..., Value], *arguments: object) -> Value | None:
    """What the driver answers; None for an error of any kind, a missing function included."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None


def ask_by_name(name: str, *arguments: object) -> object | None:
    """Of a call that came to nvidia-ml-py late, or will go: one without it does not tell."""
    call = getattr(pynvml, name, None)
    return None if call is None else ask(call, *arguments)


def memory_bytes(handle: object) -> tuple[int, int] | None:
    """Total and used. Version 1 counts what the driver keeps for itself as used."""
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    memory = memory or ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return None if memory is None else (int(memory.total), int(memory.used))


def whole_of(handle: object) -> object | None:
    """The GPU that an instance is part of; None of what is no instance."""
    return ask(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle)


def pid_namespace() -> str:
    """The namespace that this process' PIDs are numbered in; empty if the kernel does not say."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return ""
