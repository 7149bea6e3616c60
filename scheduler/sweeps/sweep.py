"""Sweep as frozen values: names are known, numbers are within bounds."""

from dataclasses import dataclass, field
from enum import StrEnum

from velodrome.adapters.protocol import USUAL_PHASES, Timing
from velodrome.agents.task import AUTO, Limits, count_devices
from velodrome.scheduler.sweeps.conditions import FieldCondition


class PlacementRule(StrEnum):
    """Rule for which of the eligible nodes run a cell."""

    ANY = "any"
    EACH_TYPE = "each-type"
    EACH_NODE = "each-node"
    EACH_GPU = "each-gpu"
    EACH_PAIR = "each-pair"  # of nodes of one type, for tasks on two; others as EACH_NODE


class ThreadRule(StrEnum):
    """A number of threads that depends on the node: its cores, or its SMT threads."""

    PHYSICAL = "physical"
    LOGICAL = "logical"


Threads = int | ThreadRule


class BatchSizeRule(StrEnum):
    """A batch size that depends on the node: the largest that fits it."""

    AUTO = AUTO


BatchSize = int | BatchSizeRule


class Scaling(StrEnum):
    """The part of a batch that stays the same for more devices: all of it, or that of each."""

    STRONG = "strong"
    WEAK = "weak"


@dataclass(frozen=True)
class Device:
    """A device, or several that share each batch. kind: `cpu` or `gpu`.

    gpu_model: part of a GPU's name, empty for any. processes: on a CPU, each with its own cores.
    nodes: with as many GPUs or processes each.
    """

    kind: str = "cpu"
    gpu_count: int = 0
    gpu_model: str = ""
    processes: int = 1
    nodes: int = 1

    @property
    def count(self) -> int:
        """Return how many share each batch, on all nodes together."""
        return count_devices(self.kind, self.gpu_count, self.processes, self.nodes)


@dataclass(frozen=True)
class LockRequirement:
    """Requirements of one lock of a framework on a node. platforms empty: any.

    accelerators: those it serves, one of which a GPU's driver must run. size_bytes: size of its
    environment; 0: unknown. file: its name. capability: as in a recipe's lock.
    """

    device: str
    platforms: tuple[str, ...] = ()
    size_bytes: int = 0
    accelerators: tuple[str, ...] = ()
    file: str = ""
    capability: str = ""


@dataclass(frozen=True)
class Entrant:
    """A framework with the variants that the sweep runs and the devices that it supports.

    locked: requirements of its locks, one of which a node must meet; a device without an entry
    requires nothing. missing: other devices, with the reason.
    """

    framework: str
    variants: tuple[str, ...]
    devices: tuple[str, ...]
    locked: tuple[LockRequirement, ...] = field(default=(), compare=False)
    missing: tuple[tuple[str, str], ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Exclusion:
    """Conditions that exclude cells for which all of them hold. place: position in the file."""

    place: str
    conditions: tuple[FieldCondition, ...]


@dataclass(frozen=True)
class Sweep:
    """A sweep file's content. Models are single ones (families are expanded), without repetitions.

    batch_sizes holds only what the file gives; other models use their default. scaling: of tasks on
    several devices. optimizer: empty for the usual one. text is the file's.
    """

    name: str
    entrants: tuple[Entrant, ...]
    models: tuple[str, ...]
    batch_sizes: tuple[tuple[str, tuple[BatchSize, ...]], ...] = ()
    threads: tuple[Threads, ...] = (ThreadRule.PHYSICAL,)
    devices: tuple[Device, ...] = (Device(),)
    scaling: tuple[Scaling, ...] = (Scaling.STRONG,)
    dtypes: tuple[str, ...] = ("float32",)
    phases: tuple[str, ...] = USUAL_PHASES
    optimizer: str = ""
    where: PlacementRule = PlacementRule.ANY
    exclusive: bool = True
    ceilings: bool = False  # whether a product and a copy run, too
    canary: str = ""  # the framework of canaries on GPUs, numpy's on CPUs; empty: there are none
    repeats: int = 3
    seed: int = 0
    sampling_hz: float = 10.0
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    exclusions: tuple[Exclusion, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    same_build: bool = False  # one build of each framework on all GPUs, whatever their drivers
    source: str = ""
    text: str = ""
