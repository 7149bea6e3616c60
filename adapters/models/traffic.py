"""Bytes that one call moves at least, computed from a model's data: what its intensity is told by.

Each layer reads its inputs and its parameters and writes its output, once, and the loss reads what
it is given; backward reads what comes back, what forward read, and writes each gradient once.
Nothing is kept in caches from one layer to the next, but what works value by value costs nothing:
it is done in passing. A framework that fuses more moves less, one that fuses nothing moves more.
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
)

VALUE_BYTES = 4  # of float32, in which weights and batches are handed in
POINTWISE = (kinds.Relu, kinds.Tanh, kinds.Sigmoid, kinds.Dropout, kinds.Custom)


def estimate_forward_bytes(model: Model, batch_size: int) -> float:
    """Of one call with batch_size examples; of sequences, the mean over the batches."""
    values, reads, sizes = (
        _count_layer_values(model, batch_size),
        list_inputs(model),
        _count_parameter_values(model),
    )
    moved = sum(
        sum(values[name] for name in reads[layer.name])
        + _read_parameters(layer, values[layer.name], sizes)
        + values[layer.name]
        for layer in model.layers
        if not isinstance(layer, POINTWISE)
    )
    if not isinstance(model.loss, kinds.NoLoss):
        moved += values[model.layers[-1].name]
    return VALUE_BYTES * moved


def estimate_gradient_bytes(model: Model, batch_size: int) -> float:
    """Forward, and backward as far as any gradient flows."""
    values, reads, sizes = (
        _count_layer_values(model, batch_size),
        list_inputs(model),
        _count_parameter_values(model),
    )
    needed = find_gradient_flow(model)
    moved = 0.0
    for layer in model.layers:
        if isinstance(layer, POINTWISE) or not needed[layer.name]:
            continue
        trains = sizes[layer.name] and not getattr(layer, "frozen", False)
        flows = [name for name in reads[layer.name] if needed[name]]
        moved += values[layer.name]  # what comes back
        if trains:
            moved += sum(values[name] for name in reads[layer.name]) + sizes[layer.name]
        if flows:
            moved += sizes[layer.name] + sum(values[name] for name in flows)
    return estimate_forward_bytes(model, batch_size) + VALUE_BYTES * moved


def _count_layer_values(model: Model, batch_size: int) -> Dict[str, float]:
    """Per layer, and `input`, how many values stand behind it; of sequences, of true tokens."""
    per_token = find_token_layers(model)
    share = 1.0
    if isinstance(model.input, kinds.Sequences):
        share = compute_mean_length(model, batch_size) / max(model.input.lengths)
    return {
        name: batch_size * count_values(shape) * (share if per_token[name] else 1.0)
        for name, shape in compute_output_shapes(model).items()
    }


def _count_parameter_values(model: Model) -> Dict[str, int]:
    """Per layer, how many values its parameters hold."""
    found = {layer.name: 0 for layer in model.layers}
    for entry in list_parameters(model):
        found[entry.layer] += entry.size
    return found


def _read_parameters(layer: Layer, written: float, sizes: Dict[str, int]) -> float:
    """An embedding reads the rows that it writes, not its whole table."""
    return written if isinstance(layer, kinds.Embedding) else float(sizes[layer.name])
