"""A process of a group that follows the leader: `python -m velodrome.adapters.groups.follower`.

Arguments: its rank, the meeting place of the group, and two descriptors, of orders and of alarms.
The first message is the request. It builds its adapter, then does as it is told, until the leader
is gone.
"""

import gc
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any, Dict, List, Optional, Sequence

from velodrome.adapters.contract import Adapter, Handle
from velodrome.adapters.groups.cpus import run_on
from velodrome.adapters.groups.layout import make_group
from velodrome.adapters.groups.messages import (
    END,
    PHASE,
    RUN,
    SKETCH_GRADIENTS,
    SKETCH_PARAMETERS,
    Order,
    Run,
    Start,
)
from velodrome.adapters.groups.sockets import require_reachable
from velodrome.adapters.proof.phase_modes import ignore_index
from velodrome.adapters.proof.sketch import compute_sketches
from velodrome.adapters.protocol import Request, monotonic_ns
from velodrome.adapters.wire_format import decode_request, encode
from velodrome.adapters.worker import failures
from velodrome.adapters.worker.adapter_steps import (
    Send,
    find_model,
    import_adapter,
    send_phase,
)
from velodrome.adapters.worker.heap import keep_freed_memory
from velodrome.adapters.worker.process_exit import run_and_exit

# These queue work on the device; their result stays there, under a number.
WITH_HANDLE = frozenset(("forward", "gradient", "inference", "keep_gradients", "update", "step"))
READING = frozenset(("loss", "output", SKETCH_GRADIENTS))  # of a result, by its number


class Follower(object):
    """Carries out orders by an adapter. send: to the agent of its node, if it has one."""

    def __init__(self, adapter: Adapter, orders: Connection, send: Optional[Send] = None) -> None:
        self._adapter, self._orders, self._send = adapter, orders, send
        self._handles: Dict[int, Handle] = {}

    def serve(self) -> None:
        """Carry out orders until the one to end. EOFError if the leader is gone."""
        while True:
            order: Order = self._orders.recv()
            for number in order.released:
                self._handles.pop(number, None)
            if order.method == END:
                return
            self._orders.send(self._carry_out(order))

    def _carry_out(self, order: Order) -> Any:
        method, arguments = order.method, order.arguments
        if method == RUN:
            return self._run(order.number, *arguments)
        if method == PHASE:
            if self._send:
                send_phase(arguments[0], self._send)
            return None
        if method == SKETCH_PARAMETERS:
            return compute_sketches(self._adapter.parameters())
        if method in READING:
            return self._read(method, self._handles[arguments[0]])
        result = getattr(self._adapter, method)(*arguments)
        if method in WITH_HANDLE:
            self._adapter.synchronize()
            self._handles[order.number] = result
            return None
        return result

    def _read(self, method: str, handle: Handle) -> Any:
        if method == SKETCH_GRADIENTS:
            return compute_sketches(self._adapter.gradients(handle))
        return getattr(self._adapter, method)(handle)

    def _run(self, number: int, method: str, indices: Sequence[int]) -> Run:
        """Run a sample: ready now, beginning at the leader's word."""
        call = getattr(self._adapter, method)
        if method == "update":
            call = ignore_index(self._adapter)
        first, last = indices[:-1], indices[-1]
        self._orders.send(None)
        self._orders.recv_bytes()
        gc.disable()
        before_s, began_ns = time.process_time(), monotonic_ns()
        for index in first:
            call(index)
        handle = call(last)
        self._adapter.synchronize()
        ended_ns = monotonic_ns()
        processor_ns = int((time.process_time() - before_s) * 1e9)
        gc.enable()
        self._handles[number] = handle
        return Run(ended_ns, ended_ns - began_ns, processor_ns)


def follow(
    request: Request, index: int, start: Start, orders: Connection, send: Optional[Send] = None
) -> None:
    """Build an adapter and serve the leader.

    index: of the process among those of its node. send: as of Follower.
    """
    keep_freed_memory()
    run_on(request, index)
    model = find_model(request.model)
    kind = import_adapter(request.adapter)
    require_reachable(start.others)
    adapter = kind(model, request.variant, request.device, request.threads, request.dtype)
    adapter.join(make_group(request, kind.group_form, start.rank, start.meeting))
    orders.send(None)
    Follower(adapter, orders, send).serve()


def main(arguments: List[str]) -> int:
    """Run a follower and return its exit status; a failure is an alarm to the leader."""
    rank, meeting = int(arguments[0]), arguments[1]
    orders, alarms = (Connection(int(number)) for number in arguments[2:])
    try:
        follow(decode_request(orders.recv()), rank, Start(rank, meeting), orders)
    except EOFError:  # the leader is gone, and with it whoever would read an alarm
        return 1
    except BaseException as error:
        traceback.print_exc()
        alarms.send(encode(failures.make_failed(error)))
        return 1
    return 0


if __name__ == "__main__":
    run_and_exit(main)
