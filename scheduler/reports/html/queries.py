"""SQL queries shown beside each table of the HTML page, which return the rows behind it."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.html.figures.traced_tasks import TracedTask

WITH_NUMBER = "status in ('ok', 'unstable')"
CELL = (
    "framework, variant, model, batch_size, device, gpu_count, "
    "coalesce(processes, 1) as processes, coalesce(nodes, 1) as nodes, threads, dtype, node_type"
)
TIMES = (
    "median(gradient_median_ns) / 1e6 as gradient_ms, "
    "min(gradient_median_ns) / 1e6 as gradient_fastest_ms, "
    "max(gradient_median_ns) / 1e6 as gradient_slowest_ms, "
    "median(forward_median_ns) / 1e6 as forward_ms"
)


@dataclass(frozen=True)
class Queries:
    """Queries of one sweep, each one line of SQL over `tasks`, `nodes` and `utilization`."""

    sweep_id: str

    def command(self, sql: str, results: str) -> str:
        """Return the shell command for a query, quoted for any names in it."""
        return f"velodrome query {_quote_word(sql)} --results {shlex.quote(results)}"

    @property
    def _sweep(self) -> str:
        return f"sweep_id = {quote_sql(self.sweep_id)}"

    def grid(self) -> str:
        counts = "count(*) as repeats, bool_and(verified) as verified, any_value(status) as status"
        return self._select_cells(f"{CELL}, {TIMES}, {counts}")

    def reasons(self) -> str:
        return (
            f"select status, reason, count(*) as repeats, any_value(rerun) as rerun from tasks "
            f"where {self._sweep} and not ({WITH_NUMBER}) group by all order by repeats desc"
        )

    def study(self, models: Sequence[str]) -> str:
        return self._select_cells(f"{CELL}, {TIMES}", f" and model in ({_join(models)})")

    def memory(self, models: Sequence[str]) -> str:
        peaks = (
            "max(peak_rss_bytes) / 1048576 as peak_mib, "
            "max(peak_gpu_memory_bytes) / 1048576 as peak_gpu_mib"
        )
        return (
            "select framework, variant, model, coalesce(processes, 1) as processes, node_type, "
            f"{peaks} from tasks where {self._sweep} "
            f"and model in ({_join(models)}) group by all order by all"
        )

    def batch_sizes(self) -> str:
        return self._select_cells(f"{CELL}, {TIMES}", f" and {WITH_NUMBER}")

    def threads(self) -> str:
        return self.batch_sizes()

    def scaling(self) -> str:
        return self.batch_sizes()

    def traces(self, picked: Sequence[TracedTask]) -> str:
        ids = _join([task.task_id for task in picked])
        among = f" and task_id in ({ids})" if picked else ""
        return (
            "select task_id, repeat, at_ns, phase, cpu_percent, gpu_percent from utilization "
            f"where {self._sweep}{among} order by task_id, repeat, at_ns"
        )

    def roofline(self) -> str:
        rates = (
            "max(gradient_flops / gradient_median_ns) as gradient_gflops_per_s, "
            "max(forward_flops / forward_median_ns) as forward_gflops_per_s"
        )
        return self._select_cells(f"node_id, {CELL}, {rates}", f" and {WITH_NUMBER}")

    def energy(self) -> str:
        joules = (
            "median(energy_per_gradient_j) as energy_per_gradient_j, "
            "any_value(energy_source) as energy_source, any_value(energy_reason) as energy_reason"
        )
        return self._select_cells(f"{CELL}, {joules}", " and gradient_median_ns is not null")

    def nodes(self) -> str:
        return f"select * from nodes where {self._sweep} order by hostname"

    def environments(self) -> str:
        return (
            "select framework, framework_version, environment_hash, count(*) as repeats from tasks "
            f"where {self._sweep} group by all order by all"
        )

    def fairness(self) -> str:
        columns = (
            "framework, variant, dtype, threads, exclusive, interference_free, kernels, notes, "
            "count(*) as repeats"
        )
        return (
            f"select {columns} from tasks where {self._sweep} and {WITH_NUMBER} "
            "group by all order by all"
        )

    def _select_cells(self, columns: str, among: str = "") -> str:
        return f"select {columns} from tasks where {self._sweep}{among} group by all order by all"


def quote_sql(text: str) -> str:
    """Quote a SQL string."""
    return "'" + text.replace("'", "''") + "'"


def _quote_word(text: str) -> str:
    """Quote a shell word, with double quotes where possible: SQL strings have single ones."""
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def _join(texts: Iterable[str]) -> str:
    return ", ".join(map(quote_sql, texts))
