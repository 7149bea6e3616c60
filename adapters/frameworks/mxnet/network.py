"""A model's graph as one HybridBlock: a call gives the loss of a batch."""

from mxnet import init, nd
from mxnet.gluon import HybridBlock

from velodrome.adapters.frameworks.graph import find_entry, list_loss_inputs
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

LABELS = "(labels)"  # no layer has this name


class Network(HybridBlock):
    """blocks, losses: as in velodrome.adapters.frameworks.mxnet.blocks.

    Unsupported for a kind without an entry.
    """

    def __init__(self, model, blocks, losses):
        super(Network, self).__init__()
        self._model = model
        self._reads = shapes.list_inputs(model)
        outputs = shapes.compute_output_shapes(model)
        self.steps = [
            (layer, find_entry(blocks, layer, "mxnet")(layer, outputs[self._reads[layer.name][0]]))
            for layer in model.layers
        ]
        last = outputs[model.layers[-1].name]
        self._loss = find_entry(losses, model.loss, "mxnet")(model.loss, last)
        by_layer = {layer.name: block for layer, block in self.steps}
        for layer, block in self.steps:
            self.register_child(block, layer.name)
            if isinstance(layer, kinds.TiedLinear):
                block.weight = by_layer[layer.embedding].weight

    def fill(self, weights, contexts):
        """Set canonical arrays by `layer.role`; what has no value there stays zero, untrained.

        contexts: each has all parameters.
        """
        self.initialize(init.Zero(), ctx=contexts)
        self._placed = {}
        for parameter in self.collect_params().values():
            parameter.grad_req = "null"
        by_layer = {layer.name: block for layer, block in self.steps}
        for entry in shapes.list_parameters(self._model):
            block = by_layer[entry.layer]
            attributes = getattr(block, "ATTRIBUTES", {})
            parameter = getattr(block, attributes.get(entry.role, entry.role))
            parameter.set_data(nd.array(_own_layout(block, entry.role, weights[entry.name])))
            if not entry.frozen:
                parameter.grad_req = "write"
                self._placed[entry.name] = (block, entry.role, parameter)

    def assign(self, name, values):
        """Give a trained parameter other values, canonical layout."""
        block, role, parameter = self._placed[name]
        parameter.set_data(nd.array(_own_layout(block, role, values)))

    def list_trained(self):
        """List Gluon's parameters that are trained."""
        return [parameter for _, _, parameter in self._placed.values()]

    def set_statistics(self, statistics):
        """Set the running mean and variance of each batch normalization, by `layer.role`."""
        for layer, block in self.steps:
            if isinstance(layer, kinds.BatchNorm):
                block.running_mean.set_data(nd.array(statistics[layer.name + ".mean"]))
                block.running_var.set_data(nd.array(statistics[layer.name + ".variance"]))

    def values(self):
        """Return each context's present trained parameters by `layer.role`."""
        return {name: parameter.list_data() for name, (_, _, parameter) in self._placed.items()}

    def gradients(self):
        """Return each context's gradients of a backward pass by `layer.role`."""
        return {name: parameter.list_grad() for name, (_, _, parameter) in self._placed.items()}

    def canonical(self, name, array):
        """Return a copy of a gradient or a parameter on the host, in the canonical layout."""
        block, role, _ = self._placed[name]
        convert = getattr(block, "canonical_layout", lambda role, array: array)
        return convert(role, array.asnumpy())

    def walk(self, inputs, labels, lengths):
        """Yield (layer, its inputs, its output) for each layer, then for the loss as layer None."""
        values = {"input": inputs, LABELS: labels}
        yield from self.walk_layers(values, lengths)
        read = [values[name] for name in list_loss_inputs(self._model, LABELS)]
        yield None, read, self._loss(*read)

    def walk_layers(self, values, lengths):
        """Yield (layer, its inputs, its output), and add each output to the values by name."""
        for layer, block in self.steps:
            read = [values[name] for name in self._reads[layer.name]]
            if isinstance(layer, (kinds.MeanOverTime, kinds.Attention)):
                read.append(lengths)
            values[layer.name] = block(*read)
            yield layer, read, values[layer.name]

    def hybrid_forward(self, F, inputs, labels, lengths):
        return list(self.walk(inputs, labels, lengths))[-1][-1]


class InferenceBlock(HybridBlock):
    """A network's layers without its loss: a call gives the last layer's output."""

    def __init__(self, network):
        super(InferenceBlock, self).__init__()
        self._network = network  # this also registers it as a child

    def hybrid_forward(self, F, inputs, lengths):
        return list(self._network.walk_layers({"input": inputs}, lengths))[-1][-1]


def _own_layout(block, role, array):
    return block.own_layout(role, array) if hasattr(block, "own_layout") else array
