"""Products in another precision: rounding to so many bits, and that no product escapes it."""

import ast
import inspect
import sys

import numpy
import pytest

from velodrome.adapters.frameworks.numpy import rounding
from velodrome.adapters.frameworks.numpy.rounding import (
    PRECISIONS,
    RoundedArray,
    as_rounded,
    round_bits,
)
from velodrome.adapters.models import MODELS
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import Linear, Lstm, MeanOverTime, Model
from velodrome.adapters.models.probes import PROBES, SENTENCE
from velodrome.adapters.proof import prediction, seeding
from velodrome.adapters.proof.batch_results import accumulate_gradients

PACKAGE = "velodrome.adapters.frameworks.numpy"
WITH_PRODUCTS = [name for name in MODELS if name.endswith("-tiny")] + [
    probe.model.name for probe in PROBES
]


@pytest.mark.parametrize(
    ("value", "bits", "rounded"),
    [
        (1.0, 7, 1.0),
        (1 + 2**-7, 7, 1 + 2**-7),  # the smallest step is kept
        (1 + 2**-8, 7, 1.0),  # a tie, to the even of 1 and 1 + 2^-7
        (1 + 3 * 2**-8, 7, 1 + 2**-6),  # a tie, to the even above
        (1 + 2**-8 + 2**-20, 7, 1 + 2**-7),  # more than a tie
        (1 + 2**-8 - 2**-20, 7, 1.0),  # less than a tie
        (2 - 2**-10, 7, 2.0),  # the exponent grows
        (3.14159274, 7, 3.140625),  # pi, as bfloat16 has it
        (0.1, 7, 0.10009765625),
        (2**100 * (1 + 2**-8 + 2**-20), 7, 2**100 * (1 + 2**-7)),
        (1 + 2**-10, 10, 1 + 2**-10),
        (1 + 2**-11, 10, 1.0),
        (1 + 3 * 2**-11, 10, 1 + 2**-9),
        (3.14159274, 10, 3.140625),  # pi, as float16 has it, by chance the same
        (0.1, 10, 0.0999755859375),
        (0.0, 10, 0.0),
        (1 + 2**-23, 23, 1 + 2**-23),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_value_is_rounded_to_the_nearest_of_so_many_bits(value, bits, rounded, sign):
    assert round_bits(numpy.array([sign * value]), bits)[0] == sign * rounded


def test_ten_bits_round_as_numpys_float16_does():
    values = numpy.random.RandomState(0).standard_normal(10000).astype(numpy.float32)
    expected = values.astype(numpy.float16).astype(numpy.float32)
    normal = abs(values) > 2.0**-14  # below it float16 has fewer bits
    assert (round_bits(values, 10)[normal] == expected[normal]).all()


def test_rounding_leaves_the_values_it_was_given():
    values = numpy.array([1 + 2**-8], numpy.float32)
    round_bits(values, 7)
    assert values[0] == numpy.float32(1 + 2**-8)


def test_a_product_rounds_its_operands_and_its_result():
    left = as_rounded(numpy.array([[1 + 2**-8, 1.0]]), PRECISIONS["bfloat16"])
    right = numpy.array([[1.0], [2.0**-8 + 2.0**-9]])
    # The operands become 1, 1, 1 and 3 * 2^-9; their exact sum 1 + 3 * 2^-9 has too many bits.
    product = left @ right
    assert isinstance(product, RoundedArray)
    assert product[0, 0] == 1 + 2**-7
    assert (as_rounded(numpy.asarray(left), PRECISIONS["tf32"]) @ right)[0, 0] == (
        1 + 2**-8 + 3 * 2**-9
    )


def test_a_sum_is_not_rounded():
    left = as_rounded(numpy.array([1.0]), PRECISIONS["bfloat16"])
    assert (left + 2.0**-40)[0] == 1 + 2.0**-40


class _ProductsAsCalls(ast.NodeTransformer):
    """Turns each `a @ b` and `numpy.einsum(...)` into a call of `spy`."""

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if not isinstance(node.op, ast.MatMult):
            return node
        return self._call("matmul", [node.left, node.right])

    def visit_Call(self, node):
        self.generic_visit(node)
        if not isinstance(node.func, ast.Attribute) or node.func.attr != "einsum":
            return node
        return self._call("einsum", node.args)

    def _call(self, name, arguments):
        spy = ast.Attribute(ast.Name("numpy_spy", ast.Load()), name, ast.Load())
        return ast.Call(spy, arguments, [])


class _Spy:
    """Computes products, and counts them and those of which no operand is rounded."""

    def __init__(self):
        self.products, self.escaped = 0, []

    def matmul(self, left, right):
        self._note(left, right)
        return left @ right

    def einsum(self, formula, *operands):
        self._note(*operands)
        return numpy.einsum(formula, *operands)

    def _note(self, *operands):
        self.products += 1
        if not any(isinstance(own, RoundedArray) for own in operands):
            caller = sys._getframe(2).f_code.co_name
            self.escaped.append((caller, *(own.shape for own in operands)))


@pytest.fixture
def spy(monkeypatch):
    """The reference's functions, with each product counted."""
    found = _Spy()
    for name, module in list(sys.modules.items()):
        if not name.startswith(PACKAGE + ".") or module is rounding:
            continue
        source = ast.parse(inspect.getsource(module))
        tree = ast.fix_missing_locations(_ProductsAsCalls().visit(source))
        copy = {"numpy_spy": found, "__name__": name}
        exec(compile(tree, module.__file__, "exec"), copy)
        for key, value in copy.items():
            own = getattr(module, key, None)
            if inspect.isfunction(own) and own.__module__ == name:
                monkeypatch.setattr(own, "__code__", value.__code__)
        monkeypatch.setattr(module, "numpy_spy", found, raising=False)
    return found


def _run(model):
    weights = seeding.draw_weights(model, 0)
    network = prediction.make_rounded_network(model, weights, "bfloat16")
    batch = seeding.draw_batches(model, min(4, model.batch_size), 0)[0]
    return accumulate_gradients(network, batch, "bfloat16")


@pytest.mark.parametrize("name", WITH_PRODUCTS)
def test_every_product_of_a_model_is_rounded(spy, name):
    _run(MODELS[name])
    assert spy.products > 2
    assert not spy.escaped


@pytest.mark.parametrize("kind", [Lstm, kinds.Gru])
def test_every_product_of_stacked_recurrent_layers_is_rounded(spy, kind):
    layers = (
        kinds.Embedding("embedding", 50, 8),
        kind("first", 8),
        kind("second", 8),
        MeanOverTime("mean"),
        Linear("classifier", 5),
    )
    loss = kinds.SoftmaxCrossEntropy()
    _run(Model("stacked", "", SENTENCE, layers, loss, 5, 8, 8))
    assert spy.products > 8
    assert not spy.escaped
