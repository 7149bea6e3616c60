"""Functions that Ray runs on a node: inventory, building environments, executing a task.

The last two stream: a heartbeat at once and every few seconds, notes and worker events as they
come, then the result. Ray's own process only waits here; the worker that the agent starts measures.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from velodrome.agents.cores.lock_files import LocksUnusable, lock_folder
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.recipes import RecipeError
from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.execution import Note, execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import (
    Attempt,
    EnvironmentNeed,
    EnvironmentOutcome,
    Preparation,
    Prepared,
)
from velodrome.scheduler.fleet.transport import Heartbeat

BEAT_S = 5.0
POLL_S = 0.2
# A driver pings a node as often as this variable of Ray says, and a node permits as many pings as
# its own value says. After three too many it closes the connection, and Ray loses the task.
KEEPALIVE = "RAY_grpc_client_keepalive_time_ms"
KEEPALIVE_DEFAULT_MS = 300_000


class TooManyPings(Exception):
    """The driver's Ray pings more often than this node's Ray permits."""


def read_inventory(labels: tuple[tuple[str, str], ...], driver_keepalive: str) -> Node:
    """Take the inventory of this node. labels: Ray's labels for it.

    driver_keepalive: KEEPALIVE in the driver's environment. TooManyPings if below this node's.
    """
    own_ms = _parse_ms(os.environ.get(KEEPALIVE, ""))
    if _parse_ms(driver_keepalive) < own_ms:
        raise TooManyPings(
            f"{KEEPALIVE} is {driver_keepalive} where you start velodrome and {own_ms} on this "
            "node, so Ray would lose every task of more than some seconds. Unset it, or start head "
            "and nodes with the same value (deploy/on-prem/ray.env)"
        )
    return take_inventory(labels=labels)


def _parse_ms(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else KEEPALIVE_DEFAULT_MS


def prepare(preparation: Preparation, cache: str) -> Iterator[object]:
    """Build environments; yield heartbeats and notes, then Prepared.

    cache: the folder of environments; empty: the node's own default.
    """
    store = open_store(cache)
    try:
        lock_folder()
    except LocksUnusable:  # no task can run, and each reports it: build nothing
        yield Prepared(tuple(EnvironmentOutcome(need) for need in preparation.needs))
        return
    yield from stream_reports(
        lambda note: Prepared(tuple(_build(store, need, note) for need in preparation.needs))
    )


def execute_attempt(attempt: Attempt, node: Node, cache: str) -> Iterator[object]:
    """Run an attempt; yield heartbeats, worker events and agent notes, then the Measurement."""
    store = open_store(cache)
    yield from stream_reports(
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


def open_store(cache: str) -> EnvironmentStore:
    """Open the environments of a folder; empty: those of the node's default."""
    return EnvironmentStore(Path(cache) if cache else default_root())


def _build(
    store: EnvironmentStore, need: EnvironmentNeed, note: Callable[[object], None]
) -> EnvironmentOutcome:
    try:
        if need.texts:
            store.take_lock(need.framework, need.lock_hash, need.texts)
        store.build(need.framework, need.device, lambda text: note(Note(text)), need.lock_hash)
    except EnvironmentFailed as failure:
        return EnvironmentOutcome(need, failure.reason, failure.log_tail)
    except RecipeError as failure:
        return EnvironmentOutcome(need, str(failure))
    return EnvironmentOutcome(need)


def stream_reports(work: Callable[[Callable[[object], None]], object]) -> Iterator[object]:
    """Run `work` in a thread; yield its reports, then its result, or raise its exception.

    A worker gets a death signal when the thread that started it ends, so that thread lives as long
    as the work does.
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
    yield Heartbeat()
    while (report := _wait_for_report(reports)) is not ended:
        yield report
    thread.join()
    if failure:
        raise failure[0]
    yield result[0]


def _wait_for_report(reports: "queue.SimpleQueue[object]") -> object:
    """Return the next report, or a heartbeat.

    It polls: Ray's cancellation cannot end an endless wait.
    """
    deadline = time.monotonic() + BEAT_S
    while time.monotonic() < deadline:
        try:
            return reports.get(timeout=POLL_S)
        except queue.Empty:
            continue
    return Heartbeat()
