"""The NumPy adapter, but the first gradient is a segmentation fault."""

import os
import signal

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound


class Adapter(Sound):
    def gradient(self, index):
        print("about to fault", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
