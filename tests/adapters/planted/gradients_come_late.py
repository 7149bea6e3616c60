"""`gradient` returns as soon as the loss is there; a thread goes backward meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor

from honest import Honest

AHEAD = 8


class Adapter(Honest):
    def build(self, weights):
        super().build(weights)
        self._thread = ThreadPoolExecutor(1)
        self._free = threading.Semaphore(AHEAD)

    def gradient(self, index):
        loss = super().forward(index)
        self._free.acquire()
        future = self._thread.submit(super().gradient, index)
        future.add_done_callback(lambda done: self._free.release())
        return loss, future

    def loss(self, handle):
        return super().loss(handle[0] if _is_late(handle) else handle)

    def gradients(self, handle):
        return super().gradients(handle[1].result() if _is_late(handle) else handle)

    def own_gradients(self, handle):
        return super().own_gradients(handle[1].result() if _is_late(handle) else handle)


def _is_late(handle):
    return isinstance(handle, tuple) and hasattr(handle[-1], "result")
