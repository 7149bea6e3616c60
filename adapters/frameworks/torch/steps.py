"""Layers over the steps of sequences in torch, (batch, time, n) but where a name says otherwise."""

import torch
from torch import nn
from torch.nn import functional


class MeanOverTimeModule(nn.Module):
    """The mean over true lengths (batch,), or without them over all steps."""

    def forward(self, x, lengths=None):
        if lengths is None:
            return x.mean(1)
        within = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return (x * within[:, :, None]).sum(1) / lengths[:, None]


class TimeFirstMeanModule(nn.Module):
    """The mean over time of x (time, batch, n), like MeanOverTimeModule."""

    def forward(self, x, lengths=None):
        if lengths is None:
            return x.mean(0)
        within = torch.arange(x.shape[0], device=x.device)[:, None] < lengths
        return (x * within[:, :, None]).sum(0) / lengths[:, None]


class TiedLinearModule(nn.Module):
    """A linear layer without a bias, whose weight is an embedding's parameter."""

    def forward(self, x):
        return functional.linear(x, self.weight)


class LearnedPositionsModule(nn.Module):
    def forward(self, x):
        return x + self.weight[: x.shape[1]]


class PatchesModule(nn.Module):
    """An image as a sequence, which in channels_last layout moves no value."""

    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


class ClassTokenModule(nn.Module):
    def forward(self, x):
        return torch.cat((self.weight.expand(x.shape[0], 1, -1), x), dim=1)


class FirstStepModule(nn.Module):
    def forward(self, x):
        return x[:, 0]


class LayerNormModule(nn.LayerNorm):
    ATTRIBUTES = {"scale": "weight"}


class ComposedRmsNorm(nn.Module):
    """RMS normalization for torch before 2.4, which has none."""

    def __init__(self, epsilon):
        super(ComposedRmsNorm, self).__init__()
        self.epsilon = epsilon

    def forward(self, x):
        mean = (x * x).mean(-1, keepdim=True)
        return x * torch.rsqrt(mean + self.epsilon) * self.scale


if hasattr(nn, "RMSNorm"):

    class RmsNormModule(nn.RMSNorm):
        ATTRIBUTES = {"scale": "weight"}


def make_rms_norm(layer, source):
    """Return torch's own RMS normalization, or a composed one."""
    if hasattr(nn, "RMSNorm"):
        return RmsNormModule(source[-1], eps=layer.epsilon)
    return ComposedRmsNorm(layer.epsilon)
