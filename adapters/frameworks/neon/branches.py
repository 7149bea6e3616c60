"""The order of a model's layers as a chain, in which sums of two branches take one place."""

from typing import Dict, List, NamedTuple, Tuple, Union

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Layer, Model


class Sum(NamedTuple):
    """The sum of two chains that read one layer; an empty chain stands for that layer itself."""

    first: Tuple[Union[Layer, "Sum"], ...]  # type: ignore[misc]
    second: Tuple[Union[Layer, "Sum"], ...]  # type: ignore[misc]


Chain = List[Union[Layer, Sum]]


def arrange(model: Model, layers: Tuple[Layer, ...]) -> Tuple[Union[Layer, Sum], ...]:
    """Arrange consecutive layers of a model. Unsupported if a branch ends in no sum."""
    reads = shapes.list_inputs(model)
    chain: Chain = []
    forks: List[Tuple[int, int]] = []  # start and end of a branch beside which another has begun
    before = reads[layers[0].name][0] if layers else ""
    ends: Dict[str, int] = {before: 0}  # the length of the chain behind each layer
    for layer in layers:
        if isinstance(layer, kinds.Add):
            chain = _add(chain, _find_branches(reads[layer.name], before, ends, forks))
        else:
            (source,) = reads[layer.name]
            if source != before:
                forks.append((_find_end(source, ends), len(chain)))
            chain = [*chain, layer]
        before = layer.name
        ends[before] = len(chain)
    if forks:
        raise Unsupported("the neon adapter has no branches that end in no sum")
    return tuple(chain)


def _add(chain: Chain, places: Tuple[int, int]) -> Chain:
    start, middle = places
    return [*chain[:start], Sum(tuple(chain[start:middle]), tuple(chain[middle:]))]


def _find_branches(
    added: Tuple[str, ...], before: str, ends: Dict[str, int], forks: List[Tuple[int, int]]
) -> Tuple[int, int]:
    """Return where the two branches begin; takes the fork that the sum closes away."""
    if before not in added:
        raise Unsupported("the neon adapter has no sum of layers before the last one")
    (other,) = [name for name in added if name != before] or [before]
    end = _find_end(other, ends)
    if forks and forks[-1][1] == end:
        return forks.pop()
    if forks and end < forks[-1][1]:
        raise Unsupported("the neon adapter has no branches that cross")
    return end, end


def _find_end(name: str, ends: Dict[str, int]) -> int:
    if name not in ends:
        raise Unsupported("the neon adapter has no branch from outside a chain")
    return ends[name]
