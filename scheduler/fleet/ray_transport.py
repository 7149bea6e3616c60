"""Transport over Ray: one Ray task per attempt, pinned to its node, run once."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol, cast

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from velodrome.agents.measurement import Measurement
from velodrome.scheduler.fleet import node_functions
from velodrome.scheduler.fleet.attempts import Attempt, Preparation, Prepared, Work
from velodrome.scheduler.fleet.found_sizes import FoundSizes
from velodrome.scheduler.fleet.group_attempts import execute_group_attempt
from velodrome.scheduler.fleet.membership import Member, Membership
from velodrome.scheduler.fleet.node_provisioning import NodeProvisioner
from velodrome.scheduler.fleet.ray_calls import (
    detect_local_failure,
    reserve_together,
    run_in_group,
    run_once_on,
    summarize_error,
)
from velodrome.scheduler.fleet.transport import Change, WorkFailed

POLL_S = 1.0
NODE_ERRORS = (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError)


class Stream(Protocol):
    """A Ray task that yields: returns the next reference, StopIteration at its end."""

    def __next__(self) -> "ray.ObjectRef[object]": ...


class RayTransport:
    """Starts work on nodes through Ray. cache: the nodes' environment folder; empty: their default.

    execute: the function that runs an attempt on a node; benchmarks replace it by a faster one.
    """

    def __init__(
        self,
        membership: Membership,
        cache: str = "",
        provisioner: NodeProvisioner | None = None,
        execute: Callable[..., object] = node_functions.execute_attempt,
    ) -> None:
        self._membership = membership
        self._cache = cache
        self._provisioner = provisioner
        self._execute = execute
        self._sizes = FoundSizes()
        self._streams: dict[Stream, Work] = {}
        self._groups: dict[Stream, PlacementGroup] = {}  # of attempts on several nodes
        self._unreached: list[Work] = []
        self._looked_s = -POLL_S

    def read_clock_s(self) -> float:
        return time.monotonic()

    def list_changes(self) -> Iterator[Change]:
        read_clock_s = self.read_clock_s()
        if read_clock_s - self._looked_s < POLL_S and not self._membership.has_changes:
            return
        self._looked_s = read_clock_s
        with detect_local_failure():
            found = list(self._membership.poll_changes(read_clock_s))
        yield from found

    @detect_local_failure()
    def start(self, work: Work) -> None:
        member = self._membership.find_member(work.node_id)
        if member is None:  # suspected since the last poll of changes
            self._unreached.append(work)
            return
        if isinstance(work, Preparation):
            stream = _start(member, node_functions.prepare, member.cpus, 0, work, self._cache)
        elif work.partners:
            self._start_group(work)
            return
        else:
            cpus, gpus = _count_resources(work, member)
            attempt = self._sizes.apply(work, member.node.node_type)
            stream = _start(member, self._execute, cpus, gpus, attempt, member.node, self._cache)
        self._streams[stream] = work

    def _start_group(self, work: Attempt) -> None:
        """Reserve all nodes whole or none, and start the attempt on the leading one."""
        found = [self._membership.find_member(node_id) for node_id in work.node_ids]
        members = [member for member in found if member]
        if len(members) < len(found):
            self._unreached.append(work)
            return
        group = reserve_together(
            [member.ray_id for member in members],
            [_count_resources(work, member) for member in members],
        )
        nodes = tuple(member.node for member in members)
        options = run_in_group(group, 0, execute_group_attempt)
        stream = cast(Stream, options.remote(work, nodes, self._cache))
        self._streams[stream], self._groups[stream] = work, group

    @detect_local_failure()
    def wait_for_reports(self, timeout_s: float) -> Sequence[tuple[Work, object]]:
        if self._unreached:
            unreached, self._unreached = self._unreached, []
            return [(work, WorkFailed("its node left", of_node=True)) for work in unreached]
        if not self._streams:
            time.sleep(timeout_s)
            return ()
        return [self._read_next(stream) for stream in _select_ready(list(self._streams), timeout_s)]

    def abandon(self, work: Work) -> None:
        for stream in [stream for stream, of in self._streams.items() if of is work]:
            del self._streams[stream]
            with suppress(ray.exceptions.RayError, ValueError):
                ray.cancel(cast("ray.ObjectRef[object]", stream), force=True)
            self._release(stream)

    def want(self, attempts: Sequence[Attempt]) -> None:
        if self._provisioner:
            self._provisioner.want(attempts, self.read_clock_s(), self._membership.is_alive)

    def _read_next(self, stream: Stream) -> tuple[Work, object]:
        work = self._streams[stream]
        report: object
        try:
            report = ray.get(next(stream))
        except StopIteration:
            report = WorkFailed("the node's task ended without an answer")
        except NODE_ERRORS as error:
            report = WorkFailed(summarize_error(error), of_node=True)
            self._membership.suspect(work.node_id, summarize_error(error), self.read_clock_s())
        except ray.exceptions.RayError as error:
            report = WorkFailed(summarize_error(error))
        if isinstance(report, Measurement):
            self._sizes.record(report)
        if isinstance(report, WorkFailed | Measurement | Prepared):
            del self._streams[stream]
            self._release(stream)
        return work, report

    def _release(self, stream: Stream) -> None:
        """Free the nodes of an attempt on several; Ray ends what is left of it there."""
        if group := self._groups.pop(stream, None):
            with suppress(ray.exceptions.RayError):
                remove_placement_group(group)


def _count_resources(work: Attempt, member: Member) -> tuple[float, float]:
    """Return the CPUs and GPUs of a node that an attempt gets from Ray."""
    if work.task.exclusive:
        return member.cpus, member.gpus
    return work.task.total_threads, work.task.gpu_count


def _select_ready(streams: list[Stream], timeout_s: float) -> list[Stream]:
    """List the streams that have something to read. Ray's type stubs know only references."""
    references = cast("list[ray.ObjectRef[object]]", streams)
    ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
    if not ready:
        ready, _ = ray.wait(references, timeout=timeout_s)
    return cast("list[Stream]", ready)


def _start(
    member: Member, function: Callable[..., object], cpus: float, gpus: float, *arguments: object
) -> Stream:
    """Run a function on this node only, once, and stream what it yields."""
    options = run_once_on(
        member.ray_id, function, num_cpus=cpus, num_gpus=gpus, num_returns="streaming"
    )
    return cast(Stream, options.remote(*arguments))
