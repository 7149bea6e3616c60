"""The NumPy adapter, but each gradient dawdles first: a framework that has become slower."""

import time

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound


class Adapter(Sound):
    def gradient(self, index):
        until_s = time.process_time() + 0.4  # a process that waits has not earned its time
        while time.process_time() < until_s:
            pass
        return super().gradient(index)
