"""Updates of torch's parameters by its own optimizers, fused where it has fused ones."""

import torch

from velodrome.adapters.contract import LOSS_SCALE
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
            parameter.grad = gradient

    def clear(self):
        """Free the gradients of the step before, so that the forward pass has their memory."""
        self._optimizer.zero_grad(set_to_none=True)

    def step(self, loss):
        """Compute the gradients of a loss and update the parameters by them, after clear()."""
        if self._dtype == "float16":
            (loss * LOSS_SCALE).backward()
            torch._foreach_div_([own.grad for own in self._trained], LOSS_SCALE)
        else:
            loss.backward()
        self._optimizer.step()


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
    try:
        return kind(trained, fused=True, **options), "fused"
    except (TypeError, RuntimeError):  # an older release has no such option, or not on this device
        return kind(trained, foreach=True, **options), "foreach"
