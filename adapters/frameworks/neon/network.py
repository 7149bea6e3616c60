"""A model as layers of neon, made, joined, and filled with weights.

neon's networks are of one batch size and of one number of steps. So a model over sequences is made
once per length of a batch, with the parameters shared, as with bucketing.
"""

from neon.layers import LRN, Activation, Bias, GeneralizedCost, MergeSum, SkipNode
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
        self._trained = self._join(trained, behind(), self._cost, shape)

    def fill(self, weights):
        """Fill in float32 arrays in canonical layout, keyed `layer.role`."""
        by_name = {layer.name: layer for layer in self._model.layers}
        for entry in shapes.list_parameters(self._model):
            made = self._made[entry.layer]
            layouts.put(by_name[entry.layer], made, entry.role, weights[entry.name])

    def assign(self, name, values):
        """Give a trained parameter other values, canonical layout."""
        layer, role = name.rsplit(".", 1)
        (kind,) = [own for own in self._model.layers if own.name == layer]
        layouts.put(kind, self._made[layer], role, values)

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
        by_name = {layer.name: layer for layer in self._model.layers}
        for entry in shapes.list_trained(self._model):
            layer, made = by_name[entry.layer], self._made[entry.layer]
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

    def _run(self, batch):
        for layer in self._model.layers:
            if isinstance(layer, kinds.MeanOverTime):
                self._made[layer.name][0].shares = batch["shares"]
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
