"""The inventory of the machine that this process runs on."""

import hashlib
import os
import platform
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from velodrome.agents import cgroups, topology
from velodrome.agents.node import Core, Node
from velodrome.agents.safe_text import readable
from velodrome.agents.sampling import driver
from velodrome.agents.topology import first_line

CPUINFO = Path("/proc/cpuinfo")
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def take(
    node_id: str | None = None,
    labels: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    environments: Path | None = None,
) -> Node:
    """What there is, as far as this process may use it; what the system does not tell is empty.

    node_id: by what others know the machine, as its Ray node; None: a stable one of its own.
    environments: the folder they are kept in; None: the usual one.
    """
    allowed = usable_cpus()
    found = within_quota(topology.cores(allowed), cgroups.cpu_quota())
    system = os.uname()
    cpuinfo = _cpuinfo()
    first = topology.CPUS / f"cpu{min(allowed)}"
    seen = driver.look()
    return Node(
        node_id=node_id or machine_id(),
        hostname=readable(system.nodename),
        cpu_model=cpu_model(cpuinfo) or system.machine,
        cores=found,
        ram_bytes=cgroups.memory_bytes(),
        sockets=len({core.socket for core in found}),
        numa_nodes=len({core.numa_node for core in found}),
        caches=topology.caches(min(allowed)),
        governor=first_line(first / "cpufreq" / "scaling_governor"),
        kernel=system.release,
        system=system.sysname,
        architecture=system.machine,
        gpus=seen.gpus,
        gpu_fault=". ".join(map(str, seen.faults)),
        cuda_major=seen.cuda_major or 0,
        labels=tuple(sorted(dict(labels).items())),
        python_version=platform.python_version(),
        ray_version=_version("ray"),
        velodrome_version=_version("velodrome"),
        virtualization=virtualization(cpuinfo),
        free_disk_bytes=_room_bytes(environments),
        machine_ram_bytes=cgroups.machine_bytes(),
        machine_cpus=os.cpu_count() or 0,
    )


def usable_cpus() -> frozenset[int]:
    """CPUs that this process may run on: its affinity and its cpuset."""
    return frozenset(os.sched_getaffinity(0))


def within_quota(cores: tuple[Core, ...], quota: float) -> tuple[Core, ...]:
    """As many cores as a container's CPU limit pays for, at least one.

    More threads than that are halted in every period, whichever CPUs they run on. If it does not
    pay for all threads of the cores, each keeps its first.
    """
    paid = max(1.0, quota)
    kept = cores if paid >= len(cores) else cores[: int(paid)]
    if sum(len(core.cpus) for core in kept) <= paid:
        return kept
    return tuple(replace(core, cpus=core.cpus[:1]) for core in kept)


def machine_id() -> str:
    """The same after every boot, and another one on every machine.

    The host's name is part of it: copies of a virtual machine or of a container image often
    share /etc/machine-id.
    """
    own = first_line(Path("/etc/machine-id")) or f"{uuid.getnode():012x}"
    return hashlib.sha256(f"{readable(platform.node())}|{own}".encode()).hexdigest()[:12]


def cpu_model(cpuinfo: Mapping[str, str]) -> str:
    """As the maker names it; on ARM, whose kernels know no names, by its numbers."""
    if name := cpuinfo.get("model name") or cpuinfo.get("cpu"):
        return " ".join(name.split())
    numbers = [cpuinfo.get(f"CPU {key}", "") for key in ("implementer", "part", "variant")]
    return f"ARM {' '.join(numbers)}" if all(numbers) else ""


def virtualization(cpuinfo: Mapping[str, str]) -> str:
    """A hint, empty on bare metal: the hypervisor's maker, `container`, or both."""
    maker = first_line(Path("/sys/class/dmi/id/sys_vendor")) or "hypervisor"
    guest = maker if "hypervisor" in cpuinfo.get("flags", "").split() else ""
    inside = "container" if any(mark.exists() for mark in CONTAINER_MARKS) else ""
    return ", ".join(part for part in (guest, inside) if part)


def _room_bytes(environments: Path | None) -> int:
    # Late: both take longer to import than all the rest of this.
    from velodrome.agents.environments.disk_space import room_bytes
    from velodrome.agents.environments.store import default_root

    return room_bytes(environments or default_root())


def _cpuinfo() -> dict[str, str]:
    """Of the first CPU."""
    try:
        text = CPUINFO.read_text(errors="replace").split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
