import math

import numpy
import pytest

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models import MODELS
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import (
    Conv,
    Images,
    Linear,
    Lrn,
    MaxPool,
    Model,
    Relu,
    Sigmoid,
    SoftmaxCrossEntropy,
    Vectors,
)
from velodrome.adapters.proof import seeding, tie_distance

LENET = MODELS["lenet"]
ROUNDING = 0.3 * 2**-24


def _model(source: kinds.Input, *layers: kinds.Layer) -> Model:
    return Model("small", "", source, layers, SoftmaxCrossEntropy(), 2, 1, 1)


def _measure_distance(model: Model, weights: dict, example: list) -> float:
    network = Network(model, weights, OPERATIONS)
    return tie_distance.measure_tie_distance(network, Batch(numpy.array([example], numpy.float64)))


def _identity(size: int, **more: numpy.ndarray) -> dict:
    return {"a.weight": numpy.eye(size), "a.bias": numpy.zeros(size), **more}


RELU = _model(Vectors(4, "normal"), Linear("a", 4), Relu("r"))
ROW = Images(1, 2, 4)
POOL = _model(ROW, Conv("a", 1, 1), MaxPool("p", 2, 2))
ONE = {"a.weight": numpy.ones((1, 1, 1, 1)), "a.bias": numpy.zeros(1)}


def test_a_relu_inputs_distance_from_zero_is_in_units_of_the_layers_rounding() -> None:
    example = [1.0, -1.0, 1e-6, 1.0]
    expected = 1e-6 / math.sqrt(3 / 4) / (ROUNDING * math.sqrt(4))
    assert _measure_distance(RELU, _identity(4), example) == pytest.approx(expected)


def test_the_distance_of_two_near_maxima_uses_both_roundings() -> None:
    example = [[[3.0, 3.0 - 1e-6, 1.0, -5.0], [1.0, 1.0, 2.0, 0.0]]]
    square = numpy.mean(numpy.square(example))
    unit = ROUNDING * math.sqrt(2 * (square + 2 / 3 * 9))
    assert _measure_distance(POOL, ONE, example) == pytest.approx(1e-6 / unit, rel=1e-6)


def test_values_below_the_largest_may_be_equal() -> None:
    example = [[[3.0, 1.0, 1.0, -5.0], [1.0, 1.0, 2.0, -5.0]]]
    assert _measure_distance(POOL, ONE, example) > 1e5


def test_an_exact_tie_has_distance_zero() -> None:
    assert _measure_distance(POOL, ONE, [[[3.0, 3.0, 1.0, 0.0], [1.0, 1.0, 2.0, 0.0]]]) == 0.0


BEHIND_RELU = _model(ROW, Conv("a", 1, 1), Relu("r"), Lrn("n"), MaxPool("p", 2, 2))


def test_windows_that_relu_sets_to_zero_are_ignored() -> None:
    example = [[[-3.0, -3.0, 1.0, -5.0], [-1.0, -1.0, 2.0, -4.0]]]
    assert _measure_distance(BEHIND_RELU, ONE, example) > 1e5


def test_a_value_near_zero_that_pooling_drops_is_ignored() -> None:
    taken = [[[-3.0, 1e-9, 1.0, -5.0], [-1.0, -1.0, 2.0, -4.0]]]
    passed_over = [[[-3.0, 4.0, 1.0, 1e-9], [-1.0, -1.0, 2.0, -4.0]]]
    assert _measure_distance(BEHIND_RELU, ONE, taken) < 1
    assert _measure_distance(BEHIND_RELU, ONE, passed_over) > 1e5


def test_a_value_just_below_zero_that_float32_might_take_counts() -> None:
    example = [[[-3.0, -1e-9, 1.0, -5.0], [-1.0, -1.0, 2.0, -4.0]]]
    assert _measure_distance(BEHIND_RELU, ONE, example) < 1


def test_every_value_counts_if_another_layer_reads_the_relu_too() -> None:
    model = _model(
        ROW, Conv("a", 1, 1), Relu("r"), MaxPool("p", 2, 2), Linear("f", 2, inputs=("r",))
    )
    weights = {**ONE, "f.weight": numpy.ones((2, 8)), "f.bias": numpy.zeros(2)}
    passed_over = [[[-3.0, 4.0, 1.0, 1e-9], [-1.0, -1.0, 2.0, -4.0]]]
    assert _measure_distance(model, weights, passed_over) < 1


def test_without_a_gradient_there_is_no_near_tie() -> None:
    frozen = _model(Vectors(4, "normal"), Linear("a", 4, frozen=True), Relu("r"), Linear("b", 2))
    assert not tie_distance.can_jump(frozen)
    assert not tie_distance.can_jump(_model(ROW, MaxPool("p", 2, 2), Linear("b", 2)))
    assert not tie_distance.can_jump(_model(Vectors(4, "normal"), Linear("a", 4), Sigmoid("s")))
    assert tie_distance.can_jump(RELU)
    assert [name for name, model in MODELS.items() if tie_distance.can_jump(model)] == [
        "lenet",
        "alexnet",
        "alexnet-plain",
    ]


def test_rounding_grows_with_the_root_of_the_number_of_products() -> None:
    found = tie_distance.estimate_rounding(LENET)
    assert found["conv1"] == pytest.approx(ROUNDING * math.sqrt(25))
    assert found["tanh2"] == pytest.approx(ROUNDING * math.sqrt(25 + 500))
    assert found["fc1"] == pytest.approx(ROUNDING * math.sqrt(25 + 500 + 800))


def _single_precision(x: numpy.ndarray, weight: numpy.ndarray) -> numpy.ndarray:
    """x weight^T with every product and every sum rounded to float32, one after the other."""
    total = numpy.zeros((len(x), len(weight)), numpy.float32)
    for column in range(x.shape[1]):
        total += x[:, column : column + 1] * weight[:, column]
    return total


def test_float32_sums_err_by_no_more_than_assumed() -> None:
    for products in (100, 1000, 4000):
        draw = seeding.make_stream(0, "rounding", products)
        x = draw.standard_normal((200, products)).astype(numpy.float32)
        weight = (draw.standard_normal((200, products)) / products**0.5).astype(numpy.float32)
        exact = x.astype(numpy.float64) @ weight.astype(numpy.float64).T
        unit = ROUNDING * math.sqrt(products) * math.sqrt(numpy.mean(exact**2))
        off = (_single_precision(x, weight) - exact) / unit
        far = abs(exact) > 2
        near = abs(exact) < 0.2
        scale = numpy.sqrt(1 + 2 / 3 * exact**2)
        assert 0.8 < off.std() < 1.1
        assert off[near].std() < 0.8
        assert 0.6 < (off / scale)[far].std() < 1.1
