"""Columns of `tasks` that are computed when rows are read: rates, energy, cost and MFU.

Each is a quotient of products of columns in the files, so no file holds it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa

from velodrome.adapters.protocol import LOADING_PHASES
from velodrome.scheduler.results.phase_columns import name_energy

NS_PER_S, NS_PER_HOUR = 1e9, 3.6e12
MILLION = 1e6
RATED_PHASES = ("forward", "gradient", "inference", "step")  # an update works on no examples
ENERGY_PHASES = RATED_PHASES + LOADING_PHASES  # those whose energy is one of examples


@dataclass(frozen=True)
class Quotient:
    """A column: scale * product of `over` / product of `under`; null where one is null or 0 below.

    over, under: names of columns of numbers.
    """

    name: str
    over: tuple[str, ...]
    under: tuple[str, ...]
    scale: float
    unit: str
    meaning: str = ""


def _list_rates(phase: str) -> Iterator[Quotient]:
    under = (f"{phase}_median_ns",)
    yield Quotient(f"{phase}_examples_per_s", ("batch_size",), under, NS_PER_S, "examples/s")
    yield Quotient(
        f"{phase}_tokens_per_s",
        ("tokens",),
        under,
        NS_PER_S,
        "tokens/s",
        "true tokens, without padding; null if the input is no sequence",
    )
    yield Quotient(
        f"{phase}_flops_per_s",
        (f"{phase}_flops",),
        under,
        NS_PER_S,
        "FLOP/s",
        "of the products in the model's definition",
    )


def _list_loading_rates(phase: str) -> Iterator[Quotient]:
    under = (f"{phase}_median_ns",)
    yield Quotient(f"{phase}_examples_per_s", ("batch_size",), under, NS_PER_S, "examples/s")
    meaning = "of the inputs, decoded"
    name = f"{phase}_bytes_per_s"
    yield Quotient(name, ("loaded_bytes",), under, NS_PER_S, "bytes/s", meaning)


def _list_per_work() -> Iterator[Quotient]:
    """Yield energy per example and per token by phase, and the cost of gradients."""
    for phase in ENERGY_PHASES:
        for work, column in (("example", "batch_size"), ("token", "tokens")):
            name = f"{phase}_j_per_{work}"
            yield Quotient(name, (name_energy(phase),), (column,), 1.0, f"J per {work}")
    for work, column in (("examples", "batch_size"), ("tokens", "tokens")):
        yield Quotient(
            f"cost_per_million_{work}",
            ("task_price_per_hour", "gradient_median_ns"),
            (column,),
            MILLION / NS_PER_HOUR,
            f"`price_currency` per million {work}",
            "of gradients, at the price of the task's share of its node",
        )


RATE_COLUMNS = (
    *(rate for phase in RATED_PHASES for rate in _list_rates(phase)),
    *(rate for phase in LOADING_PHASES for rate in _list_loading_rates(phase)),
    *_list_per_work(),
    Quotient(
        "mfu",
        ("gradient_flops",),
        ("gradient_median_ns", "vendor_peak_flops_per_s"),
        NS_PER_S,
        "share of the vendor's peak",
        "model FLOPs utilization of gradients",
    ),
)
RATE_NAMES = tuple(column.name for column in RATE_COLUMNS)


def add_rates(table: pa.Table) -> pa.Table:
    """Append the computed columns to a table of `tasks` that has the columns they are made of."""
    import pyarrow.compute as pc

    def multiply(names: Sequence[str]) -> "pa.ChunkedArray[Any]":
        return reduce(pc.multiply, (pc.cast(table[name], pa.float64()) for name in names))

    for column in RATE_COLUMNS:
        under = multiply(column.under)
        known = pc.if_else(pc.equal(under, pa.scalar(0.0)), None, under)
        values = pc.multiply(pc.divide(multiply(column.over), known), column.scale)
        table = table.append_column(pa.field(column.name, pa.float64()), values)
    return table


def build_projection() -> str:
    """Return all columns and the computed ones as the list after SELECT."""
    return ", ".join(["*", *map(_format_quotient, RATE_COLUMNS)])


def _format_quotient(column: Quotient) -> str:
    over, under = (
        " * ".join(f"{name}::DOUBLE" for name in names) for names in (column.over, column.under)
    )
    return f"{over} / nullif({under}, 0) * {column.scale} AS {column.name}"
