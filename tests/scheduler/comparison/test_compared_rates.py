"""`velodrome compare --unit`: rates beside the same verdicts, and which direction is better."""

import pytest

from velodrome.scheduler.commands.compare import compare
from velodrome.scheduler.commands.report import Form
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.results.store import Store

A = "20261123-010203-00000001"
SIDES = ("last variant=eager", "last variant=compile")


@pytest.fixture
def kept(tmp_path, measured) -> str:
    store = Store(tmp_path / "results")
    with store.hold_sweep(A):
        for variant, ms, batch_size in (("eager", 10.0, 64), ("compile", 8.0, 64)):
            for one in measured(ms, variant=variant, batch_size=batch_size):
                store.put(A, one)
        for one in measured(8.0, variant="compile", batch_size=128):
            store.put(A, one)
    return str(tmp_path / "results")


def printed(capsys, kept, unit: GridUnit, *sides: str) -> str:
    compare(*(sides or SIDES), kept, only="batch_size=64", form=Form.MARKDOWN, unit=unit)
    return capsys.readouterr().out


def test_times_say_that_lower_is_better(kept, capsys) -> None:
    assert "times: lower is better" in printed(capsys, kept, GridUnit.TIME)


def test_rates_are_higher_where_the_times_are_faster(kept, capsys) -> None:
    out = printed(capsys, kept, GridUnit.RATE)
    (line,) = (line for line in out.splitlines() if "gradient, images/s" in line)
    assert "▼ faster" in line
    assert "| 6,400 | 8,000 | 1.250x |" in line
    assert "images, vectors or true tokens per second: higher is better" in out


def test_the_interval_of_a_rate_is_that_of_the_time_turned_over(kept, capsys) -> None:
    out = printed(capsys, kept, GridUnit.FLOPS)
    (line,) = (line for line in out.splitlines() if "gradient |" in line)
    low, high = map(float, line.rstrip(" |").split("|")[-1].strip().split("-"))
    assert low < 1.25 < high
    assert "GFLOP/s" in line


def test_rates_of_unequal_batches_are_refused_as_the_verdicts_are_on_times(kept) -> None:
    sides = ("last variant=compile batch_size=64", "last variant=compile batch_size=128")
    with pytest.raises(ConfigError, match="the batches of BASE and CANDIDATE differ"):
        compare(*sides, kept, form=Form.MARKDOWN, unit=GridUnit.RATE)
