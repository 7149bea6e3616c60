"""Limits of memory and CPU time of this process, from its control groups of either version."""

import math
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


def memory_bytes(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """Return the smallest of the machine's memory and all limits of this process; 0: unknown."""
    limits = [machine_bytes(proc)]
    limits += [_number(group / "memory.max") for group in _above(proc, groups, "")]
    limits += [_number(group / "memory.limit_in_bytes") for group in _above(proc, groups, "memory")]
    return min((limit for limit in limits if limit > 0), default=0)


def machine_bytes(proc: Path = PROC) -> int:
    """Return the kernel's total memory, a little less than installed; 0: unknown."""
    return _total_bytes(proc / "meminfo")


def cpu_quota(proc: Path = PROC, groups: Path = GROUPS) -> float:
    """Return CPU seconds per second that the quotas allow; inf: no limit."""
    quotas = [math.inf]
    for group in _above(proc, groups, ""):
        given, _, period = _text(group / "cpu.max").partition(" ")
        if given.isdigit():
            quotas.append(int(given) / int(period))
    for group in _above(proc, groups, "cpu"):
        given_us = _number(group / "cpu.cfs_quota_us")
        if given_us > 0:
            quotas.append(given_us / _number(group / "cpu.cfs_period_us"))
    return min(quotas)


def _above(proc: Path, groups: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process' group and its parents; controller "" is version 2.

    A container may see its own group as the mount itself, with a path of the host.
    """
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            mount = groups / controller
            group = mount / path.lstrip("/")
            yield from (at for at in (group, *group.parents) if at.is_relative_to(mount))


def _total_bytes(meminfo: Path) -> int:
    lines = [line for line in _text(meminfo).splitlines() if line.startswith("MemTotal:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def _number(path: Path) -> int:
    """0 for a missing file, or one that holds a word such as `max`."""
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
