"""The worker process of one request: `python -m velodrome.adapters.worker REQUEST.json EVENTS_FD`.

velodrome.adapters.protocol describes request and events. Exit status: 0 after `finished`, 1 after
`failed`, 2 after a usage error.
"""

import faulthandler
import os
import platform
import sys
import threading
import traceback
from typing import Any, List

from velodrome.adapters.protocol import VERSION, Hello, monotonic_ns
from velodrome.adapters.wire_format import decode_request, encode
from velodrome.adapters.worker import failures
from velodrome.adapters.worker.process_exit import run_and_exit


class Events(object):
    """A writer of events to a descriptor that no child of this process keeps open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()  # a group's watch sends, too
        os.set_inheritable(descriptor, False)  # noqa: FBT003
        if hasattr(os, "register_at_fork"):  # Python 3.7: a fork without exec inherits everything
            os.register_at_fork(after_in_child=self._close)  # novm

    def send(self, event: Any) -> None:
        """Write one event as a line."""
        rest = (encode(event) + "\n").encode("ascii")
        with self._lock:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def _close(self) -> None:
        if self._descriptor >= 0:  # in a grandchild the number may belong to another file
            os.close(self._descriptor)
            self._descriptor = -1


def run_worker(request_path: str, events: Events) -> None:
    """Send the events from `hello` to `finished`; main turns an exception into `failed`."""
    events.send(Hello(platform.python_version(), os.getpid(), VERSION, monotonic_ns()))
    # After hello, since NumPy may be what is broken.
    from velodrome.adapters.worker import request_actions

    with open(request_path) as file:
        request = decode_request(file.read())
    request_actions.run_request(request, events.send)


def main(arguments: List[str]) -> int:
    """Run the worker and return its exit status. Every exception becomes an event here."""
    if len(arguments) != 2 or not arguments[1].isdigit() or int(arguments[1]) < 3:
        sys.stderr.write(
            "usage: python -m velodrome.adapters.worker REQUEST.json EVENTS_FD (> 2)\n"
        )
        return 2
    faulthandler.enable()  # a segmentation fault then prints its Python stack
    events = Events(int(arguments[1]))
    try:
        run_worker(arguments[0], events)
    except BaseException as error:
        traceback.print_exc()
        events.send(failures.make_failed(error))
        return 1
    return 0


if __name__ == "__main__":
    run_and_exit(main)
