"""The dropout layers of a network: which there are, and the share of values that each keeps."""

import torch
from torch import nn


def list_dropouts(network):
    """List (name, module) of all dropout layers."""
    return [
        (step.name, step.module) for step in network.steps if isinstance(step.module, nn.Dropout)
    ]


def set_dropout(network, active):
    """Turn these modules on or off, only them: cuDNN wants an LSTM in training mode to go backward.

    active: True or False.
    """
    for _, module in list_dropouts(network):
        module.train(active)


def measure_kept_shares(network, run):
    """Return what Adapter.kept_shares does. run: runs the network once on a batch."""
    shares = {}
    found = list_dropouts(network)
    modes = [module.training for _, module in found]
    hooks = [module.register_forward_hook(_make_hook(name, shares)) for name, module in found]
    set_dropout(network, active=True)
    with torch.no_grad():
        run()
    for (_, module), hook, mode in zip(found, hooks, modes):
        hook.remove()
        module.train(mode)
    return shares


def _make_hook(name, shares):
    """Return a forward hook that records the share of non-zero inputs with a non-zero output."""

    def count(module, inputs, output):
        is_nonzero = inputs[0] != 0
        shares[name] = float((output[is_nonzero] != 0).float().mean())

    return count
