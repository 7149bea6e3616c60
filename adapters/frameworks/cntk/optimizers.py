"""Learners with the formulas and hyperparameters of velodrome.adapters.optimizers.

SGD is CNTK's own. Its Adam adds no decoupled weight decay and corrects nothing for the start, so
AdamW is composed of CNTK's operations, as its own `universal` learner takes them. Both take the
gradient of a mean over the batch as it is, whatever the number of examples.
"""

import cntk
import numpy

from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.optimizers import ADAMW, SGD, AdamW

BETAS = (ADAMW.beta1, ADAMW.beta2)
AT_SWEEP_END = False  # of the data; no schedule here depends on it


class MomentumLearner(object):
    """CNTK's momentum_sgd. note: nothing to tell."""

    note = ""

    def __init__(self, parameters):
        # For a reference of one example CNTK divides neither the gradient nor the rate by their
        # number; the momentum holds for each minibatch.
        rate = cntk.learning_parameter_schedule(SGD.learning_rate, minibatch_size=1)
        momentum = cntk.momentum_schedule(SGD.momentum, minibatch_size=cntk.learners.IGNORE)
        self.learner = cntk.momentum_sgd(parameters, rate, momentum, unit_gain=False)

    def reset(self):
        """Empty the state."""
        self.learner.reset_smoothed_gradients()


class UniversalAdamW(object):
    """AdamW as a universal learner: one graph updates all parameters."""

    note = format_note(AdamW, "of pointwise operations and assign, as a universal learner")

    def __init__(self, parameters):
        self._state = []
        make = self._make_updates  # a bound method would seem to take three arguments
        self.learner = cntk.universal(lambda own, slopes: make(own, slopes), parameters)

    def reset(self):
        """Empty the state."""
        for constant in self._state:
            constant.value = numpy.zeros(constant.shape, numpy.float32)

    def _make_updates(self, parameters, gradients):
        # The means of ones, which correct for the start. 1 less a power would lose digits.
        ones = [self._keep(()) for _ in range(2)]
        new_ones = [_move_mean(own, 1.0, beta) for own, beta in zip(ones, BETAS)]
        updates = [cntk.assign(*pair) for pair in zip(ones, new_ones)]
        rate = ADAMW.learning_rate * cntk.sqrt(new_ones[1]) / new_ones[0]
        for parameter, gradient in zip(parameters, gradients):
            mean, square = (self._keep(parameter.shape) for _ in range(2))
            new_mean = _move_mean(mean, gradient, BETAS[0])
            new_square = _move_mean(square, cntk.square(gradient), BETAS[1])
            change = rate * new_mean / (cntk.sqrt(new_square) + ADAMW.epsilon)
            kept = (1 - ADAMW.learning_rate * ADAMW.weight_decay) * parameter
            updates += [
                cntk.assign(mean, new_mean),
                cntk.assign(square, new_square),
                cntk.assign(parameter, kept - change),
            ]
        return cntk.combine(updates)

    def _keep(self, shape):
        constant = cntk.Constant(0.0, shape)
        self._state.append(constant)
        return constant


def _move_mean(mean, value, beta):
    return beta * mean + (1 - beta) * value


LEARNERS = {"sgd": MomentumLearner, "adamw": UniversalAdamW}


class Training(object):
    """A learner, and the trainer that runs it with its loss. name: the optimizer's."""

    def __init__(self, name, loss, parameters):
        """loss: of a batch. parameters: all that it has."""
        self.name, self._optimizer = name, LEARNERS[name](parameters)
        self.note = self._optimizer.note
        self._trainer = cntk.Trainer(None, (loss, None), [self._optimizer.learner])
        self._kept = {}
        self.reset = self._optimizer.reset

    def keep(self, gradients, device):
        """Copy gradients by parameter, arrays on the host, for update."""
        self._kept = {
            parameter: cntk.NDArrayView.from_dense(array.reshape(parameter.shape), device)
            for parameter, array in gradients.items()
        }

    def update(self):
        """Take one step by the kept gradients."""
        # CNTK's public update() copies its gradients from the host.
        self._optimizer.learner._update(self._kept, 1, AT_SWEEP_END)

    def step(self, arguments, device):
        """Compute the gradients and take one step, as one call."""
        self._trainer.train_minibatch(arguments, device=device)

    def loss(self):
        """Return the loss of the last step, which CNTK divides by a number of examples."""
        own = self._trainer
        return own.previous_minibatch_loss_average * own.previous_minibatch_sample_count
