"""Lower bound of the bytes that one call reads and writes, from a model's layer shapes (roofline).

Each layer reads its inputs and its parameters and writes its output, once, and the loss reads what
it is given; backward reads what comes back, what forward read, and writes each gradient once.
No cache keeps values from one layer to the next, but pointwise layers cost nothing: they are fused.
A framework that fuses more moves less, one that fuses nothing moves more. In bfloat16 and float16
outputs, and the copies of parameters that backward reads, have two bytes.
The model of memory is that of Williams, Waterman and Patterson, Roofline, CACM 52 (4), 2009.
"""

from typing import Dict

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import Layer, Model
from velodrome.adapters.models.products import compute_mean_length, find_token_layers
from velodrome.adapters.models.shapes import (
    compute_output_shapes,
    count_values,
    find_gradient_flow,
    list_inputs,
    list_parameters,
    list_trained,
)

PARAMETER_BYTES = 4  # of float32, as their gradients: in every precision
VALUE_BYTES = {"bfloat16": 2, "float16": 2}  # of a layer's output, else as of a parameter
POINTWISE = (
    kinds.Relu,
    kinds.Tanh,
    kinds.Sigmoid,
    kinds.Gelu,
    kinds.Silu,
    kinds.Dropout,
    kinds.Custom,
    kinds.Patches,
)


# Values that an update reads or writes for each trained one: itself, its gradient, the optimizer's.
UPDATE_VALUES = {"sgd": 5, "adamw": 7}


def estimate_inference_bytes(model: Model, batch_size: int, dtype: str = "float32") -> float:
    """Estimate the bytes of one call without the loss; for sequences, the mean over the batches."""
    each = VALUE_BYTES.get(dtype, PARAMETER_BYTES)
    values, reads, sizes = (
        _count_layer_values(model, batch_size),
        list_inputs(model),
        _count_parameter_values(model),
    )
    count = sum(
        each * (sum(values[name] for name in reads[layer.name]) + values[layer.name])
        + PARAMETER_BYTES * _read_parameters(layer, values[layer.name], sizes)
        for layer in model.layers
        if not isinstance(layer, POINTWISE)
    )
    return count


def estimate_forward_bytes(model: Model, batch_size: int, dtype: str = "float32") -> float:
    """Estimate the bytes of one forward call, which reads the output once more for the loss."""
    count = estimate_inference_bytes(model, batch_size, dtype)
    if isinstance(model.loss, kinds.NoLoss):
        return count
    output = _count_layer_values(model, batch_size)[model.layers[-1].name]
    return count + VALUE_BYTES.get(dtype, PARAMETER_BYTES) * output


def estimate_update_bytes(model: Model, optimizer: str) -> float:
    """Estimate the bytes of an optimizer's step, of float32. KeyError for an unknown optimizer."""
    trained = sum(entry.size for entry in list_trained(model))
    return float(PARAMETER_BYTES * UPDATE_VALUES[optimizer] * trained)


def estimate_gradient_bytes(model: Model, batch_size: int, dtype: str = "float32") -> float:
    """Estimate the bytes of forward, and of backward as far as a gradient flows."""
    each = VALUE_BYTES.get(dtype, PARAMETER_BYTES)
    values, reads, sizes = (
        _count_layer_values(model, batch_size),
        list_inputs(model),
        _count_parameter_values(model),
    )
    needed = find_gradient_flow(model)
    count = 0.0
    for layer in model.layers:
        if isinstance(layer, POINTWISE) or not needed[layer.name]:
            continue
        trains = sizes[layer.name] and not getattr(layer, "frozen", False)
        flows = [name for name in reads[layer.name] if needed[name]]
        count += each * values[layer.name]  # what comes back
        if trains:
            count += each * sum(values[name] for name in reads[layer.name])
            count += PARAMETER_BYTES * sizes[layer.name]
        if flows:
            count += each * (sizes[layer.name] + sum(values[name] for name in flows))
    return estimate_forward_bytes(model, batch_size, dtype) + count


def _count_layer_values(model: Model, batch_size: int) -> Dict[str, float]:
    """Count per layer, and for `input`, its output values; of sequences only true tokens."""
    per_token = find_token_layers(model)
    share = 1.0
    if isinstance(model.input, kinds.Sequences):
        share = compute_mean_length(model, batch_size) / max(model.input.lengths)
    return {
        name: batch_size * count_values(shape) * (share if per_token[name] else 1.0)
        for name, shape in compute_output_shapes(model).items()
    }


def _count_parameter_values(model: Model) -> Dict[str, int]:
    """Count per layer the values of its parameters, and of those that it shares."""
    found = {layer.name: 0 for layer in model.layers}
    for entry in list_parameters(model):
        found[entry.layer] += entry.size
    for layer in model.layers:
        if isinstance(layer, kinds.TiedLinear):
            found[layer.name] = found[layer.embedding]
    return found


def _read_parameters(layer: Layer, written: float, sizes: Dict[str, int]) -> float:
    """Return the parameter values that a layer reads: all, but of an embedding only some rows."""
    return written if isinstance(layer, kinds.Embedding) else float(sizes[layer.name])
