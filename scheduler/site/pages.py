"""The files of the trend site. Jinja escapes all text of rows; JSON cannot end a script."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from velodrome.adapters.protocol import TIMED_PHASES, USUAL_PHASES
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.history.cell_series import History, NodeCell
from velodrome.scheduler.reports.html.templating import embed_json, load_templates
from velodrome.scheduler.results.task_row import velodrome_version
from velodrome.scheduler.site import trends

TEMPLATES = Path(__file__).with_name("templates")
INDEX = "index.html"
VEGA = "vega.js"
READABLE = 0o644  # by the web server

Link = tuple[str, str]
"""A label and a path relative to the site's folder."""


@dataclass(frozen=True)
class LatestRunSummary:
    """The summary of the latest nightly run, for the index. links: to its other files."""

    summary: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


NO_RUN = LatestRunSummary()


def render_pages(
    name: str, history: History, latest: LatestRunSummary = NO_RUN, reports: Sequence[Link] = ()
) -> dict[str, str]:
    """Render the pages by path: cells first, the index last. vega.js is not included."""
    shown = trends.compute_trends(history)
    written = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    common = {"version": velodrome_version(), "written": written}
    found = {part: (TEMPLATES / part).read_text() for part in ("site.css", "site.js")}
    spec = Markup(embed_json(trends.build_trend_chart())) if shown else Markup("{}")
    cell = load_templates(TEMPLATES).get_template("cell.html.jinja")
    for one in shown:
        found[f"cells/{one.id}.html"] = cell.render(
            **common,
            root="../",
            one=one,
            phases=_list_phases(one),
            spec=spec,
            rows=Markup(embed_json(one.chart)),
            query=build_query(one.cell, one.phases),
        )
    found[INDEX] = (
        load_templates(TEMPLATES)
        .get_template("index.html.jinja")
        .render(
            **common,
            root="",
            name=name,
            trends=shown,
            runs=len({point.sweep_id for points in history.values() for point in points}),
            summary=latest.summary,
            links=latest.links,
            reports=reports,
            spark_width=trends.SPARK_WIDTH,
            spark_height=trends.SPARK_HEIGHT,
        )
    )
    return found


def bundle_vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed from vl-convert as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def build_query(cell: NodeCell, phases: Sequence[str] = USUAL_PHASES) -> str:
    """Build the SQL query for the rows of a cell, with its times of some phases."""
    key = cell.key
    text = {
        "framework": key.framework,
        "variant": key.variant,
        "model": key.model,
        "device": key.device,
        "dtype": key.dtype,
        "node_id": cell.node_id,
    }
    if key.device == "gpu":
        text |= {"gpu_model": key.gpu_model} if key.gpu_model else {}
    numbers = {"batch_size": key.batch_size, "threads": key.threads}
    size = ""
    if key.batch_size_rule:
        del numbers["batch_size"]
        text["batch_size_rule"] = key.batch_size_rule
        size = ", batch_size"
    conditions = [f"{name} = '{_quote(value)}'" for name, value in text.items()]
    conditions += [f"{name} = {value}" for name, value in numbers.items()]
    if not key.batch_size_rule:
        conditions += ["batch_size_rule IS NULL"]
    if key.gpu_count:
        conditions += [f"coalesce(gpu_count, {key.gpu_count}) = {key.gpu_count}"]
    if key.device == "cpu":
        conditions += [f"coalesce(processes, 1) = {key.processes}"]
    if key.device == "gpu" and not key.gpu_model:
        conditions += ["gpu_model IS NULL"]
    times = ", ".join(f"{phase}_median_ns" for phase in TIMED_PHASES if phase in phases)
    return (
        f"SELECT sweep_id, repeat, status, {times}{size} FROM tasks\n"
        f"WHERE {' AND '.join(conditions)}\nORDER BY started_at"
    )


def _quote(text: str) -> str:
    return text.replace("'", "''")


def _list_phases(one: trends.Trend) -> tuple[str, ...]:
    phases = {row["phase"] for row in one.chart}
    return tuple(phase for phase in one.phases if phase in phases)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files, each atomically. ConfigError if one fails. Pages of old cells stay."""
    try:
        if not (folder / VEGA).exists():
            replace_file(folder / VEGA, bundle_vega())
        for name, text in files.items():
            replace_file(folder / name, text)
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise ConfigError(str(folder), reason, "Name another folder with --site.") from None


def replace_file(path: Path, text: str) -> None:
    """Replace a file atomically: readers see the old or the new one. OSError if it fails."""
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
