"""Layers and losses in torch: an entry of MODULES or LOSSES for each kind."""

import torch
from torch import nn
from torch.nn import functional

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes


class FlatLinear(nn.Linear):
    """A linear layer over the flattened example."""

    def forward(self, x):
        return functional.linear(x.flatten(1), self.weight, self.bias)


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


class AttentionModule(nn.MultiheadAttention):
    """Self-attention, from x (time, batch, n) and the true lengths (batch,)."""

    ATTRIBUTES = {"weight_input": "in_proj_weight"}

    def settle(self):
        """Set the weight of the projection behind the heads, which is an inner module."""
        self.out_proj.weight = self.weight_output

    def forward(self, x, lengths):
        beyond = torch.arange(x.shape[0], device=x.device) >= lengths[:, None]
        own = super(AttentionModule, self).forward
        return own(x, x, x, key_padding_mask=beyond, need_weights=False)[0]


class LoopModule(nn.Module):
    """A loop of Python, which torch differentiates."""

    def __init__(self, steps):
        super(LoopModule, self).__init__()
        self.steps = steps

    def forward(self, x):
        for _ in range(self.steps):
            x = torch.tanh(functional.linear(x, self.weight, self.bias))
        return x


class BatchNormModule(nn.BatchNorm2d):
    """Batch normalization without running averages, which no call reads."""

    ATTRIBUTES = {"scale": "weight"}


class SignedSquareFunction(torch.autograd.Function):
    """kinds.Custom, as a custom operation of torch."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x * x.abs()

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        size = x.abs()
        return gradient * 2 * size / (1 + size)


class CustomModule(nn.Module):
    def forward(self, x):
        return SignedSquareFunction.apply(x)


class AddModule(nn.Module):
    def forward(self, left, right):
        return left + right


class MeanOverTimeModule(nn.Module):
    """The mean over true lengths, from x (time, batch, n) and lengths (batch,)."""

    def forward(self, x, lengths):
        within = torch.arange(x.shape[0], device=x.device)[:, None] < lengths
        return (x * within[:, :, None]).sum(0) / lengths[:, None]


class CopyModule(nn.Module):
    """A copy into reused memory: in fresh memory the CPU would pay a page fault per 4 KiB."""

    def __init__(self):
        super(CopyModule, self).__init__()
        self.buffer = torch.empty(0)

    def forward(self, x):
        if x.requires_grad:
            return x.clone()
        if self.buffer.shape != x.shape:
            self.buffer = torch.empty_like(x)
        return self.buffer.copy_(x)


def _conv(layer, source):
    return nn.Conv2d(
        source[0], layer.maps, layer.kernel, layer.stride, layer.padding, groups=layer.groups
    )


def _linear(layer, source):
    kind = nn.Linear if len(source) == 1 else FlatLinear
    return kind(shapes.count_values(source), layer.units, bias=layer.bias)


# Per kind of layer, what makes its module: (layer, shape of one example before it) -> module.
MODULES = {
    kinds.Conv: _conv,
    kinds.DilatedConv: lambda layer, source: nn.Conv2d(
        source[0], layer.maps, layer.kernel, padding=layer.padding, dilation=layer.dilation
    ),
    kinds.TransposedConv: lambda layer, source: nn.ConvTranspose2d(
        source[0], layer.maps, layer.kernel, layer.stride, layer.padding
    ),
    kinds.Linear: _linear,
    kinds.MaxPool: lambda layer, source: nn.MaxPool2d(layer.size, layer.stride),
    kinds.AvgPool: lambda layer, source: nn.AvgPool2d(layer.size, layer.stride),
    kinds.BatchNorm: lambda layer, source: BatchNormModule(
        source[0], layer.epsilon, track_running_stats=False
    ),
    kinds.Relu: lambda layer, source: nn.ReLU(),
    kinds.Tanh: lambda layer, source: nn.Tanh(),
    kinds.Sigmoid: lambda layer, source: nn.Sigmoid(),
    kinds.Lrn: lambda layer, source: nn.LocalResponseNorm(
        layer.size, layer.alpha, layer.beta, layer.k
    ),
    kinds.Dropout: lambda layer, source: nn.Dropout(layer.rate),
    kinds.Embedding: lambda layer, source: nn.Embedding(layer.vocabulary, layer.units),
    kinds.Lstm: lambda layer, source: LstmModule(source[-1], layer.units),
    kinds.Gru: lambda layer, source: GruModule(source[-1], layer.units),
    kinds.Attention: lambda layer, source: AttentionModule(source[-1], layer.heads, bias=False),
    kinds.Loop: lambda layer, source: LoopModule(layer.steps),
    kinds.Add: lambda layer, source: AddModule(),
    kinds.Custom: lambda layer, source: CustomModule(),
    kinds.MeanOverTime: lambda layer, source: MeanOverTimeModule(),
    kinds.Duplicate: lambda layer, source: CopyModule(),
}


class CrossEntropyModule(nn.Module):
    """The mean cross entropy over the batch, from logits and 64-bit labels."""

    def forward(self, output, labels):
        return functional.cross_entropy(output, labels)


class SquaredErrorModule(nn.Module):
    """The squared error by mse_loss, whose backward is one pass; written out it is three."""

    def forward(self, output, target=None):
        if target is None:
            target = output.new_zeros(()).expand_as(output)
        target = target.detach().view_as(output)
        return functional.mse_loss(output, target, reduction="sum") / (2 * output.shape[0])


# Per kind of loss, what makes its module: it reads the last layer's output, then labels or target.
LOSSES = {
    kinds.SoftmaxCrossEntropy: lambda loss: CrossEntropyModule(),
    kinds.SquaredError: lambda loss: SquaredErrorModule(),
    kinds.NoLoss: lambda loss: nn.Identity(),
}
