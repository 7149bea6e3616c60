"""Columns of `tasks` that are computed when rows are read: rates, and energy per unit of work.

Each is a quotient of two columns in the files, so no file holds it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

NS_PER_S = 1e9
RATED_PHASES = ("forward", "gradient", "inference", "step")  # an update works on no examples


@dataclass(frozen=True)
class Quotient:
    """A column that is scale * over / under; null where one is null or `under` is 0."""

    name: str
    over: str
    under: str
    scale: float
    unit: str
    meaning: str = ""


def _list_rates(phase: str) -> Iterator[Quotient]:
    under = f"{phase}_median_ns"
    yield Quotient(f"{phase}_examples_per_s", "batch_size", under, NS_PER_S, "examples/s")
    yield Quotient(
        f"{phase}_tokens_per_s",
        "tokens",
        under,
        NS_PER_S,
        "tokens/s",
        "true tokens, without padding; null if the input is no sequence",
    )
    yield Quotient(
        f"{phase}_flops_per_s",
        f"{phase}_flops",
        under,
        NS_PER_S,
        "FLOP/s",
        "of the products in the model's definition",
    )


RATE_COLUMNS = (
    *(rate for phase in RATED_PHASES for rate in _list_rates(phase)),
    Quotient("gradient_j_per_example", "energy_per_gradient_j", "batch_size", 1.0, "J per example"),
    Quotient("gradient_j_per_token", "energy_per_gradient_j", "tokens", 1.0, "J per token"),
)
RATE_NAMES = tuple(column.name for column in RATE_COLUMNS)


def add_rates(table: pa.Table) -> pa.Table:
    """Append the computed columns to a table of `tasks` that has the columns they are made of."""
    import pyarrow.compute as pc

    for column in RATE_COLUMNS:
        over, under = (pc.cast(table[name], pa.float64()) for name in (column.over, column.under))
        known = pc.if_else(pc.equal(under, pa.scalar(0.0)), None, under)
        values = pc.multiply(pc.divide(over, known), column.scale)
        table = table.append_column(pa.field(column.name, pa.float64()), values)
    return table


def build_projection() -> str:
    """Return all columns and the computed ones as the list after SELECT."""
    parts = (
        f"{column.over} / nullif({column.under}, 0)::DOUBLE * {column.scale} AS {column.name}"
        for column in RATE_COLUMNS
    )
    return ", ".join(["*", *parts])
