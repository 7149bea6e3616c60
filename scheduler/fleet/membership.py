"""Membership of a Ray cluster: its nodes by their own inventories, watched while a sweep runs."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray

from velodrome.agents.gpu_allotment import limit_to_ray
from velodrome.agents.node import Node
from velodrome.agents.node_types import NodeTypes
from velodrome.scheduler.fleet import node_functions
from velodrome.scheduler.fleet.head_monitor import HeadMonitor
from velodrome.scheduler.fleet.ray_calls import detect_local_failure, run_once_on, summarize_error
from velodrome.scheduler.fleet.transport import Change, Gone, Joined, Unusable
from velodrome.scheduler.plans.node_prices import NO_PRICES, PriceList

INVENTORY_DEADLINE_S = 60.0
SUSPECT_S = 10.0  # Ray's own health check takes 2 to 3 s as cluster.yaml sets it, 15 s by default
POLL_S = 0.2
NODE_ERRORS = (
    ray.exceptions.NodeDiedError,
    ray.exceptions.RaySystemError,
    ray.exceptions.TaskUnschedulableError,
)
NODE_ID_LABEL = "ray.io/node-id"  # a label that Ray puts on every node


@dataclass(frozen=True)
class Member:
    """A node of the fleet: its inventory, and Ray's id and resources for it."""

    node: Node
    ray_id: str
    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class _InventoryRequest:
    """A node whose inventory was requested and has not arrived."""

    entry: Mapping[str, Any]
    answer: "ray.ObjectRef[Node]"
    requested_s: float


class Membership:
    """Tracks which nodes can measure. known.

    Inventories by Ray's id that need no request. types: names. prices: of nodes as they join. A
    node that offers Ray no CPUs, such as a head that only coordinates, does not belong to the
    fleet.
    """

    def __init__(
        self,
        known: Mapping[str, Node] | None = None,
        types: NodeTypes | None = None,
        prices: PriceList = NO_PRICES,
    ) -> None:
        self._known = dict(known or {})
        self._types = types or NodeTypes()
        self._prices = prices
        self._monitor = HeadMonitor()
        self._members: dict[str, Member] = {}  # by node id
        self._requests: dict[str, _InventoryRequest] = {}  # by Ray's id
        self._waited_for: dict[str, float] = {}  # by Ray's id, since when: neither joined nor told
        self._unusable: set[str] = set()
        self._crashed: set[str] = set()  # once, by Ray's id, as they were asked
        self._suspects: dict[str, float] = {}  # by Ray's id, until when
        self._lost: list[Gone] = []

    def __enter__(self) -> "Membership":
        return self

    def __exit__(self, *error: object) -> None:
        self._monitor.close()

    def suspect(self, node_id: str, reason: str, now_s: float) -> None:
        """Treat a node as lost because a task could not reach it.

        Ray may learn of it later. It may rejoin.
        """
        member = self._members.pop(node_id, None)
        if member:
            self._suspects[member.ray_id] = now_s + SUSPECT_S
            self._lost.append(Gone(member.node, reason))

    def find_member(self, node_id: str) -> Member | None:
        return self._members.get(node_id)

    def is_alive(self, ray_id: str) -> bool:
        """Return True if Ray lists the node as alive, with or without an inventory."""
        return bool(self._monitor.list_nodes().get(ray_id, {}).get("Alive"))

    @property
    def has_changes(self) -> bool:
        return bool(self._lost)

    @property
    def is_complete(self) -> bool:
        """Return True if every live node has sent its inventory, or a change says why not.

        A node whose request failed and that will be asked again has done neither.
        """
        return not self._waited_for

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(member.node for member in self._members.values())

    @detect_local_failure()
    def wait_for_nodes(self, note: Callable[[str], None]) -> tuple[Node, ...]:
        """Wait until every live node has sent its inventory, or cannot; return the usable ones."""
        while True:
            for change in self.poll_changes(time.monotonic()):
                if isinstance(change, Unusable):
                    note(f"{change.hostname} cannot measure: {change.reason}")
            if self.is_complete:
                return self.nodes
            time.sleep(POLL_S)

    def poll_changes(self, now_s: float) -> Iterator[Change]:
        """Yield the changes since the last call."""
        entries = self._monitor.list_nodes()
        alive = {ray_id: entry for ray_id, entry in entries.items() if entry["Alive"]}
        yield from self._lost
        self._lost.clear()
        self._suspects = {ray_id: s for ray_id, s in self._suspects.items() if now_s < s}
        for member in [each for each in self._members.values() if each.ray_id not in alive]:
            del self._members[member.node.node_id]
            yield Gone(member.node, _read_death_reason(entries.get(member.ray_id)))
        member_ids = {member.ray_id for member in self._members.values()}
        for ray_id, entry in alive.items():
            if ray_id not in member_ids | self._without_request and _is_worker(entry):
                self._ask(ray_id, entry, now_s)
        for ray_id in list(self._requests):
            if change := self._receive(ray_id, alive, now_s):
                self._waited_for.pop(ray_id, None)
                yield change
        for ray_id in self._waited_for.keys() - alive.keys():
            del self._waited_for[ray_id]

    @property
    def _without_request(self) -> set[str]:
        """Nodes that need no request now."""
        return self._unusable | self._requests.keys() | self._suspects.keys()

    def _ask(self, ray_id: str, entry: Mapping[str, Any], now_s: float) -> None:
        labels = {k: v for k, v in entry.get("Labels", {}).items() if k != NODE_ID_LABEL}
        if ray_id in self._known:
            answer = ray.put(self._known[ray_id])
        else:
            asking = run_once_on(ray_id, node_functions.read_inventory, num_cpus=0)
            keepalive = os.environ.get(node_functions.KEEPALIVE, "")
            answer = asking.remote(tuple(sorted(labels.items())), keepalive)
        self._requests[ray_id] = _InventoryRequest(entry, answer, now_s)
        self._waited_for.setdefault(ray_id, now_s)

    def _receive(
        self, ray_id: str, alive: Mapping[str, Mapping[str, Any]], now_s: float
    ) -> Change | None:
        request = self._requests[ray_id]
        hostname = str(request.entry.get("NodeManagerHostname", ray_id))
        if ray_id not in alive:
            del self._requests[ray_id]
            return None
        ready, _ = ray.wait([request.answer], timeout=0)
        if not ready and now_s - request.requested_s < INVENTORY_DEADLINE_S:
            return None
        del self._requests[ray_id]
        if not ready:
            self._suspects[ray_id] = now_s + INVENTORY_DEADLINE_S  # then it is asked again
            return Unusable(hostname, f"it sent no inventory within {INVENTORY_DEADLINE_S:.0f} s")
        try:
            node = ray.get(request.answer)
            if fault := self._prices.find_fault(node):
                self._unusable.add(ray_id)
                return Unusable(hostname, fault)
            return self._join(node, ray_id, request.entry["Resources"])
        except NODE_ERRORS as error:
            # It is dead, or this machine's Ray does not know it yet: it is asked again if it lives.
            if now_s - self._waited_for[ray_id] < INVENTORY_DEADLINE_S:
                return None
            self._suspects[ray_id] = now_s + INVENTORY_DEADLINE_S
            return Unusable(hostname, f"Ray does not reach it: {summarize_error(error)}")
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.WorkerCrashedError) and self._may_stop(ray_id):
                self._suspects[ray_id] = now_s + SUSPECT_S  # then it is asked again
                return None
            self._unusable.add(ray_id)
            return Unusable(hostname, summarize_error(error))

    def _may_stop(self, ray_id: str) -> bool:
        """Return True once per node: when a node stops, its processes may end before it does."""
        has_crashed = ray_id in self._crashed
        self._crashed.add(ray_id)
        return not has_crashed

    def _join(self, node: Node, ray_id: str, resources: Mapping[str, float]) -> Joined:
        if node.node_id in self._members:  # two Rays on one machine
            # Ids that Ray makes up are random; those of its fake nodes differ at their end.
            node = replace(node, node_id=f"{node.node_id}-{ray_id[-6:]}")
        cpus, gpus = float(resources["CPU"]), float(resources.get("GPU", 0.0))
        node = limit_to_ray(node, int(gpus))
        node = self._prices.with_price(self._types.with_type_name(node))
        self._members[node.node_id] = Member(node, ray_id, cpus, gpus)
        return Joined(node)


def only_node() -> str:
    """Return Ray's id of the only node of a Ray."""
    entries = ray.nodes()  # type: ignore[no-untyped-call]
    (entry,) = [entry for entry in entries if entry["Alive"]]
    return str(entry["NodeID"])


def _is_worker(entry: Mapping[str, Any]) -> bool:
    return float(entry["Resources"].get("CPU", 0)) >= 1


def _read_death_reason(entry: Mapping[str, Any] | None) -> str:
    return (
        str((entry or {}).get("DeathReasonMessage") or "Ray gives no reason")
        .strip()
        .splitlines()[0]
    )
