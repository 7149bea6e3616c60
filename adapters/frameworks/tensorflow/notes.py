"""Notes on how TensorFlow computed a row."""

from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes


def notes(model, variant, on_gpu, dtype, length_multiple):
    """Yield the notes. length_multiple: sequences are padded to multiples of it."""
    if on_gpu:
        if dtype == "float32":
            yield "no TF32"
    else:
        yield "oneDNN is {}".format(_one_dnn())
    if dtype in ("bfloat16", "float16"):
        yield (
            "products in {}, as under Keras' policy mixed_{}; biases, norms, means, softmax, "
            "smooth functions and loss in float32".format(dtype, dtype)
        )
    if _has(model, lambda layer: isinstance(layer, kinds.Embedding)):
        yield "the embedding's gradient is made dense within the call"
    if _has(model, lambda layer: isinstance(layer, kinds.Lstm)):
        yield _of_lstm(variant, on_gpu, dtype)
    if isinstance(model.input, kinds.Sequences) and length_multiple > 1:
        text = "sequences are padded to multiples of {} steps, so that XLA compiles for few shapes"
        loops = _has(model, lambda layer: isinstance(layer, kinds.Lstm))
        yield text.format(length_multiple) + ("; the loop ends at the longest" if loops else "")
    if _has(model, lambda layer: isinstance(layer, kinds.Gru)):
        yield format_note(kinds.Gru, "in tf.scan over all steps of a batch, padding too")
    if _has(model, lambda layer: isinstance(layer, kinds.Attention)):
        yield format_note(kinds.Attention, "of products and a softmax")
    if _has(model, lambda layer: isinstance(layer, kinds.LayerNorm)):
        yield format_note(kinds.LayerNorm, "of moments: TensorFlow's core has no layer norm")
    if _has(model, lambda layer: isinstance(layer, kinds.RmsNorm)):
        yield format_note(kinds.RmsNorm, "of a mean of squares and a root")
    if not on_gpu and shapes.has_groups(model):
        yield format_note(
            kinds.Conv, "group by group: on a CPU a grouped convolution has no fast gradient"
        )
    if _has(model, lambda layer: isinstance(layer, kinds.Duplicate)) and not on_gpu:
        yield "copies into memory that every call reuses"


def _of_lstm(variant, on_gpu, dtype):
    if variant == "xla" or (not on_gpu and (variant == "graph" or dtype != "float32")):
        return format_note(
            kinds.Lstm,
            "in a loop over all steps of a batch, padding too, and its backward pass in another",
        )
    if on_gpu:
        return "the LSTM is cuDNN's"
    return (
        "the LSTM is BlockLSTMV2 over all steps of a batch, padding too, with its own gradient, "
        "BlockLSTMGradV2: TensorFlow itself calls that of another gate order"
    )


def _has(model, claim):
    return any(claim(layer) for layer in model.layers)


def _one_dnn():
    """Return `on` or `off`, from a private module: TensorFlow has no public function."""
    try:
        from tensorflow.python.util import _pywrap_util_port

        return "on" if _pywrap_util_port.IsMklEnabled() else "off"
    except (ImportError, AttributeError):
        return "on or off"
