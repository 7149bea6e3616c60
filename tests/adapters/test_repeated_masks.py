"""Gradients of other masks never pass for those of one mask, and those of one mask always do."""

import numpy
import pytest

from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import dropout_gradients, reference, seeding

MODEL = MODELS["probe-dropout"]
PAIRS = 150


@pytest.fixture(scope="module")
def own_reference():
    return reference.compute_reference(MODEL, 8, 0)


@pytest.fixture(scope="module")
def gradients(own_reference):
    """Gradients of 2 * PAIRS masks that the reference has not drawn, of the batch that it drew."""
    network = Network(MODEL, seeding.draw_weights(MODEL, 0), OPERATIONS)
    batch = seeding.draw_batches(MODEL, 8, 0, own_reference.draws)[-1]
    batch = batch._replace(inputs=batch.inputs.astype(numpy.float64))
    start, values = (
        dropout_gradients._first_dropout(MODEL),
        dropout_gradients._compute_values_before(network, (batch,)),
    )
    found = []
    for number in range(2 * PAIRS):
        draw = numpy.random.RandomState(1000 + number)
        result = network.gradient_behind(start, values, batch, draw)
        own = {
            name: result.gradients[name] for name in dropout_gradients.list_parameters_behind(MODEL)
        }
        found.append(dropout_gradients.summarize_gradients(result.loss, own))
    return found


def test_two_masks_are_distinguished_even_if_a_bias_hardly_changes(own_reference, gradients):
    pairs = list(zip(gradients[::2], gradients[1::2], strict=True))
    apart = own_reference.dropout.apart["classifier.bias"]
    assert min(dropout_gradients._distance(*pair, "classifier.bias") for pair in pairs) < apart / 3
    assert [dropout_gradients.find_faults(own_reference.dropout, pair) for pair in pairs] == [
        []
    ] * PAIRS


def test_a_repeated_mask_is_reported_with_every_equal_gradient(own_reference, gradients):
    assert dropout_gradients.find_faults(own_reference.dropout, (gradients[0], gradients[0])) == [
        "two gradients of classifier.weight are the same",
        "two gradients of classifier.bias are the same",
    ]


def test_a_repeated_mask_is_detected_despite_rounding(own_reference, gradients):
    rounded = {name: value * (1 + 1e-7) for name, value in gradients[0].sketches.items()}
    again = gradients[0]._replace(sketches=rounded)
    (fault,) = dropout_gradients.find_faults(own_reference.dropout, (gradients[0], again))
    assert fault.startswith("two gradients, most that of classifier.")
