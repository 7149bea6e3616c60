"""Results of the checks of a cell's timed phases, combined over its runs. Pure.

velodrome.adapters.proof implements the checks; docs/proof.md explains what they prove.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import CANNOT_TELL, CHECKS, IMPOSSIBLE
from velodrome.scheduler.results.typed_rows import TaskRow

NOT_RECORDED = "measured by a version that recorded no checks"
# A failed check is not here: it leaves no time and is the reason for that.
UNDECIDED = {CANNOT_TELL: "a check was inconclusive", IMPOSSIBLE: "a check was not applicable"}


@dataclass(frozen=True)
class CellProof:
    """Checks over the runs of one cell.

    proved: names of the checks that passed in every timed phase of every run that recorded checks.
    unproved: the rows' texts on all others, each once. without_checks: verified runs without any.
    """

    proved: tuple[str, ...] = ()
    unproved: tuple[str, ...] = ()
    without_checks: int = 0

    def list_checks(self, outcome: str) -> tuple[str, ...]:
        """Return the checks with this outcome in any phase of any run, in the order of CHECKS."""
        parts = [text.split(": ") for text in self.unproved]
        ended = {where.split(" ")[0] for where, *rest in parts if rest[:1] == [outcome]}
        return tuple(name for name in CHECKS if name in ended)


NO_RUNS = CellProof()


def summarize_proof(rows: Iterable[TaskRow]) -> CellProof:
    """Combine all runs of a cell, including runs without a time: a check may be the reason."""
    proved: list[tuple[str, ...]] = []
    unproved: dict[str, None] = {}
    without_checks = 0
    for row in rows:
        if row.proved or row.unproved:
            proved.append(row.proved)
            unproved.update(dict.fromkeys(row.unproved))
        elif row.verified:
            without_checks += 1
    everywhere = [
        name for name in CHECKS if proved and all(name in names_of_run for names_of_run in proved)
    ]
    return CellProof(tuple(everywhere), tuple(unproved), without_checks)


def spell_out(name: str) -> str:
    """Return the name of a check, an outcome or a figure as text: `twice the work`."""
    return name.replace("_", " ")


def describe_undecided_checks(proofs: Sequence[CellProof]) -> tuple[str, ...]:
    """Count the cells in which a check was undecided, as lines below a grid.

    proofs: of cells with a time. Such a cell keeps its mark: no check failed.
    """
    lines = [_describe_outcome(proofs, outcome) for outcome in UNDECIDED]
    without = sum(proof.without_checks > 0 for proof in proofs)
    if without:
        lines.append(f"{without:,} of {_count_cells(proofs)}: {NOT_RECORDED} of timed calls")
    return tuple(filter(None, lines))


def _describe_outcome(proofs: Sequence[CellProof], outcome: str) -> str:
    affected = [list_checks for proof in proofs if (list_checks := proof.list_checks(outcome))]
    counts = {name: sum(name in list_checks for list_checks in affected) for name in CHECKS}
    texts = [
        f"{spell_out(name)} ({count:,})"
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
        if count
    ]
    if not texts:
        return ""
    return (
        f"{UNDECIDED[outcome]} in {len(affected):,} of {_count_cells(proofs)}: {', '.join(texts)}"
    )


def _count_cells(proofs: Sequence[CellProof]) -> str:
    return f"{len(proofs):,} cell{'' if len(proofs) == 1 else 's'} with a time"


def describe_code(models: Iterable[str]) -> Iterator[str]:
    """Name the models that are verified against themselves; nothing if there is none."""
    names = list(dict.fromkeys(models))
    if names:
        yield (
            f"against itself (≡): {', '.join(names)}: the user's code, verified against the same "
            "code in float64, not against an independent reference"
        )
