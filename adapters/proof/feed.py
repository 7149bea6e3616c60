"""The batches that a loader gives, counted: each is known by its number in the data set."""

from typing import Optional

from velodrome.adapters.contract import BATCHES_AHEAD, Adapter, Batch, Handle
from velodrome.adapters.datasets import files, records
from velodrome.adapters.datasets.files import HeldDataset
from velodrome.adapters.datasets.records import Example
from velodrome.adapters.models import products, shapes
from velodrome.adapters.models.layers import Model
from velodrome.adapters.protocol import LOADING_PHASES, ProtocolError, Request


class Feed(object):
    """One adapter's loader, and the data set that it reads: files in the folder of the request."""

    def __init__(self, adapter: Adapter, model: Model, request: Request) -> None:
        """Hold the data set that is read while the clock runs. Unsupported if it is too large."""
        self._adapter, self._model, self._request = adapter, model, request
        self.count = files.count_batches(model, request.batch_size)
        self.timed = self._hold(records.TIMED, self.count)
        self._held = self.timed
        self._taken = 0

    @property
    def workers(self) -> int:
        """Return the loader's processes or threads: a core each, beside that of the caller."""
        return self._request.threads - 1

    @property
    def ahead(self) -> int:
        """Return how many batches may be ready before they are asked for."""
        return BATCHES_AHEAD * self.workers

    @property
    def last(self) -> int:
        """Return the number in the data set of the batch that the last call took."""
        return (self._taken - 1) % self._held.file.batches

    @property
    def batch_bytes(self) -> int:
        """Return the bytes of a batch's inputs on the device."""
        return self._request.batch_size * products.count_example_bytes(self._model)

    def start(self, phase: str, held: Optional[HeldDataset] = None) -> None:
        """Start the loader for a phase, at the first batch of the timed data set or another."""
        self._held, self._taken = held or self.timed, 0
        self._adapter.start_loading(self._held.file, 0 if phase == "load" else self.workers)

    def stop(self) -> None:
        self._adapter.end_loading()

    def take(self, index: int) -> Handle:
        """Take the next batch, whatever the index is."""
        self._taken += 1
        return self._adapter.next_batch()

    def differentiate(self, index: int) -> Handle:
        """Compute the gradient of the next batch, whatever the index is."""
        self._taken += 1
        return self._adapter.fed_gradient()

    def draw(self, number: int) -> Batch:
        """Draw a batch of the data set in use anew, from the seed and not from its file."""
        request, purpose = self._request, self._held.purpose
        return records.draw_batch(self._model, request.batch_size, request.seed, purpose, number)

    def draw_first(self, number: int) -> Example:
        """Draw the first example of a batch, as it is stored."""
        request = self._request
        place = number * request.batch_size
        return records.draw_example(self._model, request.seed, self._held.purpose, place)

    def hold_fresh(self, purpose: str, batches: int) -> HeldDataset:
        """Return a data set that no call has read. purpose: of records.FRESH."""
        return self._hold(purpose, batches)

    def describe(self) -> str:
        """Describe loader and data set for a reader of the row."""
        file = self.timed.file
        text = "a data set of {} records in {} batches, {:.1f} MiB ({:.1f} MiB decoded), in the "
        text += "page cache; read by {}"
        workers = "{} workers that read {} batches ahead".format(self.workers, self.ahead)
        return text.format(
            file.records,
            file.batches,
            self.timed.size_bytes / 2.0**20,
            file.batches * self.batch_bytes / 2.0**20,
            workers if self.workers else "the only thread, so that nothing is read ahead",
        )

    def _hold(self, purpose: str, batches: int) -> HeldDataset:
        request = self._request
        return files.hold_dataset(
            self._model, request.batch_size, request.seed, request.datasets, purpose, batches
        )


def make_feed(adapter: Adapter, model: Model, request: Request) -> Optional[Feed]:
    """Return the feed of a request's phases; None if none of them reads a data set."""
    phases = shapes.list_timed_phases(model, request.phases)
    if not any(phase in LOADING_PHASES for phase in phases):
        return None
    if not request.datasets:
        raise ProtocolError("a request for {} names no folder of data sets".format(phases[-1]))
    return Feed(adapter, model, request)
