"""MXNet on several contexts, each adapter with one fault in the reduction of gradients."""

from mxnet import autograd

from velodrome.adapters.frameworks.mxnet import adapter, devices


class OneLeftOut(devices.SharedContexts):
    def __init__(self, count):
        super().__init__(count)
        self.shares = [1.0 / count] * (count - 1) + [0.0]


class NotDivided(devices.SharedContexts):
    def __init__(self, count):
        super().__init__(count)
        self.shares = [1.0] * count


class NotReduced(devices.SharedContexts):
    def go_backward(self, losses):
        autograd.backward(losses)


def _with(shared):
    class Adapter(adapter.Adapter):
        def join(self, group):
            super().join(group)
            self._shared = shared(group.devices)

    return Adapter


LeftOut, Summed, Apart = map(_with, (OneLeftOut, NotDivided, NotReduced))
