"""Node types: machines with equal hardware, within what varies between reboots.

A hash of readings has boundaries, and a machine near one would change its type with the next
kernel. So a type is a name, given to the first machine of a kind; later machines that are alike get
the same name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from velodrome.agents.node import Node, short_hash

# Kernels, firmware and crash kernels reserve memory that differs by this share of the larger.
MEMORY_TOLERANCE = 0.03
# ECC takes 1/16 of GDDR memory, and drivers reserve some; sizes as sold differ by more (40, 80).
GPU_MEMORY_TOLERANCE = 0.1
MAKER = "NVIDIA "  # before names since driver 465, as in `NVIDIA A100-SXM4-40GB`


@dataclass(frozen=True)
class Hardware:
    """Properties of a node that decide its type. gpus None: unknown now; 0: unknown.

    gpu_bytes: the memory of each of gpus, in their order; empty: unknown.
    """

    cpu_model: str
    physical: int
    logical: int
    gpus: tuple[str, ...] | None
    ram_bytes: int
    machine_ram_bytes: int = 0
    machine_cpus: int = 0
    gpu_bytes: tuple[int, ...] = ()


@dataclass(frozen=True)
class TypedNode:
    """A node with its type's name."""

    name: str
    node_id: str
    hardware: Hardware


def hardware_of(node: Node) -> Hardware:
    names, sizes = sort_gpus((gpu.name, gpu.memory_bytes) for gpu in node.gpus)
    return Hardware(
        " ".join(node.cpu_model.split()),
        node.physical,
        node.logical,
        None if node.gpu_fault else names,
        node.ram_bytes,
        node.machine_ram_bytes,
        node.machine_cpus,
        () if node.gpu_fault else sizes,
    )


def sort_gpus(
    gpus: Iterable[tuple[str, int | None]],
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Sort GPUs by name, and equal ones by memory; return the names and the sizes in bytes."""
    ordered = sorted((normalize_gpu_name(name), size or 0) for name, size in gpus)
    return tuple(name for name, _ in ordered), tuple(size for _, size in ordered)


def normalize_gpu_name(gpu: str) -> str:
    """Remove the maker's name, which some drivers put in front."""
    return gpu.removeprefix(MAKER)


def normalize_gpu_names(gpus: str) -> str:
    """Normalize several names, comma-separated as in rows."""
    return ", ".join(map(normalize_gpu_name, gpus.split(", ")))


def are_alike(one: Hardware, other: Hardware) -> bool:
    """Return True if two nodes may be of one type. A field unknown in an old record is ignored.

    Not transitive: of three, the first and the last may be too far apart.
    """
    same = (one.cpu_model, one.physical, one.logical) == (
        other.cpu_model,
        other.physical,
        other.logical,
    )
    return (
        same
        and one.gpus == other.gpus
        and _have_equal_gpu_memory(one, other)
        and _about(one.ram_bytes, other.ram_bytes)
        and _about(one.machine_ram_bytes, other.machine_ram_bytes)
        and (one.machine_cpus == other.machine_cpus or not one.machine_cpus * other.machine_cpus)
    )


def _have_equal_gpu_memory(one: Hardware, other: Hardware) -> bool:
    pairs = zip(one.gpu_bytes, other.gpu_bytes, strict=False)  # empty: unknown
    return all(_about(first, second, GPU_MEMORY_TOLERANCE) for first, second in pairs)


def _about(one: int, other: int, tolerance: float = MEMORY_TOLERANCE) -> bool:
    return not one * other or abs(one - other) <= tolerance * max(one, other)


class NodeTypes:
    """Names of node types, given as nodes appear.

    known: nodes of earlier sweeps, the newest first. A name stands for the hardware that had it
    last.
    """

    def __init__(self, known: Iterable[Iterable[TypedNode]] = ()) -> None:
        self._members: dict[str, list[Hardware]] = {}
        self._history: dict[str, list[TypedNode]] = {}  # by node
        for sweep_nodes in known:
            newer = frozenset(self._members)
            for typed in sweep_nodes:
                self._history.setdefault(typed.node_id, []).append(typed)
                if typed.name not in newer:
                    self._members.setdefault(typed.name, []).append(typed.hardware)

    def with_type_name(self, node: Node) -> Node:
        """Return the node with its type's name; equal nodes get equal names."""
        hardware = hardware_of(node)
        name = self._find_name(node.node_id, hardware) or self._new_name(node)
        members = self._members.setdefault(name, [])
        if hardware not in members:
            members.append(hardware)
        self._history.setdefault(node.node_id, []).insert(
            0, TypedNode(name, node.node_id, hardware)
        )
        return replace(node, type_name=name)

    def _find_name(self, node_id: str, hardware: Hardware) -> str:
        """The type whose members are all alike: the node's previous one, else the newest."""
        if own := self._previous_name(node_id, hardware):
            return own
        if hardware.gpus is None:
            return ""
        alike = (
            name
            for name, members in self._members.items()
            if all(are_alike(hardware, one) for one in members)
        )
        return next(alike, "")

    def _previous_name(self, node_id: str, hardware: Hardware) -> str:
        """The node's previous name for this hardware; GPUs that are unknown now count as equal."""
        for past in self._history.get(node_id, ()):
            known = past.hardware
            if hardware.gpus is None:
                known = replace(known, gpus=None, gpu_bytes=())
            if are_alike(hardware, known):
                return past.name
        return ""

    def _new_name(self, node: Node) -> str:
        """Its hash; if that is taken, the one of its exact memory, then of that of its GPUs too."""
        if node.node_type not in self._members:
            return node.node_type
        gpu_bytes = sorted(gpu.memory_bytes for gpu in node.gpus)
        exact = f"{node.hardware}|{node.ram_bytes}|{node.machine_ram_bytes}"
        name = short_hash(exact)
        return name if name not in self._members else short_hash(f"{exact}|{gpu_bytes}")
