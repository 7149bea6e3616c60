"""How the processes of a cell differed in the other sweeps of its store."""

from velodrome.scheduler.errors import VelodromeError
from velodrome.scheduler.reports.cells import History
from velodrome.scheduler.reports.possible_rows import is_time
from velodrome.scheduler.results.sql import asked
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.statistics.cell_interval import known_by_sweeps

PHASES = ("forward", "gradient")
MOST = 50  # sweeps, the newest

# One process of each sweep, so that what a day does to all of a sweep's processes counts as well.
_QUERY = """
SELECT task_id, coalesce(node_type, '') AS node_type, sweep_id,
       arg_min(forward_median_ns, repeat) AS forward,
       arg_min(gradient_median_ns, repeat) AS gradient
FROM tasks
WHERE sweep_id <> '{sweep}' AND forward_median_ns IS NOT NULL
  AND task_id IN (SELECT task_id FROM tasks WHERE sweep_id = '{sweep}')
GROUP BY ALL
ORDER BY sweep_id DESC
"""


def read_cell_history(store: Store, sweep_id: str) -> History:
    """Of the cells of one sweep, as far as enough other sweeps have them.

    Nothing if one of these cannot be read: that must not cost the report of this one.
    """
    try:
        rows = asked(store, _QUERY.format(sweep=sweep_id.replace("'", "''"))).to_pylist()
    except VelodromeError:
        return {}
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        for phase in PHASES:
            values = found.setdefault((row["task_id"], row["node_type"], phase), [])
            ns = row[phase]
            if ns is not None and is_time(ns) and len(values) < MOST:
                values.append(ns)
    told = {key: known_by_sweeps(values) for key, values in found.items()}
    return {key: one for key, one in told.items() if one is not None}
