"""Shapes and parameters, computed from a model's data."""

from typing import Dict, List, NamedTuple, Tuple

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.code_kinds import list_code_phases
from velodrome.adapters.models.layers import Layer, Model
from velodrome.adapters.protocol import (
    LOADING_PHASES,
    TIMED_PHASES,
    TRAINING_PHASES,
    USUAL_PHASES,
)

Shape = Tuple[int, ...]


class Parameter(NamedTuple):
    """One trained or frozen array. name: `layer.role`; fan_in: the base of its scale.

    center: the drawn values are about it; those of a bias about plus or minus it.
    """

    name: str
    layer: str
    role: str  # `weight`, `bias`, `weight_input`, `weight_hidden` ...: see the kind of layer
    shape: Shape
    fan_in: int
    frozen: bool
    center: float = 0.0

    @property
    def size(self) -> int:
        return count_values(self.shape)


def count_values(shape: Shape) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def compute_input_shape(model: Model) -> Shape:
    """Return the shape of one example; the longest time for sequences; () for code."""
    source = model.input
    if isinstance(source, kinds.Code):
        return ()
    if isinstance(source, kinds.Images):
        return (source.channels, source.height, source.width)
    if isinstance(source, kinds.Vectors):
        return (source.size,)
    if isinstance(source, kinds.States):
        return (source.length, source.size)
    return (source.length,) if isinstance(source, kinds.Tokens) else (max(source.lengths),)


def list_inputs(model: Model) -> Dict[str, Tuple[str, ...]]:
    """List per layer the names of its inputs; `input` is the example."""
    before = "input"
    found = {}
    for layer in model.layers:
        found[layer.name] = layer.inputs or (before,)
        before = layer.name
    return found


def compute_output_shapes(model: Model) -> Dict[str, Shape]:
    """Return per layer the shape of one example behind it, and of the example itself as `input`.

    ValueError if a window does not fit, a layer reads what does not exist or adds unlike shapes.
    """
    shapes = {"input": compute_input_shape(model)}
    reads = list_inputs(model)
    for layer in model.layers:
        missing = [name for name in reads[layer.name] if name not in shapes]
        if missing:
            raise ValueError("{}: layer {} reads {}".format(model.name, layer.name, missing[0]))
        shapes[layer.name] = compute_output_shape(layer, shapes[reads[layer.name][0]])
        if isinstance(layer, kinds.TiedLinear):
            shapes[layer.name] = (shapes[layer.name][0], _find_vocabulary(model, layer))
        if any(shapes[name] != shapes[layer.name] for name in reads[layer.name][1:]):
            raise ValueError("{}: layer {} adds unlike shapes".format(model.name, layer.name))
    return shapes


def list_parameters(model: Model) -> Tuple[Parameter, ...]:
    """List the parameters in the order of the layers, weights before biases."""
    shapes = compute_output_shapes(model)
    reads = list_inputs(model)
    found: List[Parameter] = []
    for layer in model.layers:
        found.extend(_parameters(layer, shapes[reads[layer.name][0]]))
    return tuple(found)


def list_trained(model: Model) -> Tuple[Parameter, ...]:
    """List the parameters that get a gradient."""
    return tuple(entry for entry in list_parameters(model) if not entry.frozen)


def list_timed_phases(model: Model, wanted: Tuple[str, ...] = USUAL_PHASES) -> Tuple[str, ...]:
    """List those of the wanted timed phases that the model has, in order; maybe none.

    Without a loss there is only forward, wanted or not; without trained parameters there are no
    gradients. Code has inference if its file has a function for it, and optimizers in torch alone.
    """
    if isinstance(model.loss, kinds.NoLoss):
        return ("forward",)
    own: Tuple[str, ...] = TIMED_PHASES if list_trained(model) else ("forward", "inference")
    if isinstance(model.input, kinds.Code):
        own = list_code_phases(model.input)
    left_out = () if has_records(model) else LOADING_PHASES
    return tuple(name for name in own if name in wanted and name not in left_out)


def changes_parameters(model: Model, wanted: Tuple[str, ...]) -> bool:
    """Return True if one of the wanted phases that the model has changes parameters."""
    return any(phase in TRAINING_PHASES for phase in list_timed_phases(model, wanted))


def has_records(model: Model) -> bool:
    """Return True if the model's examples fit a data set of equal records.

    Padded sequences do not: how long one is in a batch depends on the others.
    """
    source = model.input
    return isinstance(source, (kinds.Images, kinds.Vectors, kinds.States, kinds.Tokens))


def count_parameters(model: Model) -> int:
    return sum(entry.size for entry in list_parameters(model))


def has_groups(model: Model) -> bool:
    """Return True if a convolution has groups, other than one kernel per channel."""
    found, reads = compute_output_shapes(model), list_inputs(model)
    return any(
        1 < layer.groups < found[reads[layer.name][0]][0]
        for layer in model.layers
        if isinstance(layer, kinds.Conv)
    )


def find_gradient_flow(model: Model) -> Dict[str, bool]:
    """Return per layer, and for `input`, True if it or one before it has a trained parameter."""
    reads = list_inputs(model)
    needed = {"input": False}
    for layer in model.layers:
        tied = isinstance(layer, kinds.TiedLinear)
        trains = tied or (bool(_parameter_roles(layer)) and not getattr(layer, "frozen", False))
        needed[layer.name] = trains or any(needed[name] for name in reads[layer.name])
    return needed


def _find_vocabulary(model: Model, layer: kinds.TiedLinear) -> int:
    for other in model.layers:
        if other.name == layer.embedding and isinstance(other, kinds.Embedding):
            return other.vocabulary
    text = "{}: layer {} shares the weight of {}, which is no embedding"
    raise ValueError(text.format(model.name, layer.name, layer.embedding))


def _window(length: int, size: int, stride: int, padding: int, name: str) -> int:
    if length + 2 * padding < size:
        raise ValueError("layer {}: a window of {} over {} values".format(name, size, length))
    return (length + 2 * padding - size) // stride + 1


def compute_output_shape(layer: Layer, shape: Shape) -> Shape:
    """Return the shape of one example behind a layer. shape: that of its input."""
    if isinstance(layer, (kinds.Conv, kinds.DilatedConv, kinds.TransposedConv)):
        return (layer.maps, _length(layer, shape[1]), _length(layer, shape[2]))
    if isinstance(layer, (kinds.MaxPool, kinds.AvgPool)):
        return (shape[0], _length(layer, shape[1]), _length(layer, shape[2]))
    if isinstance(layer, kinds.Linear):
        return (layer.units,)
    if isinstance(layer, (kinds.Embedding, kinds.Lstm, kinds.Gru, kinds.StepLinear)):
        return (shape[0], layer.units)
    if isinstance(layer, (kinds.MeanOverTime, kinds.FirstStep)):
        return shape[1:]
    if isinstance(layer, kinds.MeanOverImage):
        return shape[:1]
    if isinstance(layer, kinds.Patches):
        return (shape[1] * shape[2], shape[0])
    if isinstance(layer, kinds.ClassToken):
        return (shape[0] + 1, shape[1])
    return shape


def _length(layer: Layer, length: int) -> int:
    """Return the length of an image's side behind a layer with windows."""
    if isinstance(layer, kinds.TransposedConv):
        return (length - 1) * layer.stride + layer.kernel - 2 * layer.padding
    if isinstance(layer, kinds.DilatedConv):
        size = (layer.kernel - 1) * layer.dilation + 1
        return _window(length, size, 1, layer.padding, layer.name)
    if isinstance(layer, kinds.Conv):
        return _window(length, layer.kernel, layer.stride, layer.padding, layer.name)
    if isinstance(layer, (kinds.MaxPool, kinds.AvgPool)):
        padding = layer.padding if isinstance(layer, kinds.MaxPool) else 0
        return _window(length, layer.size, layer.stride, padding, layer.name)
    raise TypeError("{} has no windows".format(type(layer).__name__))


# Of every kind that has parameters; a layer whose field `bias` is false has none.
_ROLES: Dict[type, Tuple[str, ...]] = {
    kinds.Conv: ("weight", "bias"),
    kinds.DilatedConv: ("weight", "bias"),
    kinds.TransposedConv: ("weight", "bias"),
    kinds.Linear: ("weight", "bias"),
    kinds.BatchNorm: ("scale", "bias"),
    kinds.Embedding: ("weight",),
    kinds.Lstm: ("weight_input", "weight_hidden", "bias"),
    kinds.Gru: ("weight_input", "weight_hidden", "bias", "bias_hidden"),
    kinds.Attention: ("weight_input", "bias_input", "weight_output", "bias_output"),
    kinds.Loop: ("weight", "bias"),
    kinds.StepLinear: ("weight", "bias"),
    kinds.LayerNorm: ("scale", "bias"),
    kinds.RmsNorm: ("scale",),
    kinds.LearnedPositions: ("weight",),
    kinds.ClassToken: ("weight",),
}


def _parameter_roles(layer: Layer) -> Tuple[str, ...]:
    has_bias = getattr(layer, "bias", True)
    roles = _ROLES.get(type(layer), ())
    return tuple(role for role in roles if has_bias or not role.startswith("bias"))


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
            _find_center(layer, role),
        )
        for role in _parameter_roles(layer)
    ]


def _find_center(layer: Layer, role: str) -> float:
    if isinstance(layer, kinds.BatchNorm):
        return layer.seeded_scale if role == "scale" else layer.seeded_bias
    return 1.0 if role == "scale" else 0.0


def _parameter_shapes(layer: Layer, shape: Shape) -> Dict[str, Tuple[Shape, int]]:
    """Return per role the shape and the fan-in."""
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
        fan_in = count_values(shape)
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
        return _attention_shapes(layer, shape[1])
    if isinstance(layer, kinds.StepLinear):
        return {"weight": ((layer.units, shape[1]), shape[1]), "bias": ((layer.units,), shape[1])}
    if isinstance(layer, (kinds.LayerNorm, kinds.RmsNorm)):
        return {"scale": (shape[1:], 1), "bias": (shape[1:], 1)}
    if isinstance(layer, kinds.LearnedPositions):
        return {"weight": ((layer.rows, shape[1]), 100)}
    if isinstance(layer, kinds.ClassToken):
        return {"weight": (shape[1:], 100)}
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


def _attention_shapes(layer: kinds.Attention, n: int) -> Dict[str, Tuple[Shape, int]]:
    rows = (layer.heads + 2 * (layer.key_value_heads or layer.heads)) * (n // layer.heads)
    return {
        "weight_input": ((rows, n), n),
        "bias_input": ((rows,), n),
        "weight_output": ((n, n), n),
        "bias_output": ((n,), n),
    }
