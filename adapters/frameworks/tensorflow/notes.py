"""Notes on how TensorFlow computed a row."""

from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes


def notes(model, variant, on_gpu, length_multiple):
    """Yield the notes. length_multiple: sequences are padded to multiples of it."""
    if on_gpu:
        yield "no TF32"
    else:
        yield "oneDNN is {}".format(_one_dnn())
    if _has(model, lambda layer: isinstance(layer, kinds.Embedding)):
        yield "the embedding's gradient is made dense within the call"
    if _has(model, lambda layer: isinstance(layer, kinds.Lstm)):
        yield _of_lstm(variant, on_gpu)
        if length_multiple > 1:
            yield (
                "sequences are padded to multiples of {} steps, so that XLA compiles for few "
                "shapes; the loop ends at the longest".format(length_multiple)
            )
    if _has(model, lambda layer: isinstance(layer, kinds.Gru)):
        yield format_note(kinds.Gru, "in tf.scan over all steps of a batch, padding too")
    if _has(model, lambda layer: isinstance(layer, kinds.Attention)):
        yield format_note(kinds.Attention, "of products and a softmax")
    if not on_gpu and shapes.has_groups(model):
        yield format_note(
            kinds.Conv, "group by group: on a CPU a grouped convolution has no fast gradient"
        )
    if _has(model, lambda layer: isinstance(layer, kinds.Duplicate)) and not on_gpu:
        yield "copies into memory that every call reuses"


def _of_lstm(variant, on_gpu):
    if variant == "xla" or (variant == "graph" and not on_gpu):
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
