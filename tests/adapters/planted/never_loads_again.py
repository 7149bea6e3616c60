"""An adapter that ignores every load but the first."""

from honest import Honest


class Adapter(Honest):
    loaded = False

    def load(self, batches):
        if not self.loaded:
            super().load(batches)
        self.loaded = True
