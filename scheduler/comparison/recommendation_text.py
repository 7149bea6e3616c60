"""A recommendation as text rows, flat rows and one sentence."""

from collections.abc import Callable, Collection, Mapping

from velodrome.scheduler.comparison.comparison_rows import format_interval
from velodrome.scheduler.comparison.recommendation import (
    Configuration,
    Criterion,
    Rank,
    RankedConfiguration,
    Recommendation,
)
from velodrome.scheduler.reports.cell_prices import name_money
from velodrome.scheduler.reports.cell_rates import (
    compute_rate,
    format_amount,
    format_rate_uncertainty,
)
from velodrome.scheduler.reports.cell_times import Time, format_uncertainty
from velodrome.scheduler.reports.cell_work import GridUnit

MOST_NAMED = 3
BEST = {
    Criterion.SPEED: "fastest",
    Criterion.ENERGY: "least energy",
    Criterion.PRICE: "cheapest",
}
WORSE = {
    Criterion.SPEED: "slower",
    Criterion.ENERGY: "more energy",
    Criterion.PRICE: "more expensive",
}
COSTS = {Criterion.SPEED: "time", Criterion.ENERGY: "energy", Criterion.PRICE: "price"}
SOURCES = {
    Criterion.SPEED: "",
    Criterion.ENERGY: " (of the GPUs, on a CPU of its sockets)",
    Criterion.PRICE: " (of the share of its node, as the user gave it)",
}
COST_COLUMNS = {
    Criterion.SPEED: "ns_per_unit",
    Criterion.ENERGY: "j_per_unit",
    Criterion.PRICE: "cost_per_million_units",
}
WORK = {
    "gradient": "forward and backward pass",
    "forward": "forward pass",
    "inference": "forward pass in evaluation mode, without a loss",
    "step": "training step",
}


# What identifies a configuration beside its framework, by the name of its column.
SETTINGS: Mapping[str, Callable[[Configuration], str]] = {
    "type": lambda one: one.dtype,
    "hardware": lambda one: _describe_hardware(one),
    "batch": lambda one: str(one.batch_size),
}


def list_varying(found: Recommendation) -> tuple[str, ...]:
    """List the settings in which configurations differ; all of them if there is only one."""
    ways = [each.configuration for each in found.ranked]
    return tuple(
        name
        for name, read in SETTINGS.items()
        if len(ways) == 1 or len({read(way) for way in ways}) > 1
    )


def count_left(found: Recommendation) -> int:
    """Count the columns of words of a table: the verdict, the framework and what varies."""
    return 2 + len(list_varying(found))


def table_rows(found: Recommendation) -> list[dict[str, str]]:
    """Build a row of text per configuration, without the settings that all share."""
    name, varying = _name_unit(found), list_varying(found)
    return [
        {
            "verdict": _name_rank(found, each),
            "framework": f"{each.configuration.framework} {each.configuration.variant}",
            **{setting: SETTINGS[setting](each.configuration) for setting in varying},
            name: format_cost(found, each.cost),
            "ratio": f"{each.comparison.ratio:.3f}x" if each.comparison else "",
            "interval": format_interval(each.comparison.low, each.comparison.high, "-")
            if each.comparison
            else "",
        }
        for each in found.ranked
    ]


def build_flat_rows(found: Recommendation) -> list[dict[str, object]]:
    """Build a row of plain values per configuration.

    cost: ns or J per unit, or the price of a million units; low is better.
    """
    return [
        {
            "rank": each.rank.value,
            **vars(each.configuration),
            "model": found.model,
            "phase": found.phase,
            "optimizer": found.optimizer or None,
            "sweep_id": each.sweep_id,
            "repeats": each.cost.processes,
            "unit": found.unit,
            column: each.cost.median_ns,
            f"{column}_low": each.cost.low_ns,
            f"{column}_high": each.cost.high_ns,
            "units_per_s": 1e9 / each.cost.median_ns
            if found.criterion is Criterion.SPEED
            else None,
            **({"currency": found.currency} if found.criterion is Criterion.PRICE else {}),
            **_list_comparison(each),
        }
        for column in [COST_COLUMNS[found.criterion]]
        for each in found.ranked
    ]


def build_legend(found: Recommendation) -> str:
    """Explain the numbers and which direction is better."""
    cost = COSTS[found.criterion]
    better = "higher is better" if found.criterion is Criterion.SPEED else "lower is better"
    return (
        f"{_describe_shared(found)}{_describe_work(found)}, verified times only; {better} · "
        f"ratio: {cost} per {found.unit}{SOURCES[found.criterion]} over that of the best, "
        "with its 95 % interval: lower is better · cannot tell: not distinguishable from the best, "
        "corrected for the choice among all"
    )


def _describe_shared(found: Recommendation) -> str:
    """Describe the settings that the table leaves out: `all with float32, batch 64 · `."""
    way, varying = found.ranked[0].configuration, list_varying(found)
    shared = [
        f"batch {read(way)}" if name == "batch" else read(way)
        for name, read in SETTINGS.items()
        if name not in varying
    ]
    return f"all with {', '.join(shared)} · " if shared else ""


def _describe_work(found: Recommendation) -> str:
    return WORK[found.phase] + (f" with {found.optimizer}" if found.optimizer else "")


def summarize(found: Recommendation) -> str:
    """Summarize in one sentence."""
    first, *others = found.ranked
    varying = list_varying(found)
    unsure = [
        _name(each.configuration, varying) for each in others if each.rank is Rank.CANNOT_TELL
    ]
    name = _name_unit(found).removeprefix("price ")  # without a currency: `0.3 per million images`
    text = (
        f"{BEST[found.criterion]} of {len(found.ranked)} for {found.model}: "
        f"{_name(first.configuration)}, {format_cost(found, first.cost, name)}"
    )
    rest = f" and {len(unsure) - MOST_NAMED} more" if len(unsure) > MOST_NAMED else ""
    doubt = f"; cannot tell it from {', '.join(unsure[:MOST_NAMED])}{rest}" if unsure else ""
    reasons = dict.fromkeys(
        each.comparison.reason for each in others if each.comparison and each.comparison.reason
    )
    why = f"; {next(iter(reasons))}" if reasons else ""
    mixed = "; ".join(_name(each) for each in found.mixed[:MOST_NAMED])
    left_out = f" Left out, as repeats have several prices: {mixed}." if mixed else ""
    return f"{text}{doubt}{why}.{left_out}"


def format_cost(found: Recommendation, cost: Time, name: str = "") -> str:
    """Format units per second, or energy or price, with the uncertainty. name: of the unit."""
    if found.criterion is not Criterion.SPEED:
        amount, uncertainty = f"{cost.median_ns:.3g}", format_uncertainty(cost)
    else:
        rate = compute_rate(cost, 1.0)
        amount = format_amount(rate.per_s, GridUnit.RATE)
        uncertainty = format_rate_uncertainty(rate, cost)
    shown = uncertainty if uncertainty.startswith("±") else f"({uncertainty})"
    return " ".join(filter(None, (amount, name, shown)))


def _name_unit(found: Recommendation) -> str:
    return {
        Criterion.SPEED: f"{found.unit}s/s",
        Criterion.ENERGY: f"J per {found.unit}",
        Criterion.PRICE: f"{name_money(found.currency)} per million {found.unit}s",
    }[found.criterion]


def _name_rank(found: Recommendation, each: RankedConfiguration) -> str:
    if each.comparison is None:
        return BEST[found.criterion]
    if each.rank is Rank.WORSE:
        return WORSE[found.criterion]
    alike = each.comparison.is_alike
    return f"{each.rank.value}{f': within {each.comparison.least:.0%}' if alike else ''}"


def _describe_hardware(configuration: Configuration) -> str:
    threads = configuration.threads
    count = f", {threads} thread{'s' if threads != 1 else ''}"
    return f"{configuration.hardware or configuration.node_type}, {configuration.device}{count}"


def _name(configuration: Configuration, settings: Collection[str] = tuple(SETTINGS)) -> str:
    """Name a configuration with these of its settings."""
    one = configuration
    dtype = f" {one.dtype}" if "type" in settings else ""
    hardware = f" on {_describe_hardware(one)}" if "hardware" in settings else ""
    batch = f", batch {one.batch_size}" if "batch" in settings else ""
    return f"{one.framework} {one.variant}{dtype}{hardware}{batch}"


def _list_comparison(each: RankedConfiguration) -> dict[str, object]:
    compared = each.comparison
    is_tested = compared is not None and compared.degrees > 0
    return {
        "ratio": compared.ratio if compared else None,
        "ratio_low": compared.low if compared and is_tested else None,
        "ratio_high": compared.high if compared and is_tested else None,
        "p": compared.p if compared and is_tested else None,
        "alike": compared.is_alike if compared else None,
        "reason": (compared.reason or None) if compared else None,
    }
