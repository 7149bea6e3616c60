"""Layouts need NumPy alone, and so no interpreter but this one."""

import numpy
import pytest

from velodrome.adapters.frameworks import channels_last as layouts
from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models import layers as kinds


def parameters(model):
    outputs, reads = shapes.compute_output_shapes(model), shapes.list_inputs(model)
    layers = {layer.name: layer for layer in model.layers}
    for entry in shapes.list_parameters(model):
        array = numpy.random.RandomState(1).standard_normal(entry.shape)
        yield layers[entry.layer], array, outputs[reads[entry.layer][0]]


@pytest.mark.parametrize("name", ["lenet", "lstm", "autoencoder-400-200-100/ae2"])
def test_a_gradient_has_the_layout_of_its_weight(name):
    for layer, array, source in parameters(MODELS[name]):
        there = layouts.convert_parameter(layer, array, source)
        back = layouts.restore_parameter(layer, there, source)
        numpy.testing.assert_array_equal(back, array)


def test_a_linear_layer_after_images_is_equal_in_either_layout():
    draw = numpy.random.RandomState(2)
    images, weight = draw.standard_normal((2, 3, 4, 5)), draw.standard_normal((7, 60))
    own = layouts.convert_parameter(kinds.Linear("linear", 7), weight, (3, 4, 5))
    theirs = layouts.convert_inputs(images, 1).reshape(2, 60) @ own
    numpy.testing.assert_allclose(theirs, images.reshape(2, 60) @ weight.T)


def test_tokens_are_padded_to_a_multiple_with_time_as_first_axis():
    tokens = numpy.arange(1, 11, dtype=numpy.int32).reshape(2, 5)
    padded = layouts.convert_inputs(tokens, 4)
    assert padded.shape == (8, 2)
    numpy.testing.assert_array_equal(padded[:5].T, tokens)
    assert not padded[5:].any()
