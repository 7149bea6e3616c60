"""Chainer's own optimizers, with the hyperparameters of velodrome.adapters.optimizers."""

import chainer

from velodrome.adapters.optimizers import ADAMW, SGD


def make_optimizer(name, parameters):
    """Make an optimizer of these parameters whose state is empty.

    Only of the trained ones: Chainer fills the gradients of all others with zeros at every update.
    """
    if name == "sgd":
        optimizer = chainer.optimizers.MomentumSGD(SGD.learning_rate, SGD.momentum)
    else:
        optimizer = chainer.optimizers.AdamW(
            alpha=ADAMW.learning_rate,
            beta1=ADAMW.beta1,
            beta2=ADAMW.beta2,
            eps=ADAMW.epsilon,
            # Chainer subtracts this share of a parameter, whatever alpha is.
            weight_decay_rate=ADAMW.learning_rate * ADAMW.weight_decay,
        )
    optimizer.setup(_collect(parameters))
    return optimizer


def _collect(parameters):
    """Return a link that has the parameters; an optimizer reads nothing else of it."""
    link = chainer.Link()
    with link.init_scope():
        for number, parameter in enumerate(parameters):
            setattr(link, "own{}".format(number), parameter)
    return link
