"""Adapters that agree and cheat the clock, each by one trick: every one is caught, by its check.

Real workers. Each trick is the NumPy adapter with a few lines around it; `wrong` is set once it has
been verified, so that nothing is wrong before.
"""

import textwrap

import pytest
from worker_bench import FINETUNE, Bench

from velodrome.adapters.protocol import (
    CANNOT_TELL,
    CHECKS,
    FAILED,
    IMPOSSIBLE,
    PASSED,
    Checked,
    Finished,
    Timed,
    Timing,
    Verified,
)

MODEL, BATCH = "lenet", 4
TRIES = 3
TOP = """
import os, threading, time
from velodrome.adapters import contract
from velodrome.adapters.proof import agreement
from velodrome.adapters.worker import call_timing as timing
def rest(seconds=0.0005):
    ends = time.process_time() + seconds
    while time.process_time() < ends:
        pass
"""
# What a trick is told of the moment at which it has been verified: the first warm-up.
ARMED = """
def stopwatch(self):
    self.armed = True
    return super().stopwatch()
armed = False
"""


class Tricks:
    """Runs a trick on a small model, of which the reference is computed once."""

    def __init__(self, folder):
        self.folder = folder
        self.references = {}

    def run(self, body, model=MODEL, batch_size=BATCH, top=""):
        bench = Bench(self.folder)
        reference = self.folder / f"{model.replace('/', '-')}-{batch_size}.npz"
        changes = {"model": model, "batch_size": batch_size, "reference": str(reference)}
        if not reference.exists():
            bench.refer(**changes)
        bench.write_adapter(textwrap.dedent(ARMED) + textwrap.dedent(body), TOP + top)
        timing = Timing(target=0.1, min_samples=3, min_seconds=0.0, max_seconds=0.1)
        return bench.run(adapter="trial", timing=timing, **changes)

    def caught(self, body, *checks, **changes):
        """Assert that it was verified, then caught by one of these checks, and says so.

        On a busy machine a check that goes by time may say that it cannot tell: it is tried again.
        """
        for _ in range(TRIES):
            outcome = self.run(body, **changes)
            if any(_has(event, FAILED) and event.name in checks for event in outcome.events):
                break
        failed = outcome.failure()
        assert failed.status == "disagreed", failed
        assert outcome.only(Verified)
        found = {event.name for event in outcome.events if _has(event, FAILED)}
        assert found & set(checks), failed.reason
        assert " failed: " in failed.reason
        assert any(failed.reason.startswith(name) for name in found)


def _has(event, outcome):
    return isinstance(event, Checked) and event.outcome == outcome


@pytest.fixture(scope="module")
def tricks(tmp_path_factory):
    return Tricks(tmp_path_factory.mktemp("tricks"))


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
        assert unsure <= {"twice_the_work", "possible"}, unsure  # as a disturbed machine may leave


RESULTS_KEPT = """
def gradient(self, index):
    if index not in self.kept:
        self.kept[index] = super().gradient(index)
    return self.kept[index]
kept = {}
"""


def test_results_cached_by_batch_number_are_caught(tricks):
    tricks.caught(RESULTS_KEPT, "possible")


def test_results_cached_without_a_known_ceiling_are_caught_by_unseen_batches(tricks):
    slow = RESULTS_KEPT.replace("    return", "    rest()\n    return")
    tricks.caught(slow, "not_seen_before", model=FINETUNE)


def test_results_cached_by_batch_content_are_caught_by_their_time(tricks):
    tricks.caught(
        """
        def gradient(self, index):
            key = self._batches[index].inputs.tobytes()
            if key not in self.kept:
                self.kept[key] = super().gradient(index)
            rest()
            return self.kept[key]
        kept = {}
        """,
        "not_seen_before",
        "follows_parameters",
    )


def test_results_folded_to_constants_at_load_are_caught_by_a_changed_parameter(tricks):
    tricks.caught(
        """
        def load(self, batches):
            super().load(batches)
            self.folded = [super(Adapter, self).gradient(n) for n in range(len(batches))]
        def gradient(self, index):
            rest()
            return self.folded[index]
        """,
        "follows_parameters",
    )


def test_computing_half_of_the_batch_after_verification_is_caught(tricks):
    tricks.caught(
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


HANDED_OVER = """
def gradient(self, index):
    if not self.armed:
        return super().gradient(index)
    while len(self.queue) > 100:
        self.queue.pop(0).join()
    box = []
    thread = threading.Thread(target=lambda: box.append(super(Adapter, self).gradient(index)))
    thread.before = self.queue[-1] if self.queue else None
    thread.box = box
    thread.start()
    self.queue.append(thread)
    return thread
queue = []
def result(self, handle):
    if isinstance(handle, threading.Thread):
        for thread in list(self.queue):
            thread.join()
        return handle.box[0]
    return handle
"""


def test_work_left_to_a_thread_is_caught(tricks):
    tricks.caught(
        HANDED_OVER
        + """
def loss(self, handle):
    return super().loss(self.result(handle))
def gradients(self, handle):
    return super().gradients(self.result(handle))
""",
        "drained",
    )


def test_a_loss_available_before_its_gradients_is_caught(tricks):
    tricks.caught(
        """
        def gradient(self, index):
            return self.forward(index), index
        def loss(self, handle):
            return super().loss(handle[0] if type(handle) is tuple else handle)
        def gradients(self, handle):
            if handle is not self.done[0]:
                self.done[:] = [handle, super().gradient(handle[1])]
            return super().gradients(self.done[1])
        done = [None, None]
        """,
        "drained",
        batch_size=64,
    )


def test_a_queue_that_drains_only_when_the_loss_is_read_is_caught(tricks):
    tricks.caught(
        """
        def forward(self, index):
            if not self.armed:
                return super().forward(index)
            return [index]
        def loss(self, handle):
            if isinstance(handle, list):
                if len(handle) == 1:
                    handle.append(super().forward(handle[0]))
                handle = handle[1]
            return super().loss(handle)
        """,
        "drained",
        batch_size=64,
    )


def test_doing_nothing_from_the_sixth_call_on_is_caught(tricks):
    tricks.caught(
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
    tricks.caught(
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
    tricks.caught(
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


def test_a_stopwatch_that_reports_a_quarter_is_caught(tricks):
    tricks.caught(
        """
        def stopwatch(self):
            class Quarter(contract.HostStopwatch):
                def stop(self):
                    return super().stop() // 4
            return Quarter(self.synchronize)
        """,
        "clocked_by_two",
    )


def test_a_compiled_function_that_ignores_its_input_is_caught(tricks):
    tricks.caught(
        """
        def forward(self, index):
            return super().forward(0 if self.armed else index)
        """,
        "timed_is_checked",
    )


def test_a_loop_skipped_after_its_first_pass_is_caught(tricks):
    tricks.caught(
        """
        def stopwatch(self):
            adapter = self
            class Watch(contract.HostStopwatch):
                def start(self):
                    adapter.seen = {}
                    return super().start()
            return Watch(self.synchronize)
        seen = {}
        def gradient(self, index):
            if index not in self.seen:
                self.seen[index] = super().gradient(index)
            return self.seen[index]
        """,
        "twice_the_work",
        "possible",
        model="autoencoder-400-200-100/ae3",
        batch_size=1,
    )


def test_a_parameter_read_only_once_is_caught(tricks):
    tricks.caught("def set_parameter(self, name, values): pass", "follows_parameters")


def test_a_forward_that_reuses_what_gradient_computed_is_caught(tricks):
    tricks.caught(
        """
        def gradient(self, index):
            self.known[index] = super().gradient(index)
            return self.known[index]
        known = {}
        def forward(self, index):
            rest()
            return self.known.get(index) or super().forward(index)
        """,
        "not_seen_before",
    )


def test_a_precision_lowered_after_verification_is_caught(tricks):
    tricks.caught(
        """
        def gradients(self, handle):
            for name, values in super().gradients(handle):
                if self.armed:
                    values = values.astype(numpy.float16)
                yield name, values
        """,
        "timed_is_checked",
    )


@pytest.mark.serial
def test_work_done_by_another_process_on_other_cores_is_caught(tricks):
    tricks.caught(
        """
        def forward(self, index):
            if not self.armed:
                return super().forward(index)
            time.sleep(0.02)
            if index not in self.known:
                self.known[index] = super().forward(index)
            return self.known[index]
        known = {}
        """,
        "possible",
        model=FINETUNE,
        batch_size=1,
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
    tricks.caught(
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
    tricks.caught(body, "timed_is_checked", top=top, **DROPPED)


@pytest.mark.serial
def test_an_adapter_that_waits_by_design_skips_the_cpu_time_check(tricks):
    outcome = tricks.run(
        """
        waits_by_design = "an accelerator beside the processor computes"
        def forward(self, index):
            time.sleep(0.03)
            return super().forward(index)
        """,
        model=FINETUNE,
        batch_size=1,
    )
    assert isinstance(outcome.events[-1], Finished)
    found = [event for event in outcome.events if isinstance(event, Checked)]
    (possible,) = (one for one in found if (one.name, one.phase) == ("possible", "forward"))
    assert (possible.outcome, possible.reason) == (
        IMPOSSIBLE,
        "an accelerator beside the processor computes",
    )


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
    reasons = {event.reason for event in outcome.events if _has(event, IMPOSSIBLE)}
    assert reasons == {"weights are constants of the engine"}
