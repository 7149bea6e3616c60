"""One machine, as far as it decides a number or whether a task fits."""

import hashlib
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gpu:
    """One GPU, named as the driver names it, told apart by UUID and never by number."""

    index: int
    name: str
    uuid: str
    memory_bytes: int
    driver: str = ""
    power_limit_w: float | None = None

    @property
    def is_part(self) -> bool:
        """Whether it is a MIG instance: of these CUDA shows a process no more than one."""
        return self.uuid.startswith("MIG-")

    def is_called(self, model: str) -> bool:
        """Whether the model is part of its name; empty: any is."""
        return has_words(self.name, model)


@dataclass(frozen=True)
class Core:
    """One physical core: its logical CPUs (SMT threads), its socket, its NUMA node."""

    number: int
    cpus: tuple[int, ...]
    socket: int = 0
    numa_node: int = 0


@dataclass(frozen=True)
class Node:
    """The inventory of one machine. Only cores and CPUs that this process may use are counted.

    ram_bytes is the smaller of the machine's memory and the control group's limit. free_disk_bytes
    is the room for environments where they are kept, those that stand included; 0: not known.
    machine_ram_bytes, machine_cpus: the machine's own, whatever this process may use of it; 0: not
    known. type_name: of its type, given by whoever knows the others (velodrome.agents.node_types).
    gpu_fault: why GPUs, or the driver of all, cannot be used, with the mend; empty: all can.
    cuda_major: the newest CUDA that the driver runs; 0: it does not say, or there is none.
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
    cuda_major: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    python_version: str = ""
    ray_version: str = ""
    velodrome_version: str = ""
    virtualization: str = field(default="")
    free_disk_bytes: int = field(default=0, compare=False)  # another from one look to the next
    machine_ram_bytes: int = field(default=0, compare=False)
    machine_cpus: int = 0
    type_name: str = field(default="", compare=False)

    @property
    def physical(self) -> int:
        return len(self.cores)

    @property
    def logical(self) -> int:
        return sum(len(core.cpus) for core in self.cores)

    @property
    def node_type(self) -> str:
        """The name of its type; without others to be held against, a short hash of its hardware.

        That is the CPU model and cores, GPU models, and memory in whole GiB, which two machines
        alike may fall on both sides of.
        """
        return self.type_name or short_hash(self.hardware)

    @property
    def hardware(self) -> str:
        """As text. What a container is allowed of a larger machine is no machine of that size."""
        gpus = sorted(gpu.name for gpu in self.gpus)
        gib = round(self.ram_bytes / 2**30)
        text = f"{self.cpu_model}|{self.physical}|{self.logical}|{gpus}|{gib}"
        return f"{text}|limited" if self.is_limited else text

    @property
    def is_limited(self) -> bool:
        """Whether less memory may be used than the machine has."""
        return 0 < self.ram_bytes < self.machine_ram_bytes


def short_hash(hardware: str) -> str:
    return hashlib.sha256(hardware.encode()).hexdigest()[:10]


def has_words(text: str, words: str) -> bool:
    """Whether words, whole ones, are part of a text, in any case: of an L40S L4 is none."""
    pattern = rf"(?<![a-z0-9]){re.escape(words)}(?![a-z0-9])"
    return not words or bool(re.search(pattern, text, re.IGNORECASE))
