"""Bus bandwidths between devices, the ceilings of a group, in `velodrome report --ceilings`."""

import csv
import io
import json
from pathlib import Path

import pytest
from made_measurements import VERIFIED, make_measurement, make_times
from made_rows import typed
from report_texts import row

from velodrome.agents.measurement import Measurement
from velodrome.scheduler.commands.report import Form, ReportKind, report
from velodrome.scheduler.reports.links import find_bus_ceiling, find_link_rates
from velodrome.scheduler.reports.roofline import build_rooflines
from velodrome.scheduler.results.store import Store, new_sweep_id

MIB = 2**20


def exchanged(model: str, ms: float, **changes: object) -> dict[str, object]:
    """A row of an operation between two processes of node n1, which have a row each."""
    plain = {
        "task_id": f"{model} {ms} {changes}",
        "model": model,
        "processes": 2,
        "batch_size": 2,
        "node_id": "n1",
        "hostname": "host1",
        "forward_median_ns": ms * 1e6,
        "gradient_median_ns": None,
    }
    return row(**(plain | changes))


def trained(**changes: object) -> dict[str, object]:
    plain = {"processes": 2, "node_id": "n1", "hostname": "host1", "gradient_flops": 1e9}
    return row(**(plain | changes))


def test_the_best_rate_of_an_operation_is_of_any_size_variant_and_framework() -> None:
    rows = typed(
        [
            exchanged("allreduce-1mib", 1.0),
            exchanged("allreduce-4mib", 2.0),
            exchanged("allreduce-4mib", 3.0, framework="jax"),
            exchanged("alltoall-1mib", 1.0),
        ]
    )
    found = {rate.operation: rate for rate in find_link_rates(rows)}
    assert found["allreduce"].bus_bytes_per_s == pytest.approx(4 * MIB / 2e-3)
    assert found["allreduce"].by == "torch plain, allreduce-4mib"
    assert found["alltoall"].bus_bytes_per_s == pytest.approx(MIB / 2 / 1e-3)  # (n - 1) / n


def test_a_rate_is_the_median_over_repeats_of_verified_rows() -> None:
    times = enumerate((1.0, 2.0, 9.0))
    rows = [exchanged("broadcast-1mib", ms, task_id="same", repeat=at) for at, ms in times]
    rows.append(exchanged("broadcast-4mib", 0.1, verified=False))
    (rate,) = find_link_rates(typed(rows))
    assert rate.bus_bytes_per_s == pytest.approx(MIB / 2e-3)


@pytest.mark.parametrize(
    "other",
    [
        {"node_id": "n2"},
        {"threads": 2},
        {"processes": 4, "batch_size": 4},
        {"nodes": 2, "partner_node_ids": ["n2"], "partner_hostnames": ["host2"]},
    ],
)
def test_the_ceiling_of_a_group_is_between_its_own_devices(other: dict[str, object]) -> None:
    rows = typed([exchanged("allreduce-1mib", 1.0, **other), trained(dtype="bfloat16")])
    assert find_bus_ceiling(find_link_rates(rows), rows[1]) is None
    same = typed([exchanged("allreduce-1mib", 1.0), trained(dtype="bfloat16")])
    found = find_bus_ceiling(find_link_rates(same), same[1])
    assert found is not None and found.operation == "allreduce"


def test_two_nodes_are_the_same_whichever_of_them_leads() -> None:
    there = {"nodes": 2, "processes": 1}
    first = {"node_id": "n1", "partner_node_ids": ["n2"], "partner_hostnames": ["host2"]}
    other = {"node_id": "n2", "partner_node_ids": ["n1"], "partner_hostnames": ["host1"]}
    rows = typed(
        [
            exchanged("allreduce-1mib", 1.0, **there, **first),
            trained(**there, **(other | {"hostname": "host2"})),
        ]
    )
    (rate,) = find_link_rates(rows)
    assert rate.devices.hostnames == ("host1", "host2")
    led_by_other = next(each for each in build_rooflines(rows) if each.node_id == "n2")
    assert led_by_other.bus == rate
    assert led_by_other.partners == ("host1",)


def ran(model: str, processes: int, batch_size: int, ms: float) -> Measurement:
    times = make_times(ms, ms)
    return make_measurement(
        model=model,
        batch_size=batch_size,
        processes=processes,
        cpu_model="Some CPU",
        verified=VERIFIED,
        **(times if model == "lenet" else {"forward": times["forward"]}),
    )


def stored(folder: Path, measurements: list[Measurement]) -> Path:
    store, sweep_id = Store(folder), new_sweep_id()
    with store.hold_sweep(sweep_id):
        for one in measurements:
            store.put(sweep_id, one)
    return folder


def shown(results: Path, form: Form, capsys: pytest.CaptureFixture[str]) -> str:
    report(results, "", ReportKind.CEILINGS, form, None)
    return capsys.readouterr().out


def test_the_report_of_ceilings_shows_the_links_and_the_ceiling_of_the_group(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = stored(
        tmp_path,
        [
            ran("lenet", 1, 64, 5.0),
            ran("lenet", 2, 64, 3.0),
            ran("allreduce-1mib", 2, 2, 1.0),
            ran("alltoall-4mib", 2, 2, 1.0),
        ],
    )
    text = shown(results, Form.MARKDOWN, capsys)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    by_device = {line[2]: line[-2:] for line in lines if len(line) == 10}
    assert by_device["cpu:2, 1 thread"] == ["2.10 GB/s", "torch eager, alltoall-4mib"]
    assert by_device["cpu, 1 thread"] == ["-", "-"]
    links = [line[2:] for line in lines if len(line) == 5 and line[0] == "host1"]
    assert links == [
        ["allreduce", "1.05 GB/s", "torch eager, allreduce-1mib"],
        ["alltoall", "2.10 GB/s", "torch eager, alltoall-4mib"],
    ]
    rows = json.loads(shown(results, Form.JSON, capsys))
    assert {one["processes"]: one["bus_by"] for one in rows} == {
        1: None,
        2: "torch eager, alltoall-4mib",
    }
    table = csv.DictReader(io.StringIO(shown(results, Form.CSV, capsys)))
    reached = {line["processes"]: line["bus_bytes_per_s"] for line in table}
    assert float(reached["2"]) == pytest.approx(2 * MIB / 1e-3)
    assert reached["1"] == ""


def test_a_sweep_without_operations_between_devices_shows_no_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(stored(tmp_path, [ran("lenet", 1, 64, 5.0)]), Form.TERMINAL, capsys)
    assert "bus" not in text
