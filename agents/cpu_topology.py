"""Physical cores, sockets, NUMA nodes and caches of a machine, from /sys/devices/system/cpu."""

from collections.abc import Collection
from pathlib import Path

from velodrome.agents.cpusets import cpu_numbers
from velodrome.agents.node import Core

CPUS = Path("/sys/devices/system/cpu")


def cores(allowed: Collection[int], root: Path = CPUS) -> tuple[Core, ...]:
    """List each physical core with an allowed CPU, with only its allowed CPUs.

    Ordered and numbered by their lowest CPU. Without /sys, as in some containers, every CPU counts
    as a core.
    """
    by_siblings: dict[frozenset[int], list[int]] = {}
    for cpu in sorted(allowed):
        by_siblings.setdefault(_siblings(root, cpu), []).append(cpu)
    return tuple(
        Core(
            number=number,
            cpus=tuple(cpus),
            socket=_socket(root, cpus[0]),
            numa_node=_numa_node(root, cpus[0]),
        )
        for number, cpus in enumerate(by_siblings.values())
    )


def caches(cpu: int, root: Path = CPUS) -> str:
    """Describe a CPU's caches: `L1d 32 KiB, L2 512 KiB, L3 32 MiB`; empty if unknown."""
    folders = sorted(root.glob(f"cpu{cpu}/cache/index*"))
    names = [_cache(folder) for folder in folders]
    return ", ".join(name for name in names if name)


def first_line(path: Path) -> str:
    """Read the first line; empty if the file cannot be read."""
    try:
        return path.read_text(errors="replace").split("\n", 1)[0].strip()
    except OSError:
        return ""


def _siblings(root: Path, cpu: int) -> frozenset[int]:
    topology = root / f"cpu{cpu}" / "topology"
    # The second name is the one of kernels before 5.3.
    names = ("core_cpus_list", "thread_siblings_list")
    text = next((text for name in names if (text := first_line(topology / name))), "")
    siblings = cpu_numbers(text)
    return siblings if cpu in siblings else frozenset({cpu})


def _socket(root: Path, cpu: int) -> int:
    text = first_line(root / f"cpu{cpu}" / "topology" / "physical_package_id")
    return int(text) if text.isdigit() else 0  # -1 if the firmware does not state it


def _numa_node(root: Path, cpu: int) -> int:
    nodes = [path.name.removeprefix("node") for path in (root / f"cpu{cpu}").glob("node[0-9]*")]
    return min((int(node) for node in nodes if node.isdigit()), default=0)


def _cache(folder: Path) -> str:
    level, kind = first_line(folder / "level"), first_line(folder / "type")
    size = first_line(folder / "size").removesuffix("K")
    if not (level and size.isdigit()):
        return ""
    letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
    kib = int(size)
    return f"L{level}{letter} " + (f"{kib} KiB" if kib % 1024 else f"{kib // 1024} MiB")
