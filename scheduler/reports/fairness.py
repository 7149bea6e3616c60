"""Differences in how two cells were computed: precision, layout, BLAS kernels, threads, notes.

Two frameworks share a line because loss and gradients agree, not because all else is equal.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from velodrome.scheduler.reports.task_rows import (
    Row,
    read_kernels,
    read_notes,
    select_composed_notes,
)
from velodrome.scheduler.results.sanitizing import in_one_line

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


def differences(left: Row, right: Row) -> tuple[Difference, ...]:
    """List the settings in which two rows of `tasks` differ, those that affect time most first.

    The framework and the times are not compared. Empty if all settings are equal.
    """
    found = ((name, read(left), read(right)) for name, read in _SETTINGS.items())
    return tuple(Difference(*each) for each in found if each[1] != each[2])


def read_precision(row: Row) -> str:
    """Return the type of the arithmetic: from the variant's name, else dtype; TF32 if noted."""
    variant, dtype = in_one_line(row.get("variant")), in_one_line(row.get("dtype"))
    computed = variant if variant in COMPUTE_TYPES else dtype
    tf32 = next((found[0] for note in read_notes(row) if (found := _TF32.search(note))), "")
    return f"{computed}, {tf32}" if tf32 else computed or UNKNOWN


def read_layout(row: Row) -> str:
    """Return the memory layout of images, as named by the variant or a note."""
    texts = (in_one_line(row.get("variant")), *read_notes(row))
    named = next((found[0] for text in texts if (found := _LAYOUT.search(text))), "")
    return named.replace(" ", "_") or UNKNOWN


def describe_kernels(row: Row) -> str:
    """Return the linear-algebra kernels: library, version, CPU type or instruction set."""
    return ", ".join(read_kernels(row)) or UNKNOWN


def _column(column: str) -> Callable[[Row], str]:
    def read(row: Row) -> str:
        value = row.get(column)
        return UNKNOWN if value is None else in_one_line(str(value)) or UNKNOWN  # 0 is a value

    return read


def _sharing(row: Row) -> str:
    exclusive = row.get("exclusive")
    return UNKNOWN if exclusive is None else "exclusive" if exclusive else "shared"


def _hardware(row: Row) -> str:
    column = "gpu_name" if row.get("device") == "gpu" else "cpu_model"
    return in_one_line(row.get(column)) or UNKNOWN


def _composed(row: Row) -> str:
    return _listed(select_composed_notes(read_notes(row)))


def _other_notes(row: Row) -> str:
    notes = read_notes(row)
    return _listed(note for note in notes if note not in select_composed_notes(notes))


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(texts) or NONE


_SETTINGS: dict[str, Callable[[Row], str]] = {
    "precision": read_precision,
    "layout": read_layout,
    "BLAS kernels": describe_kernels,
    "device": _column("device"),
    "GPUs": _column("gpu_count"),
    "hardware": _hardware,
    "threads": _column("threads"),
    "batch size": _column("batch_size"),
    "variant": _column("variant"),
    "composed operations": _composed,
    "notes": _other_notes,
    "node": _sharing,
    "seed": _column("seed"),
}
