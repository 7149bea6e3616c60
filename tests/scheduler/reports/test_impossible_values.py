"""A number that cannot be one costs no report: its row has so, and has no time."""

import io
import math
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_measurements import make_measurement, make_times

from velodrome.agents.measurement import Measurement, Reading
from velodrome.agents.task import Task
from velodrome.scheduler.commands.compare import compare
from velodrome.scheduler.commands.report import Form, ReportKind, report
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.history.cell_series import build_history
from velodrome.scheduler.history.history_reading import read_past_rows
from velodrome.scheduler.history.latest_run import judge
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE
from velodrome.scheduler.plans.placement import Plan
from velodrome.scheduler.reports.impossible_values import MEDIANS, drop_impossible_values
from velodrome.scheduler.results.rows import to_table
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.store import Store

SWEEPS = ("20261124-063012-a1b2c3d4", "20261125-063012-a1b2c3d4")
IMPOSSIBLE = (0.0, -1.0, math.nan, math.inf, -math.inf, 5e-324, 1e308)
REAL = [field.name for field in TABLES["tasks"] if str(field.type) == "double"]
TEXT = "name: nights\nframeworks: [torch]\nmodels: [lenet]\n"


def measurement(framework: str, model: str, repeat: int) -> Measurement:
    readings = tuple(Reading(100 * i, "forward", 99.0, 10, 1) for i in range(3))
    task = Task(framework, "eager", model, 8)
    return make_measurement(task, repeat=repeat, readings=readings, **make_times(1, 1, 0.1))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("filled") / "results"
    store = Store(root)
    for sweep_id in SWEEPS:
        with store.hold_sweep(sweep_id):
            store.begin(sweep_id, TEXT, Plan())
            ended = [
                (measurement(framework, model, repeat), TO_AGREE)
                for framework in ("torch", "numpy")
                for model in ("lenet", "probe-lrn", "gemm-1024")
                for repeat in range(6)  # as many as make an interval
            ]
            store.put_all(sweep_id, ended)
            store.compact(sweep_id)
    return root


def spoilt(root: Path, columns: list[str], value: float) -> None:
    """Spoil all of torch's processes but one, in the newest sweep."""
    (path,) = (root / "tasks" / f"sweep={SWEEPS[-1]}").glob("*.parquet")
    table = pq.ParquetFile(path).read()
    whose = zip(table["framework"].to_pylist(), table["repeat"].to_pylist(), strict=True)
    is_spoilt = [name == "torch" and repeat > 0 for name, repeat in whose]
    for name in columns:
        own = zip(is_spoilt, table[name].to_pylist(), strict=True)
        changed = pa.array([value if is_so else old for is_so, old in own], pa.float64())
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), changed)
    pq.write_table(table, path)


@pytest.fixture
def root(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "results"))


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "columns"),
    [*((value, REAL) for value in IMPOSSIBLE), *((0.0, [name]) for name in MEDIANS)],
)
def test_an_impossible_value_breaks_no_report(
    root: Path, tmp_path: Path, value: float, columns: list[str]
) -> None:
    spoilt(root, columns, value)
    with redirect_stdout(io.StringIO()) as output:
        for kind in ReportKind:
            for form in Form:
                report(root, "", kind, form, None)
        compare("last~1", "last", str(root), form=Form.CSV)
        compare("framework=torch", "framework=numpy", str(root), form=Form.TERMINAL)
    assert "which is not a possible time: another program wrote the row" in " ".join(
        output.getvalue().split()
    )
    rows = read_past_rows(Store.for_reading(root), "nights", 9)
    assert len(judge(build_history(rows), SWEEPS[-1]).cells) == 6
    if len(columns) > 1:
        write_page(root, "", tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text()
        assert "which is not a possible time" in page
        assert "NaN" not in page.partition("<script")[0]


@pytest.mark.parametrize("name", MEDIANS)
@pytest.mark.parametrize("value", IMPOSSIBLE)
def test_a_row_with_an_impossible_median_has_no_time_and_names_the_number(
    name: str, value: float
) -> None:
    row = {**dict.fromkeys(TABLES["tasks"].names), "status": "ok", "verified": True}
    row |= {**dict.fromkeys(MEDIANS, 1e6), name: value}
    (found,) = drop_impossible_values(to_table("tasks", [row])).to_pylist()
    assert (found["status"], found["unexpected"], found["verified"]) == ("crashed", True, False)
    assert f"its row has {name} = {value}" in str(found["reason"])
    assert all(found[median] is None for median in MEDIANS)


def test_other_impossible_numbers_become_null_and_the_time_stays() -> None:
    row = {"status": "ok", "forward_median_ns": 1e6, "forward_low_ns": 0.0, "loss_error": math.nan}
    (found,) = drop_impossible_values(pa.Table.from_pylist([row])).to_pylist()
    assert found == {
        "status": "ok",
        "forward_median_ns": 1e6,
        "forward_low_ns": None,
        "loss_error": None,
    }


def test_a_valid_row_is_unchanged() -> None:
    row = {"status": "ok", "forward_median_ns": 1e6, "gradient_drift": -0.1, "loss_error": 0.0}
    table = to_table("tasks", [row])
    assert drop_impossible_values(table) is table
