"""The cores that a framework used, from the utilization table."""

from dataclasses import replace

import pyarrow as pa
import pytest
from made_measurements import make_measurement, make_times

from velodrome.agents.measurement import GpuReading, Measurement, Reading, Status
from velodrome.scheduler.reports.core_utilization import CoreUse, summarize_core_use
from velodrome.scheduler.reports.core_utilization_text import build_flat_rows, table_rows
from velodrome.scheduler.results.rows import build_tables
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.typed_rows import task_rows

READINGS = (
    Reading(100, "build", 800.0, 10, 3),
    Reading(200, "forward", 90.0, 20, 4),
    Reading(300, "forward", 110.0, 20, 4),
    Reading(400, "gradient", 150.0, 30, 4),
)
MEASURED = make_measurement(
    threads=2,
    cpu_model="CPU",
    forward=make_times(1, 1)["forward"],
    readings=READINGS,
    peak_rss_bytes=3 * 2**20,
)


def used(*measurements: Measurement) -> tuple[CoreUse, ...]:
    made = [build_tables("s", one) for one in measurements]
    empty = TABLES["utilization"].empty_table()
    utilization = pa.concat_tables([one.get("utilization", empty) for one in made])
    return summarize_core_use([row for one in made for row in task_rows(one["tasks"])], utilization)


def test_cores_are_the_mean_over_the_readings_of_a_phase() -> None:
    (use,) = used(MEASURED)
    assert (use.phases["forward"].cores, use.phases["gradient"].cores) == (1.0, 1.5)
    assert (use.phases["forward"].readings, use.phases["gradient"].readings) == (2, 1)
    assert use.share == pytest.approx((90 + 110 + 150) / 3 / 200)
    assert use.peak_rss_bytes == 3 * 2**20


def test_only_phases_that_were_asked_for_have_columns() -> None:
    task = replace(MEASURED.task, phases=("inference", "step"), optimizer="sgd")
    times = {"forward": None, "step": make_times(1, 1)["forward"]}
    readings = (Reading(100, "step", 190.0, 20, 4), Reading(200, "step", 210.0, 20, 4))
    (row,) = table_rows(used(replace(MEASURED, task=task, readings=readings, **times)))
    assert [name for name in row if name.endswith("cores")] == ["inference cores", "step cores"]
    assert (row["inference cores"], row["step cores"]) == ("no reading", "2.00")
    (usual,) = table_rows(used(MEASURED))
    assert [name for name in usual if name.endswith("cores")] == ["forward cores", "gradient cores"]


def test_readings_of_all_repeats_have_the_same_weight() -> None:
    again = replace(MEASURED, repeat=1, readings=(Reading(100, "forward", 190.0, 90, 1),))
    (use,) = used(MEASURED, again)
    assert use.phases["forward"].cores == pytest.approx((0.9 + 1.1 + 1.9) / 3)
    assert use.phases["forward"].readings == 3


def test_a_reading_of_a_node_with_two_gpus_counts_once() -> None:
    gpus = (GpuReading(0, "a", percent=80.0), GpuReading(1, "b", percent=20.0))
    task = replace(MEASURED.task, device="gpu", gpu_count=2)
    readings = (*READINGS[1:3], replace(READINGS[1], at_ns=500, gpus=gpus))
    (use,) = used(replace(MEASURED, task=task, readings=readings, gpu_name="G, G"))
    assert use.phases["forward"].readings == 3
    assert use.phases["forward"].cores == pytest.approx((0.9 + 1.1 + 0.9) / 3)
    assert use.gpu_percent == pytest.approx(50.0)
    assert table_rows([use])[0]["GPU"] == "50 %"


def test_threads_and_variants_have_lines_of_their_own() -> None:
    one = replace(MEASURED, task=replace(MEASURED.task, threads=1))
    other = replace(MEASURED, task=replace(MEASURED.task, variant="compile"))
    found = used(other, MEASURED, one)
    assert [(use.platform.threads, use.impl.variant) for use in found] == [
        (1, "eager"),
        (2, "eager"),
        (2, "compile"),
    ]


def test_more_cores_than_threads_are_marked() -> None:
    one = replace(MEASURED, task=replace(MEASURED.task, threads=1))
    (line,) = table_rows(used(one))
    assert (line["forward cores"], line["gradient cores"]) == ("1.00", "1.50 !")
    assert line["of n"] == "117 %"
    assert table_rows(used(MEASURED))[0]["gradient cores"] == "1.50"


def test_a_run_without_readings_is_marked_and_one_without_a_time_is_left_out() -> None:
    failed = replace(MEASURED, repeat=1, status=Status.CRASHED, forward=None)
    assert used(failed) == ()
    (line,) = table_rows(used(replace(MEASURED, readings=())))
    assert (line["forward cores"], line["of n"]) == ("no reading", "-")


def test_flat_rows_are_in_plain_units() -> None:
    (line,) = build_flat_rows(used(MEASURED))
    assert line["share"] == pytest.approx(0.5833, abs=1e-4)
    assert (line["peak_rss_bytes"], line["gpu_percent"]) == (3 * 2**20, None)
