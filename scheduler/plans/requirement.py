"""One requirement of a cell on a node: a condition with its messages. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.scheduler.sweeps.sweep import Threads

Text = Callable[[Node], str]


@dataclass(frozen=True, slots=True)
class CellRequirements:
    """The fields of a cell that decide where it can run; many cells share one.

    threads: of each device. framework: its environment must be available there; empty: none is
    needed. processes: on a CPU, that share each batch. build: of the task; empty: its node's
    driver decides.
    """

    threads: Threads
    gpu_count: int
    gpu_model: str
    framework: str = ""
    device: str = "cpu"
    processes: int = 1
    build: str = ""

    @property
    def devices(self) -> int:
        """GPUs, or processes on a CPU, each of which needs its threads."""
        return max(1, self.gpu_count, self.processes)

    @property
    def devices_text(self) -> str:
        """Its devices in words: `2 GPUs`, `2 processes`."""
        return f"{self.devices} {'GPUs' if self.gpu_count else 'processes'}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on a node, with texts for what is wanted and what a node has.

    describe_all: describes several nodes none of which meets it. choose_status: the status of a
    task that none of them can run for that.
    """

    wants: str
    is_met: Callable[[Node], bool]
    has: Text
    describe_all: Callable[[Sequence[Node]], str]
    choose_status: Callable[[Sequence[Node]], Status] = lambda nodes: Status.UNPLACEABLE

    def unmet(self, node: Node) -> str:
        """Describe a failure, e.g. `needs 8 threads, has 4 cores`."""
        return f"needs {self.wants}, has {self.has(node)}"

    def unmet_by_all(self, nodes: Sequence[Node]) -> str:
        return f"needs {self.wants}, {self.describe_all(nodes)}"
