"""Assignment of CPUs and GPUs to a task, decided from the node's topology alone."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from velodrome.agents.gpu_models import group_by_model, select_gpus
from velodrome.agents.node import Core, Gpu, Node


@dataclass(frozen=True)
class Allotment:
    """cores: physical cores that are the task's alone. cpus: where its threads run.

    sampler_cpu: where its sampler runs, outside its cores; None if there is no core to spare.
    """

    cores: tuple[Core, ...]
    cpus: tuple[int, ...]
    sampler_cpu: int | None


class DoesNotFit(Exception):
    """The node never has what the task needs."""


class ForeignAccelerator(DoesNotFit):
    """The node has accelerators only of makers for which there is no framework."""


def choose(
    node: Node,
    threads: int,
    free: Collection[Core] | None = None,
    gpus: Collection[Gpu] = (),
) -> Allotment | None:
    """Choose the cores of a task; None if too few are free now. DoesNotFit if there never are.

    One thread per core while cores last, then SMT siblings too. The node's first core is taken
    last: the system and the sampler run there. The cores are of the NUMA node of the task's GPUs if
    it has as many, else of one NUMA node, else of one socket; of several candidates, the one with
    most cores close to the GPUs, then the one with fewest free cores.
    """
    if not 0 < threads <= node.logical:
        raise DoesNotFit(
            f"{threads} threads, and {node.hostname} has {node.logical} CPUs. "
            f"Give 1 to {node.logical} threads"
        )
    wanted = min(threads, node.physical)
    spared = min(node.cores, key=lambda core: core.number)
    left = [core for core in node.cores if free is None or core in free]
    close = frozenset(gpu.numa_node for gpu in gpus)
    others = [core for core in left if core != spared]
    taken = _pick(others, wanted, close) or _pick(left, wanted, close)
    if taken is None:
        return None
    return Allotment(
        cores=taken,
        cpus=_cpus(taken, threads),
        sampler_cpu=None if spared in taken else spared.cpus[0],
    )


def _pick(
    cores: Sequence[Core], wanted: int, close: Collection[int | None]
) -> tuple[Core, ...] | None:
    """Pick the closest cores; None if there are too few. close: NUMA nodes to prefer."""
    groups = [group for group in _core_groups(cores) if len(group) >= wanted]
    if not groups:
        return None

    def rank(group: Sequence[Core]) -> tuple[bool, int, int, int, int]:
        near = sum(core.numa_node in close for core in group)
        sockets = len({core.socket for core in group})
        numa_nodes = len({core.numa_node for core in group})
        return (near < wanted, sockets, numa_nodes, -near, len(group))

    best: Sequence[Core] = min(groups, key=rank)
    nearest = sorted(best, key=lambda core: core.numa_node not in close)[:wanted]
    return tuple(sorted(nearest, key=lambda core: core.number))


def _core_groups(cores: Sequence[Core]) -> Iterator[list[Core]]:
    """Yield each NUMA node's cores, then each socket's, then all, in order of preference."""
    near = sorted(cores, key=lambda core: (core.socket, core.numa_node, core.number))
    for place in sorted({(core.socket, core.numa_node) for core in near}):
        yield [core for core in near if (core.socket, core.numa_node) == place]
    for socket in sorted({core.socket for core in near}):
        yield [core for core in near if core.socket == socket]
    yield near


def _cpus(cores: Sequence[Core], threads: int) -> tuple[int, ...]:
    """Take the first CPU of each core before the second of any."""
    by_turn = sorted((turn, cpu) for core in cores for turn, cpu in enumerate(core.cpus))
    return tuple(sorted(cpu for _, cpu in by_turn[:threads]))


def divide_cpus(allotment: Allotment, devices: int) -> tuple[str, ...]:
    """Divide the CPUs among the processes of several devices, equally many each, as `0,2`.

    A process's CPUs are on neighbouring cores, so that no two share one while cores last. Empty for
    one device.
    """
    if devices == 1:
        return ()
    ordered = [cpu for core in allotment.cores for cpu in core.cpus if cpu in allotment.cpus]
    each = len(ordered) // devices
    parts = [ordered[start : start + each] for start in range(0, each * devices, each)]
    return tuple(",".join(map(str, sorted(part))) for part in parts)


@dataclass(frozen=True)
class ResourceRequest:
    """Resources that a task needs. exclusive: nothing else may run on the node meanwhile.

    gpu_model: part of the GPU's name, in any case; gpu_uuids: exactly these GPUs; empty: any.
    """

    threads: int
    gpu_count: int = 0
    gpu_model: str = ""
    gpu_uuids: tuple[str, ...] = ()
    exclusive: bool = True

    def select_gpus(self, node: Node) -> tuple[Gpu, ...]:
        """Select the acceptable GPUs: those named, else all of one model."""
        if not self.gpu_count:
            return ()
        if not self.gpu_uuids:
            return select_gpus(node.gpus, self.gpu_model, self.gpu_count)
        named = [gpu for gpu in node.gpus if gpu.uuid in self.gpu_uuids]
        groups = group_by_model(named, self.gpu_model, self.gpu_count)
        return tuple(gpu for group in groups for gpu in group)


@dataclass(frozen=True)
class Share:
    """Resources of a task. cores and gpus are those to lock: all the node's if it is exclusive."""

    allotment: Allotment
    gpus: tuple[Gpu, ...]
    locked_cores: tuple[Core, ...]
    locked_gpus: tuple[Gpu, ...]


def share(
    node: Node, need: ResourceRequest, free_cores: Collection[Core], free_gpus: Collection[Gpu]
) -> Share | None:
    """Assign free resources; None if too few are free now. DoesNotFit if there never are enough."""
    suitable = need.select_gpus(node)
    if len(suitable) < need.gpu_count:
        kind = ForeignAccelerator if node.has_only_foreign_accelerators else DoesNotFit
        raise kind(_too_few_gpus(node, need, len(suitable)))
    gpus = tuple(gpu for gpu in suitable if gpu in free_gpus)[: need.gpu_count]
    allotment = choose(node, need.threads, free_cores, gpus)
    if allotment is None or len(gpus) < need.gpu_count:
        return None
    if not need.exclusive:
        return Share(allotment, gpus, allotment.cores, gpus)
    if len(free_cores) < len(node.cores) or len(free_gpus) < len(node.gpus):
        return None
    return Share(allotment, gpus, node.cores, node.gpus)


def _too_few_gpus(node: Node, need: ResourceRequest, count: int) -> str:
    such = " such" if need.gpu_model or need.gpu_uuids or node.gpus else ""
    needed = "1 GPU" if need.gpu_count == 1 else f"{need.gpu_count} GPUs"
    fault = f": {node.gpu_remarks}" if node.gpu_remarks else ""
    return f"{needed}, and {node.hostname} has {count or 'none'}{such}{fault}"
