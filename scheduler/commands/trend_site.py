"""Command `report --site`: trends of a sweep's runs as a folder for any file server."""

from collections.abc import Mapping
from pathlib import Path

from velodrome.scheduler.commands import incomplete_results
from velodrome.scheduler.commands.output import print_lines
from velodrome.scheduler.errors import INCOMPLETE, ConfigError
from velodrome.scheduler.history.cell_series import History
from velodrome.scheduler.history.history_reading import list_run_ids, read_history, read_sweep_name
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.site.pages import (
    INDEX,
    NO_RUN,
    LatestRunSummary,
    Link,
    render_pages,
    write_files,
)

REPORTS = "runs"  # the folder of whole reports within a site
MOST_REPORTS = 60


def publish_site(results: str | Path, sweep_id: str, folder: Path) -> int:
    """Write the site for all sweeps of this one's name. ConfigError if it has none."""
    store = Store.for_reading(results)
    name = read_sweep_name(store, store.resolve(sweep_id or "last"))
    history = read_history(store, name)
    incomplete_results.warn_of_faults(store.faults, results)
    missing = incomplete_results.describe_missing(store.faults, list_run_ids(store, name))
    if not history:
        mend = "Name a run of a named sweep with --sweep, e.g. of sweeps/nightly.yaml."
        raise ConfigError(str(results), "this sweep has no name, hence no history", mend)
    write_site(folder, name, history, LatestRunSummary((missing,)) if missing else NO_RUN)
    print_lines(f"wrote {folder / INDEX}; serve it with: python3 -m http.server -d {folder}")
    return INCOMPLETE if missing else 0


def write_site(
    folder: Path,
    name: str,
    history: History,
    last: LatestRunSummary = NO_RUN,
    extra_files: Mapping[str, str] | None = None,
) -> None:
    """Write the site. extra_files: further files by path, written before pages link to them."""
    for path, text in (extra_files or {}).items():
        write_files(folder, {path: text})
    write_files(folder, render_pages(name, history, last, _list_reports(folder)))


def _list_reports(folder: Path) -> tuple[Link, ...]:
    """List the full reports in the site, newest first."""
    found = sorted((folder / REPORTS).glob("*.html"), reverse=True)[:MOST_REPORTS]
    return tuple((path.stem, f"{REPORTS}/{path.name}") for path in found)
