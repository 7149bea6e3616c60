"""The NumPy adapter, but each gradient takes a nap first: a framework that has become slower."""

import time

from velodrome.adapters.numpy.adapter import Adapter as Sound


class Adapter(Sound):
    def gradient(self, index):
        time.sleep(0.4)
        return super().gradient(index)
