"""Trends for the site: each cell's runs, segments of constant level, and state. Pure."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from velodrome.adapters.protocol import USUAL_PHASES
from velodrome.agents.phases import BY_IMPORTANCE
from velodrome.scheduler.history import latest_run
from velodrome.scheduler.history.anomalies import FEWEST_BASELINE, RECENT
from velodrome.scheduler.history.cell_series import History, NodeCell, Point, label_cells
from velodrome.scheduler.history.changepoints import MOST_RUNS, fit_segments
from velodrome.scheduler.history.latest_run import CellVerdict, Kind
from velodrome.scheduler.history.phase_series import select_runs
from velodrome.scheduler.history.quarantine import Quarantine
from velodrome.scheduler.reports.cell_times import format_duration

NS_PER_MS = 1e6
SPARK_RUNS = 60
SPARK_WIDTH, SPARK_HEIGHT = 120, 24
CHART_HEIGHT = 200

ChartRow = dict[str, str | float | None]


@dataclass(frozen=True)
class RunRow:
    """One run in the table of a cell, as text."""

    sweep_id: str
    date: str
    times: tuple[str, ...]  # by the phases of the trend
    condition: str
    again: str
    reason: str


@dataclass(frozen=True)
class Trend:
    """The trend of one cell. id: of its page. mood: the colour of state. spark: polyline points.

    name: unique among the cells; qualifier: its part that distinguishes cells of one label. phases:
    the usual ones, and others with a time.
    """

    id: str
    cell: NodeCell
    name: str
    qualifier: str
    runs: int
    last: str
    now: str
    state: str
    mood: str
    smallest: str
    spark: str
    phases: tuple[str, ...]
    rows: tuple[RunRow, ...]
    chart: tuple[ChartRow, ...]


def compute_trends(history: History) -> tuple[Trend, ...]:
    """Compute the trend of every cell, alarms first, then in the order of cells."""
    rate = latest_run.compute_series_rate(history)
    names = label_cells(history)
    found = [
        _build_trend(one, rate, names[one.cell]) for one in latest_run.judge_cells(history, rate)
    ]
    return tuple(sorted(found, key=lambda one: (_MOODS.index(one.mood), one.cell)))


_MOODS = ("alarm", "open", "faster", "quarantine", "young", "stable")


def make_page_id(cell: NodeCell) -> str:
    """Return an id that stays the same each time the site is written."""
    # A cell of one node and process keeps the address that it had before there were several.
    later = 0 if cell.key.nodes > 1 else 2 if cell.key.processes == 1 else 1
    key = tuple(cell.key)[: len(cell.key) - later]
    text = repr((*key, cell.node_id, cell.gpu_uuids))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _build_trend(one: CellVerdict, rate: float, name: str) -> Trend:
    timed = [phase for phase in BY_IMPORTANCE if select_runs(one.points, phase)]
    phase = timed[0] if timed else BY_IMPORTANCE[0]
    shown = tuple(each for each in BY_IMPORTANCE if each in USUAL_PHASES or each in timed)
    runs = select_runs(one.points, phase)
    smallest = dict(one.detectable).get(phase)
    state, mood = _describe_state(one)
    return Trend(
        id=make_page_id(one.cell),
        cell=one.cell,
        name=name,
        qualifier=name.removeprefix(one.cell.label),
        runs=len(one.points),
        last=f"{one.latest.started_at:%Y-%m-%d}",
        now=format_duration(math.exp(runs[-1].levels[phase])) if runs else "no number",
        state=state,
        mood=mood,
        smallest="not known yet" if smallest is None else f"{100 * smallest:.1f} %",
        spark=_draw_spark([point.levels[phase] for point in runs[-SPARK_RUNS:]]),
        phases=shown,
        rows=tuple(_build_row(point, shown) for point in reversed(one.points)),
        chart=tuple(row for each in timed for row in _build_chart(one, each, rate)),
    )


def _describe_state(one: CellVerdict) -> tuple[str, str]:
    """Return the state in words and one of _MOODS."""
    found = one.reported[0] if one.reported else None
    if one.quarantine and not one.is_alarm:
        return _describe_quarantine(one.quarantine), "quarantine"
    if found is None:
        few = len(one.points) < FEWEST_BASELINE + RECENT
        return ("too few runs", "young") if few else ("stable", "stable")
    mood = "alarm" if found.is_alarm else "faster" if found.is_confirmed else "open"
    if found.kind is Kind.FAILS:
        return "fails", mood
    return f"{found.kind} by {abs(100 * (found.ratio - 1)):.1f} %, {found.confirmation}", mood


def _describe_quarantine(quarantine: Quarantine) -> str:
    """Say how long the cell is in quarantine, and its change."""
    change = quarantine.change
    by = f", {change.phase} {100 * math.expm1(change.distance):+.1f} %" if change else ""
    return f"in quarantine for {quarantine.runs} runs{by}"


def _build_row(point: Point, phases: Sequence[str]) -> RunRow:
    levels = point.confirming.items()
    again = [f"{phase} {format_duration(math.exp(level))}" for phase, level in levels]
    return RunRow(
        point.sweep_id,
        f"{point.started_at:%Y-%m-%d %H:%M}",
        tuple(
            format_duration(math.exp(point.levels[phase])) if phase in point.levels else ""
            for phase in phases
        ),
        point.condition.value,
        "failed again" if point.failed_twice else ", ".join(again),
        point.reason,
    )


def _build_chart(one: CellVerdict, phase: str, rate: float) -> list[ChartRow]:
    """Build a row per run: its time, and the level of its segment."""
    runs = select_runs(one.points, phase)[-MOST_RUNS:]
    if not runs:
        return []
    levels = [point.levels[phase] for point in runs]
    dependence = one.series[phase].dependence
    return [
        {
            "at": f"{runs[index].started_at:%Y-%m-%dT%H:%M:%S}",
            "phase": phase,
            "ms": math.exp(levels[index]) / NS_PER_MS,
            "level": math.exp(segment.level) / NS_PER_MS,
            "segment": number,
            "kind": "measured again" if runs[index].was_remeasured else "measured",
            "tip": f"{runs[index].started_at:%Y-%m-%d}: {format_duration(math.exp(levels[index]))}",
        }
        for number, segment in enumerate(fit_segments(levels, rate, dependence).segments)
        for index in range(segment.start, segment.end)
    ]


def _draw_spark(levels: Sequence[float]) -> str:
    """Compute a polyline within SPARK_WIDTH x SPARK_HEIGHT; up is slower."""
    if not levels:
        return ""
    low, high = min(levels), max(levels)
    span = max(high - low, math.log(1.02))  # a negligible change stays flat
    middle = (low + high) / 2
    step = (SPARK_WIDTH - 4) / max(1, len(levels) - 1)
    return " ".join(
        f"{2 + index * step:.1f},{SPARK_HEIGHT * (0.5 - 0.8 * (level - middle) / span):.1f}"
        for index, level in enumerate(levels)
    )


@cache
def build_trend_chart() -> dict[str, object]:
    """Build a Vega-Lite chart without data: each run's time and the level of its segment."""
    import altair as alt  # late: slow to import

    runs = alt.Chart(alt.NamedData("runs")).encode(
        x=alt.X("at:T", title=None, axis=alt.Axis(format="%Y-%m-%d", labelAngle=0)),
        y=alt.Y("ms:Q", title="ms per batch", scale=alt.Scale(zero=False)),
    )
    levels = runs.mark_line(strokeWidth=2, color="var(--level)", interpolate="linear").encode(
        y="level:Q", detail="segment:N"
    )
    dots = runs.mark_point(filled=True, size=45, opacity=1).encode(
        tooltip="tip:N",
        color=alt.Color(
            "kind:N",
            scale=alt.Scale(
                domain=["measured", "measured again"], range=["var(--dot)", "var(--again)"]
            ),
            legend=alt.Legend(orient="bottom", title=None),
        ),
        shape=alt.Shape(
            "kind:N",
            scale=alt.Scale(domain=["measured", "measured again"], range=["circle", "diamond"]),
            legend=alt.Legend(orient="bottom", title=None),
        ),
    )
    layered = alt.layer(levels, dots).properties(width="container", height=CHART_HEIGHT)
    spec: dict[str, object] = layered.to_dict()
    for name in ("$schema", "config", "datasets"):
        spec.pop(name, None)
    return spec
