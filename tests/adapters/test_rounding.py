"""Arrays whose products are rounded: to which values, and what keeps them so."""

from collections.abc import Callable

import numpy
import pytest

from velodrome.adapters.frameworks.numpy.rounding import (
    PRECISIONS,
    RoundedArray,
    as_rounded,
    round_bits,
)

BFLOAT16 = PRECISIONS["bfloat16"]


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (1 + 2**-8, 1.0),  # a tie, to the even one
        (1 + 3 * 2**-8, 1 + 2**-6),
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (-3.14159, -3.140625),
        (65280.0, 65280.0),
        (0.0, 0.0),
    ],
)
def test_values_are_rounded_to_the_nearest_of_bfloat16(value: float, rounded: float) -> None:
    assert round_bits(numpy.array([value]), 7)[0] == rounded


def test_a_product_rounds_its_operands_and_its_result() -> None:
    left = as_rounded(numpy.array([[1 + 2**-8, 1.0]]), BFLOAT16)
    right = numpy.array([[1.0], [2**-8 + 2**-14]])
    assert (left @ right)[0, 0] == 1.0078125
    assert (left + left)[0, 0] == 2 * (1 + 2**-8)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: numpy.concatenate((x, x)),
        lambda x: numpy.stack([x, x]),
        lambda x: numpy.where(x > 0, x, -1.0),
        lambda x: numpy.pad(x, 1),
        lambda x: numpy.repeat(x, 2, axis=0),
        lambda x: numpy.broadcast_to(x, (2, 3, 4)),
        lambda x: numpy.split(x, 2, axis=1)[1],
        lambda x: x.reshape(4, 3).T.sum(axis=0),
    ],
)
def test_what_is_made_of_a_rounded_array_rounds_its_products_alike(function: Callable) -> None:
    made = function(as_rounded(numpy.ones((3, 4)), BFLOAT16))
    assert isinstance(made, RoundedArray)
    assert made.precision == BFLOAT16
