"""Values that are nan, missing or out of tolerance, and their messages."""

import math
from collections.abc import Callable

import numpy
import pytest
from planted_errors import IMAGES, STACK, changed, disagreed, ready, reference_of, verify

from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.proof import agreement


def test_a_gradient_that_is_not_a_number_is_caught() -> None:
    poisoned = changed(lambda found: {**found, "fc1.bias": found["fc1.bias"] * math.nan})
    assert "the worst is fc1.bias: nan" in str(disagreed(poisoned, IMAGES))
    endless = changed(lambda found: {**found, "fc1.bias": found["fc1.bias"] + math.inf})
    assert "the worst is fc1.bias: inf" in str(disagreed(endless, IMAGES))


def test_a_loss_that_is_not_a_number_is_caught() -> None:
    class Nan(Adapter):
        def loss(self, handle: object) -> float:
            return math.nan

    assert "loss is off by nan" in str(disagreed(Nan, IMAGES))


def _without_last(found: dict) -> dict:
    return dict(list(found.items())[:-1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without_last, "no gradient of square.weight"),
        (lambda found: {**found, "fc9.weight": found["fc1.bias"]}, "gradient of fc9.weight, which"),
        (
            lambda found: {**found, "fc1.bias": found["fc1.bias"][:, None]},
            r"gradient of fc1.bias has shape \(40, 1\), not \(40,\)",
        ),
    ],
)
def test_gradients_must_have_the_models_parameters(change: Callable, reason: str) -> None:
    with pytest.raises(agreement.Disagreed, match=reason):
        verify(changed(change), IMAGES)


def test_a_gradient_of_a_frozen_parameter_is_caught() -> None:
    eager = changed(lambda found: {**found, "encoder1.bias": numpy.zeros(400)})
    assert "gradient of encoder1.bias, which is not trained" in str(disagreed(eager, STACK))


def test_the_detail_is_a_table_of_all_parameters() -> None:
    doubled = changed(lambda found: {**found, "fc2.weight": 2 * found["fc2.weight"]})
    lines = disagreed(doubled, IMAGES).detail.splitlines()
    assert lines[0].split() == ["parameter", "error", "allowed", "|ref|", "shape"]
    assert len(lines) == 1 + 8 + 1
    assert [line.split()[1] for line in lines if line.startswith("fc2.weight")] == ["1.00e+00"]
    assert lines[-1].startswith("loss ")


def _stretched(share: float) -> type[Adapter]:
    return changed(lambda found: {**found, "fc2.weight": (1 + share) * found["fc2.weight"]})


def test_a_gradient_error_below_a_twenty_thousandth_of_its_norm_agrees() -> None:
    assert verify(_stretched(4.5e-5), IMAGES).gradient_error == pytest.approx(4.5e-5, rel=1e-6)


def test_a_gradient_error_above_a_twenty_thousandth_of_its_norm_is_caught() -> None:
    assert "the worst is fc2.weight: 5.5e-05" in str(disagreed(_stretched(5.5e-5), IMAGES))


def test_examples_with_near_ties_are_noted() -> None:
    tied = reference_of(IMAGES)._replace(near_ties=2)
    notes = agreement.verify(tied, ready(Adapter, IMAGES)).notes
    assert any(note.startswith("2 examples have a near-tie") for note in notes)
