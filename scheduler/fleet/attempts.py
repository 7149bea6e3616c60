"""What is tried on a node, and what has to stand there first."""

from dataclasses import dataclass

from velodrome.agents.environments.versions import Texts
from velodrome.agents.task import Task
from velodrome.scheduler.plans.alternatives import ANYWHERE, NodeConstraint


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one (task, repeat) on one node. The first attempt is number 1.

    order: its place in the plan. course: those that should run on one node share it. tries: how
    often this run of the command has begun it, number counts earlier runs of the sweep, too.
    gpu_uuids empty: any of the node's.
    """

    task: Task
    repeat: int
    node_id: str
    number: int = 1
    gpu_uuids: tuple[str, ...] = ()
    home: NodeConstraint = ANYWHERE
    course: tuple[int, str] = (0, "")
    order: int = 0
    tries: int = 1

    @property
    def identity(self) -> tuple[str, int]:
        return (self.task.key, self.repeat)


@dataclass(frozen=True, order=True)
class EnvironmentNeed:
    """A framework's environment for one kind of device.

    lock_hash and texts: of a version that no committed lock names its lock, which comes along, so
    that it is the same on every node; empty otherwise.
    """

    framework: str
    device: str
    lock_hash: str = ""
    texts: Texts = ()


@dataclass(frozen=True)
class EnvironmentOutcome:
    """Whether an environment stands on a node; reason and log where it does not."""

    need: EnvironmentNeed
    reason: str = ""
    log_tail: str = ""

    @property
    def ready(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Preparation:
    """The building of environments on a node, while nothing is measured there."""

    node_id: str
    needs: tuple[EnvironmentNeed, ...]


@dataclass(frozen=True)
class Prepared:
    """What became of a preparation."""

    outcomes: tuple[EnvironmentOutcome, ...]


@dataclass(frozen=True)
class RefusedAttempt:
    """An attempt that cannot be begun on its node, for want of an environment."""

    attempt: Attempt
    outcome: EnvironmentOutcome


Work = Attempt | Preparation
