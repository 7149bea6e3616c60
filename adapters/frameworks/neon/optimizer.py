"""neon's optimizers with the study's hyperparameters, for gradients that are means over the batch.

neon's own costs give sums over the batch, which its optimizers divide by the batch size. Here the
costs give means, which are gradients as every framework has them; so what the optimizers divide
once more is made up for in the learning rate of SGD and in Adam's epsilon.
"""

from neon.optimizers import Adam, GradientDescentMomentum
from neon.optimizers.optimizer import get_param_list

from velodrome.adapters.optimizers import ADAMW, SGD


class DecayedAdam(Adam):
    """neon's Adam behind a decay of each parameter, which is AdamW."""

    def optimize(self, layer_list, epoch):
        kept = 1.0 - ADAMW.learning_rate * ADAMW.weight_decay
        for (parameter, _), _ in get_param_list(layer_list):
            parameter[:] = parameter * kept
        super(DecayedAdam, self).optimize(layer_list, epoch)


def make_optimizer(name, batch_size):
    """Return one of velodrome.adapters.optimizers.NAMES, with no step taken."""
    if name == "sgd":
        return GradientDescentMomentum(SGD.learning_rate * batch_size, SGD.momentum)
    return DecayedAdam(
        learning_rate=ADAMW.learning_rate,
        beta_1=ADAMW.beta1,
        beta_2=ADAMW.beta2,
        epsilon=ADAMW.epsilon / batch_size,
    )


def reset_states(layers):
    """Set what optimizers keep in neon's layers to zeros, in the memory that it has."""
    for _, states in get_param_list(layers):
        for state in states:
            state.fill(0)
