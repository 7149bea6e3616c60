"""Nodes that are only declared, brought up when something needs one of their type.

Ray's autoscaler starts a node for a task that no node can run. Such a task is sent for every node
that is wanted; it asks for all CPUs of one with the type's labels, and does nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import ray

from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.plans.declared import DeclaredType

JOINS_WITHIN_S = 60.0


def _nothing() -> None:
    """What a node is brought up with."""


@dataclass
class _Asked:
    """One task that asks for a node, and when it was seen to have run."""

    reference: "ray.ObjectRef[None]"
    ran_s: float | None = None


class Demand:
    """types: those that are declared, by the node that stands for each in the plan."""

    def __init__(self, types: Mapping[str, DeclaredType]) -> None:
        self._types = types
        self._asked: dict[str, list[_Asked]] = {}
        self._attempts: Sequence[Attempt] = ()
        self._wanted: dict[DeclaredType, int] = {}

    def want(self, attempts: Sequence[Attempt], now_s: float) -> None:
        """As many nodes of each type as there are courses for it, and no more than it may have."""
        if attempts is not self._attempts:
            self._attempts = attempts
            self._wanted = self._count(attempts)
        names = {declared.name for declared in self._wanted}
        for name in [name for name in self._asked if name not in names]:
            self._take_back(name)
        for declared, count in self._wanted.items():
            asked = self._still_asked(declared.name, now_s)
            missing = min(count, declared.max_workers) - len(asked)
            asked.extend(_Asked(_ask(declared)) for _ in range(missing))

    def __enter__(self) -> "Demand":
        return self

    def __exit__(self, *error: object) -> None:
        """What was asked for and has not come is needed no more."""
        for name in list(self._asked):
            self._take_back(name)

    def _count(self, attempts: Sequence[Attempt]) -> dict[DeclaredType, int]:
        courses = {(attempt.course, attempt.home): attempt for attempt in attempts}
        types = Counter(self._types.get(attempt.node_id) for attempt in courses.values())
        return {declared: count for declared, count in types.items() if declared is not None}

    def _still_asked(self, name: str, now_s: float) -> list[_Asked]:
        """What has run brought a node up, which takes work soon; if it does not, ask again."""
        asked = self._asked.setdefault(name, [])
        for one in asked:
            if one.ran_s is None and ray.wait([one.reference], timeout=0)[0]:
                one.ran_s = now_s
        asked[:] = [one for one in asked if one.ran_s is None or now_s - one.ran_s < JOINS_WITHIN_S]
        return asked

    def _take_back(self, name: str) -> None:
        for one in self._asked.pop(name):
            with suppress(ray.exceptions.RayError, ValueError):
                ray.cancel(one.reference, force=True)


def _ask(declared: DeclaredType) -> "ray.ObjectRef[None]":
    options = ray.remote(_nothing).options(
        num_cpus=declared.cpus,
        max_retries=0,
        label_selector=dict((declared.selector,)),
    )
    return options.remote()
