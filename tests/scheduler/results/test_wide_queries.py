"""The rows of a query are legible however narrow the terminal."""

import re
from pathlib import Path

import pytest
from made_measurements import make_measurement
from rich.cells import cell_len

from velodrome.agents.measurement import Status
from velodrome.scheduler.commands.query import Format, query
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.results.store import Store

SWEEP = "20261124-063012-a1b2c3d4"
LONG = "a-framework-whose-name-is-as-long-as-names-are-allowed-to-be"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wide") / "results"
    store = Store(root)
    with store.hold_sweep(SWEEP):
        for number in range(25):
            crashed = make_measurement(
                framework=LONG,
                batch_size=number + 1,
                status=Status.CRASHED,
                reason="why",
                log_tail="the end of a log\n" * 500,
            )
            store.put(SWEEP, crashed)
    return root


@pytest.fixture(params=[60, 80, 120])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Set the width of the terminal for Rich."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def shown(capsys: pytest.CaptureFixture[str], results: Path, text: str) -> list[str]:
    assert query(text, results, Format.TABLE, None) == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    return [line.rstrip() for line in plain.splitlines()]


def test_the_first_query_of_the_readme_shows_every_value(
    results: Path, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, results, "FROM tasks LIMIT 5")
    *table, _, count = lines
    assert count == "5 rows"
    assert max(map(cell_len, table)) <= width
    text = " ".join(" ".join(table).split())
    for word in (SWEEP, "crashed", "eager", "lenet", "gradient_median_ns", "row 5"):
        assert word in text
    assert text.count("…") == 5  # the log's end is longer than it takes to see what it is
    joined = "".join(table).replace(" ", "")
    assert joined.count(LONG[:20]) == 5
    assert "empty in all of these rows: " in text


def test_columns_that_fit_stay_side_by_side(
    results: Path, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, results, "SELECT batch_size, status, reason FROM tasks ORDER BY 1")
    assert lines[0].split() == ["batch_size", "status", "reason"]
    assert lines[1].split() == ["1", "crashed", "why"]
    assert lines[-1] == "25 rows"


def test_the_first_of_many_wide_rows_are_shown_and_the_others_counted(
    results: Path, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, results, "FROM tasks")
    assert lines[-1] == "25 rows, 5 of them not shown: --format csv"
    assert max(map(cell_len, lines[:-2])) <= width


def test_a_value_that_python_cannot_represent_is_an_error_of_the_query(results: Path) -> None:
    for value in ("'infinity'::TIMESTAMP", "'290000-01-01'::TIMESTAMP", "'5877641-06-23'::DATE"):
        for form in (Format.TABLE, Format.CSV, Format.JSON):
            with pytest.raises(ConfigError, match="column x has a value that cannot be shown"):
                query(f"SELECT {value} AS x FROM tasks LIMIT 1", results, form, None)
