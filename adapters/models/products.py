"""Multiply-adds, copied bytes and units of work, computed from a model's data."""

from typing import Dict, NamedTuple, Optional, Tuple

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import Layer, Model
from velodrome.adapters.models.shapes import (
    Shape,
    compute_input_shape,
    compute_output_shape,
    compute_output_shapes,
    count_values,
    find_gradient_flow,
    list_inputs,
)

STEP_KINDS = (  # of which _count_macs counts one step
    kinds.Lstm,
    kinds.Gru,
    kinds.Attention,
    kinds.StepLinear,
    kinds.TiedLinear,
)


def count_forward_macs(model: Model) -> int:
    """Count the multiply-adds of one example, forward; of one token where the input is a sequence.

    Of padded sequences, without layers that run once per sequence, behind the mean over time.
    """
    per_token, runs = find_token_layers(model), _count_runs(model, 1)
    whole = not any(per_token.values())
    counted = [
        macs * (int(runs[layer.name]) if whole else 1)
        for layer, macs in _count_layer_macs(model)
        if whole or per_token[list_inputs(model)[layer.name][0]]
    ]
    steps = model.input.length if isinstance(model.input, (kinds.Tokens, kinds.States)) else 1
    return sum(counted) // steps


def count_forward_flops(model: Model, batch_size: int) -> float:
    """Count the operations of one call, two per multiply-add; the mean over the batches.

    Those of code are what its file states; 0 if that states none.
    """
    if isinstance(model.input, kinds.Code):
        return batch_size * model.input.forward_flops
    runs = _count_runs(model, batch_size)
    return (
        2.0 * batch_size * sum(macs * runs[layer.name] for layer, macs in _count_layer_macs(model))
    )


def count_gradient_flops(model: Model, batch_size: int) -> float:
    """Count forward, plus one product per trained weight and one for the gradient that flows back.

    No gradient is needed with respect to the example itself, nor before the first trained layer.
    """
    if isinstance(model.input, kinds.Code):
        return batch_size * model.input.gradient_flops
    reads, needed, runs = (
        list_inputs(model),
        find_gradient_flow(model),
        _count_runs(model, batch_size),
    )
    found = compute_output_shapes(model)
    total = 0.0
    for layer, macs in _count_layer_macs(model):
        before = reads[layer.name][0]
        back = macs if needed[before] else _count_inner_macs(layer, found[before])
        trains = not getattr(layer, "frozen", False)
        total += runs[layer.name] * (macs + macs * int(trains) + back)
    return 2.0 * batch_size * total


def count_phase_flops(model: Model, batch_size: int, phase: str) -> float:
    """Count the operations of one call of a timed phase; 0 for one that has no products."""
    if phase in ("forward", "inference"):
        return count_forward_flops(model, batch_size)
    if phase in ("gradient", "step", "fed_gradient"):
        return count_gradient_flops(model, batch_size)
    return 0.0


def count_copied_bytes(model: Model, batch_size: int) -> int:
    """Count the bytes that one call's copies read and write; 0 for a model that copies nothing."""
    shapes = compute_output_shapes(model)
    values = sum(
        count_values(shapes[layer.name])
        for layer in model.layers
        if isinstance(layer, kinds.Duplicate)
    )
    return 2 * 4 * values * batch_size


def count_example_bytes(model: Model) -> int:
    """Count the bytes of one example's inputs on the device: float32, or int32 tokens."""
    return 4 * count_values(compute_input_shape(model))


def _count_macs(layer: Layer, shape: Shape) -> int:
    """Count a layer's multiply-adds per example, or per step for STEP_KINDS."""
    if isinstance(layer, (kinds.Conv, kinds.DilatedConv)):
        _, height, width = compute_output_shape(layer, shape)
        inputs = shape[0] // getattr(layer, "groups", 1)
        return layer.maps * inputs * layer.kernel**2 * height * width
    if isinstance(layer, kinds.TransposedConv):
        return count_values(shape) * layer.maps * layer.kernel**2
    if isinstance(layer, kinds.Linear):
        return count_values(shape) * layer.units
    if isinstance(layer, kinds.Lstm):
        return 4 * layer.units * (shape[1] + layer.units)
    if isinstance(layer, kinds.Gru):
        return 3 * layer.units * (shape[1] + layer.units)
    if isinstance(layer, kinds.Attention):
        return _count_projection_macs(layer, shape) + _count_attention_macs(layer, shape)
    if isinstance(layer, kinds.StepLinear):
        return shape[1] * layer.units
    if isinstance(layer, kinds.Loop):
        return layer.steps * shape[0] ** 2
    return 0


def _count_projection_macs(layer: kinds.Attention, shape: Shape) -> int:
    kept = 2 * (layer.key_value_heads or layer.heads)
    return shape[1] ** 2 * (2 * layer.heads + kept) // layer.heads


def _count_attention_macs(layer: kinds.Attention, shape: Shape) -> int:
    """Count a token's products with each of the longest sequence, or with itself and earlier ones.

    With `causal`, half of them are needed: the mean over the tokens.
    """
    return (shape[0] + 1 if layer.causal else 2 * shape[0]) * shape[1]


def _count_inner_macs(layer: Layer, shape: Shape) -> int:
    """Count the products with a layer's own states, through which gradients always flow."""
    if isinstance(layer, kinds.Lstm):
        return 4 * layer.units**2
    if isinstance(layer, kinds.Gru):
        return 3 * layer.units**2
    if isinstance(layer, kinds.Attention):
        return shape[1] ** 2 + _count_attention_macs(layer, shape)
    if isinstance(layer, kinds.Loop):
        return (layer.steps - 1) * shape[0] ** 2
    return 0


def _count_layer_macs(model: Model) -> Tuple[Tuple[Layer, int], ...]:
    """List each layer's multiply-adds, per step if it runs per step."""
    found, reads = compute_output_shapes(model), list_inputs(model)
    return tuple(
        (
            layer,
            found[reads[layer.name][0]][1] * found[layer.name][1]
            if isinstance(layer, kinds.TiedLinear)
            else _count_macs(layer, found[reads[layer.name][0]]),
        )
        for layer in model.layers
    )


def find_token_layers(model: Model) -> Dict[str, bool]:
    """Return per layer, and for `input`, True if its output has an entry per token, or padding."""
    reads = list_inputs(model)
    found = {"input": isinstance(model.input, kinds.Sequences)}
    for layer in model.layers:
        before = found[reads[layer.name][0]]
        found[layer.name] = before and not isinstance(layer, (kinds.MeanOverTime, kinds.FirstStep))
    return found


def _count_runs(model: Model, batch_size: int) -> Dict[str, float]:
    """Count per layer its runs for one example: one, or the mean number of steps."""
    reads, per_token, found = (
        list_inputs(model),
        find_token_layers(model),
        compute_output_shapes(model),
    )
    tokens = compute_mean_length(model, batch_size)
    runs = {}
    for layer in model.layers:
        before = reads[layer.name][0]
        steps = found[before][0] if isinstance(layer, STEP_KINDS) else 1.0
        runs[layer.name] = tokens if per_token[before] else float(steps)
    return runs


def compute_mean_length(model: Model, batch_size: int) -> float:
    """Return the mean true length of the padded examples that fill batches; 1 without padding."""
    if not isinstance(model.input, kinds.Sequences):
        return 1.0
    whole = len(model.input.lengths) // batch_size * batch_size
    lengths = model.input.lengths[:whole] or model.input.lengths
    return sum(lengths) / len(lengths)


class CallUnits(NamedTuple):
    """The work of one call in units that a reader counts in.

    name: of the unit, `image`, `vector` or `token`. tokens: true ones, without padding, of all
    sequences together; the mean over the batches; None if the examples are no sequences.
    """

    name: str
    examples: int
    tokens: Optional[float]


def count_units(model: Model, batch_size: int) -> CallUnits:
    """Count what one call works on: tokens of sequences, else images or vectors."""
    source = model.input
    if isinstance(source, kinds.Code) and not source.tokens:
        return CallUnits(source.unit, batch_size, None)
    if isinstance(source, kinds.Code):
        return CallUnits("token", batch_size, float(batch_size * source.tokens))
    if isinstance(source, kinds.Sequences):
        return CallUnits("token", batch_size, batch_size * compute_mean_length(model, batch_size))
    if isinstance(source, (kinds.Tokens, kinds.States)):
        return CallUnits("token", batch_size, float(batch_size * source.length))
    name = "image" if isinstance(source, kinds.Images) else "vector"
    return CallUnits(name, batch_size, None)
