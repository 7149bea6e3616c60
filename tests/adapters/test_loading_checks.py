"""The proof of the phases that read a data set: an honest loader passes, each trick is caught."""

import textwrap

import pytest

from velodrome.adapters.protocol import (
    CANNOT_TELL,
    CHECKS,
    IMPOSSIBLE,
    LOADING_PHASES,
    PASSED,
    Checked,
    Finished,
    Timed,
    Verified,
)

pytestmark = pytest.mark.slow

TOP = "from velodrome.adapters.datasets import records"
# A loader of NumPy's adapter, which has none.
READER = """
def start_loading(self, dataset, workers):
    self.dataset, self.taken, self.opened = dataset, 0, open(dataset.path, "rb")

def read(self, number):
    file = self.dataset
    self.opened.seek(file.header_bytes + number * file.batch_size * file.record_bytes)
    read = [self.opened.read(file.record_bytes) for _ in range(file.batch_size)]
    found = [records.decode_record(record, file.layout) for record in read]
    values = numpy.stack([one.values for one in found])
    if values.dtype == "uint8":
        values = records.decode_pixels(values)
    if found[0].labels is None:
        return contract.Batch(values)
    return contract.Batch(values, numpy.stack([one.labels for one in found]))

def next_batch(self):
    self.taken += 1
    return self.read((self.taken - 1) % self.dataset.batches)

def fed_gradient(self):
    batch = self.next_batch()
    wide = batch._replace(inputs=batch.inputs.astype("float64"))
    return self._network.gradient(wide, self._dropout)

def loaded(self, handle):
    return handle

def end_loading(self):
    self.opened.close()
"""
LARGE = {"model": "autoencoder-400-200-100/ae1", "batch_size": 512}  # a batch takes milliseconds


def with_reader(body=""):
    return textwrap.dedent(READER) + textwrap.dedent(body)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_honest_loader_passes_every_check(tricks, threads):
    phases = ("gradient", *LOADING_PHASES)
    outcome = tricks.run(with_reader(), top=TOP, phases=phases, threads=threads)
    assert isinstance(outcome.events[-1], Finished), outcome.noise.read_text()
    assert tuple(one.phase for one in outcome.events if isinstance(one, Timed)) == phases
    checked = [event for event in outcome.events if isinstance(event, Checked)]
    for phase in LOADING_PHASES:
        own = {event.name: event.outcome for event in checked if event.phase == phase}
        assert set(own) == set(CHECKS) - {"clocked_by_agent"}
        parameters = own.pop("follows_parameters")
        assert parameters == (PASSED if phase == "fed_gradient" else IMPOSSIBLE)
        unsure = {name for name, result in own.items() if result != PASSED}
        assert unsure <= {"twice_the_work", "possible"}, own  # on a busy machine
        assert not unsure or {own[name] for name in unsure} == {CANNOT_TELL}
    (note,) = (one for one in outcome.only(Verified).notes if one.startswith("a data set of"))
    assert ("2 workers" in note) == (threads == 3)
    assert ("nothing is read ahead" in note) == (threads == 1)


def test_models_with_dropout_are_compared_without_it(tricks):
    phases = ("fed_gradient",)
    outcome = tricks.run(with_reader(), top=TOP, phases=phases, model="probe-dropout")
    assert isinstance(outcome.events[-1], Finished), outcome.noise.read_text()


def test_a_framework_without_a_loader_is_unsupported_and_says_so(tricks):
    failed = tricks.run("", phases=("gradient", "load")).failure()
    assert failed.status == "unsupported"
    assert "no loader of its own" in failed.reason


def test_a_batch_that_is_wrong_from_the_start_is_never_verified(tricks):
    body = """
    def loaded(self, handle):
        return handle._replace(labels=handle.labels[::-1])
    """
    failed = tricks.run(with_reader(body), top=TOP, phases=("load",)).failure()
    assert failed.status == "disagreed"
    assert "load: the labels of batch 0 are not the data set's" in failed.reason


def test_a_loader_that_gives_one_batch_over_and_over_is_caught(tricks):
    body = """
    def next_batch(self):
        self.taken += 1
        return self.read(0 if self.armed else (self.taken - 1) % self.dataset.batches)
    """
    check = "timed_is_checked"
    tricks.assert_caught(with_reader(body), check, top=TOP, phases=("load",))


def test_a_loader_that_keeps_what_it_decoded_is_caught_by_records_never_read(tricks):
    body = """
    def read(self, number):
        if (self.dataset.path, number) not in kept:
            kept[self.dataset.path, number] = super().read(number)
        rest(0.00001)
        return kept[self.dataset.path, number]
    """
    body = with_reader(body).replace("super().read(number)", "self.decode(number)")
    body = body.replace("def read(self, number):", "def decode(self, number):", 1)
    top = TOP + "\nkept = {}"
    checks = ("not_seen_before", "possible")
    # Long enough to read every batch of the data set before any is timed.
    tricks.assert_caught(body, *checks, top=top, phases=("load",), max_seconds=4.0, **LARGE)


def test_the_gradient_of_another_batch_than_the_one_taken_is_caught(tricks):
    body = """
    def fed_gradient(self):
        self.taken += 1
        batch = self.read((self.taken - 1 + self.armed) % self.dataset.batches)
        wide = batch._replace(inputs=batch.inputs.astype("float64"))
        return self._network.gradient(wide, self._dropout)
    """
    check = "timed_is_checked"
    tricks.assert_caught(with_reader(body), check, top=TOP, phases=("fed_gradient",))


def test_a_fed_gradient_that_skips_every_second_batch_is_caught(tricks):
    body = """
    def fed_gradient(self):
        batch = self.next_batch()
        if self.armed and self.taken % 2 == 0:
            return self.last
        wide = batch._replace(inputs=batch.inputs.astype("float64"))
        self.last = self._network.gradient(wide, self._dropout)
        return self.last
    """
    checks = ("timed_is_checked", "not_seen_before")
    tricks.assert_caught(with_reader(body), *checks, top=TOP, phases=("fed_gradient",))
