"""A copy is compared value by value, and dropout by what it keeps."""

import numpy
import pytest
from planted_errors import BATCH, IMAGES, STACK, disagreed, ready, verify, with_layer

from velodrome.adapters.frameworks.numpy import pointwise
from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.frameworks.numpy.operation import Operation
from velodrome.adapters.models import MODELS
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import Dropout, Linear, Model, Relu
from velodrome.adapters.proof import agreement, dropout_shares

COPY = MODELS["copy"]._replace(
    name="copy-small", input=kinds.Vectors(1000, "uniform"), batch_size=BATCH
)


@pytest.fixture
def copy(monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setitem(MODELS, COPY.name, COPY)
    return COPY


def test_a_copy_is_compared_value_by_value(copy: Model) -> None:
    verified = verify(Adapter, copy)
    assert (verified.loss_error, verified.gradient_error, verified.parameters) == (0.0, 0.0, ())


def test_a_copy_with_one_wrong_value_is_caught(copy: Model) -> None:
    class Slipped(Adapter):
        def output(self, handle: object) -> numpy.ndarray:
            copied = super().output(handle)
            copied[3, 7] += 1e-6
            return copied

    assert str(disagreed(Slipped, copy)) == "1 of 8000 values are not the input's"


def test_a_copy_of_another_shape_is_caught(copy: Model) -> None:
    class Flat(Adapter):
        def output(self, handle: object) -> numpy.ndarray:
            return super().output(handle).ravel()

    assert "shape (8000,), not (8, 1000)" in str(disagreed(Flat, copy))


WIDE = IMAGES._replace(
    name="wide",
    layers=(*IMAGES.layers[:4], Linear("fc1", 4000), Relu("relu2"), *IMAGES.layers[6:]),
)


def _check_dropout(kind: type[Adapter], model: Model = WIDE) -> tuple[str, ...]:
    return dropout_shares.check_dropout(model, ready(kind, model), BATCH)


def test_dropout_at_its_rate_is_noted_and_stays_on() -> None:
    adapter = ready(Adapter, WIDE)
    still = adapter.loss(adapter.forward(0))
    (note,) = dropout_shares.check_dropout(WIDE, adapter, BATCH)
    assert note.startswith("dropout drop kept 0.")
    assert adapter.loss(adapter.forward(0)) != still


def test_a_model_without_dropout_needs_no_dropout_check() -> None:
    class Untouched(Adapter):
        def kept_shares(self) -> dict:
            raise AssertionError("not to be called")

    assert _check_dropout(Untouched, STACK) == ()


def test_dropout_at_another_rate_is_caught() -> None:
    def forward(layer: Dropout, *rest: object) -> tuple:
        return pointwise.DROPOUT.forward(layer._replace(rate=0.4), *rest)

    with pytest.raises(agreement.Disagreed, match=r"dropout drop kept 0\.[56].* 0\.50 \+- 0\.0"):
        _check_dropout(with_layer(Dropout, Operation(forward, pointwise.DROPOUT.backward)))


def test_dropout_missing_from_the_timed_call_is_caught() -> None:
    class Idle(Adapter):
        def set_dropout(self, active: object) -> None:
            super().set_dropout(False)

    with pytest.raises(agreement.Disagreed, match="forward drops nothing"):
        _check_dropout(Idle)


def test_an_unreported_dropout_layer_is_caught() -> None:
    class Silent(Adapter):
        def kept_shares(self) -> dict:
            return {}

    with pytest.raises(agreement.Disagreed, match="no kept share of dropout drop"):
        _check_dropout(Silent)
