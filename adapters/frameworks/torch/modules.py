"""Layers and losses in torch: an entry of MODULES or LOSSES for each kind."""

import torch
from torch import nn
from torch.nn import functional

from velodrome.adapters.frameworks.torch import steps
from velodrome.adapters.frameworks.torch.attention import AttentionModule
from velodrome.adapters.frameworks.torch.collectives import CollectiveModule
from velodrome.adapters.frameworks.torch.recurrent import GruModule, LstmModule
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes


class FlatLinear(nn.Linear):
    """A linear layer over the flattened example."""

    def forward(self, x):
        return functional.linear(x.flatten(1), self.weight, self.bias)


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


class MultiplyModule(nn.Module):
    def forward(self, left, right):
        return left * right


class MeanOverImageModule(nn.Module):
    def forward(self, x):
        return functional.adaptive_avg_pool2d(x, 1).flatten(1)


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
        source[0],
        layer.maps,
        layer.kernel,
        layer.stride,
        layer.padding,
        groups=layer.groups,
        bias=layer.bias,
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
    kinds.MaxPool: lambda layer, source: nn.MaxPool2d(layer.size, layer.stride, layer.padding),
    kinds.AvgPool: lambda layer, source: nn.AvgPool2d(layer.size, layer.stride),
    kinds.BatchNorm: lambda layer, source: BatchNormModule(
        source[0], layer.epsilon, track_running_stats=False
    ),
    kinds.Relu: lambda layer, source: nn.ReLU(),
    kinds.Tanh: lambda layer, source: nn.Tanh(),
    kinds.Sigmoid: lambda layer, source: nn.Sigmoid(),
    kinds.Gelu: lambda layer, source: nn.GELU(approximate="tanh"),
    kinds.Silu: lambda layer, source: nn.SiLU(),
    kinds.Lrn: lambda layer, source: nn.LocalResponseNorm(
        layer.size, layer.alpha, layer.beta, layer.k
    ),
    kinds.Dropout: lambda layer, source: nn.Dropout(layer.rate),
    kinds.Embedding: lambda layer, source: nn.Embedding(layer.vocabulary, layer.units),
    kinds.Lstm: lambda layer, source: LstmModule(source[-1], layer.units),
    kinds.Gru: lambda layer, source: GruModule(source[-1], layer.units),
    kinds.Attention: AttentionModule,
    kinds.Loop: lambda layer, source: LoopModule(layer.steps),
    kinds.Add: lambda layer, source: AddModule(),
    kinds.Multiply: lambda layer, source: MultiplyModule(),
    kinds.MeanOverImage: lambda layer, source: MeanOverImageModule(),
    kinds.Custom: lambda layer, source: CustomModule(),
    kinds.MeanOverTime: lambda layer, source: steps.MeanOverTimeModule(),
    kinds.StepLinear: lambda layer, source: nn.Linear(source[-1], layer.units, bias=layer.bias),
    kinds.TiedLinear: lambda layer, source: steps.TiedLinearModule(),
    kinds.LayerNorm: lambda layer, source: steps.LayerNormModule(source[-1], eps=layer.epsilon),
    kinds.RmsNorm: steps.make_rms_norm,
    kinds.LearnedPositions: lambda layer, source: steps.LearnedPositionsModule(),
    kinds.Patches: lambda layer, source: steps.PatchesModule(),
    kinds.ClassToken: lambda layer, source: steps.ClassTokenModule(),
    kinds.FirstStep: lambda layer, source: steps.FirstStepModule(),
    kinds.Duplicate: lambda layer, source: CopyModule(),
    kinds.Collective: lambda layer, source: CollectiveModule(layer.operation),
    kinds.Transfer: lambda layer, source: nn.Identity(),  # torch.copies copies what it reads
}

# In a model with a recurrent layer sequences are (time, batch, n): what reads them otherwise there,
# and the kinds that are written for (batch, time, n) alone.
TIME_FIRST = {kinds.MeanOverTime: lambda layer, source: steps.TimeFirstMeanModule()}
BATCH_FIRST = (
    kinds.Attention,
    kinds.LearnedPositions,
    kinds.Patches,
    kinds.ClassToken,
    kinds.FirstStep,
)


class CrossEntropyModule(nn.Module):
    """The mean cross entropy over the batch, from logits and 64-bit labels."""

    def forward(self, output, labels):
        return functional.cross_entropy(output, labels)


class StepCrossEntropyModule(nn.Module):
    """The mean cross entropy over all steps, from logits (batch, time, classes)."""

    def forward(self, output, labels):
        return functional.cross_entropy(output.flatten(0, 1), labels.flatten())


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
    kinds.StepCrossEntropy: lambda loss: StepCrossEntropyModule(),
    kinds.SquaredError: lambda loss: SquaredErrorModule(),
    kinds.NoLoss: lambda loss: nn.Identity(),
}
