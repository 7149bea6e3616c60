"""MXNet's own optimizers, with the hyperparameters of velodrome.adapters.optimizers.

Both update several arrays by one operation.
"""

import math
from functools import partial

import numpy
from mxnet import nd, optimizer

from velodrome.adapters.optimizers import ADAMW, SGD

TOGETHER = 45  # arrays in one operation, of at most 50: what MXNet's own LAMB takes

# The operator computes 1 - beta in float32, 1.3e-5 off for beta2. So is the correction, which must
# divide by the same.
BETA1, BETA2 = (float(numpy.float32(beta)) for beta in (ADAMW.beta1, ADAMW.beta2))


class MultiTensorAdamW(optimizer.Optimizer):
    """AdamW by MXNet's operator multi_adamw_update, for which MXNet 1.9 has no class.

    The operator does not correct the means for their start: the caller does, by the rate.
    """

    def __init__(self):
        super(MultiTensorAdamW, self).__init__(learning_rate=ADAMW.learning_rate)
        self.aggregate_num = TOGETHER
        self._one = nd.ones((1,))

    def create_state(self, index, weight):
        """Return the means of the gradient and of its square."""
        return tuple(nd.zeros(weight.shape, weight.context, weight.dtype) for _ in range(2))

    def update(self, indices, weights, gradients, states):
        """Update weights, which are some of all."""
        self._update_count(indices)
        number = self._index_update_count[indices[0]]
        correction = math.sqrt(1 - BETA2**number) / (1 - BETA1**number)
        count = len(indices)
        means, squares = zip(*states)
        nd.contrib.multi_adamw_update(
            weights,
            gradients,
            means,
            squares,
            self._one,
            out=weights,
            lrs=[correction] * count,
            wds=[ADAMW.weight_decay] * count,
            etas=[self.lr] * count,
            beta1=ADAMW.beta1,
            beta2=ADAMW.beta2,
            epsilon=ADAMW.epsilon,
        )


class Training(object):
    """An optimizer with its state and the arrays that it updates, as gluon.Trainer holds them.

    Not gluon.Trainer itself, which refuses to take two steps by the same gradients. how: a note.
    """

    def __init__(self, name, parameters, contexts=1):
        """name: of velodrome.adapters.optimizers.NAMES. parameters: Gluon's, all trained.

        contexts: how many have the parameters. Each has an updater, as with gluon.Trainer.
        """
        indices = tuple(range(len(parameters)))
        self._updates = []
        for number in range(contexts):
            own, self.how = _make(name)
            weights = tuple(parameter.list_data()[number] for parameter in parameters)
            gradients = tuple(parameter.list_grad()[number] for parameter in parameters)
            updater = optimizer.get_updater(own)
            self._updates.append(partial(updater, indices, gradients, weights))

    def update(self):
        """Take one step by the parameters' gradients."""
        for update in self._updates:
            update()


def _make(name):
    """Return an optimizer, and a note on it."""
    if name == "adamw":
        text = "AdamW is MXNet's operator multi_adamw_update for {} arrays: it has no class"
        return MultiTensorAdamW(), text.format(TOGETHER)
    own = optimizer.SGD(learning_rate=SGD.learning_rate, momentum=SGD.momentum)
    return own, "SGD updates {} arrays by one operation".format(own.aggregate_num)
