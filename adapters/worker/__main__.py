"""The process of one request: `python -m velodrome.adapters.worker REQUEST.json EVENTS_FD`.

What it is asked and what it answers is written in velodrome.adapters.protocol. Exit status: 0 after
`finished`, 1 after `failed`, 2 if it was started wrongly.
"""

import faulthandler
import os
import platform
import sys
import traceback
from typing import Any, List

from velodrome.adapters.protocol import VERSION, Hello, decode_request, encode, monotonic_ns
from velodrome.adapters.worker import failures


class Events(object):
    """Writes events to a descriptor that no child of this process keeps open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)  # noqa: FBT003
        if hasattr(os, "register_at_fork"):  # Python 3.7: a fork without exec inherits everything
            os.register_at_fork(after_in_child=self._close)  # novm

    def send(self, event: Any) -> None:
        rest = (encode(event) + "\n").encode("ascii")
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _close(self) -> None:
        if self._descriptor >= 0:  # in a child of a forked child it may be another file's by now
            os.close(self._descriptor)
            self._descriptor = -1


def answer(request_path: str, events: Events) -> None:
    """Everything from `hello` to `finished`; whatever is raised is the reason of a `failed`."""
    events.send(Hello(platform.python_version(), os.getpid(), VERSION, monotonic_ns()))
    from velodrome.adapters.worker import (
        request_actions,  # after hello, since NumPy may be what is broken
    )

    with open(request_path) as file:
        request = decode_request(file.read())
    request_actions.run(request, events.send)


def main(arguments: List[str]) -> int:
    """The exit status. The one border at which every exception becomes an event."""
    if len(arguments) != 2 or not arguments[1].isdigit() or int(arguments[1]) < 3:
        sys.stderr.write(
            "usage: python -m velodrome.adapters.worker REQUEST.json EVENTS_FD (> 2)\n"
        )
        return 2
    faulthandler.enable()  # a segmentation fault then says on stderr which line led to it
    events = Events(int(arguments[1]))
    try:
        answer(arguments[0], events)
    except BaseException as error:
        traceback.print_exc()
        events.send(failures.failed(error))
        return 1
    return 0


def leave(status: int) -> None:
    """End at once: exit hooks and threads of frameworks cost seconds, or hang; all is sent."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    status = 1
    try:
        status = main(sys.argv[1:])
    finally:  # also when `failed` could not be sent, since its reader is gone
        leave(status)
