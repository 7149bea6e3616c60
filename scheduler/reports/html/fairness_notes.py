"""The fairness table: settings in which implementations differ although their results agree."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports import fairness
from velodrome.scheduler.reports.cell_keys import Implementation
from velodrome.scheduler.reports.html.formatting import join_names, show_count
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells, list_implementations
from velodrome.scheduler.reports.task_rows import select_composed_notes
from velodrome.scheduler.results.typed_rows import TaskRow

MOST_NOTES = 12


@dataclass(frozen=True)
class Treatment:
    """The settings of one implementation: per name of SETTINGS a text, and if it is unusual."""

    impl: Implementation
    settings: tuple[tuple[str, bool], ...]
    composed: tuple[str, ...]
    notes: tuple[str, ...]


def compare_treatments(groups: Sequence[PlatformCells]) -> tuple[Treatment, ...]:
    """Compare the settings of all implementations that have a time."""
    rows: dict[Implementation, list[tuple[str, TaskRow]]] = {}
    for group in groups:
        for (workload, impl), found in group.rows.items():
            timed = ((workload.model, row) for row in found if row.timed)
            rows.setdefault(impl, []).extend(timed)
    timed_impls = [impl for impl in list_implementations(groups) if rows.get(impl)]
    texts = {
        impl: [_join_settings(read, rows[impl]) for read in SETTINGS.values()]
        for impl in timed_impls
    }
    usual = [Counter(column).most_common(1)[0][0] for column in zip(*texts.values(), strict=True)]
    return tuple(
        Treatment(
            impl,
            tuple((text, text != most) for text, most in zip(texts[impl], usual, strict=True)),
            _list_with_models(rows[impl], lambda row: select_composed_notes(row.notes)),
            _list_with_models(rows[impl], _select_other_notes),
        )
        for impl in timed_impls
    )


def _join_settings(read: Callable[[TaskRow], str], rows: Iterable[tuple[str, TaskRow]]) -> str:
    return join_names(sorted({read(row) for _, row in rows} - {""}), 4) or fairness.UNKNOWN


def _list_with_models(
    rows: Iterable[tuple[str, TaskRow]], select: Callable[[TaskRow], Iterable[str]]
) -> tuple[str, ...]:
    found: dict[str, dict[str, None]] = {}
    for model, row in rows:
        for note in select(row):
            found.setdefault(note, {})[model] = None
    lines = [f"{note} ({join_names([*models], 4)})" for note, models in found.items()]
    rest = len(lines) - MOST_NOTES
    return (*lines[:MOST_NOTES], *([f"and {show_count(rest, 'note')} more"] if rest > 0 else []))


def _select_other_notes(row: TaskRow) -> list[str]:
    notes = row.notes
    return [note for note in notes if note not in select_composed_notes(notes)]


def _read_sharing(row: TaskRow) -> str:
    exclusive = row.exclusive
    return "" if exclusive is None else "exclusive" if exclusive else "shared with other tasks"


def _read_interference(row: TaskRow) -> str:
    is_free = row.interference_free
    return "" if is_free is None else "none" if is_free else "detected"


SETTINGS: dict[str, Callable[[TaskRow], str]] = {
    "computes in": fairness.read_precision,
    "layout": fairness.read_layout,
    "BLAS kernels": fairness.describe_kernels,
    "threads": lambda row: row.text("threads"),
    "node": _read_sharing,
    "interference": _read_interference,
}
