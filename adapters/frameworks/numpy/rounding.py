"""Arrays whose matrix products are computed in another precision, to predict its errors.

A framework in bfloat16 rounds the operands and the results of its products (matrix products and
convolutions, forward and backward) and computes the rest in float32. The reference, run on these
arrays, does the same: every other operation stays in float64. Sums within a product are float32's.

    float32    operands, sums and results in float32
    tf32       operands rounded to 10 bits behind the leading one; sums and results in float32
    bfloat16   operands and results rounded to 7 bits behind the leading one
    float16    operands and results rounded to 10 bits; a loss scale keeps gradients in its range

Rounding is to nearest, ties to even.
"""

from typing import Any, Dict, Iterable, Iterator, Mapping, NamedTuple, Tuple, Union

import numpy

_FLOAT32_BITS = 23


class Precision(NamedTuple):
    """Bits behind the leading one of a product's operands and result."""

    operand_bits: int
    result_bits: int


PRECISIONS: Dict[str, Precision] = {
    "float32": Precision(_FLOAT32_BITS, _FLOAT32_BITS),
    "tf32": Precision(10, _FLOAT32_BITS),
    "bfloat16": Precision(7, 7),
    "float16": Precision(10, 10),
}


def round_bits(values: numpy.ndarray, bits: int) -> numpy.ndarray:
    """Return float32 values with so many bits behind the leading one, rounded to nearest even."""
    single = numpy.array(values, numpy.float32)
    dropped = _FLOAT32_BITS - bits
    if not dropped:
        return single
    pattern = single.view(numpy.uint32)
    last = (pattern >> numpy.uint32(dropped)) & numpy.uint32(1)
    pattern += numpy.uint32(2 ** (dropped - 1) - 1) + last
    pattern &= numpy.uint32(2**32 - 2**dropped)
    return single


class RoundedArray(numpy.ndarray):
    """A float64 array. `@` and einsum of it round as its precision does; all else is float64's."""

    precision: Precision

    def __array_finalize__(self, source: Any) -> None:
        self.precision = getattr(source, "precision", PRECISIONS["float32"])

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **options: Any
    ) -> Union[numpy.ndarray, Tuple[numpy.ndarray, ...]]:
        if ufunc is numpy.matmul and method == "__call__":
            return multiply(_find_precision(inputs), *inputs)
        bare = [numpy.asarray(own) if isinstance(own, RoundedArray) else own for own in inputs]
        if "out" in options:
            options["out"] = tuple(numpy.asarray(own) for own in options["out"])
        result: numpy.ndarray = getattr(ufunc, method)(*bare, **options)
        if method == "at":
            return result
        rounded: numpy.ndarray = as_rounded(
            result, _find_precision(inputs + options.get("out", ()))
        )
        return rounded

    def __array_function__(
        self, function: Any, types: Any, inputs: Iterable[Any], options: Mapping[str, Any]
    ) -> Any:
        if function is numpy.einsum:
            subscripts, *bare = inputs
            precision = _find_precision(tuple(bare))
            operands = [_round_operand(own, precision) for own in bare]
            return _round_result(numpy.einsum(subscripts, *operands, optimize=True), precision)
        result = super().__array_function__(function, types, inputs, options)
        # numpy.concatenate, where and pad give an array that is none of this class.
        return as_rounded(result, _find_precision((inputs, tuple(options.values()))))


def as_rounded(values: Any, precision: Precision) -> Any:
    """Return a float64 array as a RoundedArray; anything else as it is."""
    if not isinstance(values, numpy.ndarray) or values.dtype != numpy.float64:
        return values
    view = values.view(RoundedArray)
    view.precision = precision
    return view


def multiply(precision: Precision, left: numpy.ndarray, right: numpy.ndarray) -> numpy.ndarray:
    """Return the matrix product, rounded."""
    product = numpy.matmul(_round_operand(left, precision), _round_operand(right, precision))
    return _round_result(product, precision)


def _round_operand(values: numpy.ndarray, precision: Precision) -> numpy.ndarray:
    return round_bits(numpy.asarray(values), precision.operand_bits)


def _round_result(product: numpy.ndarray, precision: Precision) -> numpy.ndarray:
    rounded = round_bits(product, precision.result_bits).astype(numpy.float64)
    result: numpy.ndarray = as_rounded(rounded, precision)
    return result


def _find_precision(inputs: Tuple[Any, ...]) -> Precision:
    return next(own.precision for own in _list_rounded(inputs))


def _list_rounded(inputs: Iterable[Any]) -> Iterator[RoundedArray]:
    """List the rounded ones of a function's arguments, and of the sequences among them."""
    for own in inputs:
        if isinstance(own, RoundedArray):
            yield own
        elif isinstance(own, (tuple, list)):
            for inner in _list_rounded(own):
                yield inner
