"""A lease: one process at a time may write a sweep in an object store.

pyarrow has no conditional put, so an object cannot be a lock. But a listing shows every object
whose put was answered before it began. So a process puts a claim, then lists the claims: of two
processes, the one that lists later sees both claims and gives way. If both give way, they retry
after different times; both cannot hold.

A holder renews its claim every BEAT_S. A claim that is not renewed for TTL_S, by the store's clock,
counts as dead and is removed. A holder that was suspended for so long (a laptop that slept) finds
out before it writes, since its own clock includes sleep. Remaining risk: a holder suspended between
that check and its write for more than half of TTL_S writes beside its successor.
"""

import json
import os
import random
import secrets
import socket
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePath

import pyarrow as pa

from velodrome.agents.safe_text import escape_undecodable
from velodrome.scheduler.errors import StoreError, SweepBusy
from velodrome.scheduler.results.object_store import Objects

TTL_S = 60.0
BEAT_S = 10.0
PATIENCE_S = 2.0


class Lease:
    """One process's claim on one sweep. name: the sweep's place, for messages."""

    def __init__(self, objects: Objects, folder: PurePath, name: str) -> None:
        self._objects = objects
        self._folder = folder
        self._name = name
        self._path = folder / f"{secrets.token_hex(8)}.json"
        self._sure_s = 0.0
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._renew_until_closed, name="claim", daemon=True)

    def take(self) -> None:
        """Take the lease. SweepBusy if another process holds it, OSError if unreachable."""
        self._wait_for_turn()
        self._beating.start()

    def leave(self) -> None:
        self._ended.set()
        self._beating.join()
        with suppress(OSError):  # it is taken for dead in a minute
            self._objects.remove([self._path])

    def require(self) -> None:
        """Raise StoreError if another process may have taken the sweep."""
        if now_s() - self._sure_s > TTL_S / 2:
            self._renew()

    def _wait_for_turn(self) -> None:
        until_s = now_s() + PATIENCE_S
        while True:
            self._put()
            others = self._list_others()
            if not others:
                return
            self._objects.remove([self._path])
            if now_s() > until_s:
                raise _make_busy_error(self._name, self._objects, others)
            time.sleep(random.uniform(0.1, 0.5))

    def _put(self) -> None:
        began_s = now_s()
        self._objects.put(self._path, pa.py_buffer(json.dumps(_describe_process()).encode()))
        self._sure_s = began_s

    def _list_others(self) -> dict[PurePath, float]:
        """Return other live claims with their age in s; removes dead ones.

        Times are the store's own; our claim has just been put.
        """
        at = {
            self._folder / info.base_name: info.mtime for info in self._objects.infos(self._folder)
        }
        ours = at.pop(self._path, None)
        if ours is None:
            raise _make_lost_error(self._name)
        found = {path: _parse_seconds(then, ours) for path, then in at.items()}
        dead = [path for path, silent_s in found.items() if self._is_dead(path, silent_s)]
        self._objects.remove(dead)
        return {path: silent_s for path, silent_s in found.items() if path not in dead}

    def _is_dead(self, path: PurePath, silent_s: float) -> bool:
        return silent_s > TTL_S or _has_ended(_read_claim(self._objects, path))

    def _renew_until_closed(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(OSError, StoreError):  # reported at the next write
                self._renew()

    def _renew(self) -> None:
        """Renew the claim, unless it was removed: then another process has the sweep."""
        try:
            if now_s() - self._sure_s > TTL_S / 2:
                self._list_others()  # raises if our claim was removed
            elif not self._objects.exists(self._path):
                raise _make_lost_error(self._name)
            self._put()
        except OSError as error:
            raise StoreError(f"{self._name}: cannot be reached: {error}") from error


def now_s() -> float:
    """Return a clock in s that includes sleep, unlike time.monotonic."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _parse_seconds(then: datetime | None, now: datetime | None) -> float:
    return (now - then).total_seconds() if then and now else 0.0


def _describe_process() -> dict[str, str | int]:
    """Identify this process. pid is valid within one boot, kernel and pid namespace."""
    return {
        "host": escape_undecodable(socket.gethostname()),
        "pid": os.getpid(),
        "where": _read_kernel_id(),
    }


def _read_kernel_id() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _read_claim(objects: Objects, path: PurePath) -> dict[str, object]:
    try:
        claim = json.loads(objects.get(path))
    except (OSError, ValueError):
        return {}
    return claim if isinstance(claim, dict) else {}


def _has_ended(claim: dict[str, object]) -> bool:
    """Return True if the process ran on this machine and has ended."""
    pid = claim.get("pid")
    if not _read_kernel_id() or claim.get("where") != _read_kernel_id() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _make_busy_error(name: str, objects: Objects, others: dict[PurePath, float]) -> SweepBusy:
    path, silent_s = min(others.items(), key=lambda entry: entry[1])
    claim = _read_claim(objects, path)
    who = f"process {claim.get('pid', '?')} of {claim.get('host', '?')}"
    free_s = max(1, round(TTL_S - silent_s))
    mend = f"Wait for it; if it is dead, the sweep is free in {free_s} s."
    return SweepBusy(name, f"another process works on this sweep: {who}", mend)


def _make_lost_error(name: str) -> StoreError:
    return StoreError(
        f"{name}: this process did not renew its lease for {TTL_S:.0f} s, and another one has "
        "taken the sweep. Finished runs are kept; continue with --resume when that one has ended."
    )
