"""What a sweep says, as frozen values: names are known, numbers are in bounds."""

from dataclasses import dataclass, field
from enum import StrEnum

from velodrome.adapters.protocol import Timing
from velodrome.agents.task import Limits
from velodrome.scheduler.sweeps.conditions import FieldCondition


class PlacementRule(StrEnum):
    """On which of the fitting nodes a cell runs."""

    ANY = "any"
    EACH_TYPE = "each-type"
    EACH_NODE = "each-node"
    EACH_GPU = "each-gpu"


class ThreadRule(StrEnum):
    """A number of threads that depends on the node: its cores, or its SMT threads."""

    PHYSICAL = "physical"
    LOGICAL = "logical"


Threads = int | ThreadRule


@dataclass(frozen=True)
class Device:
    """What computes. kind is `cpu` or `gpu`; gpu_model is part of a GPU's name, empty for any."""

    kind: str = "cpu"
    gpu_count: int = 0
    gpu_model: str = ""


@dataclass(frozen=True)
class LockRequirement:
    """What one of a framework's locks for a device asks of a node: a platform, empty: any.

    accelerators: those it serves, of which a GPU's driver has to run one. size_bytes: what its
    environment takes; 0: not known. file: its name.
    """

    device: str
    platforms: tuple[str, ...] = ()
    size_bytes: int = 0
    accelerators: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True)
class Entrant:
    """A framework with the variants that the sweep runs and the devices that it has a path for.

    locked: of each of its locks, what the environment asks of a node, of which one has to be met; a
    device without an entry asks nothing.
    """

    framework: str
    variants: tuple[str, ...]
    devices: tuple[str, ...]
    locked: tuple[LockRequirement, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Exclusion:
    """Cells for which every condition holds are left out. place: where the file says so."""

    place: str
    conditions: tuple[FieldCondition, ...]


@dataclass(frozen=True)
class Sweep:
    """One sweep file. Models are single ones (families are expanded), without repetitions.

    batch_sizes holds only what the file gives; other models run at their own. text is the file's.
    """

    name: str
    entrants: tuple[Entrant, ...]
    models: tuple[str, ...]
    batch_sizes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    threads: tuple[Threads, ...] = (ThreadRule.PHYSICAL,)
    devices: tuple[Device, ...] = (Device(),)
    dtypes: tuple[str, ...] = ("float32",)
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
    source: str = ""
    text: str = ""
