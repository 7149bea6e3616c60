"""Prediction of a result's errors in a precision: the reference again, with rounded products."""

import math
from typing import Any, Dict, Mapping, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy import rounding
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.frameworks.numpy.operation import Array, CallContext, Operation, Weights
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model, SquaredError, StepCrossEntropy
from velodrome.adapters.proof import seeding, tie_distance
from velodrome.adapters.proof.relative_errors import compute_relative_error, measure_distance
from velodrome.adapters.tolerances import JUMP, WEAK, PredictedErrors

PARTIAL_SUMS = 64
# In standard deviations of a value's rounding: so near a jump that one framework makes it, and
# another does not. PyTorch's are half to once as large as estimated.
NEAR = 2.0


def needs_prediction(model: Model, dtype: str) -> bool:
    """Return True unless the fixed tolerances of float32 hold.

    They do where no example is near a jump of the gradient. With batch normalization examples
    cannot be chosen one by one: some inputs of a ReLU are near 0.
    """
    return dtype != "float32" or tie_distance.depends_on_batch(model)


def estimate_sum_error(model: Model, batch_size: int) -> float:
    """Estimate the float32 error of a loss that adds up a value per example, step or output.

    Adding n values one after the other is off by about 0.3 sqrt(n) 2^-24 (see tie_distance). Losses
    of examples are added like that. Every library adds squares in PARTIAL_SUMS or more sums side by
    side. Caffe's sum of 4.2 million squares was off by 7.7e-6, its mean of 1024 losses by 1.2e-6:
    1.7 and 2.1 times as much as this says.
    """
    output = shapes.compute_output_shapes(model)[model.layers[-1].name]
    count = float(batch_size)
    if isinstance(model.loss, SquaredError):
        count *= shapes.count_values(output) / float(PARTIAL_SUMS)
    elif isinstance(model.loss, StepCrossEntropy):
        count *= output[0]
    return tie_distance.PER_ROOT_PRODUCT * math.sqrt(count)


def make_rounded_network(model: Model, weights: Dict[str, numpy.ndarray], dtype: str) -> Network:
    """Return the reference's network with the products of that precision.

    In float32, where jumps depend on all examples of a batch, it makes all jumps that rounding may
    make instead: the rest of its errors is within the fixed tolerances. In a lower precision
    cover_jumps provides for jumps.
    """
    if dtype == "float32" and tie_distance.depends_on_batch(model):
        errors = tie_distance.estimate_rounding(model)
        operations = dict(OPERATIONS)
        for kind in (kinds.Relu, kinds.MaxPool):
            operations[kind] = _cross_jumps(kind, errors)
        return Network(model, weights, operations)
    network = Network(model, weights, OPERATIONS)
    network.round_products(rounding.PRECISIONS[dtype])
    return network


def _cross_jumps(kind: type, errors: Dict[str, float]) -> Operation:
    """Return the operation in which every jump that rounding may make is made.

    NumPy's own rounding makes one of many possible choices, and frameworks make others. ResNet-50
    has some ten million inputs of a ReLU in a batch of four images: NumPy's choice moved its
    gradients by less than 1e-5, those of PyTorch, TensorFlow and JAX by 4e-4 to 1.3e-2.
    """
    operation = OPERATIONS[kind]

    def forward(
        layer: Any, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
    ) -> Tuple[Array, Any]:
        (x,) = inputs
        size = math.sqrt(float(numpy.square(numpy.asarray(x)).mean()))
        near = NEAR * errors[layer.name] * size
        if kind is kinds.Relu:
            moved = numpy.where(numpy.abs(x) < near, -x, x)
        else:  # of two values in a window, either may become the largest
            moves = seeding.make_stream(0, "moves", layer.name).standard_normal(x.shape)
            moved = x + near * moves
        return operation.forward(layer, weights, (moved,), call)

    return Operation(forward, operation.backward)


def measure_errors(
    exact: Tuple[float, Dict[str, numpy.ndarray]], rounded: Tuple[float, Dict[str, numpy.ndarray]]
) -> PredictedErrors:
    """Return the distances of a rounded (loss, gradients) from the exact one."""
    loss, gradients = exact
    return PredictedErrors(
        compute_relative_error(rounded[0], loss),
        {
            # Plain arrays: nothing rounds the distance.
            name: measure_distance(numpy.asarray(rounded[1][name]), own)
            for name, own in gradients.items()
        },
    )


def merge_errors(
    found: Sequence[PredictedErrors], norms: Mapping[str, Sequence[float]], few: Sequence[str]
) -> PredictedErrors:
    """Return the errors to expect in the worst of some batches: the largest of each kind.

    found: of the batches that were predicted. norms: per parameter, the lengths of its gradients;
    those of the predicted batches come first, those of other batches follow. few: names of
    parameters of so few values that in one batch an error is small by luck.

    Rounding moves a gradient of each batch about equally far, however long it is: where the
    examples of a batch nearly cancel, the relative error is large. So the gradients of `few` have
    the root mean square of all distances set against the shortest of them, too.
    """
    errors = {name: max(own.gradients[name] for own in found) for name in norms}
    for name in few:
        lengths = norms[name]
        own = zip(found, lengths)
        distances = [each.gradients[name] * length for each, length in own if length]
        usual = math.sqrt(sum(each**2 for each in distances) / max(1, len(distances)))
        shortest = min([length for length in lengths if length] or [1.0])
        errors[name] = max(errors[name], usual / shortest)
    return PredictedErrors(max(own.loss for own in found), errors)


def cover_jumps(model: Model, dtype: str, predicted: PredictedErrors) -> PredictedErrors:
    """Raise the predictions of gradients that can jump to what a jump may do.

    To the largest in the model at least, as a jump moves all gradients before it.
    """
    before = set(tie_distance.list_before_jumps(model))
    if dtype == "float32" or not before:
        return predicted
    least = max([JUMP, *predicted.gradients.values()])
    raised = {
        name: least if name.rsplit(".", 1)[0] in before else error
        for name, error in predicted.gradients.items()
    }
    return predicted._replace(gradients=raised)


def round_inputs(batch: Batch, dtype: str) -> Batch:
    """Return the batch with inputs whose products are rounded; tokens as they are."""
    precision = rounding.PRECISIONS[dtype]
    return batch._replace(inputs=rounding.as_rounded(batch.inputs, precision))


def list_weak(predicted: PredictedErrors) -> Tuple[str, ...]:
    """Return a note if some gradients are predicted to be far off."""
    weak = [name for name, error in predicted.gradients.items() if error > WEAK]
    if not weak:
        return ()
    worst = max(weak, key=lambda name: predicted.gradients[name])
    text = "weak proof of {} of {} gradients: rounding alone moves {} by {:.0%}"
    return (text.format(len(weak), len(predicted.gradients), worst, predicted.gradients[worst]),)
