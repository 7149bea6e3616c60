"""Provisioning of declared nodes: asks Ray's autoscaler for a node when an attempt needs one.

The autoscaler starts a node for a task that no node can run. We send one such task per node that we
want; it requests all CPUs of the type, by the type's labels, and returns where it ran.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import ray

from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.fleet.ray_calls import make_remote
from velodrome.scheduler.plans.declared_nodes import DeclaredType

JOINS_WITHIN_S = 60.0
LISTED_WITHIN_S = 5.0  # a node that Ray does not list by then has left


def _find_node() -> str:
    """Return Ray's id of the node that runs this."""
    return str(ray.get_runtime_context().get_node_id())


@dataclass
class _NodeRequest:
    """A task that requests a node; once it has run: on which node, and when we saw that."""

    reference: "ray.ObjectRef[str]"
    ran_on: str = ""
    ran_s: float | None = None


class NodeProvisioner:
    """Requests nodes of declared types. may_run: returns True if an attempt may run on a node."""

    def __init__(
        self, types: Sequence[DeclaredType], may_run: Callable[[Attempt, Node], bool]
    ) -> None:
        self._types = tuple(sorted(types, key=lambda declared: declared.gpus))
        self._may_run = may_run
        self._requests: dict[str, list[_NodeRequest]] = {}
        self._attempts: Sequence[Attempt] = ()
        self._wanted: dict[DeclaredType, int] = {}

    def want(
        self, attempts: Sequence[Attempt], now_s: float, is_alive: Callable[[str], bool]
    ) -> None:
        """Request a node of a type per course that needs one, up to the type's limit.

        is_alive: returns True if a node, by Ray's id, is alive.
        """
        if attempts is not self._attempts:
            self._attempts = attempts
            self._wanted = self._count(attempts)
        names = {declared.name for declared in self._wanted}
        for name in [name for name in self._requests if name not in names]:
            self._cancel(name)
        for declared, count in self._wanted.items():
            requests = self._list_open_requests(declared.name, now_s, is_alive)
            missing = min(count, declared.max_workers) - len(requests)
            requests.extend(_NodeRequest(_request(declared)) for _ in range(missing))

    def __enter__(self) -> "NodeProvisioner":
        return self

    def __exit__(self, *error: object) -> None:
        """Cancel the requests that have brought no node."""
        for name in list(self._requests):
            self._cancel(name)

    def _count(self, attempts: Sequence[Attempt]) -> dict[DeclaredType, int]:
        courses = {(attempt.course, attempt.constraint): attempt for attempt in attempts}
        types = Counter(self._choose_type(attempt) for attempt in courses.values())
        return {declared: count for declared, count in types.items() if declared is not None}

    def _choose_type(self, attempt: Attempt) -> DeclaredType | None:
        """Return the type that the attempt is planned for, else one with the fewest GPUs that fits.

        An attempt is planned for no type if its node is gone, in this run or an earlier one.
        """
        if attempt.constraint.is_one_node:
            return None
        fitting = [declared for declared in self._types if self._may_run(attempt, declared.node)]
        planned = [declared for declared in fitting if declared.name == attempt.node_id]
        return next(iter(planned or fitting), None)

    def _list_open_requests(
        self, name: str, now_s: float, is_alive: Callable[[str], bool]
    ) -> list[_NodeRequest]:
        """List a type's open requests.

        A new node takes work soon; if it does not, or is gone, ask again.
        """
        requests = self._requests.setdefault(name, [])
        for request in requests:
            if request.ran_s is None and ray.wait([request.reference], timeout=0)[0]:
                request.ran_s, request.ran_on = now_s, _read_answer(request.reference)
        requests[:] = [
            request
            for request in requests
            if request.ran_s is None
            or now_s - request.ran_s
            < (JOINS_WITHIN_S if is_alive(request.ran_on) else LISTED_WITHIN_S)
        ]
        return requests

    def _cancel(self, name: str) -> None:
        for request in self._requests.pop(name):
            with suppress(ray.exceptions.RayError, ValueError):
                ray.cancel(request.reference, force=True)


def _request(declared: DeclaredType) -> "ray.ObjectRef[str]":
    options = make_remote(_find_node).options(
        num_cpus=declared.cpus, max_retries=0, label_selector=dict((declared.selector,))
    )
    return cast("ray.ObjectRef[str]", options.remote())


def _read_answer(reference: "ray.ObjectRef[str]") -> str:
    """Return where a request ran; empty if its node was gone before it could answer."""
    try:
        return str(ray.get(reference))
    except ray.exceptions.RayError:
        return ""
