"""Shapes, parameters and multiply-adds, computed from a model's data."""

from typing import Dict, List, NamedTuple, Tuple

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import Layer, Model

Shape = Tuple[int, ...]


class Parameter(NamedTuple):
    """One trained or frozen array. name is `layer.role`; fan_in is what it is scaled by."""

    name: str
    layer: str
    role: str  # `weight`, `bias`, `weight_input`, `weight_hidden`
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

    ValueError if a window does not fit or a layer reads what does not exist.
    """
    shapes = {"input": input_shape(model)}
    reads = sources(model)
    for layer in model.layers:
        missing = [name for name in reads[layer.name] if name not in shapes]
        if missing:
            raise ValueError("{}: layer {} reads {}".format(model.name, layer.name, missing[0]))
        shapes[layer.name] = _output_shape(layer, shapes[reads[layer.name][0]])
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
    total = 0.0
    for layer, macs in _layer_macs(model):
        back = macs if needed[reads[layer.name][0]] else _recurrent_macs(layer)
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
    if isinstance(layer, kinds.Conv):
        _, height, width = shape
        return (
            layer.maps,
            _window(height, layer.kernel, layer.stride, layer.padding, layer.name),
            _window(width, layer.kernel, layer.stride, layer.padding, layer.name),
        )
    if isinstance(layer, kinds.MaxPool):
        channels, height, width = shape
        return (
            channels,
            _window(height, layer.size, layer.stride, 0, layer.name),
            _window(width, layer.size, layer.stride, 0, layer.name),
        )
    if isinstance(layer, kinds.Linear):
        return (layer.units,)
    if isinstance(layer, (kinds.Embedding, kinds.Lstm)):
        return (shape[0], layer.units)
    if isinstance(layer, kinds.MeanOverTime):
        return shape[1:]
    return shape


def _parameter_roles(layer: Layer) -> Tuple[str, ...]:
    if isinstance(layer, (kinds.Conv, kinds.Linear)):
        return ("weight", "bias") if getattr(layer, "bias", True) else ("weight",)
    if isinstance(layer, kinds.Embedding):
        return ("weight",)
    if isinstance(layer, kinds.Lstm):
        return ("weight_input", "weight_hidden", "bias")
    return ()


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
    if isinstance(layer, kinds.Conv):
        inputs = shape[0] // layer.groups
        fan_in = inputs * layer.kernel**2
        weight = (layer.maps, inputs, layer.kernel, layer.kernel)
        return {"weight": (weight, fan_in), "bias": ((layer.maps,), fan_in)}
    if isinstance(layer, kinds.Linear):
        fan_in = product(shape)
        return {"weight": ((layer.units, fan_in), fan_in), "bias": ((layer.units,), fan_in)}
    if isinstance(layer, kinds.Embedding):
        return {"weight": ((layer.vocabulary, layer.units), 100)}  # a scale of 0.1
    if isinstance(layer, kinds.Lstm):
        gates = 4 * layer.units
        return {
            "weight_input": ((gates, shape[1]), shape[1]),
            "weight_hidden": ((gates, layer.units), layer.units),
            "bias": ((gates,), layer.units),
        }
    return {}


def _macs(layer: Layer, shape: Shape) -> int:
    """Of the products with weights. Per example; per token behind a sequence."""
    if isinstance(layer, kinds.Conv):
        _, height, width = _output_shape(layer, shape)
        per_position = layer.maps * (shape[0] // layer.groups) * layer.kernel**2
        return per_position * height * width
    if isinstance(layer, kinds.Linear):
        return product(shape) * layer.units
    if isinstance(layer, kinds.Lstm):
        return 4 * layer.units * (shape[1] + layer.units)
    return 0


def _recurrent_macs(layer: Layer) -> int:
    """Of the products with the layer's own state, through which gradients flow in any case."""
    return 4 * layer.units**2 if isinstance(layer, kinds.Lstm) else 0


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
