"""A node's part of a group that another node leads: the action `follow` of a worker."""

import os
import socket
import subprocess
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import List, Optional

from velodrome.adapters.groups.follower import follow
from velodrome.adapters.groups.layout import count_node_processes
from velodrome.adapters.groups.messages import Start
from velodrome.adapters.groups.sockets import (
    PeerUnreachable,
    accept,
    format_address,
    open_listener,
)
from velodrome.adapters.protocol import (
    DISCONNECTED,
    KILLED,
    Failed,
    Listening,
    Request,
    monotonic_ns,
)
from velodrome.adapters.wire_format import decode_request, encode, encode_request
from velodrome.adapters.worker import failures
from velodrome.adapters.worker.adapter_steps import (
    Send,
    import_adapter,
    make_imported,
    send_finished,
    send_phase,
)
from velodrome.adapters.worker.heap import keep_freed_memory
from velodrome.adapters.worker.process_exit import run_and_exit

LEADER_GONE = "the leader of the group is gone"


def serve_node(request: Request, send: Send) -> None:
    """Listen for the leader, and do as it says until it ends the group.

    The first process is this one; with a process per device the others are its children.
    """
    keep_freed_memory()
    send_phase("import", send)
    started_ns = monotonic_ns()
    kind = import_adapter(request.adapter)
    send(make_imported(kind.version(), "", monotonic_ns() - started_ns))
    count = count_node_processes(request, kind.group_form)
    listeners = [open_listener(request.address) for _ in range(count)]
    addresses = tuple(format_address(listener, request.address) for listener in listeners)
    children = [_start_child(request, index, listeners[index]) for index in range(1, count)]
    send(Listening(addresses, monotonic_ns()))
    watches = [
        threading.Thread(target=_watch_child, args=(child, send), daemon=True) for child in children
    ]
    for watch in watches:
        watch.start()
    serve_leader(request, 0, listeners[0], send)
    for watch in watches:
        watch.join()
    send_finished(0, send)


def serve_leader(
    request: Request, index: int, listener: socket.socket, send: Optional[Send] = None
) -> None:
    """Serve the leader over the network until it ends the group; a failure is an alarm to it.

    index: of this process among those of its node. send: to this node's agent, which hears of the
    connection by the phase `build`, and of each later one. PeerUnreachable if the leader is gone.
    """
    orders, alarms = accept(listener, request.token), accept(listener, request.token)
    # The listener stays open: the other nodes try to reach it before they join.
    if send:
        send_phase("build", send)
    ending = threading.Event()
    threading.Thread(target=_end_with_leader, args=(alarms, ending, send), daemon=True).start()
    start: Start = orders.recv()
    try:
        follow(request, index, start, orders, send)
        ending.set()
        orders.send(None)
    except EOFError:
        raise PeerUnreachable(LEADER_GONE) from None
    except BaseException as error:
        ending.set()
        alarms.send(encode(failures.make_failed(error)))
        raise


def _watch_child(child: "subprocess.Popen[bytes]", send: Send) -> None:
    """Tell the agent if a signal kills a child: to the leader it is only a lost connection."""
    status = child.wait()
    if status < 0:
        reason = "a process of this node was killed by signal {}".format(-status)
        send(Failed(KILLED, reason, "", monotonic_ns()))
        os._exit(1)


def _end_with_leader(alarms: Connection, ending: threading.Event, send: Optional[Send]) -> None:
    """End this process when the leader is gone: it may be waiting for it in a collective."""
    try:
        alarms.recv()
    except (EOFError, OSError):
        if not ending.is_set():
            sys.stderr.write(LEADER_GONE + "\n")
            sys.stderr.flush()
            if send:
                send(Failed(DISCONNECTED, LEADER_GONE, "", monotonic_ns()))
            os._exit(1)


def _start_child(
    request: Request, index: int, listener: socket.socket
) -> "subprocess.Popen[bytes]":
    child = subprocess.Popen(
        [sys.executable, "-m", "velodrome.adapters.groups.member"]
        + [str(index), str(listener.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
    )
    assert child.stdin
    child.stdin.write(encode_request(request).encode("utf-8"))
    child.stdin.close()
    listener.close()
    return child


def main(arguments: List[str]) -> int:
    """Run a further process of a node and return its exit status. The request is on stdin."""
    index, descriptor = (int(number) for number in arguments)
    listener = socket.socket(fileno=descriptor)
    request = decode_request(sys.stdin.read())
    try:
        serve_leader(request, index, listener)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    run_and_exit(main)
