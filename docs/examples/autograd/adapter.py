"""Dense networks in Autograd (github.com/HIPS/autograd): NumPy code whose gradient is traced."""

import autograd
import autograd.numpy as np
import numpy

from velodrome.adapters import contract
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.shapes import list_inputs, list_parameters


class Adapter(contract.Adapter):
    def __init__(self, model, variant, device, threads, dtype):
        if dtype != "float32":
            raise contract.Unsupported("NumPy has no products in " + dtype)
        self._model = model  # threads: NumPy's BLAS has them from the agent's variables

    @staticmethod
    def version():
        from importlib.metadata import version

        return version("autograd")

    def build(self, weights):
        for layer in self._model.layers:
            if type(layer) not in LAYERS:
                raise contract.Unsupported("autograd has no " + type(layer).__name__)
        if type(self._model.loss) not in LOSSES:
            raise contract.Unsupported("autograd has no " + type(self._model.loss).__name__)
        frozen = {entry.name for entry in list_parameters(self._model) if entry.frozen}
        self._fixed = {name: value for name, value in weights.items() if name in frozen}
        self._trained = {name: value for name, value in weights.items() if name not in frozen}
        self._gradient = autograd.value_and_grad(self._loss)

    def load(self, batches):
        self._batches = batches

    def set_parameter(self, name, values):
        self._trained[name] = values

    def set_dropout(self, active):
        pass  # none of the layers below is random

    def forward(self, index):
        return self._loss(self._trained, self._batches[index]), {}

    def gradient(self, index):
        return self._gradient(self._trained, self._batches[index])

    def synchronize(self):
        pass  # every call returns when it is done

    def loss(self, handle):
        return float(handle[0])

    def gradients(self, handle):
        return ((name, numpy.asarray(value)) for name, value in handle[1].items())

    def _loss(self, trained, batch):
        weights = {**self._fixed, **trained}
        outputs = {"input": batch.inputs}
        for name, reads in list_inputs(self._model).items():
            layer = next(one for one in self._model.layers if one.name == name)
            outputs[name] = LAYERS[type(layer)](layer, outputs[reads[0]], weights)
        loss = LOSSES[type(self._model.loss)]
        return loss(self._model.loss, outputs[self._model.layers[-1].name], outputs, batch)


def linear(layer, x, weights):
    flat = np.reshape(x, (x.shape[0], -1))
    product = np.dot(flat, weights[layer.name + ".weight"].T)
    return product + weights[layer.name + ".bias"] if layer.bias else product


def cross_entropy(loss, logits, outputs, batch):
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    scores = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return -np.mean(scores[np.arange(len(batch.labels)), batch.labels])


def squared_error(loss, output, outputs, batch):
    target = 0.0 if loss.target == "zero" else outputs[loss.target]
    return np.sum((output - target) ** 2) / (2.0 * len(output))


LAYERS = {
    kinds.Linear: linear,
    kinds.Relu: lambda layer, x, weights: np.maximum(x, 0.0),
    kinds.Tanh: lambda layer, x, weights: np.tanh(x),
    kinds.Sigmoid: lambda layer, x, weights: 1.0 / (1.0 + np.exp(-x)),
}
LOSSES = {kinds.SoftmaxCrossEntropy: cross_entropy, kinds.SquaredError: squared_error}
