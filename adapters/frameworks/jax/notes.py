"""Notes that JAX adds to a result row: layers without an operation, and how they are composed."""

from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

# Layers for which JAX has no operation, and how they are composed.
_COMPOSED = {
    kinds.Lrn: "with reduce_window over the channels",
    kinds.AvgPool: "with reduce_window: a sum over the size of the window",
    kinds.BatchNorm: "of jax.nn.standardize, scale and bias",
    kinds.Dropout: "of jax.random.bernoulli",
    kinds.Lstm: "with lax.scan over all steps of a batch, padding too",
    kinds.Gru: "with lax.scan over all steps of a batch, padding too",
}


def notes(model, variant, on_gpu, length_multiple):
    """Yield the notes. length_multiple: sequences are padded to multiples of it."""
    present = {type(layer) for layer in model.layers}
    if on_gpu:
        yield "precision is highest: no TF32"
    else:
        yield "calls are not queued: each returns when it is done"
    for kind, how in _COMPOSED.items():
        if kind in present:
            yield format_note(kind, how)
    if kinds.Embedding in present:
        yield "the embedding's gradient is dense"
        yield "sequences are padded to multiples of {} steps, so that XLA compiles for few".format(
            length_multiple
        )
    if not on_gpu and shapes.has_groups(model):
        yield format_note(kinds.Conv, "group by group: XLA's own are slow on a CPU")
    if kinds.Duplicate in present and variant == "jit":
        yield "copies into memory that every call reuses"
