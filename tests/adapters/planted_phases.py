"""NumPy's adapter with one error each in the phases inference, update and step."""

import numpy

from velodrome.adapters import optimizers
from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.numpy.adapter import Adapter


class InFloat32(Adapter):
    """Keeps its parameters and its optimizer's state in float32, as every framework does."""

    def _advance(self, result):
        super()._advance(result)
        for name, moments in self._moments.items():
            self._moments[name] = tuple(each.astype(numpy.float32) for each in moments)
            self._network.put(name, self._network.read(name).astype(numpy.float32))


class FixesParameters(Adapter):
    """Allows no other values of a parameter, and tells in which mode it is."""

    is_evaluating = False

    def set_parameter(self, name, values):
        raise Unsupported("parameters are fixed")

    def start_inference(self, statistics):
        super().start_inference(statistics)
        self.is_evaluating = True

    def end_inference(self):
        super().end_inference()
        self.is_evaluating = False


class NoUpdate(Adapter):
    def _advance(self, result):
        """Leave everything as it was."""


class SkipsOne(Adapter):
    def _advance(self, result):
        first = next(name for name in result.gradients if name.endswith("bias"))
        before = self._network.read(first)
        super()._advance(result)
        self._network.put(first, before)


class NoMomentum(Adapter):
    def _advance(self, result):
        for name, gradient in result.gradients.items():
            self._moments[name] = optimizers.begin(self._optimizer, gradient)
        super()._advance(result)


class LargerRate(Adapter):
    def _advance(self, result):
        before = {name: self._network.read(name) for name in result.gradients}
        super()._advance(result)
        for name, values in before.items():
            self._network.put(name, values + 1.01 * (self._network.read(name) - values))


class NoDecay(Adapter):
    def _advance(self, result):
        before = {name: self._network.read(name) for name in result.gradients}
        super()._advance(result)
        share = optimizers.ADAMW.learning_rate * optimizers.ADAMW.weight_decay
        for name, values in before.items():
            self._network.put(name, self._network.read(name) + share * values)


class NoStartCorrection(Adapter):
    def _advance(self, result):
        self._updates += 1000
        super()._advance(result)


class KeepsState(Adapter):
    def start_training(self, optimizer, weights):
        state = getattr(self, "_moments", None)
        super().start_training(optimizer, weights)
        self._moments = state or self._moments


class KeepsWeights(Adapter):
    def start_training(self, optimizer, weights):
        before = dict(self.parameters())
        super().start_training(optimizer, weights)
        for name, values in before.items():
            self._network.put(name, values)


class StaleGradients(Adapter):
    """A step that computes its gradients with the weights before the last step."""

    def step(self, index):
        now, before = dict(self.parameters()), getattr(self, "_before", None)
        for name, values in (before or {}).items():
            self._network.put(name, values)
        result = self.gradient(index)
        for name, values in now.items():
            self._network.put(name, values)
        self._before = now
        self._advance(result)
        return result

    def start_training(self, optimizer, weights):
        self._before = None
        super().start_training(optimizer, weights)


class UpdatesByAnotherBatch(Adapter):
    def step(self, index):
        result = self.gradient(index)
        self._advance(self.gradient(1 - index))
        return result


class TrainsWhileEvaluating(Adapter):
    def inference(self, index):
        return self.forward(index)


class SwapsStatistics(Adapter):
    def start_inference(self, statistics):
        other = {"mean": "variance", "variance": "mean"}
        pairs = [name.rsplit(".", 1) for name in statistics]
        swapped = {f"{layer}.{other[role]}": statistics[f"{layer}.{role}"] for layer, role in pairs}
        super().start_inference({name: abs(values) for name, values in swapped.items()})


class DropsWhileEvaluating(Adapter):
    def inference(self, index):
        return self._network.forward(self._batches[index], numpy.random.RandomState(0))


class GivesProbabilities(Adapter):
    def output(self, handle):
        powers = numpy.exp(handle.output - handle.output.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
