"""The NumPy adapter, but the fourth forward call never returns, and only SIGKILL ends it."""

import signal
import time

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound


class Adapter(Sound):
    calls = 0

    def forward(self, index):
        self.calls += 1
        if self.calls < 4:
            return super().forward(index)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        print("hanging", flush=True)
        while True:
            time.sleep(60)
