"""Checks of timed calls: an honest adapter passes, and less work than was verified is caught."""

import pytest
from tricks import has_outcome

from velodrome.adapters.protocol import (
    CANNOT_TELL,
    CHECKS,
    FAILED,
    IMPOSSIBLE,
    PASSED,
    Checked,
    Finished,
    Timed,
)


def test_an_honest_adapter_passes_every_check(tricks):
    outcome = tricks.run("")
    assert isinstance(outcome.events[-1], Finished)
    checked = [event for event in outcome.events if isinstance(event, Checked)]
    for phase in ("forward", "gradient"):
        own = {event.name: event for event in checked if event.phase == phase}
        assert set(own) == set(CHECKS) - {"clocked_by_agent"}
        assert not [event for event in own.values() if event.outcome in (FAILED, IMPOSSIBLE)]
        assert all(event.figures or event.outcome != PASSED for event in own.values())
        unsure = {name for name, event in own.items() if event.outcome == CANNOT_TELL}
        assert unsure <= {"twice_the_work", "possible"}, unsure  # possible on a busy machine


def test_computing_half_of_the_batch_after_verification_is_caught(tricks):
    tricks.assert_caught(
        """
        def gradient(self, index):
            if not self.armed:
                return super().gradient(index)
            whole = self._batches[index]
            return self._network.gradient(type(whole)(*[
                None if one is None else one[: len(one) // 2] for one in whole
            ]))
        """,
        "timed_is_checked",
    )


def test_doing_nothing_from_the_sixth_call_on_is_caught(tricks):
    tricks.assert_caught(
        """
        def gradient(self, index):
            if self.armed:
                self.count += 1
            if self.count <= 5:
                self.last = super().gradient(index)
            else:
                rest()
            return self.last
        count = 0
        """,
        "timed_is_checked",
    )


def test_working_only_in_every_second_call_is_caught(tricks):
    tricks.assert_caught(
        """
        def gradient(self, index):
            self.count += 1
            if not self.armed or self.count % 2:
                self.last = super().gradient(index)
            return self.last
        count = 0
        """,
        "timed_is_checked",
    )


def test_skipping_the_batches_between_the_checked_ones_is_caught(tricks):
    tricks.assert_caught(
        """
        def forward(self, index):
            if not self.armed or index in (0, 12, 24):
                self.last = super().forward(index)
            return self.last
        """,
        "timed_is_checked",
        model="probe-lstm",
        batch_size=2,
    )


def test_a_compiled_function_that_ignores_its_input_is_caught(tricks):
    tricks.assert_caught(
        """
        def forward(self, index):
            return super().forward(0 if self.armed else index)
        """,
        "timed_is_checked",
    )


def test_a_precision_lowered_after_verification_is_caught(tricks):
    tricks.assert_caught(
        """
        def gradients(self, handle):
            for name, values in super().gradients(handle):
                if self.armed:
                    values = values.astype(numpy.float16)
                yield name, values
        """,
        "timed_is_checked",
    )


DROPPED = {"model": "probe-dropout", "batch_size": 32}


@pytest.mark.parametrize(
    "gradient",
    [
        "return self.kept.setdefault(index, super().gradient(index))",
        "return self.without(index)",
        "return self.zero(super().gradient(index))",
    ],
    ids=["kept", "drops nothing", "zero"],
)
def test_a_gradient_without_dropout_while_it_is_on_is_caught(tricks, gradient):
    tricks.assert_caught(
        f"""
        kept = {{}}
        def gradient(self, index):
            if self._dropout is None:
                return super().gradient(index)
            {gradient}
        def without(self, index):
            return self._network.gradient(self._batches[index], None)
        def zero(self, found):
            return found._replace(gradients={{n: 0 * v for n, v in found.gradients.items()}})
        """,
        "timed_is_checked",
        **DROPPED,
    )


@pytest.mark.parametrize(
    ("shape", "scale"),
    [("x.shape", "1.0"), ("(1,) + x.shape[1:]", "1.0 / (1.0 - layer.rate)")],
    ids=["not scaled", "one mask for the whole batch"],
)
def test_wrongly_drawn_or_scaled_dropout_is_caught(tricks, shape, scale):
    top = f"""
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.frameworks.numpy import pointwise
from velodrome.adapters.frameworks.numpy.network import OPERATIONS
def drop(layer, weights, inputs, call):
    (x,) = inputs
    if call.dropout is None:
        return x, None
    kept = (call.dropout.random_sample({shape}) >= layer.rate) * {scale}
    return x * kept, kept
DROP = pointwise.DROPOUT._replace(forward=drop)
"""
    body = "operations = {**OPERATIONS, kinds.Dropout: DROP}"
    tricks.assert_caught(body, "timed_is_checked", top=top, **DROPPED)


def test_a_failed_check_leaves_no_time(tricks):
    """A late failure follows `timed` events: the agent keeps no time of a disagreed task."""
    outcome = tricks.run("def set_parameter(self, name, values): pass")
    assert [event.phase for event in outcome.events if isinstance(event, Timed)]
    assert outcome.failure().status == "disagreed"


def test_an_adapter_that_cannot_change_a_parameter_says_so_and_passes(tricks):
    outcome = tricks.run(
        """
        def set_parameter(self, name, values):
            raise contract.Unsupported("weights are constants of the engine")
        """
    )
    assert isinstance(outcome.events[-1], Finished)
    reasons = {event.reason for event in outcome.events if has_outcome(event, IMPOSSIBLE)}
    assert reasons == {"weights are constants of the engine"}
