"""The inventory of the machine that this process runs on."""

import hashlib
import os
import platform
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from velodrome.agents import cgroups, cpu_topology, gpu_allotment
from velodrome.agents.cpu_topology import first_line
from velodrome.agents.node import Core, Node
from velodrome.agents.safe_text import escape_undecodable
from velodrome.agents.sampling import driver

CPUINFO = Path("/proc/cpuinfo")
X86_INSTRUCTIONS = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16")
ARM_INSTRUCTIONS = ("asimd", "bf16", "sve", "sve2")
INSTRUCTIONS = frozenset(X86_INSTRUCTIONS + ARM_INSTRUCTIONS)  # they decide FLOP per cycle
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def take_inventory(
    node_id: str | None = None,
    labels: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    environments: Path | None = None,
) -> Node:
    """Take the inventory of what this process may use; unknown fields stay empty.

    node_id: the name by which others know the machine, as its Ray node; None: a stable one of its
    own. environments: their folder; None: the default.
    """
    allowed = usable_cpus()
    cores = limit_to_quota(cpu_topology.cores(allowed), cgroups.cpu_quota())
    system = os.uname()
    cpuinfo = _cpuinfo()
    first = cpu_topology.CPUS / f"cpu{min(allowed)}"
    gpu_driver = driver.query_gpus()
    given = gpu_allotment.find_allotment(gpu_driver.gpus, gpu_allotment.read_given_variables())
    return Node(
        node_id=node_id or machine_id(),
        hostname=escape_undecodable(system.nodename),
        cpu_model=cpu_model(cpuinfo) or system.machine,
        cores=cores,
        ram_bytes=cgroups.memory_bytes(),
        sockets=len({core.socket for core in cores}),
        numa_nodes=len({core.numa_node for core in cores}),
        caches=cpu_topology.caches(min(allowed)),
        governor=first_line(first / "cpufreq" / "scaling_governor"),
        kernel=system.release,
        system=system.sysname,
        architecture=system.machine,
        gpus=given.gpus,
        gpu_note=given.note or gpu_driver.note,
        gpu_fault=". ".join(map(str, gpu_driver.faults)),
        other_accelerators=gpu_driver.others,
        cuda_major=gpu_driver.cuda_major or 0,
        labels=tuple(sorted(dict(labels).items())),
        python_version=platform.python_version(),
        ray_version=_version("ray"),
        velodrome_version=_version("velodrome"),
        virtualization=virtualization(cpuinfo),
        free_disk_bytes=_free_disk_bytes(environments),
        machine_ram_bytes=cgroups.machine_bytes(),
        machine_cpus=os.cpu_count() or 0,
        instructions=list_instructions(cpuinfo),
    )


def usable_cpus() -> frozenset[int]:
    """Return the CPUs that this process may run on: its affinity and its cpuset."""
    return frozenset(os.sched_getaffinity(0))


def limit_to_quota(cores: tuple[Core, ...], quota: float) -> tuple[Core, ...]:
    """Keep as many cores as a container's CPU limit pays for, at least one.

    More threads would be halted in every period, on any CPU. If it does not pay for all threads of
    the cores, each keeps its first.
    """
    paid = max(1.0, quota)
    usable = cores if paid >= len(cores) else cores[: int(paid)]
    if sum(len(core.cpus) for core in usable) <= paid:
        return usable
    return tuple(replace(core, cpus=core.cpus[:1]) for core in usable)


def machine_id() -> str:
    """Return an id that is stable across boots and different on every machine.

    It includes the hostname: copies of a virtual machine or a container image often share
    /etc/machine-id.
    """
    own = first_line(Path("/etc/machine-id")) or f"{uuid.getnode():012x}"
    return hashlib.sha256(f"{escape_undecodable(platform.node())}|{own}".encode()).hexdigest()[:12]


def cpu_model(cpuinfo: Mapping[str, str]) -> str:
    """Return the maker's name of the CPU; on ARM, whose kernels have no names, its numbers."""
    if name := cpuinfo.get("model name") or cpuinfo.get("cpu"):
        return " ".join(name.split())
    numbers = [cpuinfo.get(f"CPU {key}", "") for key in ("implementer", "part", "variant")]
    return f"ARM {' '.join(numbers)}" if all(numbers) else ""


def list_instructions(cpuinfo: Mapping[str, str]) -> str:
    """List the instruction sets of INSTRUCTIONS that a CPU has, sorted."""
    flags = cpuinfo.get("flags") or cpuinfo.get("Features") or ""
    return " ".join(sorted(INSTRUCTIONS.intersection(flags.split())))


def virtualization(cpuinfo: Mapping[str, str]) -> str:
    """Return the hypervisor's maker, `container`, or both; empty on bare metal. A hint."""
    maker = first_line(Path("/sys/class/dmi/id/sys_vendor")) or "hypervisor"
    guest = maker if "hypervisor" in cpuinfo.get("flags", "").split() else ""
    inside = "container" if any(mark.exists() for mark in CONTAINER_MARKS) else ""
    return ", ".join(part for part in (guest, inside) if part)


def _free_disk_bytes(environments: Path | None) -> int:
    # Imported late: both take longer to import than the rest of this module.
    from velodrome.agents.environments.disk_space import free_bytes
    from velodrome.agents.environments.store import default_root

    return free_bytes(environments or default_root())


def _cpuinfo() -> dict[str, str]:
    """Fields of the first CPU."""
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
