"""Rows of tasks that share each batch among several devices, and rows of before there were any."""

from made_measurements import make_measurement, make_times
from made_rows import changed_row, task_row_with

from velodrome.scheduler.comparison.fingerprints import CellRules
from velodrome.scheduler.history.cell_series import NodeCell, build_history, label_cells
from velodrome.scheduler.reports.cell_keys import read_platform
from velodrome.scheduler.reports.process_variation import identify_canary
from velodrome.scheduler.results.ceilings import Ceilings, RateUnit, place_of
from velodrome.scheduler.results.rows import build_tables
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow, task_rows
from velodrome.scheduler.site.pages import build_query
from velodrome.scheduler.site.trends import make_page_id

EARLIER = task_row_with(processes=None)  # a file of an earlier version has no such column
ONE = task_row_with(processes=1)
TWO = task_row_with(processes=2, task_id="a2")


def measured(**columns: object) -> TaskRow:
    measurement = make_measurement(gradient=make_times(1, 1)["gradient"], **columns)
    return task_rows(build_tables("20261124-063012-00000001", measurement)["tasks"])[0]


def test_a_row_keeps_the_number_of_processes_of_its_task() -> None:
    row = measured(processes=2, threads=3)
    assert (row.processes, row.threads, row.devices) == (2, 3, 2)
    assert CellKey.of(row) == CellKey.of(make_measurement(processes=2, threads=3).task)


def test_a_row_of_an_earlier_version_has_one_process() -> None:
    assert EARLIER.process_count == EARLIER.devices == 1
    assert CellKey.of(EARLIER) == CellKey.of(ONE) != CellKey.of(TWO)
    assert read_platform(EARLIER) == read_platform(ONE) != read_platform(TWO)


def test_two_gpus_of_which_one_computed_are_no_pair_that_shared_its_batches() -> None:
    before = task_row_with(device="gpu", gpu_count=2, processes=None)
    today = changed_row(before, processes=1)
    assert CellKey.of(before) != CellKey.of(today)
    assert [each.text for each in CellRules().find_mismatches(before, today)] == [
        "processes is 0 (one GPU computed) in the base, 1 in the candidate"
    ]
    single = task_row_with(device="gpu", gpu_count=1, processes=None)
    assert not CellRules().find_mismatches(single, changed_row(single, processes=1))


def test_numbers_of_processes_are_not_compared_unless_asked_for() -> None:
    assert [each.field for each in CellRules().find_mismatches(EARLIER, TWO)] == ["processes"]
    assert not CellRules().find_mismatches(EARLIER, ONE)
    assert not CellRules(frozenset({"processes"})).find_mismatches(EARLIER, TWO)


def test_each_number_of_processes_has_its_own_history_and_name() -> None:
    rows = [measured(processes=processes) for processes in (1, 2)]
    history = build_history(rows)
    assert sorted(label_cells(history).values()) == [
        "torch[eager] lenet b64 cpu 1t on host1",
        "torch[eager] lenet b64 cpu:2 1t on host1",
    ]
    assert len(build_history([EARLIER, ONE])) == 1
    assert NodeCell.of(EARLIER) == NodeCell.of(ONE)
    assert "coalesce(processes, 1) = 2" in build_query(NodeCell.of(TWO))


def test_a_cell_of_one_process_keeps_the_address_of_its_page() -> None:
    assert make_page_id(NodeCell.of(ONE)) == "615977becc826156"
    assert make_page_id(NodeCell.of(TWO)) != make_page_id(NodeCell.of(ONE))


def test_a_ceiling_of_one_process_is_none_of_two() -> None:
    times = {"forward_median_ns": 1e6, "forward_flops": 2e9, "verified": True}
    product = task_row_with(model="gemm-1024", processes=1, **times)
    ceilings = Ceilings([product])
    assert place_of(TWO) != place_of(ONE) == place_of(EARLIER)
    assert ceilings.of(EARLIER, RateUnit.FLOPS) is not None
    assert ceilings.of(TWO, RateUnit.FLOPS) is None


def test_canaries_of_other_numbers_of_processes_are_not_mixed() -> None:
    assert identify_canary(EARLIER) == identify_canary(ONE) != identify_canary(TWO)
