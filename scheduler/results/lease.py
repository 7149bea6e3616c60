"""One process at a time works on a sweep that lies in a bucket.

No put of pyarrow's is conditional, so that no object can be a lock. But a listing shows every
object whose put was answered before it began. So whoever wants a sweep puts a claim of its own,
then lists the claims: if two put theirs, whoever lists later sees both. Who sees another's gives
way. Two that give way to each other try again after different times; two that both hold cannot be.

A holder puts its claim anew every BEAT_S; one of which nothing was heard for TTL_S is taken for
dead and removed, by the store's clock alone. A holder that was stopped for so long (a laptop that
slept) finds that out before it writes: its own clock runs on in its sleep. What is left to chance:
a holder that is stopped between that look and the arrival of what it then puts, for more than half
of TTL_S, writes beside its successor.
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

from velodrome.agents.safe_text import readable
from velodrome.scheduler.errors import StoreError, SweepBusy
from velodrome.scheduler.results.object_store import Objects

TTL_S = 60.0
BEAT_S = 10.0
PATIENCE_S = 2.0


class Claim:
    """One process's, on one sweep. name: of the sweep's place, for messages."""

    def __init__(self, objects: Objects, folder: PurePath, name: str) -> None:
        self._objects = objects
        self._folder = folder
        self._name = name
        self._path = folder / f"{secrets.token_hex(8)}.json"
        self._sure_s = 0.0
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="claim", daemon=True)

    def take(self) -> None:
        """SweepBusy if another process holds the sweep, OSError if nobody can be asked."""
        self._wait_for_turn()
        self._beating.start()

    def leave(self) -> None:
        self._ended.set()
        self._beating.join()
        with suppress(OSError):  # it is taken for dead in a minute
            self._objects.remove([self._path])

    def require(self) -> None:
        """StoreError if another process may have taken the sweep meanwhile."""
        if now_s() - self._sure_s > TTL_S / 2:
            self._renew()

    def _wait_for_turn(self) -> None:
        until_s = now_s() + PATIENCE_S
        while True:
            self._put()
            others = self._others()
            if not others:
                return
            self._objects.remove([self._path])
            if now_s() > until_s:
                raise _busy(self._name, self._objects, others)
            time.sleep(random.uniform(0.1, 0.5))

    def _put(self) -> None:
        began_s = now_s()
        self._objects.put(self._path, pa.py_buffer(json.dumps(_ourselves()).encode()))
        self._sure_s = began_s

    def _others(self) -> dict[PurePath, float]:
        """Those of the living, with how long they have not been heard. The dead ones are removed.

        Times are the store's: of its objects, of which ours has just been put.
        """
        at = {
            self._folder / info.base_name: info.mtime for info in self._objects.infos(self._folder)
        }
        ours = at.pop(self._path, None)
        if ours is None:
            raise _taken_over(self._name)
        found = {path: _seconds(then, ours) for path, then in at.items()}
        dead = [path for path, silent_s in found.items() if self._is_dead(path, silent_s)]
        self._objects.remove(dead)
        return {path: silent_s for path, silent_s in found.items() if path not in dead}

    def _is_dead(self, path: PurePath, silent_s: float) -> bool:
        return silent_s > TTL_S or _has_ended(_said(self._objects, path))

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(OSError, StoreError):  # told when something is to be written
                self._renew()

    def _renew(self) -> None:
        """A claim that was removed is not put again: it is another's turn."""
        try:
            if now_s() - self._sure_s > TTL_S / 2:
                self._others()  # raises if ours is gone
            elif not self._objects.exists(self._path):
                raise _taken_over(self._name)
            self._put()
        except OSError as error:
            raise StoreError(f"{self._name}: cannot be reached: {error}") from error


def now_s() -> float:
    """Runs on while the machine sleeps, which time.monotonic does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _seconds(then: datetime | None, now: datetime | None) -> float:
    return (now - then).total_seconds() if then and now else 0.0


def _ourselves() -> dict[str, str | int]:
    """pid counts only on the same boot of the same kernel, in the same namespace of processes."""
    return {"host": readable(socket.gethostname()), "pid": os.getpid(), "where": _where()}


def _where() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _said(objects: Objects, path: PurePath) -> dict[str, object]:
    try:
        said = json.loads(objects.get(path))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _has_ended(said: dict[str, object]) -> bool:
    """Whether it was a process of this machine that is no more."""
    pid = said.get("pid")
    if not _where() or said.get("where") != _where() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _busy(name: str, objects: Objects, others: dict[PurePath, float]) -> SweepBusy:
    path, silent_s = min(others.items(), key=lambda entry: entry[1])
    said = _said(objects, path)
    who = f"process {said.get('pid', '?')} of {said.get('host', '?')}"
    free_s = max(1, round(TTL_S - silent_s))
    mend = f"Wait for it; if it is dead, the sweep is free in {free_s} s."
    return SweepBusy(name, f"another process works on this sweep: {who}", mend)


def _taken_over(name: str) -> StoreError:
    return StoreError(
        f"{name}: nothing was heard of this process for over {TTL_S:.0f} s, and another one has "
        "taken the sweep. What was finished is kept; go on with --resume when that one has ended."
    )
