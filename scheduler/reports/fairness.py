"""What differs between how two cells of a grid were computed, besides the time.

Two frameworks share a line because loss and gradients agree, not because all else is equal:
precision, memory layout, the kernels of the BLAS, threads and what an adapter puts together by hand
are told here.
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

COMPUTE_TYPES = (
    "float64",
    "float16",
    "bfloat16",
)  # variants that are named by what they compute in
NOT_TOLD = "not told"
NONE = "none"
_LAYOUT = re.compile(
    r"\b(channels[_ ]first|channels[_ ]last|NCHW|NHWC|NCDHW|NDHWC)\b", re.IGNORECASE
)
_TF32 = re.compile(r"\b(?:no )?tf32\b", re.IGNORECASE)


@dataclass(frozen=True)
class Difference:
    """One thing in which two cells differ, in the words of each."""

    what: str
    left: str
    right: str

    @property
    def text(self) -> str:
        return f"{self.what}: {self.left} / {self.right}"


def differences(left: Row, right: Row) -> tuple[Difference, ...]:
    """Of two rows of `tasks`, what bears on the time first. Empty where they were treated alike.

    Which framework it is and how long it took is no part of it.
    """
    told = ((what, say(left), say(right)) for what, say in _TOLD.items())
    return tuple(Difference(*each) for each in told if each[1] != each[2])


def precision(row: Row) -> str:
    """What it computes in: the variant that is named so, else its dtype; with TF32 if told of."""
    variant, dtype = in_one_line(row.get("variant")), in_one_line(row.get("dtype"))
    computed = variant if variant in COMPUTE_TYPES else dtype
    tf32 = next((found[0] for note in read_notes(row) if (found := _TF32.search(note))), "")
    return f"{computed}, {tf32}" if tf32 else computed or NOT_TOLD


def layout(row: Row) -> str:
    """Of images, as the variant or a note names it."""
    texts = (in_one_line(row.get("variant")), *read_notes(row))
    named = next((found[0] for text in texts if (found := _LAYOUT.search(text))), "")
    return named.replace(" ", "_") or NOT_TOLD


def kernels(row: Row) -> str:
    """Of linear algebra, that ran: the library, its version, the CPU type or instruction set."""
    return ", ".join(read_kernels(row)) or NOT_TOLD


def _plainly(column: str) -> Callable[[Row], str]:
    def say(row: Row) -> str:
        value = row.get(column)
        return NOT_TOLD if value is None else in_one_line(str(value)) or NOT_TOLD  # 0 is told

    return say


def _company(row: Row) -> str:
    exclusive = row.get("exclusive")
    return NOT_TOLD if exclusive is None else "alone" if exclusive else "beside others"


def _hardware(row: Row) -> str:
    column = "gpu_name" if row.get("device") == "gpu" else "cpu_model"
    return in_one_line(row.get(column)) or NOT_TOLD


def _by_hand(row: Row) -> str:
    return _listed(select_composed_notes(read_notes(row)))


def _other_notes(row: Row) -> str:
    notes = read_notes(row)
    return _listed(note for note in notes if note not in select_composed_notes(notes))


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(texts) or NONE


_TOLD: dict[str, Callable[[Row], str]] = {
    "precision": precision,
    "layout": layout,
    "BLAS kernels": kernels,
    "device": _plainly("device"),
    "GPUs": _plainly("gpu_count"),
    "hardware": _hardware,
    "threads": _plainly("threads"),
    "batch size": _plainly("batch_size"),
    "variant": _plainly("variant"),
    "by hand": _by_hand,
    "notes": _other_notes,
    "company": _company,
    "seed": _plainly("seed"),
}
