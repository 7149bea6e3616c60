"""Charts of utilization over time with the phases of a task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import altair as alt

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.reports.html.figures import chart as charts
from velodrome.scheduler.reports.html.figures.traced_tasks import TracedTask
from velodrome.scheduler.results.detail_rows import ReadingRow

MOST_POINTS = 300
LETTER = 0.02  # width of a letter of a phase's name, as a share of the chart
HEADROOM = 1.2  # above the assigned threads, for the names of phases
PHASES = ("import", "build", "verify", "warmup", *TIMED_PHASES)
NS_PER_S = 1e9


def plot_traces(
    tasks: Sequence[TracedTask], readings: Sequence[ReadingRow]
) -> tuple[charts.ChartFigure, ...]:
    """Plot each task with two readings or more. readings: rows of `utilization`."""
    found = []
    for number, one in enumerate(tasks):
        own = [row for row in readings if (row.task_id, row.repeat) == (one.task_id, one.repeat)]
        instants = _merge_readings(own)
        if len(instants) > 1:
            found.append(_build_figure(one, instants, number))
    return tuple(found)


@dataclass(frozen=True)
class _Instant:
    at_s: float
    phase: str
    cores: float
    gpu: float | None


def _merge_readings(rows: Sequence[ReadingRow]) -> list[_Instant]:
    """Merge the rows of one reading: there is a row per GPU."""
    in_order = sorted(rows, key=lambda row: row.at_ns)
    start = in_order[0].at_ns if in_order else 0
    found = []
    for at_ns, group in groupby(in_order, key=lambda row: row.at_ns):
        same = list(group)
        gpus = [row.gpu_percent for row in same if row.gpu_percent is not None]
        found.append(
            _Instant(
                (at_ns - start) / NS_PER_S,
                same[0].phase,
                (same[0].cpu_percent or 0) / 100,
                sum(gpus) / len(gpus) if gpus else None,
            )
        )
    return found


def _build_figure(one: TracedTask, instants: Sequence[_Instant], number: int) -> charts.ChartFigure:
    bands = list(_build_bands(instants))
    drawn = _thin_out(instants)
    rows: list[charts.ChartRow] = [
        {
            "at": round(each.at_s, 3),
            "cores": round(each.cores, 3),
            "gpu": each.gpu,
            "tip": _format_tip(each),
        }
        for each in drawn
    ]
    rows += bands
    top = HEADROOM * max(one.threads, *(each.cores for each in drawn))
    chart = _build_chart(one.threads, top, any(each.gpu is not None for each in drawn))
    return charts.ChartFigure(
        f"figure-trace-{number}",
        one.title,
        one.subtitle,
        charts.build_spec(chart, rows),
        ("phase", "from", "to", "busy cores, mean"),
        tuple(_format_line(band, instants) for band in bands),
    )


def _build_bands(instants: Sequence[_Instant]) -> Iterator[charts.ChartRow]:
    """Yield the bands of phases. A reading covers the time since the one before it."""
    span = instants[-1].at_s or 1.0
    begin = 0.0
    for phase, group in groupby(instants, key=lambda one: one.phase):
        *_, last = group
        has_room = last.at_s - begin > (len(phase) + 2) * LETTER * span
        yield {
            "begin": round(begin, 3),
            "end": round(last.at_s, 3),
            "phase": phase,
            "name": phase if has_room else "",
            "tip": f"{phase}: {begin:.1f} s to {last.at_s:.1f} s",
        }
        begin = last.at_s


def _thin_out(instants: Sequence[_Instant]) -> list[_Instant]:
    """Keep MOST_POINTS readings at most: of each interval the one with the most busy cores."""
    width = -(-len(instants) // MOST_POINTS)
    windows = (instants[at : at + width] for at in range(0, len(instants), width))
    return [max(window, key=lambda one: one.cores) for window in windows]


def _format_tip(one: _Instant) -> str:
    gpu = f", GPU {one.gpu:.0f} %" if one.gpu is not None else ""
    return f"{one.at_s:.1f} s, {one.phase}: {one.cores:.2f} busy cores{gpu}"


def _format_line(band: charts.ChartRow, instants: Sequence[_Instant]) -> tuple[str, ...]:
    begin, end = float(str(band["begin"])), float(str(band["end"]))
    inside = [one.cores for one in instants if begin < one.at_s <= end] or [0.0]
    mean = sum(inside) / len(inside)
    return (str(band["phase"]), f"{begin:.1f} s", f"{end:.1f} s", f"{mean:.2f}")


def _build_chart(threads: int, top: float, has_gpu: bool) -> charts.Chart:  # noqa: FBT001 - one more line
    tip = alt.Tooltip("tip:N")
    across = alt.X("at:Q", title="seconds since worker start", axis=alt.Axis(grid=False))
    up = alt.Y(
        "cores:Q", title="busy cores", scale=alt.Scale(domainMin=0, domainMax=top, nice=False)
    )
    colours = alt.Color(
        "phase:N",
        scale=alt.Scale(domain=list(PHASES), range=[f"var(--phase-{name})" for name in PHASES]),
        legend=None,
    )
    bands = charts.make_chart().mark_rect().encode(alt.X("begin:Q"), alt.X2("end:Q"), colours, tip)
    names = (
        charts.make_chart()
        .mark_text(align="left", dx=4, dy=5, fontSize=10, color="currentColor", baseline="top")
        .encode(x="begin:Q", y=alt.value(0), text="name:N")
    )
    given = (
        charts.make_chart()
        .mark_rule(strokeDash=[2, 4], color="currentColor", opacity=0.7)
        .encode(alt.YDatum(threads))
    )
    line = (
        charts.make_chart()
        .mark_line(
            strokeWidth=2, color="var(--series-0)", point={"size": 12, "color": "var(--series-0)"}
        )
        .encode(across, up, tip)
    )
    cores = alt.layer(bands, names, given, line)
    if not has_gpu:
        return cores
    share = alt.Y("gpu:Q", title="GPU %", scale=alt.Scale(domain=[0, 100]))
    gpu = (
        charts.make_chart()
        .mark_line(strokeDash=[6, 3], color="var(--series-1)")
        .encode(across, share)
    )
    both: charts.Chart = alt.layer(cores, gpu).resolve_scale(y="independent")
    return both
