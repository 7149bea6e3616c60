"""What a reader of a row should know of how JAX computed it."""

from velodrome.adapters.models import layers as kinds


def notes(model, variant, on_gpu, length_multiple):
    """One text each. length_multiple: what sequences are padded to."""
    present = {type(layer) for layer in model.layers}
    if on_gpu:
        yield "precision is highest: no TF32"
    else:
        yield "calls are not queued: each returns when it is done"
    if kinds.Lrn in present:
        yield "LRN is written with reduce_window over the channels: JAX has none"
    if kinds.Embedding in present:
        yield "the embedding's gradient is dense"
    if kinds.Lstm in present:
        yield "the LSTM is written with lax.scan over all steps of a batch, padding too"
        yield "sequences are padded to multiples of {} steps, so that XLA compiles for few".format(
            length_multiple
        )
    if not on_gpu and any(getattr(layer, "groups", 1) > 1 for layer in model.layers):
        yield "grouped convolutions run group by group: XLA's own are slow on a CPU"
    if kinds.Duplicate in present and variant == "jit":
        yield "copies into memory that is kept from call to call"
