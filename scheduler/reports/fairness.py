"""Differences in how two cells were computed: precision, layout, BLAS kernels, threads, notes.

Two frameworks share a line because loss and gradients agree, not because all else is equal.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from velodrome.scheduler.reports.task_rows import select_composed_notes
from velodrome.scheduler.results.typed_rows import TaskRow

# Variants that are named after the type they compute in.
COMPUTE_TYPES = ("float64", "float16", "bfloat16")
UNKNOWN = "unknown"
NONE = "none"
_LAYOUT = re.compile(
    r"\b(channels[_ ]first|channels[_ ]last|NCHW|NHWC|NCDHW|NDHWC)\b", re.IGNORECASE
)
_TF32 = re.compile(r"\b(?:no )?tf32\b", re.IGNORECASE)


@dataclass(frozen=True)
class Difference:
    """One setting in which two cells differ."""

    what: str
    left: str
    right: str

    @property
    def text(self) -> str:
        return f"{self.what}: {self.left} / {self.right}"


def list_differences(left: TaskRow, right: TaskRow) -> tuple[Difference, ...]:
    """List the settings in which two rows of `tasks` differ, those that affect time most first.

    The framework and the times are not compared. Empty if all settings are equal.
    """
    found = ((name, read(left), read(right)) for name, read in _SETTINGS.items())
    return tuple(Difference(*each) for each in found if each[1] != each[2])


def read_precision(row: TaskRow) -> str:
    """Return the type of the arithmetic: from the variant's name, else dtype; TF32 if noted."""
    variant, dtype = row.variant, row.dtype
    computed = variant if variant in COMPUTE_TYPES else dtype
    tf32 = next((found[0] for note in row.notes if (found := _TF32.search(note))), "")
    return f"{computed}, {tf32}" if tf32 else computed or UNKNOWN


def read_layout(row: TaskRow) -> str:
    """Return the memory layout of images, as named by the variant or a note."""
    texts = (row.variant, *row.notes)
    layout = next((found[0] for text in texts if (found := _LAYOUT.search(text))), "")
    return layout.replace(" ", "_") or UNKNOWN


def describe_kernels(row: TaskRow) -> str:
    """Return the linear-algebra kernels: library, version, CPU type or instruction set."""
    return ", ".join(row.kernels) or UNKNOWN


def _read_column(column: str) -> Callable[[TaskRow], str]:
    def read(row: TaskRow) -> str:
        return row.text(column) or UNKNOWN

    return read


def _read_processes(row: TaskRow) -> str:
    return str(row.process_count)


def _read_nodes(row: TaskRow) -> str:
    return str(row.node_count)


def _read_sharing(row: TaskRow) -> str:
    exclusive = row.exclusive
    return UNKNOWN if exclusive is None else "exclusive" if exclusive else "shared"


def _read_hardware(row: TaskRow) -> str:
    return row.hardware or UNKNOWN


def _list_composed(row: TaskRow) -> str:
    return _join_texts(select_composed_notes(row.notes))


def _list_other_notes(row: TaskRow) -> str:
    notes = row.notes
    return _join_texts(note for note in notes if note not in select_composed_notes(notes))


def _join_texts(texts: Iterable[str]) -> str:
    return "; ".join(texts) or NONE


_SETTINGS: dict[str, Callable[[TaskRow], str]] = {
    "precision": read_precision,
    "layout": read_layout,
    "BLAS kernels": describe_kernels,
    "device": _read_column("device"),
    "GPUs": _read_column("gpu_count"),
    "processes": _read_processes,
    "nodes": _read_nodes,
    "hardware": _read_hardware,
    "threads": _read_column("threads"),
    "batch size": _read_column("batch_size"),
    "variant": _read_column("variant"),
    "composed operations": _list_composed,
    "notes": _list_other_notes,
    "node": _read_sharing,
    "seed": _read_column("seed"),
}
