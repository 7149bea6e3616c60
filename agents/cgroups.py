"""How much memory and CPU time this process may use, by its control groups of either version."""

import math
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


def memory_bytes(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """The least of the machine's memory and every limit above this process; 0 if nothing tells."""
    limits = [machine_bytes(proc)]
    limits += [_number(group / "memory.max") for group in _above(proc, groups, "")]
    limits += [_number(group / "memory.limit_in_bytes") for group in _above(proc, groups, "memory")]
    return min((limit for limit in limits if limit > 0), default=0)


def machine_bytes(proc: Path = PROC) -> int:
    """What the kernel has in all, a little less than is installed; 0 if it does not tell."""
    return _total_bytes(proc / "meminfo")


def cpu_quota(proc: Path = PROC, groups: Path = GROUPS) -> float:
    """Seconds of CPU time per second: what a container's CPU limit comes to. inf: no limit."""
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
    """The folders of this process' group and of those it lies in; controller "" is version 2.

    A container may see its own group as the mount itself, beside a path that is the host's.
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
    """0 for a file that is not there or holds a word, as `max`."""
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
