"""Verdicts on nodes and GPUs as a section of the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.acceptance import text
from velodrome.scheduler.reports.acceptance.evidence import collect_evidence
from velodrome.scheduler.reports.acceptance.verdicts import Acceptance, UnitVerdict, judge_fleet
from velodrome.scheduler.reports.outliers import collect_task_times
from velodrome.scheduler.results.typed_rows import TaskRow

MOST_MACHINES = 200  # in the table, those that fail first


@dataclass(frozen=True)
class AcceptanceLine:
    """A line of the table. cells: text by column, the name of the machine first."""

    cells: tuple[str, ...]
    is_failure: bool


@dataclass(frozen=True)
class AcceptanceSection:
    """The section. more: machines without a line."""

    summary: str
    legend: str
    columns: tuple[str, ...]
    lines: tuple[AcceptanceLine, ...]
    more: int


def judge_rows(rows: Sequence[TaskRow]) -> AcceptanceSection | None:
    """Build the section of a sweep; None if no task ran on enough machines of one type."""
    if not any(task.is_comparable for task in collect_task_times(rows)):
        return None
    return build_acceptance_section(judge_fleet(collect_evidence(rows)))


def build_acceptance_section(verdicts: Sequence[UnitVerdict]) -> AcceptanceSection:
    """Build the section of verdicts."""
    table = text.table_rows(verdicts[:MOST_MACHINES])
    return AcceptanceSection(
        text.summarize(verdicts),
        text.LEGEND,
        tuple(table[0]) if table else (),
        tuple(
            AcceptanceLine(tuple(row.values()), one.verdict is Acceptance.FAIL)
            for row, one in zip(table, verdicts, strict=False)
        ),
        max(0, len(verdicts) - MOST_MACHINES),
    )
