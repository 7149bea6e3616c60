"""Fingerprints of results: the fields that must be equal for a comparison.

A cell is identified by framework, variant, model, batch size (`auto` where the node finds it) and
device. Its fingerprint is everything else that decides the number and must be equal: threads,
precision, seed, hardware, the batch size that was found, the model itself. Versions, drivers,
kernels and the node are no part of it: they may change, and are candidates for the cause of a
change (velodrome.scheduler.comparison.causes).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from velodrome.agents.environments.versions import split
from velodrome.agents.node_types import normalize_gpu_names
from velodrome.scheduler.results.typed_rows import TaskRow

IDENTITY = ("framework", "variant", "model", "batch_size", "device")
HARDWARE = ("node_type", "cpu_model", "gpu_name")
FINGERPRINT = (
    *HARDWARE,
    "batch_size",  # as found, where its cell is identified by `auto`
    "gpu_count",
    "gpu_model",  # as requested; empty if any would do, which matches any
    "processes",  # on a CPU, that share each batch
    "nodes",  # that share each batch
    "threads",
    "dtype",
    "seed",
    "exclusive",
    "parameters",
    "model_hash",
)
NO_FINGERPRINT = ""  # not recorded by an earlier Velodrome: matches any value

# To compare one of these fields also frees the fields that depend on it.
_COMES_WITH = {
    "framework": ("framework", "variant"),
    "device": ("device", "gpu_count", "gpu_model", "processes", "nodes", *HARDWARE),
    "gpu_model": ("gpu_model", *HARDWARE),
    **dict.fromkeys(("node_id", "hostname", *HARDWARE), ("gpu_model", *HARDWARE)),
}


@dataclass(frozen=True)
class Mismatch:
    """A field of the fingerprint in which two results differ."""

    field: str
    base: str
    candidate: str

    @property
    def text(self) -> str:
        return f"{self.field} is {self.base} in the base, {self.candidate} in the candidate"


@dataclass(frozen=True)
class CellRules:
    """Rules for equal cells, given the fields in which the two sides differ on purpose."""

    subjects: frozenset[str] = frozenset()

    @property
    def free(self) -> frozenset[str]:
        """The fields that need not be equal."""
        return frozenset(
            name for field in self.subjects for name in _COMES_WITH.get(field, (field,))
        )

    def identify(self, row: TaskRow) -> tuple[str, ...]:
        """Return the fields that identify a row's cell."""
        return tuple(self._read(row, field) for field in IDENTITY if field not in self.free)

    def read_fingerprint(self, row: TaskRow) -> tuple[str, ...]:
        """Return the fields that must be equal."""
        return tuple(read_field(row, field) for field in FINGERPRINT if field not in self.free)

    def find_mismatches(self, base: TaskRow, candidate: TaskRow) -> tuple[Mismatch, ...]:
        """Return the fields that differ; an empty field on either side matches."""
        fields = [field for field in FINGERPRINT if field not in self.free]
        sides = ((field, read_field(base, field), read_field(candidate, field)) for field in fields)
        return tuple(
            Mismatch(field, base_text, candidate_text)
            for field, base_text, candidate_text in sides
            if base_text != candidate_text and NO_FINGERPRINT not in (base_text, candidate_text)
        )

    def find_ambiguity(self, rows: Iterable[TaskRow]) -> tuple[str, tuple[str, ...]] | None:
        """Return a freed field with several values among the rows of one cell, with these.

        Hardware may have several: a comparison of machines may name several.
        """
        rows_of_cell = list(rows)
        for field in (*IDENTITY, *FINGERPRINT):
            if field in self.free and field not in HARDWARE:
                found = {self._read(row, field) for row in rows_of_cell}
                if len(found) > 1:
                    return field, tuple(sorted(found))
        return None

    def _read(self, row: TaskRow, field: str) -> str:
        text = read_field(row, field)
        if field == "framework" and "framework_version" in self.subjects:
            return split(text)[0]  # `torch` and `torch==2.12.1` are the same cell
        return row.batch_size_rule or text if field == "batch_size" else text


def group_rows(
    rows: Iterable[TaskRow], key: Callable[[TaskRow], tuple[str, ...]]
) -> dict[tuple[str, ...], list[TaskRow]]:
    found: dict[tuple[str, ...], list[TaskRow]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def read_field(row: TaskRow, field: str) -> str:
    """Return a field without what a driver may change in a GPU's name.

    A row of an earlier version has one process, and one that had several GPUs used the first.
    """
    if field == "processes":
        return str(row.process_count) if row.process_count else "0 (one GPU computed)"
    if field == "nodes":
        return str(row.node_count)
    text = row.text(field)
    return normalize_gpu_names(text) if field == "gpu_name" else text
