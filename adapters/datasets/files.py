"""Files of data sets in a folder of bounded size: written once, used again, the oldest removed.

A file is complete or has another name: it is renamed when it is whole. Its user holds a shared lock
on it, as long as the process lives, and nobody removes a locked file. Two processes that need the
same one at once both write it, and one of the two is kept.
"""

import hashlib
import os
import time
from typing import List, NamedTuple, Optional, Tuple

try:
    import fcntl
except ImportError:  # no Unix
    fcntl = None  # type: ignore[assignment]

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.datasets import records
from velodrome.adapters.datasets.records import DatasetFile
from velodrome.adapters.models import products, shapes
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof import seeding

FOLDER_BYTES = 2 * 2**30  # of all files in the folder; more only while all are in use
USUAL_BYTES = 2**26  # decoded, of a data set: more than most caches hold
LEAST_BATCHES, MOST_BATCHES = 4, 64  # in a data set
MOST_BYTES = 2**30  # of a data set, before any compression
HEADER_BYTES = 64
SUFFIX, PARTIAL = ".records", ".partial"
ABANDONED_S = 60.0  # since an unfinished file was written to: its process has been killed
_READ_BYTES = 2**20
_FORMAT = "velodrome records 1"


class HeldDataset(NamedTuple):
    """A data set whose file nobody removes until `descriptor` is closed, or the process ends."""

    file: DatasetFile
    purpose: str
    descriptor: int

    @property
    def size_bytes(self) -> int:
        return self.file.header_bytes + self.file.records * self.file.record_bytes


def count_batches(model: Model, batch_size: int) -> int:
    """Count the batches of a data set. Unsupported if the fewest would be too large."""
    layout = records.find_layout(model)
    batch_bytes = products.count_example_bytes(model) * batch_size
    stored_bytes = shapes.count_values(layout.shape) * layout.stored_dtype.itemsize * batch_size
    if LEAST_BATCHES * stored_bytes > MOST_BYTES:
        text = "{} batches of {:.0f} MiB are more than a data set may hold. Give a smaller batch"
        raise Unsupported(text.format(LEAST_BATCHES, stored_bytes / 2.0**20))
    return max(LEAST_BATCHES, min(MOST_BATCHES, USUAL_BYTES // batch_bytes))


def hold_dataset(
    model: Model, batch_size: int, seed: int, folder: str, purpose: str, batches: int
) -> HeldDataset:
    """Return a data set of the folder, which is written if it is missing. OSError.

    Its file has been read once, so that it is in the page cache as far as memory allows.
    """
    layout = records.find_layout(model)
    name = _name_file(model, layout, batch_size, seed, purpose, batches)
    path = os.path.join(folder, name)
    os.makedirs(folder, 0o700, exist_ok=True)
    while True:
        descriptor = _open_locked(path)
        if descriptor is not None:
            record_bytes = _read_header(descriptor, name, batches * batch_size)
            if record_bytes:
                break
            os.close(descriptor)
            os.unlink(path)
        _write(model, layout, seed, purpose, path, batches * batch_size)
    os.utime(path)
    _read_through(descriptor)
    file = DatasetFile(path, layout, HEADER_BYTES, record_bytes, batch_size, batches)
    return HeldDataset(file, purpose, descriptor)


def release_dataset(held: HeldDataset) -> None:
    """Allow the file to be removed."""
    os.close(held.descriptor)


def _name_file(
    model: Model,
    layout: records.RecordLayout,
    batch_size: int,
    seed: int,
    purpose: str,
    batches: int,
) -> str:
    """Name a file by everything that decides its content, this code's text included."""
    text = repr((_FORMAT, model.input, layout, model.classes, batch_size, seed, purpose, batches))
    digest = hashlib.sha256(text.encode("utf-8"))
    for module in (records, seeding):
        with open(os.path.splitext(str(module.__file__))[0] + ".py", "rb") as source:
            digest.update(source.read())
    return digest.hexdigest()[:20] + SUFFIX


def _open_locked(path: str) -> Optional[int]:
    """Open a file under a shared lock; None if it is missing, or was removed meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    _lock(descriptor, "LOCK_SH")
    try:
        same = os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        same = False
    if same:
        return descriptor
    os.close(descriptor)
    return None


def _read_header(descriptor: int, name: str, count: int) -> int:
    """Return the bytes of a record; 0 unless the file is whole and its own."""
    words = os.pread(descriptor, HEADER_BYTES, 0).decode("ascii", "replace").split()
    if len(words) != 2 or words[0] != name or not words[1].isdigit():
        return 0
    record_bytes = int(words[1])
    is_whole = os.fstat(descriptor).st_size == HEADER_BYTES + count * record_bytes
    return record_bytes if is_whole else 0


def _write(
    model: Model, layout: records.RecordLayout, seed: int, purpose: str, path: str, count: int
) -> None:
    encoded = [
        records.encode_example(records.draw_example(model, seed, purpose, index), layout)
        for index in range(count)
    ]
    record_bytes = max(map(len, encoded))
    folder, name = os.path.split(path)
    make_room(folder, HEADER_BYTES + count * record_bytes)
    partial = "{}.{}{}".format(path, os.getpid(), PARTIAL)
    with open(partial, "wb") as file:
        _lock(file.fileno(), "LOCK_SH")
        header = "{} {}\n".format(name, record_bytes).encode("ascii")
        file.write(header.ljust(HEADER_BYTES, b" "))
        for record in encoded:
            file.write(record.ljust(record_bytes, b"\0"))
        file.flush()
        if os.path.exists(path):  # another process was quicker, and holds its lock on that file
            os.unlink(partial)
        else:
            os.rename(partial, path)


def make_room(folder: str, needed_bytes: int, bound: int = FOLDER_BYTES) -> None:
    """Remove the files that were used longest ago, until the needed bytes fit the bound.

    Files in use stay, so that the folder may grow beyond it. Unfinished ones whose process has been
    killed are removed, too.
    """
    paths = [os.path.join(folder, name) for name in os.listdir(folder)]
    found: List[Tuple[bool, float, int, str]] = []
    for path in paths:
        if path.endswith((SUFFIX, PARTIAL)):
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue
            found.append((not path.endswith(PARTIAL), status.st_mtime, status.st_size, path))
    total = sum(size for _, _, size, _ in found)
    for is_whole, changed, size, path in sorted(found):
        is_spare = total + needed_bytes > bound if is_whole else changed < time.time() - ABANDONED_S
        if is_spare and _remove_if_free(path):
            total -= size


def _remove_if_free(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        _lock(descriptor, "LOCK_EX", "LOCK_NB")
        os.unlink(path)
    except OSError:  # it is in use, or another process has removed it
        return False
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int, *words: str) -> None:
    if fcntl is None:
        return
    operation = 0
    for word in words:
        operation |= getattr(fcntl, word)
    fcntl.flock(descriptor, operation)


def _read_through(descriptor: int) -> None:
    offset = 0
    while True:
        part = os.pread(descriptor, _READ_BYTES, offset)
        if not part:
            return
        offset += len(part)
