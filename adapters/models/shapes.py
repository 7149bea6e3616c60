"""Shapes, parameters and multiply-adds, computed from a model's data."""

from typing import Dict, List, NamedTuple, Tuple

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import Layer, Model

Shape = Tuple[int, ...]


class Parameter(NamedTuple):
    """One trained or frozen array. name is `layer.role`; fan_in is what it is scaled by."""

    name: str
    layer: str
    role: str  # `weight`, `bias`, `weight_input`, `weight_hidden` ...: see the kind of layer
    shape: Shape
    fan_in: int
    frozen: bool

    @property
    def size(self) -> int:
        return product(self.shape)


def product(shape: Shape) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def input_shape(model: Model) -> Shape:
    """Of one example; a sequence's time is its longest."""
    source = model.input
    if isinstance(source, kinds.Images):
        return (source.channels, source.height, source.width)
    if isinstance(source, kinds.Vectors):
        return (source.size,)
    return (max(source.lengths),)


def sources(model: Model) -> Dict[str, Tuple[str, ...]]:
    """Per layer, the names of what it reads; `input` is the example."""
    before = "input"
    found = {}
    for layer in model.layers:
        found[layer.name] = layer.inputs or (before,)
        before = layer.name
    return found


def output_shapes(model: Model) -> Dict[str, Shape]:
    """Per layer, the shape of one example behind it, with `input` for the example itself.

    ValueError if a window does not fit, a layer reads what does not exist or adds unlike shapes.
    """
    shapes = {"input": input_shape(model)}
    reads = sources(model)
    for layer in model.layers:
        missing = [name for name in reads[layer.name] if name not in shapes]
        if missing:
            raise ValueError("{}: layer {} reads {}".format(model.name, layer.name, missing[0]))
        shapes[layer.name] = _output_shape(layer, shapes[reads[layer.name][0]])
        if any(shapes[name] != shapes[layer.name] for name in reads[layer.name][1:]):
            raise ValueError("{}: layer {} adds unlike shapes".format(model.name, layer.name))
    return shapes


def parameters(model: Model) -> Tuple[Parameter, ...]:
    """In the order of the layers, weights before biases."""
    shapes = output_shapes(model)
    reads = sources(model)
    found: List[Parameter] = []
    for layer in model.layers:
        found.extend(_parameters(layer, shapes[reads[layer.name][0]]))
    return tuple(found)


def trained(model: Model) -> Tuple[Parameter, ...]:
    """The parameters that get a gradient."""
    return tuple(entry for entry in parameters(model) if not entry.frozen)


def parameter_count(model: Model) -> int:
    return sum(entry.size for entry in parameters(model))


def forward_macs(model: Model) -> int:
    """Multiply-adds of one example, forward.

    Where the input is a sequence, of one token: what runs once per sequence, behind the mean over
    time, is then left out.
    """
    per_token = _runs_per_token(model)
    whole = not any(per_token.values())
    return sum(
        macs
        for layer, macs in _layer_macs(model)
        if whole or per_token[sources(model)[layer.name][0]]
    )


def forward_flops(model: Model, batch_size: int) -> float:
    """Two per multiply-add, of one call with batch_size examples; the mean over the batches."""
    runs = _runs(model, batch_size)
    return 2.0 * batch_size * sum(macs * runs[layer.name] for layer, macs in _layer_macs(model))


def gradient_flops(model: Model, batch_size: int) -> float:
    """Forward, then per trained weight one product more, and one for what flows back past it.

    No gradient is needed with respect to the example itself, nor before the first trained layer.
    """
    reads, needed, runs = sources(model), needs_gradient(model), _runs(model, batch_size)
    found = output_shapes(model)
    total = 0.0
    for layer, macs in _layer_macs(model):
        before = reads[layer.name][0]
        back = macs if needed[before] else _inner_macs(layer, found[before])
        trains = not getattr(layer, "frozen", False)
        total += runs[layer.name] * (macs + macs * int(trains) + back)
    return 2.0 * batch_size * total


def copied_bytes(model: Model, batch_size: int) -> int:
    """Bytes read and written by the copies of one call, 0 for a model that copies nothing."""
    shapes = output_shapes(model)
    values = sum(
        product(shapes[layer.name]) for layer in model.layers if isinstance(layer, kinds.Duplicate)
    )
    return 2 * 4 * values * batch_size


def has_groups(model: Model) -> bool:
    """Whether there is a grouped convolution other than one kernel per channel."""
    found, reads = output_shapes(model), sources(model)
    return any(
        1 < layer.groups < found[reads[layer.name][0]][0]
        for layer in model.layers
        if isinstance(layer, kinds.Conv)
    )


def needs_gradient(model: Model) -> Dict[str, bool]:
    """Per layer, and `input`, whether a trained parameter is in it or before it."""
    reads = sources(model)
    needed = {"input": False}
    for layer in model.layers:
        trains = bool(_parameter_roles(layer)) and not getattr(layer, "frozen", False)
        needed[layer.name] = trains or any(needed[name] for name in reads[layer.name])
    return needed


def _window(length: int, size: int, stride: int, padding: int, name: str) -> int:
    if length + 2 * padding < size:
        raise ValueError("layer {}: a window of {} over {} values".format(name, size, length))
    return (length + 2 * padding - size) // stride + 1


def _output_shape(layer: Layer, shape: Shape) -> Shape:
    if isinstance(layer, (kinds.Conv, kinds.DilatedConv, kinds.TransposedConv)):
        return (layer.maps, _length(layer, shape[1]), _length(layer, shape[2]))
    if isinstance(layer, (kinds.MaxPool, kinds.AvgPool)):
        return (shape[0], _length(layer, shape[1]), _length(layer, shape[2]))
    if isinstance(layer, kinds.Linear):
        return (layer.units,)
    if isinstance(layer, (kinds.Embedding, kinds.Lstm, kinds.Gru)):
        return (shape[0], layer.units)
    if isinstance(layer, kinds.MeanOverTime):
        return shape[1:]
    return shape


def _length(layer: Layer, length: int) -> int:
    """Of one side of an image behind a layer that looks at windows."""
    if isinstance(layer, kinds.TransposedConv):
        return (length - 1) * layer.stride + layer.kernel - 2 * layer.padding
    if isinstance(layer, kinds.DilatedConv):
        size = (layer.kernel - 1) * layer.dilation + 1
        return _window(length, size, 1, layer.padding, layer.name)
    if isinstance(layer, kinds.Conv):
        return _window(length, layer.kernel, layer.stride, layer.padding, layer.name)
    return _window(length, layer.size, layer.stride, 0, layer.name)


# Of every kind that has parameters; a linear layer may be without its bias.
_ROLES: Dict[type, Tuple[str, ...]] = {
    kinds.Conv: ("weight", "bias"),
    kinds.DilatedConv: ("weight", "bias"),
    kinds.TransposedConv: ("weight", "bias"),
    kinds.Linear: ("weight", "bias"),
    kinds.BatchNorm: ("scale", "bias"),
    kinds.Embedding: ("weight",),
    kinds.Lstm: ("weight_input", "weight_hidden", "bias"),
    kinds.Gru: ("weight_input", "weight_hidden", "bias", "bias_hidden"),
    kinds.Attention: ("weight_input", "weight_output"),
    kinds.Loop: ("weight", "bias"),
}


def _parameter_roles(layer: Layer) -> Tuple[str, ...]:
    roles = _ROLES.get(type(layer), ())
    return roles if getattr(layer, "bias", True) else roles[:-1]


def _parameters(layer: Layer, shape: Shape) -> List[Parameter]:
    shapes = _parameter_shapes(layer, shape)
    frozen = getattr(layer, "frozen", False)
    return [
        Parameter(
            "{}.{}".format(layer.name, role),
            layer.name,
            role,
            shapes[role][0],
            shapes[role][1],
            frozen,
        )
        for role in _parameter_roles(layer)
    ]


def _parameter_shapes(layer: Layer, shape: Shape) -> Dict[str, Tuple[Shape, int]]:
    """Per role, the shape and the fan-in."""
    if isinstance(layer, (kinds.Conv, kinds.DilatedConv)):
        inputs = shape[0] // getattr(layer, "groups", 1)
        fan_in = inputs * layer.kernel**2
        weight = (layer.maps, inputs, layer.kernel, layer.kernel)
        return {"weight": (weight, fan_in), "bias": ((layer.maps,), fan_in)}
    if isinstance(layer, kinds.TransposedConv):
        fan_in = shape[0] * max(1, layer.kernel**2 // layer.stride**2)
        weight = (shape[0], layer.maps, layer.kernel, layer.kernel)
        return {"weight": (weight, fan_in), "bias": ((layer.maps,), fan_in)}
    if isinstance(layer, kinds.Linear):
        fan_in = product(shape)
        return {"weight": ((layer.units, fan_in), fan_in), "bias": ((layer.units,), fan_in)}
    if isinstance(layer, kinds.BatchNorm):
        return {"scale": (shape[:1], 1), "bias": (shape[:1], 1)}
    if isinstance(layer, kinds.Embedding):
        return {"weight": ((layer.vocabulary, layer.units), 100)}  # a scale of 0.1
    if isinstance(layer, kinds.Lstm):
        return _recurrent_shapes(4 * layer.units, layer.units, shape[1], ("bias",))
    if isinstance(layer, kinds.Gru):
        return _recurrent_shapes(3 * layer.units, layer.units, shape[1], ("bias", "bias_hidden"))
    if isinstance(layer, kinds.Attention):
        n = shape[1]
        return {"weight_input": ((3 * n, n), n), "weight_output": ((n, n), n)}
    if isinstance(layer, kinds.Loop):
        return {"weight": (shape + shape, shape[0]), "bias": (shape, shape[0])}
    return {}


def _recurrent_shapes(
    gates: int, units: int, inputs: int, biases: Tuple[str, ...]
) -> Dict[str, Tuple[Shape, int]]:
    found: Dict[str, Tuple[Shape, int]] = {
        "weight_input": ((gates, inputs), inputs),
        "weight_hidden": ((gates, units), units),
    }
    found.update({role: ((gates,), units) for role in biases})
    return found


def _macs(layer: Layer, shape: Shape) -> int:
    """Of the products. Per example; per token behind a sequence."""
    if isinstance(layer, (kinds.Conv, kinds.DilatedConv)):
        _, height, width = _output_shape(layer, shape)
        inputs = shape[0] // getattr(layer, "groups", 1)
        return layer.maps * inputs * layer.kernel**2 * height * width
    if isinstance(layer, kinds.TransposedConv):
        return product(shape) * layer.maps * layer.kernel**2
    if isinstance(layer, kinds.Linear):
        return product(shape) * layer.units
    if isinstance(layer, kinds.Lstm):
        return 4 * layer.units * (shape[1] + layer.units)
    if isinstance(layer, kinds.Gru):
        return 3 * layer.units * (shape[1] + layer.units)
    if isinstance(layer, kinds.Attention):  # every token with each of the longest sequence
        return 4 * shape[1] ** 2 + 2 * shape[0] * shape[1]
    if isinstance(layer, kinds.Loop):
        return layer.steps * shape[0] ** 2
    return 0


def _inner_macs(layer: Layer, shape: Shape) -> int:
    """Of the products with what the layer made itself, through which gradients flow in any case."""
    if isinstance(layer, kinds.Lstm):
        return 4 * layer.units**2
    if isinstance(layer, kinds.Gru):
        return 3 * layer.units**2
    if isinstance(layer, kinds.Attention):
        return shape[1] ** 2 + 2 * shape[0] * shape[1]
    if isinstance(layer, kinds.Loop):
        return (layer.steps - 1) * shape[0] ** 2
    return 0


def _layer_macs(model: Model) -> Tuple[Tuple[Layer, int], ...]:
    """Of each layer once: per token where it runs per token."""
    found, reads = output_shapes(model), sources(model)
    return tuple((layer, _macs(layer, found[reads[layer.name][0]])) for layer in model.layers)


def _runs_per_token(model: Model) -> Dict[str, bool]:
    """Per layer, and `input`, whether its output has an entry per token."""
    reads = sources(model)
    found = {"input": isinstance(model.input, kinds.Sequences)}
    for layer in model.layers:
        before = found[reads[layer.name][0]]
        found[layer.name] = before and not isinstance(layer, kinds.MeanOverTime)
    return found


def _runs(model: Model, batch_size: int) -> Dict[str, float]:
    """Per layer how often it runs for one example: once, or per token at the mean length."""
    reads, per_token = sources(model), _runs_per_token(model)
    tokens = _mean_length(model, batch_size)
    return {
        layer.name: tokens if per_token[reads[layer.name][0]] else 1.0 for layer in model.layers
    }


def _mean_length(model: Model, batch_size: int) -> float:
    """True tokens of the examples that fill whole batches; 1 where the input is no sequence."""
    if not isinstance(model.input, kinds.Sequences):
        return 1.0
    whole = len(model.input.lengths) // batch_size * batch_size
    taken = model.input.lengths[:whole] or model.input.lengths
    return sum(taken) / len(taken)
