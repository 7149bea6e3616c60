"""Lookups in a model's graph that the adapters of several frameworks share."""

from typing import Any, Dict, Iterator, Tuple, TypeVar

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Layer, Model

Entry = TypeVar("Entry")


def require_options(framework: str, *options: Tuple[str, Tuple[str, ...]]) -> None:
    """Raise Unsupported unless each option (value, supported values) is supported."""
    for value, supported in options:
        if value not in supported:
            raise Unsupported(
                "the {} adapter has no {!r}, only {}".format(framework, value, ", ".join(supported))
            )


def find_entry(entries: Dict[type, Entry], node: Any, framework: str) -> Entry:
    """Return the entry for the kind of a layer or loss. Unsupported names a kind without one."""
    if type(node) not in entries:
        raise Unsupported("the {} adapter has no {}".format(framework, type(node).__name__))
    return entries[type(node)]


def locate_parameters(
    model: Model,
) -> Iterator[Tuple[Layer, shapes.Parameter, Tuple[int, ...]]]:
    """Yield each parameter's layer, itself, and the shape of one example before the layer."""
    outputs, reads = shapes.compute_output_shapes(model), shapes.list_inputs(model)
    by_name = {layer.name: layer for layer in model.layers}
    for entry in shapes.list_parameters(model):
        yield by_name[entry.layer], entry, outputs[reads[entry.layer][0]]


def is_time_first(model: Model) -> bool:
    """Return True if a recurrent layer reads its sequences (time, batch, n); else batch first."""
    return any(isinstance(layer, (kinds.Lstm, kinds.Gru)) for layer in model.layers)


def share_tied(model: Model, by_layer: Dict[str, Dict[str, Entry]]) -> None:
    """Give each TiedLinear, in place, the parameters of the embedding that it names.

    by_layer: parameters by role, for each layer's name.
    """
    for layer in model.layers:
        if isinstance(layer, kinds.TiedLinear):
            by_layer[layer.name] = by_layer[layer.embedding]


def list_spent(model: Model) -> Dict[str, Tuple[str, ...]]:
    """List per layer the names of the values that it is the last layer to read."""
    last = {name: layer for layer, own in shapes.list_inputs(model).items() for name in own}
    return {
        layer.name: tuple(name for name, reader in last.items() if reader == layer.name)
        for layer in model.layers
    }


def list_loss_inputs(model: Model, labels: str) -> Tuple[str, ...]:
    """Return the names of what the loss reads; `labels` stands for the labels."""
    last = model.layers[-1].name
    if isinstance(model.loss, (kinds.SoftmaxCrossEntropy, kinds.StepCrossEntropy)):
        return (last, labels)
    target = getattr(model.loss, "target", "zero")
    return (last,) if target == "zero" else (last, target)
