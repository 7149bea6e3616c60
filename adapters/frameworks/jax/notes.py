"""Notes that JAX adds to a result row: layers without an operation, and how they are composed."""

from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.jax.network import LENGTH_MULTIPLE
from velodrome.adapters.frameworks.jax.precision import LOSS_SCALES
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

# Layers for which JAX has no operation, and how they are composed.
_COMPOSED = {
    kinds.Lrn: "with reduce_window over the channels",
    kinds.AvgPool: "with reduce_window: a sum over the size of the window",
    kinds.BatchNorm: "of jax.nn.standardize, scale and bias",
    kinds.LayerNorm: "of jax.nn.standardize, scale and bias",
    kinds.RmsNorm: "of jnp.mean and lax.rsqrt",
    kinds.Dropout: "of jax.random.bernoulli",
    kinds.Lstm: "with lax.scan over all steps of a batch, padding too",
    kinds.Gru: "with lax.scan over all steps of a batch, padding too",
}


def notes(model, variant, on_gpu, dtype):
    """Yield the notes."""
    present = {type(layer) for layer in model.layers}
    yield from _list_precision_notes(on_gpu, dtype)
    if not on_gpu:
        yield "calls are not queued: each returns when it is done"
    for kind, how in _COMPOSED.items():
        if kind in present:
            yield format_note(kind, how)
    if kinds.Embedding in present:
        yield "the embedding's gradient is dense"
    if isinstance(model.input, kinds.Sequences):
        yield "sequences are padded to multiples of {} steps, so that XLA compiles for few".format(
            LENGTH_MULTIPLE
        )
    if any(getattr(layer, "rotary", 0.0) for layer in model.layers):
        yield format_note(kinds.Attention, "with rotary positions of products with tables")
    if not on_gpu and shapes.has_groups(model):
        yield format_note(kinds.Conv, "group by group: XLA's own are slow on a CPU")
    if kinds.Duplicate in present and variant == "jit":
        yield "copies into memory that every call reuses"


def _list_precision_notes(on_gpu, dtype):
    if dtype in ("bfloat16", "float16"):
        text = "products in {}; parameters, norms, softmax and loss in float32"
        yield text.format(dtype)
    elif on_gpu:
        yield "products may use TF32" if dtype == "tf32" else "precision is highest: no TF32"
    if dtype in LOSS_SCALES:
        yield "the loss times {:.0f} in the backward pass".format(LOSS_SCALES[dtype])
