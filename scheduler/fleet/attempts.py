"""Units of work for a node: attempts, and the environments that they need first."""

from dataclasses import dataclass

from velodrome.agents.environments.versions import Texts
from velodrome.agents.task import Task
from velodrome.scheduler.plans.alternatives import ANYWHERE, NodeConstraint


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one (task, repeat) on one node. The first attempt is number 1.

    order: its place in the plan. course: attempts that should share a node have the same. tries:
    how often this command started it; number also counts earlier commands. gpu_uuids empty: any
    GPUs. partners: the other nodes of a task on several, which node_id leads; empty until it
    starts.
    """

    task: Task
    repeat: int
    node_id: str
    number: int = 1
    gpu_uuids: tuple[str, ...] = ()
    constraint: NodeConstraint = ANYWHERE
    course: tuple[int, str] = (0, "")
    order: int = 0
    tries: int = 1
    partners: tuple[str, ...] = ()

    @property
    def node_ids(self) -> tuple[str, ...]:
        """All its nodes, the leading one first."""
        return (self.node_id, *self.partners)

    @property
    def identity(self) -> tuple[str, int]:
        return (self.task.key, self.repeat)


@dataclass(frozen=True, order=True)
class EnvironmentNeed:
    """A framework's environment for one kind of device, or for a CUDA such as `cuda12`.

    lock_hash and texts: the lock of a version that no committed lock names. It travels along so
    that it is the same on every node. Empty for other versions.
    """

    framework: str
    device: str
    lock_hash: str = ""
    texts: Texts = ()


@dataclass(frozen=True)
class EnvironmentOutcome:
    """Result of building an environment on a node: reason and log, empty if it is ready."""

    need: EnvironmentNeed
    reason: str = ""
    log_tail: str = ""

    @property
    def ready(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Preparation:
    """A build of environments on a node; nothing is measured there meanwhile."""

    node_id: str
    needs: tuple[EnvironmentNeed, ...]

    @property
    def node_ids(self) -> tuple[str, ...]:
        return (self.node_id,)


@dataclass(frozen=True)
class Prepared:
    """Results of a preparation."""

    outcomes: tuple[EnvironmentOutcome, ...]


@dataclass(frozen=True)
class RefusedAttempt:
    """An attempt that cannot start on its node because its environment is missing."""

    attempt: Attempt
    outcome: EnvironmentOutcome


Work = Attempt | Preparation
