"""A stopwatch that reports a quarter of the elapsed time."""

from honest import Honest


class Quarter(object):
    def __init__(self, honest):
        self.start = honest.start
        self.stop = lambda: honest.stop() // 4


class Adapter(Honest):
    def stopwatch(self):
        return Quarter(super().stopwatch())
