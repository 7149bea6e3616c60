"""Monitor of a cluster's head: lists Ray's nodes in a thread, since a lost head never answers.

Ray itself waits a minute for its head, then ends the process without saying how to resume.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import ray

from velodrome.scheduler.errors import ClusterUnreachable

EVERY_S = 1.0
GONE_AFTER_S = 20.0

Nodes = Mapping[str, Mapping[str, Any]]


class HeadMonitor:
    """Keeps the entries of ray.nodes() by Ray's node id, at most a few seconds old."""

    def __init__(self, gone_after_s: float = GONE_AFTER_S) -> None:
        self._gone_after_s = gone_after_s
        self._nodes: Nodes = {}
        self._answered_s = time.monotonic()
        self._first = threading.Event()
        self._closed = threading.Event()
        thread = threading.Thread(target=self._poll, name="head-watch", daemon=True)
        thread.start()

    def list_nodes(self) -> Nodes:
        """Return the latest entries.

        ClusterUnreachable if the head has been silent for too long.
        """
        self._first.wait(self._gone_after_s)
        silent_s = time.monotonic() - self._answered_s
        if silent_s > self._gone_after_s:
            raise ClusterUnreachable(
                f"the head of the cluster has not answered for {silent_s:.0f} s; "
                "finished runs are kept"
            )
        return self._nodes

    def close(self) -> None:
        self._closed.set()

    def _poll(self) -> None:
        while not self._closed.is_set():
            with suppress(Exception):  # any error of Ray's while the head is away
                entries = ray.nodes()  # type: ignore[no-untyped-call]
                self._nodes = {
                    entry["NodeID"]: entry for entry in cast("list[dict[str, Any]]", entries)
                }
                self._answered_s = time.monotonic()
                self._first.set()
            self._closed.wait(EVERY_S)
