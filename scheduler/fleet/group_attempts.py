"""An attempt on several nodes: a function that Ray runs on the leading one, inside the group.

All nodes are reserved whole, by one placement group, before it starts. It starts the others' parts
as Ray tasks of its own, so that they end when it does.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import ray
from ray.util import get_node_ip_address
from ray.util.placement_group import PlacementGroup, get_current_placement_group

from velodrome.adapters.protocol import Failed, Listening, Phase
from velodrome.agents.execution import GroupLink, Note, execute
from velodrome.agents.group_members import MemberEnd, follow
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.fleet.group_ends import PartEnd, judge_group, name_partners
from velodrome.scheduler.fleet.node_functions import open_store, stream_reports
from velodrome.scheduler.fleet.pending_work import make_unmeasured
from velodrome.scheduler.fleet.ray_calls import run_in_group, summarize_error
from velodrome.scheduler.fleet.transport import WorkFailed

POLL_S = 0.1
END_S = 10.0  # for the other nodes' parts to end after the leader
START_S = 60.0  # for another node's Ray to start a process, on a busy machine
SILENT_S = 30.0  # a node's part reports every 5 s
CONNECTED_S = 0.5  # for the report that the leader has connected


@dataclass
class _Member:
    """One other node's part, as far as it is known. lost: why it is lost.

    due_s: when its next report is due. is_connected: its processes know the leader's, and end when
    these do. failed_s: when its failure was reported first.
    """

    node: Node
    due_s: float
    task: "ray.ObjectRef[object] | None" = None
    addresses: tuple[str, ...] = ()
    is_connected: bool = False
    end: MemberEnd | None = None
    lost: str = ""
    failed_s: float | None = None

    @property
    def is_over(self) -> bool:
        return bool(self.end or self.lost)

    def record(self, report: object) -> None:
        """Keep a report; all but notes."""
        now_s = time.monotonic()
        self.due_s = now_s + SILENT_S
        if isinstance(report, Listening):
            self.addresses = report.addresses
        elif isinstance(report, Phase):
            self.is_connected = self.is_connected or bool(self.addresses)
        elif isinstance(report, Failed) or (isinstance(report, MemberEnd) and report.reason):
            self.failed_s = self.failed_s or now_s
        if isinstance(report, MemberEnd):
            self.end = report

    def summarize(self) -> PartEnd:
        return PartEnd(self.node, self.end, self.lost, self.failed_s or time.monotonic())


def _find_own_address() -> str:
    """Return the address by which Ray's nodes reach this one."""
    return cast(str, get_node_ip_address())  # type: ignore[no-untyped-call]


def follow_attempt(attempt: Attempt, node: Node, cache: str, token: str) -> Iterator[object]:
    """Run a node's part of an attempt; yield heartbeats, notes, Listening, then the MemberEnd."""
    store = open_store(cache)
    address = _find_own_address()
    yield from stream_reports(
        lambda note: follow(
            attempt.task,
            node=node,
            environments=store,
            on_event=note,
            address=address,
            token=token,
        )
    )


def execute_group_attempt(attempt: Attempt, nodes: Sequence[Node], cache: str) -> Iterator[object]:
    """Lead an attempt; yield as execute_attempt does, or WorkFailed if another node is lost.

    nodes: all of them, this one first, in the order of the placement group's bundles.
    """
    group = get_current_placement_group()
    assert group, "an attempt on several nodes runs in a placement group"
    yield from stream_reports(lambda note: _lead(attempt, nodes, cache, group, note))


def _lead(
    attempt: Attempt,
    nodes: Sequence[Node],
    cache: str,
    group: PlacementGroup,
    note: Callable[[object], None],
) -> object:
    token = secrets.token_hex(16)
    members = [_Member(node, time.monotonic() + START_S) for node in nodes[1:]]
    failed_s: list[float] = []

    def hear(event: object) -> None:
        if isinstance(event, Failed):
            failed_s.append(time.monotonic())
        note(event)

    for bundle, member in enumerate(members, 1):
        _start(member, bundle, group, attempt, cache, token, note)
    try:
        if failure := _await_listening(members):
            found = _explain_failure(attempt, failure, nodes[0])
            if isinstance(found, Measurement):
                return name_partners(found, [member.summarize() for member in members])
            return found
        peers = tuple(address for member in members for address in member.addresses)
        measurement = execute(
            attempt.task,
            node=nodes[0],
            repeat=attempt.repeat,
            attempt=attempt.number,
            environments=open_store(cache),
            on_event=hear,
            link=GroupLink(_find_own_address(), peers, token),
        )
        ended_s = time.monotonic()
        _await_end(members)
        ends = [member.summarize() for member in members]
        return judge_group(measurement, min([*failed_s, ended_s]), ends)
    finally:
        for member in members:
            if member.end is None and member.task is not None:
                with suppress(ray.exceptions.RayError, ValueError):
                    ray.cancel(member.task, force=True)


def _start(
    member: _Member,
    bundle: int,
    group: PlacementGroup,
    attempt: Attempt,
    cache: str,
    token: str,
    note: Callable[[object], None],
) -> None:
    """Start a node's part, and a thread that reads what it reports."""
    stream = run_in_group(group, bundle, follow_attempt).remote(attempt, member.node, cache, token)
    member.task = cast("ray.ObjectRef[object]", stream)

    def read() -> None:
        try:
            for reference in stream:
                report = ray.get(reference)
                member.record(report)
                if isinstance(report, Note):
                    note(Note(f"{member.node.hostname}: {report.text}"))
        except ray.exceptions.RayError as error:
            member.lost = summarize_error(error)
        if not member.is_over:
            member.lost = "its task ended without an answer"

    threading.Thread(target=read, name="member", daemon=True).start()


def _await_listening(members: Sequence[_Member]) -> _Member | None:
    """Wait until all listen, each for its cores; return one that ended or fell silent instead."""
    while not all(member.addresses for member in members):
        for member in members:
            if time.monotonic() > member.due_s:
                member.lost = member.lost or "it does not answer. Are Ray's ports open to it?"
            if member.is_over:
                return member
        time.sleep(POLL_S)
    return None


def _await_end(members: Sequence[_Member]) -> None:
    """Wait until the parts that the leader has reached end; the others know of no end."""
    began_s = time.monotonic()
    while left := [member for member in members if not member.is_over]:
        waited_s = time.monotonic() - began_s
        reached = [member for member in left if member.is_connected]
        if waited_s > END_S:
            for member in reached:
                member.lost = f"nothing was heard of it for {END_S:.0f} s"
        if waited_s > END_S or not (reached or waited_s < CONNECTED_S):
            return
        time.sleep(POLL_S)


def _explain_failure(attempt: Attempt, member: _Member, leader: Node) -> object:
    """Return what becomes of an attempt of which a node's part ended before it began."""
    if member.end is None:
        return WorkFailed(f"{member.node.hostname}: {member.lost}")
    end = member.end
    status = Status.CRASHED if end.status.has_number else end.status
    return make_unmeasured(attempt, status, f"{end.hostname}: {end.reason}", end.log_tail, leader)
