"""One cell of the expanded sweep: everything that decides a number, and its key."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property

from velodrome.adapters.models import user_models
from velodrome.adapters.protocol import USUAL_PHASES, Timing

TASK_KEY_LENGTH = 16
USUAL_DTYPE = "float32"
TYPE_VARIANTS = ("float64", "float16", "bfloat16")  # variants that are named so compute in it
AUTO = "auto"  # the batch size that the node finds: velodrome.agents.batch_search


@dataclass(frozen=True)
class Limits:
    """Limits at which a task is ended. 0 bytes of memory: no limit.

    disk_bytes: space for environments that its node must have; it ends nothing.
    """

    deadline_s: float = 900.0
    memory_bytes: int = 0
    disk_bytes: int = 0


@dataclass(frozen=True)
class Task:
    """One task. lock_hash names the locked environment.

    threads: a resolved number of cores; with several GPUs or processes, of each. processes: on the
    CPU of each node, that share each batch; with GPUs there is one a GPU. gpu_count: of each node.

    batch_size_rule: AUTO, or empty if the batch size was given. With a rule, batch_size is 0 until
    a node has found it; the key is that of the rule, and stays.
    """

    framework: str
    variant: str
    model: str
    batch_size: int
    device: str = "cpu"  # `cpu` or `gpu`
    gpu_count: int = 0
    gpu_model: str = ""
    threads: int = 1
    dtype: str = USUAL_DTYPE  # one of velodrome.adapters.tolerances.DTYPES
    seed: int = 0
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    exclusive: bool = True
    sampling_hz: float = 10.0
    lock_hash: str = ""
    canary: str = ""  # the framework of the canaries before and after it; empty: there are none
    phases: tuple[str, ...] = USUAL_PHASES  # of velodrome.adapters.protocol.TIMED_PHASES
    optimizer: str = ""  # of the phases update and step; empty without them
    batch_size_rule: str = ""
    processes: int = 1
    nodes: int = 1
    build: str = ""  # such as `cuda12`: that of its environment; empty: its node's driver decides

    @property
    def accelerator(self) -> str:
        """Return what its environment is built for: `cpu`, `gpu` or a CUDA such as `cuda12`."""
        return self.build or self.device

    @property
    def devices(self) -> int:
        """GPUs, or processes on CPUs, that share each batch; 1 at least."""
        return count_devices(self.device, self.gpu_count, self.processes, self.nodes)

    @property
    def node_devices(self) -> int:
        """Return the devices of each node."""
        return count_devices(self.device, self.gpu_count, self.processes)

    @property
    def total_threads(self) -> int:
        """Cores of the task on its node, or on each of its nodes."""
        return self.threads * self.node_devices

    @cached_property
    def key(self) -> str:
        """A hash of everything that decides the number; equal on every machine.

        Where a task ran, its deadline, its neighbours and its canaries are no part of it;
        exclusivity is, because it decides how much interference there is.
        """
        text = json.dumps(self.deciding, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:TASK_KEY_LENGTH]

    @property
    def deciding(self) -> dict[str, object]:
        """The parts of its key, by name."""
        deciding = asdict(self)
        del deciding["limits"], deciding["canary"], deciding["batch_size_rule"]
        del deciding["build"]  # lock_hash is of its locks
        if self.batch_size_rule:
            deciding["batch_size"] = self.batch_size_rule
        deciding["timing"] = list(self.timing)
        if self.phases == USUAL_PHASES:  # tasks without these keep their keys
            del deciding["phases"]
        if not self.optimizer:
            del deciding["optimizer"]
        if self.processes == 1:
            del deciding["processes"]
        if self.nodes == 1:
            del deciding["nodes"]
        if self.gpu_count > 1:  # before, they used one of their GPUs
            deciding["parallel"] = "data"
        definition = user_models.hash_definition(self.model)
        if definition:  # Velodrome's own models have none, and keep the keys that they had
            deciding["definition"] = definition
        return deciding

    @property
    def label(self) -> str:
        """A task's name in progress lines: all that differs between the tasks of one sweep."""
        size = batch_size_name(self.batch_size, self.batch_size_rule)
        what = f"{self.framework}[{self.variant}] {self.model} {size}"
        device = device_name(self.device, self.devices, self.gpu_model, self.nodes)
        return f"{what} {place_name(device, self.threads, self.dtype)}"


def name_computed_type(variant: str, dtype: str) -> str:
    """Return the type of the products: the variant's if it names one, else the precision."""
    return variant if variant in TYPE_VARIANTS else dtype


def batch_size_name(batch_size: int, rule: str) -> str:
    """Return `b64`; with a rule `bauto`, or `bauto=64` once the size is found."""
    if not rule:
        return f"b{batch_size}"
    return f"b{rule}={batch_size}" if batch_size else f"b{rule}"


def count_devices(device: str, gpu_count: int, processes: int, nodes: int = 1) -> int:
    """Return how many GPUs, or processes on CPUs, share each batch; 1 at least.

    gpu_count, processes: of each node.
    """
    return max(1, gpu_count if device == "gpu" else processes) * nodes


def device_name(device: str, count: int, gpu_model: str, nodes: int = 1) -> str:
    """Return the name of a task's devices: `cpu`, `gpu:2`, `gpu:2 A100`, `cpu:4 on 2 nodes`.

    count: on all nodes together.
    """
    counted = f"{device}:{count}" if count > 1 else device
    named = f"{counted} {gpu_model}" if gpu_model else counted
    return f"{named} on {nodes} nodes" if nodes > 1 else named


def place_name(device: str, threads: int, dtype: str) -> str:
    """Return a name such as `cpu 2t`; with the dtype if it is not the default."""
    return f"{device} {threads}t" + (f" {dtype}" if dtype not in ("", USUAL_DTYPE) else "")
