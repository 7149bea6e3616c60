"""A model as layers of neon, made, joined, and filled with weights.

neon's networks are of one batch size and of one number of steps. So a model over sequences is made
once per length of a batch, with the parameters shared, as with bucketing.
"""

from neon.layers import (
    LRN,
    Activation,
    Bias,
    GeneralizedCost,
    MergeSum,
    Sequential,
    SkipNode,
)
from neon.models import Model

from velodrome.adapters.contract import Unsupported, measure_kept_share
from velodrome.adapters.frameworks.neon import layouts
from velodrome.adapters.frameworks.neon.branches import Sum, arrange
from velodrome.adapters.frameworks.neon.layers import COSTS, LAYERS, DropoutLayer
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

IN_PLACE = (Activation, Bias, DropoutLayer)


class Network(object):
    """One model for inputs of one shape; the backend already knows the batch size.

    Frozen layers in front are a model of their own that only runs forward: no gradient is taken
    there, nor with respect to what comes out of it.
    """

    def __init__(self, model, shape, batch_size, shared=None, layers=LAYERS, costs=COSTS):
        """shape: of one example. shared: another Network, whose parameters this one uses."""
        require_supported(model, layers, costs)
        self._model = model
        self._made = {layer.name: layers[type(layer)](layer) for layer in model.layers}
        kind, behind = costs[type(model.loss)]
        self._cost = GeneralizedCost(kind(model.loss, batch_size)) if kind else None
        frozen, trained = _split(model)
        self._frozen = self._join(frozen, [], None, shape)
        shape = self._made[frozen[-1].name][-1].out_shape if frozen else shape
        if shared:
            self._share(shared)
        last = behind()
        self._trained = self._join(trained, last, self._cost, shape)
        layers = self._trained.layers.layers
        # Inference gives the model's last layer, which has no softmax behind it.
        self._evaluated = Sequential(layers[: len(layers) - len(last)])

    def fill(self, weights):
        """Fill in float32 arrays in canonical layout, keyed `layer.role`."""
        for entry in shapes.list_parameters(self._model):
            self._put(entry, weights[entry.name])

    def fill_trained(self, weights):
        """Fill in those of the trained parameters."""
        for entry in shapes.list_trained(self._model):
            self._put(entry, weights[entry.name])

    def assign(self, name, values):
        """Give a trained parameter other values, canonical layout."""
        (entry,) = [own for own in shapes.list_trained(self._model) if own.name == name]
        self._put(entry, values)

    def set_statistics(self, statistics):
        """Set the running means and variances of evaluation, as the contract has them."""
        for layer in self._model.layers:
            if isinstance(layer, kinds.BatchNorm):
                (made,) = self._made[layer.name]
                made.gmean[:] = statistics[layer.name + ".mean"].reshape(-1, 1)
                made.gvar[:] = statistics[layer.name + ".variance"].reshape(-1, 1)

    def evaluate(self, batch):
        """Return the output of the model's last layer in evaluation mode."""
        self._give_shares(batch)
        read = batch["inputs"]
        if self._frozen:
            read = self._frozen.fprop(read, inference=True)
        output = self._evaluated.fprop(read, inference=True)
        output.backend.convert_data(output, layer_mkl=False)  # from MKL's layout
        return output

    def list_optimized(self):
        """List neon's layers with trained parameters, as its optimizers take them."""
        return self._trained.layers_to_optimize

    def parameters(self):
        """Yield (key, copy of the present values) of every trained parameter, canonical layout."""
        for entry, layer, made in self._locate_trained():
            yield entry.name, layouts.parameter(layer, made, entry.role, entry.shape)

    def forward(self, batch):
        """Return the loss, (1, 1) on the host as from neon's cost, and the output."""
        output = self._run(batch)
        if self._cost is None:
            return None, output
        return self._cost.get_cost(output, self._target(batch)), output

    def gradient(self, batch):
        """Run forward and backward; each layer then holds its gradients."""
        output = self._run(batch)
        target = self._target(batch)
        cost = self._cost.get_cost(output, target)
        self._trained.bprop(self._cost.get_errors(output, target))
        return cost, output

    def gradients(self):
        """Yield (key, array) of every trained parameter's gradient, in canonical layout."""
        for entry, layer, made in self._locate_trained():
            yield entry.name, layouts.gradient(layer, made, entry.role, entry.shape)

    def set_dropout(self, active):
        for dropout in self._dropouts().values():
            dropout.set_rate(dropout.rate if active else 0.0)

    def kept_shares(self, batch):
        """Measure them layer by layer, since a dropout layer overwrites its input."""
        found, read, dropouts = {}, batch["inputs"], self._dropouts()
        for layer in self._model.layers:
            before = read.get() if layer.name in dropouts else None
            for own in self._made[layer.name]:
                read = own.fprop(read)
            if before is not None:
                found[layer.name] = measure_kept_share(before, read.get())
        return found

    def _locate_trained(self):
        """Yield each trained parameter, its layer, and neon's layers of that one."""
        by_name = {layer.name: layer for layer in self._model.layers}
        for entry in shapes.list_trained(self._model):
            yield entry, by_name[entry.layer], self._made[entry.layer]

    def _put(self, entry, values):
        (layer,) = [own for own in self._model.layers if own.name == entry.layer]
        layouts.put(layer, self._made[entry.layer], entry.role, values)

    def _join(self, layers, behind, cost, shape):
        """Make and allocate neon's model of these layers; None if there are none."""
        own = self._chain(arrange(self._model, layers)) + behind
        if not own:
            return None
        model = Model(layers=own)
        model.initialize(shape, cost)
        return model

    def _chain(self, parts):
        """Chain neon's layers of the parts that branches.arrange has found.

        neon's activations overwrite their input. Where the backward pass needs it again (LRN, an
        activation at a branch's end), a copying node is inserted.
        """
        own = []
        for part in parts:
            if isinstance(part, Sum):
                own.append(MergeSum([self._branch(part.second), self._branch(part.first)]))
                continue
            made = self._made[part.name]
            if made and own and isinstance(own[-1], LRN) and isinstance(made[0], IN_PLACE):
                own.append(SkipNode())
            own += made
        return own

    def _branch(self, parts):
        own = self._chain(parts)
        return [*own, SkipNode()] if not own or isinstance(own[-1], IN_PLACE) else own

    def _share(self, other):
        for name, made in self._made.items():
            for own, known in zip(made, other._made[name]):
                if known.has_params:
                    own.W, own.dW = known.W, known.dW

    def _give_shares(self, batch):
        for layer in self._model.layers:
            if isinstance(layer, kinds.MeanOverTime):
                self._made[layer.name][0].shares = batch["shares"]

    def _run(self, batch):
        self._give_shares(batch)
        read = batch["inputs"]
        if self._frozen:
            read = self._frozen.fprop(read, inference=True)
        return self._trained.fprop(read)

    def _target(self, batch):
        """Return the target of the last layer; None without one."""
        target = getattr(self._model.loss, "target", "labels")
        if target in ("labels", "zero"):
            return batch.get("labels") if target == "labels" else None
        return batch["inputs"] if target == "input" else self._made[target][-1].outputs

    def _dropouts(self):
        return {
            name: own
            for name, made in self._made.items()
            for own in made
            if isinstance(own, DropoutLayer)
        }


def require_supported(model, layers=LAYERS, costs=COSTS):
    """Raise Unsupported, which names what neon or this adapter lacks."""
    for layer in model.layers:
        if type(layer) not in layers:
            raise Unsupported("the neon adapter has no {}".format(type(layer).__name__))
        layers[type(layer)](layer)
    if type(model.loss) not in costs:
        raise Unsupported("the neon adapter has no {}".format(type(model.loss).__name__))
    for part in _split(model):
        arrange(model, part)


def _split(model):
    """Split the layers into those in front that need no gradient, and the others."""
    needed = shapes.find_gradient_flow(model)
    if not shapes.list_trained(model):
        return (), model.layers
    count = [needed[layer.name] for layer in model.layers].index(True)
    return model.layers[:count], model.layers[count:]
