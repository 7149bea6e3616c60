"""One cell of the expanded sweep: everything that decides a number, and its key."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property

from velodrome.adapters.protocol import Timing

TASK_KEY_LENGTH = 16


@dataclass(frozen=True)
class Limits:
    """What ends a task that does not end by itself. 0 bytes of memory: no limit.

    disk_bytes: room for environments that its node must have; it ends nothing.
    """

    deadline_s: float = 900.0
    memory_bytes: int = 0
    disk_bytes: int = 0


@dataclass(frozen=True)
class Task:
    """threads is a resolved number of cores; lock_hash names the locked environment."""

    framework: str
    variant: str
    model: str
    batch_size: int
    device: str = "cpu"  # `cpu` or `gpu`
    gpu_count: int = 0
    gpu_model: str = ""
    threads: int = 1
    dtype: str = "float32"
    seed: int = 0
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    exclusive: bool = True
    sampling_hz: float = 10.0
    lock_hash: str = ""
    canary: str = ""  # the framework of the canaries before and after it; empty: there are none

    @cached_property
    def key(self) -> str:
        """A hash of everything that decides the number; the same on every machine.

        Where a task ran, how long it may take, who else may run beside it and what canaries are
        run around it are no part of it, except exclusivity, which decides how quiet the node is.
        """
        deciding = asdict(self)
        del deciding["limits"], deciding["canary"]
        deciding["timing"] = list(self.timing)
        text = json.dumps(deciding, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:TASK_KEY_LENGTH]

    @property
    def label(self) -> str:
        """How a task is called in progress lines and tables."""
        where = f"{self.device} {self.threads}t" if self.device == "cpu" else self.device
        return f"{self.framework}[{self.variant}] {self.model} b{self.batch_size} {where}"
