"""Precisions, and the errors that are allowed in each; shared by worker and agent.

Correct float32 was at most 2.3e-6 off in gradients and about 1e-7 in the loss, over all frameworks
and models of the study (docs/results/proof.csv). Products of operands rounded to TF32 are off by
2e-4 to 4e-2 in gradients, to float16 by 3e-4 to 2e-3, to bfloat16 by 2e-3 and more; a forward pass
in bfloat16 alone moves a loss by 5e-5. So no one tolerance serves a lower precision. Its errors are
predicted for each parameter, by velodrome.adapters.proof.prediction, and a multiple of the
prediction is allowed. All are relative: |loss - ref| / |ref|, |g - ref| / |ref| per parameter.
"""

import json
import zipfile
from typing import Dict, NamedTuple, Tuple

DTYPES = ("float32", "tf32", "bfloat16", "float16")
PREDICTED = "predicted.json"  # in a reference's file, a zip archive
LOSS_TOLERANCE = 1e-6  # of float32
GRADIENT_TOLERANCE = 5e-5
FACTOR = 4.0  # real errors were 0.8 to 3.4 times the predicted ones
# A gradient with this much allowed is not proven by itself: its row has a note, and the median of
# all, below, is what proves it. PyTorch's autocast moved one in resnet50-tiny by 0.81.
MOST = 2.0
# Of the median over the parameters of <g, ref> / <ref, ref>: a missing factor. It is steady where
# single gradients are not: rounding moved it by 0.01 at most in resnet50-tiny in bfloat16, where it
# moved single gradients by up to 0.72.
SCALE_TOLERANCE = 0.25
# Of an update by known gradients: float32 computes AdamW's 1 - beta2 with 3e-5, the rest with less.
UPDATE_TOLERANCE = 1e-4
# Of the copies that several devices have of one gradient or parameter: an all-reduce usually gives
# all the same bits; a library may add up in another order.
COPY_TOLERANCE = 1e-6
# Predicted at least, in a precision below float32, where a ReLU or max-pooling may let one value's
# gradient jump: if one does is luck, and it moved gradients of small models by up to 0.23 (tf32)
# and 0.56 (float16) where the prediction by another batch was below 0.01.
JUMP = 0.15
WEAK = 0.05  # a larger predicted error hides small mistakes
# A loss is one number, and may by luck be exact: the unit roundoff is allowed. Honest losses were
# off by half of it (vit-b16-tiny and resnet50-tiny in bfloat16).
LOSS_FLOORS = {"tf32": 2.0**-13, "bfloat16": 2.0**-10, "float16": 2.0**-13}


class PredictedErrors(NamedTuple):
    """Errors that rounding alone makes of one batch's results; empty if none are predicted.

    shapes: of the trained parameters of a model in code, whose data lists none.
    """

    loss: float = 0.0
    gradients: Dict[str, float] = {}
    shapes: Dict[str, Tuple[int, ...]] = {}


def read_predicted(archive: zipfile.ZipFile) -> PredictedErrors:
    """Read the predicted errors in a reference's file; the agent needs no NumPy for it.

    KeyError or ValueError if the file is no reference.
    """
    fields = json.loads(archive.read(PREDICTED).decode())
    shapes = {name: tuple(shape) for name, shape in fields.get("shapes", {}).items()}
    return PredictedErrors(float(fields["loss"]), dict(fields["gradients"]), shapes)


def compute_loss_tolerance(dtype: str, predicted: PredictedErrors) -> float:
    """Return the allowed error of a loss. KeyError for an unknown dtype."""
    if dtype == "float32":
        return max(LOSS_TOLERANCE, FACTOR * predicted.loss)
    return FACTOR * max(LOSS_FLOORS[dtype], predicted.loss)


def compute_output_tolerance(dtype: str, predicted: float) -> float:
    """Return the allowed error of an output of evaluation, whose rounding error is predicted."""
    if dtype == "float32":  # predicted of code alone
        return min(MOST, max(GRADIENT_TOLERANCE, FACTOR * predicted))
    return min(MOST, FACTOR * max(LOSS_FLOORS[dtype], predicted))


def compute_gradient_tolerance(dtype: str, predicted: PredictedErrors, name: str) -> float:
    """Return the allowed error of a parameter's gradient. KeyError without a prediction.

    A prediction below the median of all is luck, as of a bias of two values: the median counts. Not
    that of what jumps may do, which are no predictions of the gradients behind them.
    """
    if dtype == "float32" and name not in predicted.gradients:
        return GRADIENT_TOLERANCE
    ordered = sorted(value for value in predicted.gradients.values() if value < JUMP) or [0.0]
    own = max(predicted.gradients[name], ordered[len(ordered) // 2])
    return min(MOST, max(GRADIENT_TOLERANCE, FACTOR * own))
