"""Hostile results folders: they are shown as plain text or refused."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_words import EVIL, SWEEP, UNSEEN, measured

from velodrome.adapters.protocol import Timed
from velodrome.agents.measurement import Status
from velodrome.scheduler.commands.report import Form, ReportKind, report
from velodrome.scheduler.errors import INCOMPLETE, ConfigError
from velodrome.scheduler.results.store import Store


@pytest.fixture
def evil_results(store: Store, root: Path) -> Path:
    """Write rows of hostile texts, with one of five nodes slow so that it is named."""
    slow = Timed("gradient", 9e6, 8e6, 10e6, 30, 2, 5, "target", stable=True)
    task = replace(measured().task, variant=EVIL, device=f"gpu{EVIL}", dtype=EVIL)
    where = {"hostname": EVIL, "node_type": EVIL, "cpu_model": EVIL, "gpu_name": EVIL}
    with store.hold_sweep(SWEEP):
        for number in range(5):
            times = {"gradient": slow} if number == 3 else {}
            store.put(
                SWEEP,
                measured(task=task, repeat=number, node_id=f"{EVIL}{number}", **where, **times),
            )
        store.put(SWEEP, measured(task=replace(task, processes=2), node_id=f"{EVIL}0", **where))
        store.put(
            SWEEP,
            measured(
                task=replace(task, framework="=HYPERLINK(1)", variant="x"),
                status=Status.CRASHED,
                reason=f"=1+1 {EVIL}",
                rerun=f"velodrome measure x; rm -rf ~ {EVIL}",
                log_tail=EVIL,
            ),
        )
    return root


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize(
    "kind", [kind for kind in ReportKind if kind is not ReportKind.UTILIZATION]
)
def test_a_hostile_results_folder_is_shown_as_plain_text(
    evil_results: Path, capsys: pytest.CaptureFixture[str], kind: ReportKind, form: Form
) -> None:
    report(evil_results, "", kind, form, None)
    text = capsys.readouterr().out
    assert not UNSEEN.search(text)
    assert "rm -rf" not in text or form is Form.JSON  # which keeps rows as they are
    if form is Form.MARKDOWN:
        assert "<script" not in text
        assert "](" not in text
    if form is Form.CSV:
        cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    if form is Form.TERMINAL:
        assert "[bold]loud[/bold]" in re.sub(r"[│┃\s]", "", text)
        assert "all is well" not in [line.strip(" │") for line in text.splitlines()]


def test_a_figure_of_a_hostile_results_folder_holds_no_injected_element(
    evil_results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "picture.svg"
    report(evil_results, "", ReportKind.TIMES, Form.TERMINAL, picture)
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(picture).iter()}
    assert tags <= {"svg", "style", "defs", "clipPath", "rect", "text", "g", "circle", "line"}
    with pytest.raises(ConfigError, match="cannot be written"):
        report(evil_results, "", ReportKind.TIMES, Form.TERMINAL, tmp_path / "none" / "picture.svg")


def rewrite_column(root: Path, column: str, values: pa.Array) -> None:
    """Replace a column of the one file of tasks."""
    (path,) = (root / "tasks").rglob("*.parquet")
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, values), path)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("status", pa.array(["\x1b[2Jfine"]), "has the status 'fine'"),
        ("threads", pa.array([None], pa.int32()), "has no threads"),
        ("framework", pa.array([None], pa.string()), "has no framework"),
        ("reason", pa.array([b"\xff"]).view(pa.string()), "it is damaged"),
    ],
)
def test_invalid_rows_are_reported_and_crash_nothing(
    store: Store,
    root: Path,
    column: str,
    values: pa.Array,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store.put(SWEEP, measured())
    rewrite_column(root, column, values)
    assert report(root, "", ReportKind.TIMES, Form.TERMINAL, None).status == INCOMPLETE
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("median_ns", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_time_breaks_no_report(
    store: Store, root: Path, capsys: pytest.CaptureFixture[str], median_ns: float
) -> None:
    store.put(SWEEP, measured())
    rewrite_column(root, "gradient_median_ns", pa.array([median_ns]))
    for form in Form:
        report(root, "", ReportKind.TIMES, form, None)
    assert "probe-lrn" in capsys.readouterr().out
