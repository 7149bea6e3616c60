"""Locks that give cores and GPUs to one task, among all tasks of all agents on a machine."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from velodrome.agents import cpu_topology
from velodrome.agents.cores.assignment import ResourceRequest, Share, share
from velodrome.agents.cores.lock_files import lock_folder, try_lock
from velodrome.agents.cores.lock_holders import describe_holders
from velodrome.agents.cpusets import cpu_numbers
from velodrome.agents.node import Core, Gpu, Node

Value = TypeVar("Value")

POLL_S = 0.2
HOLDERS_INTERVAL_S = 2.0  # to look up the holders may mean to read every process
TURNSTILE = "turnstile.lock"


class WaitedTooLong(Exception):
    """The cores or GPUs did not become free in time; the text names their holders."""


@dataclass(frozen=True)
class LockedShare:
    """A task's resources, and the descriptors of their locks for its supervisor."""

    share: Share
    descriptors: tuple[int, ...]


@contextmanager
def lock_resources(
    node: Node, need: ResourceRequest, *, deadline_s: float, on_wait: Callable[[str], None]
) -> Iterator[LockedShare]:
    """Lock the requested resources for the block; a task that is not exclusive takes any that fit.

    Tasks wait at a turnstile, and only the one inside takes locks: so small tasks cannot overtake a
    task that needs every core for ever, and no two tasks each hold half of what both need. on_wait
    gets the names of the holders. WaitedTooLong at the deadline, DoesNotFit if the node never has
    the resources, LocksUnusable. The locks end with the block, or later if a supervisor holds them
    too.
    """
    folder = require_feasible(node, need)
    files = _files(node, need, folder)
    what = "GPUs and cores" if need.gpu_count else "cores"
    turn = _Turn(time.monotonic() + deadline_s, on_wait)
    place = turn.until(lambda: _place(folder / TURNSTILE), "a turn")
    try:
        locks = turn.until(lambda: _take(node, need, files), what)
    finally:
        os.close(place)
    try:
        yield locks
    finally:
        for descriptor in locks.descriptors:
            os.close(descriptor)


def require_feasible(node: Node, need: ResourceRequest) -> Path:
    """Return the folder of locks. DoesNotFit, LocksUnusable: faults that waiting does not fix."""
    share(node, need, node.cores, node.gpus)
    return lock_folder()


@dataclass(frozen=True)
class _Taken:
    """Locks that another process holds."""

    paths: tuple[Path, ...]


class _Turn:
    """Repeats an attempt until the deadline, and reports each holder once."""

    def __init__(self, deadline: float, on_wait: Callable[[str], None]) -> None:
        self._deadline = deadline
        self._on_wait = on_wait
        self._reported = ""
        self._reported_at = 0.0

    def until(self, attempt: Callable[[], Value | _Taken], what: str) -> Value:
        while isinstance(found := attempt(), _Taken):
            now = time.monotonic()
            if now >= self._deadline or now - self._reported_at >= HOLDERS_INTERVAL_S:
                self._reported_at = now
                self._report(f"waiting for {what}, held by {describe_holders(found.paths)}")
            time.sleep(POLL_S)
        return found

    def _report(self, text: str) -> None:
        if time.monotonic() >= self._deadline:
            raise WaitedTooLong(f"{text}: not free in time. End that process, or try again later")
        if text != self._reported:
            self._reported = text
            self._on_wait(text)


def _place(turnstile: Path) -> int | _Taken:
    descriptor = try_lock(turnstile)
    return _Taken((turnstile,)) if descriptor is None else descriptor


def _files(node: Node, need: ResourceRequest, folder: Path) -> dict[Path, Core | Gpu]:
    """List every lock that may be needed, in ascending order."""
    gpus = node.gpus if need.exclusive else need.select_gpus(node)
    files: dict[Path, Core | Gpu] = {folder / _name(core): core for core in node.cores}
    return files | {folder / f"gpu-{gpu.uuid}.lock": gpu for gpu in gpus}


def _name(core: Core) -> str:
    """Name a lock by the core's lowest sibling: containers may see different siblings."""
    cpu = core.cpus[0]
    siblings = cpu_topology.CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list"
    return f"core-{min(cpu_numbers(cpu_topology.first_line(siblings)) or {cpu})}.lock"


def _take(node: Node, need: ResourceRequest, files: dict[Path, Core | Gpu]) -> LockedShare | _Taken:
    """Lock all free candidates, keep those needed and release the rest: all or nothing."""
    locks: dict[Path, int] = {}
    busy: list[Path] = []
    keep: set[Core | Gpu] = set()
    try:
        for path in files:
            descriptor = try_lock(path)
            if descriptor is not None:
                locks[path] = descriptor
                continue
            busy.append(path)
            if need.exclusive:  # do not try hundreds of cores each time
                return _Taken(tuple(busy))
        found = _share(node, need, [files[path] for path in locks])
        if found is None:
            return _Taken(tuple(busy))
        keep = {*found.locked_cores, *found.locked_gpus}
        own = tuple(descriptor for path, descriptor in locks.items() if files[path] in keep)
        return LockedShare(found, own)
    finally:
        for path, descriptor in locks.items():
            if files[path] not in keep:
                os.close(descriptor)


def _share(node: Node, need: ResourceRequest, free: Sequence[Core | Gpu]) -> Share | None:
    cores = [resource for resource in free if isinstance(resource, Core)]
    return share(node, need, cores, [gpu for gpu in free if isinstance(gpu, Gpu)])
