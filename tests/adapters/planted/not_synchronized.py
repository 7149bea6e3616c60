"""A call only hands its work to a thread, a few ahead at the most; nothing waits but a reading."""

import threading
from concurrent.futures import ThreadPoolExecutor

from honest import Honest

AHEAD = 32


class Adapter(Honest):
    def build(self, weights):
        super().build(weights)
        self._thread = ThreadPoolExecutor(1)
        self._free = threading.Semaphore(AHEAD)

    def forward(self, index):
        return self._handed(super().forward, index)

    def gradient(self, index):
        return self._handed(super().gradient, index)

    def loss(self, handle):
        return super().loss(handle.result())

    def gradients(self, handle):
        return super().gradients(handle.result())

    def _handed(self, call, index):
        self._free.acquire()
        future = self._thread.submit(call, index)
        future.add_done_callback(lambda done: self._free.release())
        return future
