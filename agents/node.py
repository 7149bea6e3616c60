"""One machine: the properties that decide a number or whether a task fits."""

import hashlib
import re
from dataclasses import dataclass, field

AMD_MAKER = "AMD "  # before the names of all AMD GPUs


@dataclass(frozen=True)
class Gpu:
    """One GPU by the driver's name, identified by UUID, never by number.

    compute_capability: such as `8.0`, by which builds have kernels for it; empty: unknown.
    numa_node: whose memory and cores its PCI bus is close to; None: unknown.
    """

    index: int
    name: str
    uuid: str
    memory_bytes: int
    driver: str = ""
    power_limit_w: float | None = None
    compute_capability: str = ""
    numa_node: int | None = None

    @property
    def is_amd(self) -> bool:
        """Return True for a GPU that ROCm uses, not CUDA."""
        return self.name.startswith(AMD_MAKER)

    @property
    def is_mig_instance(self) -> bool:
        """Return True for a MIG instance: CUDA shows a process only one of these."""
        return self.uuid.startswith("MIG-")

    def matches(self, model: str) -> bool:
        """Return True if the model is part of its name; an empty model matches any."""
        return contains_words(self.name, model)


@dataclass(frozen=True)
class Core:
    """One physical core: its logical CPUs (SMT threads), its socket, its NUMA node."""

    number: int
    cpus: tuple[int, ...]
    socket: int = 0
    numa_node: int = 0


@dataclass(frozen=True)
class Node:
    """The inventory of one machine: only cores and CPUs that this process may use.

    ram_bytes: the smaller of the machine's memory and the control group's limit. free_disk_bytes:
    space for environments at their place, including existing ones; 0: unknown.
    machine_ram_bytes, machine_cpus: of the whole machine; 0: unknown. type_name: of its type
    (velodrome.agents.node_types). gpu_fault: why GPUs, or the driver, cannot be used, with the fix;
    empty: all can. gpu_note: why some of its GPUs are not this process's. other_accelerators: those
    that no task can use, with the reason. cuda_major: the newest
    CUDA that the driver runs; 0: unknown, or no driver. instructions: the sets of its CPU that
    bound its rates, separated by spaces. price_per_hour: of the whole node, as the user gives it,
    in price_currency; None: unknown.
    """

    node_id: str
    hostname: str
    cpu_model: str
    cores: tuple[Core, ...]
    ram_bytes: int
    sockets: int = 1
    numa_nodes: int = 1
    caches: str = ""
    governor: str = ""
    kernel: str = ""
    system: str = "Linux"
    architecture: str = "x86_64"
    gpus: tuple[Gpu, ...] = ()
    gpu_fault: str = ""
    gpu_note: str = field(default="", compare=False)
    other_accelerators: str = field(default="", compare=False)
    cuda_major: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    python_version: str = ""
    ray_version: str = ""
    velodrome_version: str = ""
    virtualization: str = field(default="")
    free_disk_bytes: int = field(default=0, compare=False)  # differs from reading to reading
    machine_ram_bytes: int = field(default=0, compare=False)
    machine_cpus: int = 0
    type_name: str = field(default="", compare=False)
    instructions: str = field(default="", compare=False)
    price_per_hour: float | None = field(default=None, compare=False)
    price_currency: str = field(default="", compare=False)

    @property
    def physical(self) -> int:
        return len(self.cores)

    @property
    def logical(self) -> int:
        return sum(len(core.cpus) for core in self.cores)

    @property
    def gpu_remarks(self) -> str:
        """Why GPUs are missing: faults, other allotments, or only other makers'; empty: none is."""
        others = "" if self.gpus else self.other_accelerators
        return "; ".join(filter(None, (self.gpu_fault, self.gpu_note, others)))

    @property
    def has_only_foreign_accelerators(self) -> bool:
        """True if its accelerators are all of makers for which there is no framework."""
        own = self.gpus or self.gpu_fault or self.gpu_note
        return bool(self.other_accelerators) and not own

    @property
    def node_type(self) -> str:
        """The name of its type; if there is none yet, a short hash of its hardware.

        Hashed are the CPU model and cores, GPU models, and memory in whole GiB; two equal machines
        may differ by one GiB.
        """
        return self.type_name or short_hash(self.hardware)

    @property
    def hardware(self) -> str:
        """Its hardware as text. A container with a limit is not a machine of that size."""
        gpus = sorted(gpu.name for gpu in self.gpus)
        gib = round(self.ram_bytes / 2**30)
        text = f"{self.cpu_model}|{self.physical}|{self.logical}|{gpus}|{gib}"
        return f"{text}|limited" if self.is_limited else text

    @property
    def is_limited(self) -> bool:
        """True if this process may use less memory than the machine has."""
        return 0 < self.ram_bytes < self.machine_ram_bytes


def short_hash(hardware: str) -> str:
    return hashlib.sha256(hardware.encode()).hexdigest()[:10]


def contains_words(text: str, words: str) -> bool:
    """Return True if a text contains these whole words, in any case: L40S does not contain L4."""
    pattern = rf"(?<![a-z0-9]){re.escape(words)}(?![a-z0-9])"
    return not words or bool(re.search(pattern, text, re.IGNORECASE))
