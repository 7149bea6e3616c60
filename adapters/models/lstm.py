"""A sentiment classifier over word sequences: embedding, LSTM, mean over time, linear.

The 1989 lengths follow the study's: reviews of up to 100 words, sorted ascending, so that examples
of one batch are of about equal length. They are drawn by interpolating the quantiles below.
"""

from typing import Tuple

from velodrome.adapters.models.layers import (
    Embedding,
    Linear,
    Lstm,
    MeanOverTime,
    Model,
    Sequences,
    SoftmaxCrossEntropy,
)

EXAMPLES = 1989
QUANTILES = (12, 43, 48, 52, 55, 58, 61, 64, 66, 68, 71, 74, 77, 79, 82, 85, 88, 91, 94, 96, 99)


def interpolate_lengths() -> Tuple[int, ...]:
    """Return EXAMPLES integer lengths, ascending, interpolated between the 5 % quantiles."""
    steps = len(QUANTILES) - 1
    return tuple(_interpolate(number * steps / (EXAMPLES - 1)) for number in range(EXAMPLES))


def _interpolate(position: float) -> int:
    low = min(int(position), len(QUANTILES) - 2)
    step = QUANTILES[low + 1] - QUANTILES[low]
    return int(QUANTILES[low] + (position - low) * step + 0.5)


LSTM = Model(
    name="lstm",
    about="embedding, LSTM of 128 units over sequences of 12 to 99 words, mean, linear",
    input=Sequences(vocabulary=10000, lengths=interpolate_lengths()),
    layers=(
        Embedding("embedding", vocabulary=10000, units=128),
        Lstm("lstm", units=128),
        MeanOverTime("mean"),
        Linear("classifier", units=2),
    ),
    loss=SoftmaxCrossEntropy(),
    classes=2,
    batch_size=16,
    gpu_batch_size=16,
)
