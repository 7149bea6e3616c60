"""NumPy on several processes, whose gradients rank 0 gathers; GROUP_FAULT plants one fault.

Leaving out rank 1, summing without dividing, a shard that is never loaded again, gradients rounded
to bfloat16 on their way, ranks that do not share the sum, a sleeping rank, a rank that needs more
memory at each gradient, and ranks that raise, exit, are killed or stopped at their third gradient.
"""

import os
import signal
import time
from multiprocessing.connection import Client, Listener

import numpy

from velodrome.adapters.contract import BY_PROCESSES
from velodrome.adapters.frameworks.numpy import adapter
from velodrome.adapters.groups.sockets import format_address, open_listener, parse_address

FAULT = os.environ.get("GROUP_FAULT", "")
DEADLINE_S = 60


class Adapter(adapter.Adapter):
    group_form = BY_PROCESSES
    calls = 0
    eaten = None
    rank, size, others = 0, 1, ()

    def meet(self, host):
        with open_listener(host) as found:
            return "tcp://" + format_address(found, host)

    def join(self, group):
        self.rank, self.size = group.rank, group.size
        path = group.meeting.partition("://")[2]
        if group.meeting.startswith("tcp:"):
            path = parse_address(path)
        if group.rank == 0:
            with Listener(path) as listener:
                self.others = [listener.accept() for _ in range(group.size - 1)]
        else:
            self.others = [connect(path)]

    def load(self, batches):
        if FAULT == "stale shard" and self.rank and self._batches:
            return
        super().load(batches)

    def gradient(self, index):
        result = super().gradient(index)
        self.calls += 1
        if self.rank and self.calls == 3:
            fail_now()
        if FAULT == "hungry" and self.rank == 1:
            self.eaten = (self.eaten, numpy.ones(2**23))  # 64 MiB
        if FAULT == "sleeps" and self.rank:
            time.sleep(0.05)
        if FAULT == "not shared":
            return result
        return result._replace(gradients=self.average(result.gradients))

    def average(self, own):
        if FAULT == "bfloat16":
            own = {name: round_to_bfloat16(array) for name, array in own.items()}
        if self.rank:
            self.others[0].send(own)
            return self.others[0].recv()
        every = [own] + [other.recv() for other in self.others]
        if FAULT == "left out":
            every = [own] * self.size
        count = 1 if FAULT == "not divided" else self.size
        mean = {name: sum(each[name] for each in every) / count for name in own}
        for other in self.others:
            other.send(mean)
        return mean


def connect(path):
    """Connect as soon as rank 0 listens."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return Client(path)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def round_to_bfloat16(array):
    bits = array.astype(numpy.float32).view(numpy.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).astype(numpy.uint32).view(numpy.float32).astype(float)


def fail_now():
    if FAULT == "raises":
        raise ValueError("planted")
    if FAULT == "exits":
        os._exit(7)
    if FAULT == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if FAULT == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
