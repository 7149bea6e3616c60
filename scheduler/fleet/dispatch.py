"""Attempts onto Ray and what comes back, one Ray task per attempt."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from velodrome.agents.measurement import Measurement
from velodrome.agents.node import Node
from velodrome.scheduler.fleet import remote
from velodrome.scheduler.fleet.attempt_events import Ended, Lost, Reported, Started
from velodrome.scheduler.fleet.queue import Attempt, Queue

POLL_S = 0.2


@dataclass(frozen=True)
class Member:
    """A node of the fleet as Ray knows it: its inventory and Ray's own id for it."""

    node: Node
    ray_id: str
    cpus: float
    gpus: float = 0.0


class Stream(Protocol):
    """What Ray gives for a task that yields: the next reference, StopIteration at its end."""

    def __next__(self) -> "ray.ObjectRef[object]": ...


def run_attempts(
    queue: Queue, members: dict[str, Member], cache: str, on_event: Callable[[object], None]
) -> None:
    """Until the queue is empty. on_event gets Started, Reported, Ended and Lost as they happen.

    The next attempt of a node is taken only after on_event has returned from an Ended, so that a
    finished task's rows are on disk before another one starts.
    """
    running: dict[Stream, Attempt] = {}
    while not queue.is_empty:
        for attempt in queue.take():
            running[_submit(attempt, members[attempt.node_id], cache)] = attempt
            on_event(Started(attempt))
        for stream in _ready(list(running)):
            _advance(stream, running, queue, on_event)


def build_environments(
    members: dict[str, Member], needs: dict[str, tuple[remote.EnvironmentNeed, ...]], cache: str
) -> Iterator[tuple[str, object]]:
    """Per node id, what its building of environments reports; nodes build beside one another.

    Raises what Ray raises when a node is lost meanwhile.
    """
    streams = {_submit_build(members[node], needs[node], cache): node for node in needs}
    while streams:
        for stream in _ready(list(streams)):
            try:
                yield streams[stream], ray.get(next(stream))
            except StopIteration:
                del streams[stream]


def _advance(
    stream: Stream,
    running: dict[Stream, Attempt],
    queue: Queue,
    on_event: Callable[[object], None],
) -> None:
    attempt = running[stream]
    try:
        report = ray.get(next(stream))
    except StopIteration:
        _lose(stream, running, queue, "the node's task ended without a measurement", on_event)
    except ray.exceptions.RayError as error:
        _lose(stream, running, queue, _first_line(error), on_event)
    else:
        if not isinstance(report, Measurement):
            on_event(Reported(attempt, report))
            return
        del running[stream]
        on_event(Ended(attempt, report))
        queue.finished(attempt)


def _lose(
    stream: Stream,
    running: dict[Stream, Attempt],
    queue: Queue,
    reason: str,
    on_event: Callable[[object], None],
) -> None:
    attempt = running.pop(stream)
    on_event(Lost(attempt, reason, queue.lost(attempt)))


def _ready(streams: list[Stream]) -> list[Stream]:
    """Those with something to take; empty after POLL_S. Ray's stubs know references only."""
    ready, _ = ray.wait(cast("list[ray.ObjectRef[object]]", streams), timeout=POLL_S)
    return cast("list[Stream]", ready)


def _submit(attempt: Attempt, member: Member, cache: str) -> Stream:
    cpus = member.cpus if attempt.task.exclusive else attempt.task.threads
    gpus = member.gpus if attempt.task.exclusive else attempt.task.gpu_count
    return _start(member, remote.execute_attempt, cpus, gpus, attempt, member.node, cache)


def _submit_build(member: Member, needs: tuple[remote.EnvironmentNeed, ...], cache: str) -> Stream:
    return _start(member, remote.build_environments, member.cpus, 0, needs, cache)


def _start(
    member: Member, function: Callable[..., object], cpus: float, gpus: float, *arguments: object
) -> Stream:
    """Run a function on this node or not at all, once, streaming what it yields."""
    options = ray.remote(function).options(
        num_cpus=cpus,
        num_gpus=gpus,
        max_retries=0,  # Velodrome decides what is run again; Ray would by itself three times
        num_returns="streaming",
        scheduling_strategy=NodeAffinitySchedulingStrategy(member.ray_id, soft=False),
    )
    return cast(Stream, options.remote(*arguments))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
