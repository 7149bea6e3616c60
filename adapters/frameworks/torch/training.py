"""Updates of torch's parameters by its own optimizers, fused where it has fused ones."""

import torch

from velodrome.adapters.frameworks.torch.precision import accumulate
from velodrome.adapters.optimizers import ADAMW, SGD


class Trainer(object):
    """An optimizer of some parameters; their gradients are in `.grad`."""

    def __init__(self, name, trained, dtype):
        """name: of velodrome.adapters.optimizers.NAMES. trained: parameters on one device."""
        self._trained, self._dtype = trained, dtype
        for parameter in trained:  # of an earlier trainer, which would hold memory to the end
            parameter.grad = None
        self._optimizer, self.kind = _make(name, trained)
        self.update = self._optimizer.step

    def keep(self, gradients):
        """Let the next updates use these gradients, in the order of the parameters."""
        for parameter, gradient in zip(self._trained, gradients):
            parameter.grad = _lay_out_like(parameter, gradient)

    def clear(self):
        """Free the gradients of the step before, so that the forward pass has their memory."""
        self._optimizer.zero_grad(set_to_none=True)

    def step(self, loss):
        """Compute the gradients of a loss and update the parameters by them, after clear()."""
        accumulate(loss, self._trained, self._dtype)
        self._optimizer.step()


def _lay_out_like(parameter, gradient):
    """Return a gradient in its parameter's layout, as backward() leaves it; a copy if need be.

    A fused optimizer reads both in the order of memory, and compiled code returns the gradients of
    a convolution's weights in another one than theirs: it would add each value to another weight.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def describe_optimizer(trainer, variant):
    """Return the note on a trainer's optimizer in a variant of this adapter.

    torch.compile leaves a fused optimizer as it is, a kernel for all parameters, and so do users.
    """
    text = "torch's {} optimizer".format(trainer.kind)
    if variant != "compile":
        return text
    return "{}; only the forward and backward pass of a step are compiled".format(text)


def _make(name, trained):
    """Return torch's optimizer, and how it runs: fused, or one operation for all parameters."""
    if name == "sgd":
        options = {"lr": SGD.learning_rate, "momentum": SGD.momentum}
        kind = torch.optim.SGD
    else:
        options = {
            "lr": ADAMW.learning_rate,
            "betas": (ADAMW.beta1, ADAMW.beta2),
            "eps": ADAMW.epsilon,
            "weight_decay": ADAMW.weight_decay,
        }
        kind = torch.optim.AdamW
    if name == "sgd" and hasattr(trained[0], "full_tensor"):  # the fused one takes no shards
        return kind(trained, foreach=True, **options), "foreach"
    try:
        return kind(trained, fused=True, **options), "fused"
    except (TypeError, RuntimeError):  # an older release has no such option, or not on this device
        return kind(trained, foreach=True, **options), "foreach"
