"""Results are kept by the number of the batch, and no call computes one again."""

from honest import Honest


class Adapter(Honest):
    def load(self, batches):
        super().load(batches)
        self._kept = {}

    def set_dropout(self, active):
        super().set_dropout(active)
        self._kept = {}

    def forward(self, index):
        return self._once(super().forward, "forward", index)

    def gradient(self, index):
        return self._once(super().gradient, "gradient", index)

    def _once(self, call, phase, index):
        if (phase, index) not in self._kept:
            self._kept[phase, index] = call(index)
        return self._kept[phase, index]
