"""Learners with the formulas and hyperparameters of velodrome.adapters.optimizers.

SGD is CNTK's own. Its Adam adds no decoupled weight decay and corrects nothing for the start, so
AdamW is composed of CNTK's operations, as its own `universal` learner takes them. Both take the
gradient of a mean over the batch as it is, whatever the number of examples.
"""

import cntk
import numpy

from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.optimizers import ADAMW, SGD, AdamW

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
        self._state = []  # (constant, what fills it at first)
        make = self._make_updates  # a bound method would seem to take three arguments
        self.learner = cntk.universal(lambda own, slopes: make(own, slopes), parameters)

    def reset(self):
        """Empty the state."""
        for constant, first in self._state:
            constant.value = numpy.full(constant.shape, first, numpy.float32)

    def _make_updates(self, parameters, gradients):
        powers = [self._keep(1.0, ()) for _ in range(2)]
        power1, power2 = (power * beta for power, beta in zip(powers, (ADAMW.beta1, ADAMW.beta2)))
        updates = [cntk.assign(*pair) for pair in zip(powers, (power1, power2))]
        rate = ADAMW.learning_rate * cntk.sqrt(1 - power2) / (1 - power1)
        for parameter, gradient in zip(parameters, gradients):
            mean, square = (self._keep(0.0, parameter.shape) for _ in range(2))
            new_mean = ADAMW.beta1 * mean + (1 - ADAMW.beta1) * gradient
            new_square = ADAMW.beta2 * square + (1 - ADAMW.beta2) * cntk.square(gradient)
            change = rate * new_mean / (cntk.sqrt(new_square) + ADAMW.epsilon)
            kept = (1 - ADAMW.learning_rate * ADAMW.weight_decay) * parameter
            updates += [
                cntk.assign(mean, new_mean),
                cntk.assign(square, new_square),
                cntk.assign(parameter, kept - change),
            ]
        return cntk.combine(updates)

    def _keep(self, first, shape):
        constant = cntk.Constant(first, shape)
        self._state.append((constant, first))
        return constant


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
