"""The NumPy adapter, but building it leaves orphans, each in a session of its own."""

import os
import signal
import time

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound

ORPHANS = 3


class Adapter(Sound):
    def build(self, weights):
        for _ in range(ORPHANS):
            leave_an_orphan()
        super().build(weights)


def leave_an_orphan():
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)
