"""The bounds of a search for a batch size: memory, time of a call, and the largest size. Pure."""

from dataclasses import dataclass

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model
from velodrome.adapters.models.products import count_gradient_flops
from velodrome.adapters.protocol import Timing
from velodrome.agents.batch_search.candidates import MOST, round_down

GIB = 2**30
# A measurement needs more than the calls that were tried: the rest of a limit is for its proof.
TRY_SHARE = 0.9
# Of a node without a limit: less than is available on an idle node, so that the same comes out.
NODE_SHARE = 0.75
# The rest is for what grows meanwhile: nothing may be swapped.
AVAILABLE_SHARE = 0.9

# Of the float64 reference: passes over the batch (two batches, two unseen ones, the same rounded),
# the speed of NumPy per core, and the time that it may take, a third of its deadline.
REFERENCE_PASSES = 6
REFERENCE_FLOPS_PER_S = 5e9
REFERENCE_S = 1200.0
REFERENCE_SHARE = 0.5  # of the node's memory


@dataclass(frozen=True)
class SizeBounds:
    """Bounds of one search. most: the largest size, a candidate; reason: why none is larger.

    memory: of a try's processes. call_s: the longest call.
    """

    start: int
    most: int
    reason: str
    memory: "MemoryBound"
    call_s: float


@dataclass(frozen=True)
class MemoryBound:
    """Bytes that the processes of a try may use. origin: where the number is from, in words.

    is_lasting: it does not depend on what else runs on the node now.
    """

    size_bytes: int
    origin: str
    is_lasting: bool = True

    def limited_to(self, available_bytes: int) -> "MemoryBound":
        """Return the smaller of this and the share of what is available now: nothing may swap."""
        free_bytes = round_down(max(1, count_free_bytes(available_bytes)))
        if free_bytes >= self.size_bytes:
            return self
        origin = (
            f"{AVAILABLE_SHARE:.0%} of the {available_bytes / GIB:.1f} GiB that are available now"
        )
        return MemoryBound(free_bytes, origin, is_lasting=False)


def count_free_bytes(available_bytes: int) -> int:
    """Count the bytes that a try may use of the memory that is available now."""
    return int(AVAILABLE_SHARE * available_bytes)


def compute_memory_bound(asked_bytes: int, ram_bytes: int) -> MemoryBound:
    """Return a share of the task's own limit, or else of the node's memory.

    A share of the node is rounded down, so that machines with a little more or less memory come to
    the same.
    """
    if asked_bytes:
        origin = f"{TRY_SHARE:.0%} of the task's limit of {asked_bytes / GIB:.2f} GiB"
        return MemoryBound(int(TRY_SHARE * asked_bytes), origin)
    size_bytes = round_down(max(1, int(NODE_SHARE * ram_bytes)))
    return MemoryBound(size_bytes, f"{NODE_SHARE:.0%} of the node's {ram_bytes / GIB:.1f} GiB")


def compute_longest_call(timing: Timing) -> float:
    """Return the seconds that a call may take so that the least number of samples is possible."""
    return timing.max_seconds / timing.min_samples


def find_most(model: Model, cores: int, ram_bytes: int) -> tuple[int, str]:
    """Return the largest size to try, and the reason why none is larger.

    No measurement counts without a proof: so the size ends where its float64 reference would take
    more than REFERENCE_S, or more than REFERENCE_SHARE of the memory.
    """
    bounds = [(MOST, "no larger one is tried")]
    if isinstance(model.input, kinds.Sequences):
        examples = len(model.input.lengths)
        bounds.append((examples, f"{model.name} has {examples} examples"))
    if not isinstance(model.loss, kinds.NoLoss):
        bounds += _bound_by_reference(model, cores, ram_bytes)
    most, reason = min(bounds)
    return round_down(max(1, most)), reason


def _bound_by_reference(model: Model, cores: int, ram_bytes: int) -> list[tuple[int, str]]:
    of_one = REFERENCE_PASSES * count_gradient_flops(model, 1) / (cores * REFERENCE_FLOPS_PER_S)
    minutes, share = REFERENCE_S / 60, ram_bytes * REFERENCE_SHARE
    found = []
    # Of sequences it computes all that there are, whatever the batch.
    if of_one > 0 and not isinstance(model.input, kinds.Sequences):
        reason = f"the float64 reference of a larger one may take over {minutes:g} min here"
        found.append((int(REFERENCE_S / of_one), reason))
    if (needed := _count_reference_bytes(model)) > 0 and ram_bytes:
        reason = f"the float64 reference of a larger one may need over {share / GIB:.1f} GiB"
        found.append((int(share / needed), reason))
    return found


def _count_reference_bytes(model: Model) -> int:
    """Count the bytes that the reference keeps of each example.

    It is computed in parts of a batch, unless a layer needs the whole batch; then it keeps three
    float64 arrays of each layer's output: see velodrome.adapters.proof.batch_results.
    """
    inputs = shapes.count_values(shapes.compute_input_shape(model))
    batches = 4 * 4 * inputs  # two batches and two unseen ones, float32
    if not any(isinstance(layer, kinds.BatchNorm) for layer in model.layers):
        return batches
    outputs = sum(
        shapes.count_values(each) for each in shapes.compute_output_shapes(model).values()
    )
    return batches + 3 * 8 * outputs
