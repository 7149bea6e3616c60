"""The site's files as texts. What rows say is escaped by Jinja, and as JSON ends no script."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.history.cell_series import PHASES, Followed, History
from velodrome.scheduler.reports.html.templating import embed_json, load_templates
from velodrome.scheduler.results.task_row import velodrome_version
from velodrome.scheduler.site.trends import (
    SPARK_HEIGHT,
    SPARK_WIDTH,
    Trend,
    build_trend_chart,
    trends,
)

TEMPLATES = Path(__file__).with_name("templates")
INDEX = "index.html"
VEGA = "vega.js"
READABLE = 0o644  # by the web server

Link = tuple[str, str]
"""What it is called, and where it is, from the site's folder on."""


@dataclass(frozen=True)
class LatestRunSummary:
    """What a nightly run said, to stand at the top. links: to what else it wrote."""

    summary: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


NO_RUN = LatestRunSummary()


def pages(
    name: str, history: History, last: LatestRunSummary = NO_RUN, reports: Sequence[Link] = ()
) -> dict[str, str]:
    """By path within the site: cells first, the index last. Without vega.js."""
    shown = trends(history)
    written = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    common = {"version": velodrome_version(), "written": written}
    found = {part: (TEMPLATES / part).read_text() for part in ("site.css", "site.js")}
    spec = Markup(embed_json(build_trend_chart())) if shown else Markup("{}")
    cell = load_templates(TEMPLATES).get_template("cell.html.jinja")
    for one in shown:
        found[f"cells/{one.id}.html"] = cell.render(
            **common,
            root="../",
            one=one,
            phases=_phases(one),
            all_phases=PHASES,
            spec=spec,
            rows=Markup(embed_json(one.chart)),
            query=query(one.cell),
        )
    found[INDEX] = (
        load_templates(TEMPLATES)
        .get_template("index.html.jinja")
        .render(
            **common,
            root="",
            name=name,
            trends=shown,
            nights=len({point.sweep_id for points in history.values() for point in points}),
            summary=last.summary,
            links=last.links,
            reports=reports,
            spark_width=SPARK_WIDTH,
            spark_height=SPARK_HEIGHT,
        )
    )
    return found


def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, as they come with vl-convert."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def query(cell: Followed) -> str:
    """What shows the rows of a cell."""
    text = {
        "framework": cell.framework,
        "variant": cell.variant,
        "model": cell.model,
        "device": cell.device,
        "dtype": cell.dtype,
        "node_id": cell.node_id,
    }
    if cell.device == "gpu":
        text |= {"gpu_model": cell.gpu_model} if cell.gpu_model else {}
    numbers = {"batch_size": cell.batch_size, "threads": cell.threads}
    conditions = [f"{name} = '{_quoted(value)}'" for name, value in text.items()]
    conditions += [f"{name} = {value}" for name, value in numbers.items()]
    if cell.gpu_count:
        conditions += [f"coalesce(gpu_count, {cell.gpu_count}) = {cell.gpu_count}"]
    if cell.device == "gpu" and not cell.gpu_model:
        conditions += ["gpu_model IS NULL"]
    return (
        "SELECT sweep_id, repeat, status, forward_median_ns, gradient_median_ns FROM tasks\n"
        f"WHERE {' AND '.join(conditions)}\nORDER BY started_at"
    )


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _phases(one: Trend) -> tuple[str, ...]:
    there = {row["phase"] for row in one.chart}
    return tuple(phase for phase in PHASES if phase in there)


def write(folder: Path, files: Mapping[str, str]) -> None:
    """ConfigError if it cannot be written. Pages of cells that there are no more stay."""
    try:
        if not (folder / VEGA).exists():
            put(folder / VEGA, vega())
        for name, text in files.items():
            put(folder / name, text)
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise ConfigError(str(folder), reason, "Name another folder with --site.") from None


def put(path: Path, text: str) -> None:
    """Whoever reads it meanwhile reads the one before. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    try:
        with os.fdopen(number, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        Path(name).chmod(READABLE)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
