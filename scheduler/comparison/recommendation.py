"""The best way to compute one model, by speed, energy or price, and how far the others are from it.

The best is the one with the lowest cost per unit of work (image, vector or token), so different
batch sizes compete. It is chosen by the same costs that are then tested: with k configurations each
of them could have been the best by chance. So the k - 1 tests against it use 2 / k of the level of
one comparison, as if all k (k - 1) / 2 pairs were compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from velodrome.adapters.protocol import TRAINING_PHASES
from velodrome.agents.task import device_name
from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.comparison.replication_units import (
    MOST_SWEEPS,
    PastRows,
    Reader,
    collect_evidence,
    group_past_rows,
    read_repeats,
)
from velodrome.scheduler.comparison.unit_costs import (
    choose_unit,
    make_cost_reader,
    make_past_reader,
    make_reader,
    require_one_currency,
)
from velodrome.scheduler.reports.cell_keys import implementation_order, read_implementation
from velodrome.scheduler.reports.cell_prices import read_price
from velodrome.scheduler.reports.cell_times import Time, combine_repeats
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.cell_interval import ProcessVariation, estimate_from_sweeps
from velodrome.scheduler.statistics.ratio_tests import (
    LEAST,
    TESTED_AT,
    Comparison,
    Verdict,
    compare_all,
)


class Criterion(StrEnum):
    """The quantity that a recommendation makes small: time, energy or price per unit of work."""

    SPEED = "speed"
    ENERGY = "energy"
    PRICE = "price"


QUANTITIES = {
    Criterion.SPEED: GridUnit.RATE,
    Criterion.ENERGY: GridUnit.ENERGY,
    Criterion.PRICE: GridUnit.COST,
}


class Rank(StrEnum):
    """The verdict on a configuration."""

    BEST = "best"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, order=True)
class Configuration:
    """A way to compute a model: contestant, type, device and batch size."""

    framework: str
    variant: str
    dtype: str
    device: str
    threads: int
    hardware: str
    node_type: str
    batch_size: int


@dataclass(frozen=True)
class RankedConfiguration:
    """A configuration with its cost per unit: ns, J, or money per million units.

    comparison: with the best; None: it is the best.
    """

    configuration: Configuration
    sweep_id: str
    cost: Time
    comparison: Comparison | None

    @property
    def rank(self) -> Rank:
        if self.comparison is None:
            return Rank.BEST
        return Rank.CANNOT_TELL if self.comparison.verdict is Verdict.UNDECIDED else Rank.WORSE


@dataclass(frozen=True)
class Recommendation:
    """All configurations of a model with a cost, the best first. without: those that have none.

    optimizer: of the phase; empty if it has none. currency: of the costs, if they are prices.
    mixed: those of `without` whose repeats have several prices.
    """

    model: str
    criterion: Criterion
    phase: str
    unit: str
    ranked: tuple[RankedConfiguration, ...]
    without: tuple[Configuration, ...]
    optimizer: str = ""
    currency: str = ""
    mixed: tuple[Configuration, ...] = ()


def recommend(rows: Sequence[TaskRow], criterion: Criterion, phase: str) -> Recommendation:
    """Rank the configurations of one model, of one or more rows.

    The cost of each is that of its newest sweep; earlier sweeps show how far sweeps differ. Of a
    phase with an optimizer, rows with the newest sweep's count alone.
    """
    optimizer = _find_newest_optimizer(rows, phase)
    if optimizer:
        rows = [row for row in rows if row.optimizer == optimizer]
    unit = choose_unit(rows)
    currency = require_one_currency(rows) if criterion is Criterion.PRICE else ""
    read = make_reader(QUANTITIES[criterion], unit)
    groups = _group(rows)
    newest = {key: _select_newest(own, phase, read) for key, own in groups.items()}
    mixed = _find_mixed_prices(newest) if criterion is Criterion.PRICE else ()
    with_cost = {key: own for key, own in newest.items() if own and key not in mixed}
    costs = {
        key: combine_repeats(
            read_repeats(own, phase, read),
            _estimate_variation(
                groups[key], own, phase, _make_history_reader(own, criterion, unit)
            ),
        )
        for key, own in with_cost.items()
    }
    order = sorted(costs, key=lambda key: (costs[key].median_ns, key))
    past = _collect_past(rows, [row for own in with_cost.values() for row in own])
    readers = (read, make_past_reader(QUANTITIES[criterion], unit))
    comparisons = _compare_with_first([with_cost[key] for key in order], phase, past, *readers)
    return Recommendation(
        model=rows[0].model,
        criterion=criterion,
        phase=phase,
        unit=unit,
        ranked=tuple(
            RankedConfiguration(key, with_cost[key][0].sweep_id, costs[key], comparison)
            for key, comparison in zip(order, comparisons, strict=True)
        ),
        without=tuple(sorted(key for key in newest if key not in with_cost)),
        mixed=mixed,
        optimizer=optimizer,
        currency=currency,
    )


def _find_newest_optimizer(rows: Iterable[TaskRow], phase: str) -> str:
    """Return the optimizer of the newest row with a time of the phase; empty if it has none."""
    timed = [row for row in rows if phase in TRAINING_PHASES and row.ns(phase) is not None]
    newest = max(timed, key=lambda row: row.sweep_id, default=None)
    return newest.optimizer if newest else ""


def read_configuration(row: TaskRow) -> Configuration:
    return Configuration(
        row.framework,
        row.variant,
        row.dtype,
        device_name(row.device, row.devices, row.gpu_model, row.node_count),
        row.threads,
        row.hardware,
        row.node_type,
        row.batch_size,
    )


def compute_level(count: int) -> float:
    """Return the level of the tests of all others against the best of `count`."""
    return TESTED_AT * 2 / max(2, count)


def _compare_with_first(
    groups: Sequence[Sequence[TaskRow]],
    phase: str,
    past: PastRows,
    read: Reader,
    read_past: Reader,
) -> list[Comparison | None]:
    pairs = [CellPair(tuple(groups[0]), tuple(other)) for other in groups[1:]]
    evidence = [collect_evidence(pair, phase, past, read, read_past) for pair in pairs]
    known = [each for each in evidence if each is not None]  # all: each group has a cost
    compared = compare_all(known, least=LEAST, alpha=compute_level(len(groups)))
    return [None, *compared] if groups else []


def _group(rows: Iterable[TaskRow]) -> dict[Configuration, list[TaskRow]]:
    found: dict[Configuration, list[TaskRow]] = {}
    for row in sorted(rows, key=lambda row: implementation_order(read_implementation(row))):
        found.setdefault(read_configuration(row), []).append(row)
    return found


def _select_newest(rows: Sequence[TaskRow], phase: str, read: Reader) -> list[TaskRow]:
    """Select the verified rows of the newest sweep that have a cost. Ids begin with their time."""
    usable = [row for row in rows if row.verified and read(row, phase) is not None]
    newest = max((row.sweep_id for row in usable), default="")
    return [row for row in usable if row.sweep_id == newest]


def _find_mixed_prices(
    newest: Mapping[Configuration, Sequence[TaskRow]],
) -> tuple[Configuration, ...]:
    """Find the configurations whose repeats have several prices: their median has none."""
    return tuple(sorted(key for key, own in newest.items() if own and read_price(own).is_mixed))


def _make_history_reader(rows: Sequence[TaskRow], criterion: Criterion, unit: str) -> Reader:
    """Return a reader of what other sweeps cost: at the price that these rows have."""
    if criterion is Criterion.PRICE:
        return make_cost_reader(unit, rows[0].task_price_per_hour or 0.0)
    return make_reader(QUANTITIES[criterion], unit)


def _estimate_variation(
    rows: Sequence[TaskRow], chosen: Sequence[TaskRow], phase: str, read: Reader
) -> tuple[ProcessVariation, ...]:
    """Estimate how single processes of a configuration vary, from one process per other sweep."""
    first: dict[str, float] = {}
    for row in sorted(rows, key=lambda row: row.repeat):
        found = read(row, phase) if row.verified else None
        if found is not None and row.sweep_id != chosen[0].sweep_id:
            first.setdefault(row.sweep_id, found.median_ns)
    estimated = estimate_from_sweeps(first.values())
    return (estimated,) if estimated else ()


def _collect_past(rows: Iterable[TaskRow], used: Iterable[TaskRow]) -> PastRows:
    """Collect rows of the newest sweeps of which no cost is used."""
    without = {row.sweep_id for row in used}
    others = [row for row in rows if row.sweep_id not in without]
    newest = set(sorted({row.sweep_id for row in others}, reverse=True)[:MOST_SWEEPS])
    return group_past_rows(row for row in others if row.sweep_id in newest)
