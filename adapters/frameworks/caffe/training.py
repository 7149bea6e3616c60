"""Training by Caffe's SGDSolver, which updates the parameters of one net."""

import caffe

from velodrome.adapters.frameworks.caffe.nets import describe_net, place_net, written
from velodrome.adapters.frameworks.caffe.network import NetUse
from velodrome.adapters.optimizers import SGD

SOLVER = (
    'train_net: "{}" base_lr: {!r} momentum: {!r} lr_policy: "fixed" solver_mode: CPU '
    "snapshot_after_train: false"
)


class Trainer(object):
    """A solver with a state of zeros, and its net, which shares the weights.

    A solver's net has one shape, so that all batches have to be of the longest one's.
    has_moved: it has taken a step. is_ahead: copies in other nets lack the last steps' values.
    """

    def __init__(self, model, weights, dropout, batches):
        """batches: arrays by name, all of one shape."""
        self._weights = weights
        use = NetUse(dropout, label="trained")
        text = describe_net(model, batches[0], use)
        with written(text.text()) as net_path:
            with written(SOLVER.format(net_path, SGD.learning_rate, SGD.momentum)) as path:
                self._solver = caffe.SGDSolver(path)
        self.own = weights.join(place_net(model, self._solver.net, text))
        self.has_moved = self.is_ahead = False
        # By gradients of zeros nothing changes, but the solver's state has its memory then.
        self.own.net.clear_param_diffs()
        self._solver.apply_update()
        self.load(batches)

    def load(self, batches):
        """Replace the batches."""
        self._batches, self._held = batches, None

    def update(self, gradients):
        """Take a step by these gradients: copied in, since the solver overwrites what it reads."""
        for name, gradient in gradients.items():
            self.own.parameter(name).diff[...] = gradient
        self._solver.apply_update()
        self.has_moved = self.is_ahead = True

    def step(self, index):
        """Compute the batch's gradients and take the solver's step; return the solver's net."""
        if self._held != index:
            self.own.give(self._batches[index])
            self._held = index
        self._solver.step(1)
        self.has_moved = self.is_ahead = True
        return self.own

    def catch_up(self):
        """Give the values of the last steps to all other nets."""
        if self.is_ahead:
            self._weights.spread(self.own)
            self.is_ahead = False
