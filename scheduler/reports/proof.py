"""What the checks of a cell's timed phases found, over its runs. Pure.

velodrome.adapters.proof says how each check works, docs/proof.md what a reader may conclude.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import CANNOT_TELL, CHECKS, IMPOSSIBLE
from velodrome.scheduler.results.sanitizing import in_one_line

NOT_KEPT = "measured by a version that kept no checks"
# What decides neither way, in words. A check that failed leaves no time, and is the reason for it.
UNDECIDED = {CANNOT_TELL: "a check could not tell", IMPOSSIBLE: "a check was impossible"}


@dataclass(frozen=True)
class CellProof:
    """Over the runs of one cell.

    proved: names of the checks that passed in every timed phase of every run that kept checks.
    unproved: what rows say of the others, each once. without_checks: verified runs that kept none.
    """

    proved: tuple[str, ...] = ()
    unproved: tuple[str, ...] = ()
    without_checks: int = 0

    def names(self, outcome: str) -> tuple[str, ...]:
        """Of the checks that ended so in some phase of some run, in the order of CHECKS."""
        parts = [text.split(": ") for text in self.unproved]
        ended = {where.split(" ")[0] for where, *told in parts if told[:1] == [outcome]}
        return tuple(name for name in CHECKS if name in ended)


NO_RUNS = CellProof()


def summarize_proof(rows: Iterable[Mapping[str, object]]) -> CellProof:
    """Of all runs of a cell, those without a number included: a check may be why."""
    proved: list[tuple[str, ...]] = []
    unproved: dict[str, None] = {}
    without_checks = 0
    for row in rows:
        passed, others = _texts(row.get("proved")), _texts(row.get("unproved"))
        if passed or others:
            proved.append(passed)
            unproved.update(dict.fromkeys(others))
        elif row.get("verified"):
            without_checks += 1
    everywhere = [name for name in CHECKS if proved and all(name in one for one in proved)]
    return CellProof(tuple(everywhere), tuple(unproved), without_checks)


def spell_out(name: str) -> str:
    """A check, an outcome or a figure as text: `twice the work`."""
    return name.replace("_", " ")


def describe_undecided_checks(proofs: Sequence[CellProof]) -> tuple[str, ...]:
    """Lines below a grid: in how many cells a check decided nothing. proofs: of cells with a time.

    Such a cell keeps its mark: nothing was found against it.
    """
    lines = [_remark(proofs, outcome) for outcome in UNDECIDED]
    without = sum(proof.without_checks > 0 for proof in proofs)
    if without:
        lines.append(f"{without:,} of {_cells(proofs)}: {NOT_KEPT} of what was timed")
    return tuple(filter(None, lines))


def _remark(proofs: Sequence[CellProof], outcome: str) -> str:
    named = [names for proof in proofs if (names := proof.names(outcome))]
    counts = {name: sum(name in names for names in named) for name in CHECKS}
    told = [
        f"{spell_out(name)} ({count:,})"
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
        if count
    ]
    if not told:
        return ""
    return f"{UNDECIDED[outcome]} in {len(named):,} of {_cells(proofs)}: {', '.join(told)}"


def _cells(proofs: Sequence[CellProof]) -> str:
    return f"{len(proofs):,} cell{'' if len(proofs) == 1 else 's'} with a time"


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(in_one_line, value)) if isinstance(value, list) else ()
