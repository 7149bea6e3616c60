"""What was not alike between the columns of a grid, though gradients agree: told per contestant."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cell_keys import Implementation
from velodrome.scheduler.reports.fairness import describe_kernels, read_layout, read_precision
from velodrome.scheduler.reports.html.formatting import counted, listed
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells, all_implementations
from velodrome.scheduler.reports.task_rows import Row, read_notes, select_composed_notes
from velodrome.scheduler.results.sanitizing import in_one_line

MOST_NOTES = 12


@dataclass(frozen=True)
class Treatment:
    """One contestant's. settings: a text per name of SETTINGS, and whether most have another."""

    impl: Implementation
    settings: tuple[tuple[str, bool], ...]
    by_hand: tuple[str, ...]
    notes: tuple[str, ...]


def treatments(groups: Sequence[PlatformCells]) -> tuple[Treatment, ...]:
    """Of every contestant that has a number."""
    rows: dict[Implementation, list[tuple[str, Row]]] = {}
    for group in groups:
        for (workload, impl), found in group.rows.items():
            timed = ((workload.model, row) for row in found if row["forward_median_ns"] is not None)
            rows.setdefault(impl, []).extend(timed)
    ours = [impl for impl in all_implementations(groups) if rows.get(impl)]
    told = {impl: [_joined(say, rows[impl]) for say in SETTINGS.values()] for impl in ours}
    usual = [Counter(column).most_common(1)[0][0] for column in zip(*told.values(), strict=True)]
    return tuple(
        Treatment(
            impl,
            tuple((text, text != most) for text, most in zip(told[impl], usual, strict=True)),
            _with_models(rows[impl], lambda row: select_composed_notes(read_notes(row))),
            _with_models(rows[impl], _other_notes),
        )
        for impl in ours
    )


def _joined(say: Callable[[Row], str], rows: Iterable[tuple[str, Row]]) -> str:
    return listed(sorted({say(row) for _, row in rows} - {""}), 4) or "not told"


def _with_models(
    rows: Iterable[tuple[str, Row]], say: Callable[[Row], Iterable[str]]
) -> tuple[str, ...]:
    found: dict[str, dict[str, None]] = {}
    for model, row in rows:
        for note in say(row):
            found.setdefault(note, {})[model] = None
    told = [f"{note} ({listed([*models], 4)})" for note, models in found.items()]
    more = len(told) - MOST_NOTES
    return (*told[:MOST_NOTES], *([f"and {counted(more, 'note')} more"] if more > 0 else []))


def _other_notes(row: Row) -> list[str]:
    notes = read_notes(row)
    return [note for note in notes if note not in select_composed_notes(notes)]


def _company(row: Row) -> str:
    exclusive = row.get("exclusive")
    return "" if exclusive is None else "alone on its node" if exclusive else "beside other tasks"


def _around(row: Row) -> str:
    is_free = row.get("interference_free")
    return "" if is_free is None else "interference-free" if is_free else "interference"


SETTINGS: dict[str, Callable[[Row], str]] = {
    "computes in": read_precision,
    "layout": read_layout,
    "BLAS kernels": describe_kernels,
    "threads": lambda row: in_one_line(row["threads"]),
    "node": _company,
    "around it": _around,
}
