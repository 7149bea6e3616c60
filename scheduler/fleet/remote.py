"""What Ray runs on a node: build environments there, and execute one task with the node's agent.

Both stream: notes and worker events as they come, and at the end what the caller waits for. Ray's
own process only waits here; the measuring happens in the worker that the agent starts.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.environments.versions import Texts
from velodrome.agents.execution import Note, execute
from velodrome.agents.node import Node
from velodrome.scheduler.fleet.queue import Attempt


@dataclass(frozen=True)
class EnvironmentOutcome:
    """Whether one framework's environment stands on a node; reason and log where it does not."""

    framework: str
    reason: str = ""
    log_tail: str = ""

    @property
    def ready(self) -> bool:
        return not self.reason


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


def build_environments(needs: tuple[EnvironmentNeed, ...], cache: str) -> Iterator[object]:
    """Per need its notes, then its EnvironmentOutcome."""
    store = EnvironmentStore(Path(cache))
    for need in needs:
        yield from _stream(partial(_build, store, need))


def execute_attempt(attempt: Attempt, node: Node, cache: str) -> Iterator[object]:
    """Events of the worker and notes of the agent, then the Measurement."""
    store = EnvironmentStore(Path(cache))
    yield from _stream(
        lambda note: execute(
            attempt.task,
            node=node,
            repeat=attempt.repeat,
            attempt=attempt.number,
            environments=store,
            on_event=note,
            gpu_uuids=attempt.gpu_uuids,
        )
    )


def _build(
    store: EnvironmentStore, need: EnvironmentNeed, note: Callable[[object], None]
) -> EnvironmentOutcome:
    try:
        if need.texts:
            store.take_lock(need.framework, need.lock_hash, need.texts)
        store.build(need.framework, need.device, lambda text: note(Note(text)), need.lock_hash)
    except EnvironmentFailed as failure:
        return EnvironmentOutcome(need.framework, failure.reason, failure.log_tail)
    return EnvironmentOutcome(need.framework)


def _stream(work: Callable[[Callable[[object], None]], object]) -> Iterator[object]:
    """What `work` reports while it runs in a thread of its own, then what it returned.

    A worker's death signal follows the thread that started it, so the thread lives as long as the
    work does. An exception of `work` is raised here.
    """
    reports: queue.SimpleQueue[object] = queue.SimpleQueue()
    ended = object()
    result: list[object] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work(reports.put))
        except BaseException as error:  # handed to the caller's thread, raised there
            failure.append(error)
        finally:
            reports.put(ended)

    thread = threading.Thread(target=run, name="agent", daemon=True)
    thread.start()
    while (report := _next(reports)) is not ended:
        yield report
    thread.join()
    if failure:
        raise failure[0]
    yield result[0]


def _next(reports: "queue.SimpleQueue[object]") -> object:
    """The next report, by polling: Ray's cancellation cannot interrupt an endless wait."""
    while True:
        try:
            return reports.get(timeout=0.2)
        except queue.Empty:
            continue
