"""Tricks whose work runs outside the timed call: the checks catch each of them."""

import pytest
from worker_bench import FINETUNE

from velodrome.adapters.protocol import (
    IMPOSSIBLE,
    Checked,
    Finished,
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
    tricks.assert_caught(
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
    tricks.assert_caught(
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
    tricks.assert_caught(
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


def test_a_stopwatch_that_reports_a_quarter_is_caught(tricks):
    tricks.assert_caught(
        """
        def stopwatch(self):
            class Quarter(contract.HostStopwatch):
                def stop(self):
                    return super().stop() // 4
            return Quarter(self.synchronize)
        """,
        "clocked_by_two",
    )


@pytest.mark.serial
def test_work_done_by_another_process_on_other_cores_is_caught(tricks):
    tricks.assert_caught(
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
        "not_seen_before",  # on a machine that is too busy to tell, by results it keeps
        model=FINETUNE,
        batch_size=1,
    )


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
