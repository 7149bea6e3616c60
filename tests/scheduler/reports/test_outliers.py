"""The outlier: hand-worked z-scores, rows from a real results folder, and fleets by chance."""

import csv
import io
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from made_measurements import make_measurement, make_times
from made_rows import CELL, typed

from velodrome.agents.measurement import Measurement, Status
from velodrome.scheduler.commands.report import Form, ReportKind, outlier_status, report
from velodrome.scheduler.reports.cell_keys import Implementation, Platform, Workload
from velodrome.scheduler.reports.outliers import (
    ComparedMachine,
    Outlier,
    TaskTimes,
    collect_task_times,
    compute_robust_z,
    find_outliers,
)
from velodrome.scheduler.reports.outliers_text import (
    COLUMNS,
    build_flat_rows,
    summarize_comparison,
    summarize_outliers,
    table_rows,
)
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import task_rows

SWEEP = "20261124-063012-a1b2"
# Median 102.5; distances 2.5 1.5 0.5 0.5 1.5 27.5, their median 1.5; 1.5 x 1.4826 = 2.2239.
BY_HAND_MS = (100.0, 101.0, 102.0, 103.0, 104.0, 130.0)
BY_HAND_Z = (-1.12415, -0.67449, -0.22483, 0.22483, 0.67449, 12.36566)


def test_z_scores_agree_with_those_worked_by_hand() -> None:
    assert compute_robust_z(BY_HAND_MS) == pytest.approx(BY_HAND_Z, abs=1e-5)


def test_the_median_absolute_deviation_agrees_with_rs_manual() -> None:
    # help(mad): mad(c(1:9), constant = 1) == mad(c(1:8, 100), constant = 1), and it is 2.
    assert compute_robust_z([*range(1, 10)])[-1] == pytest.approx(4 / (1.4826 * 2))
    assert compute_robust_z([*range(1, 9), 100])[-1] == pytest.approx(95 / (1.4826 * 2))


def test_if_more_than_half_tie_any_other_value_is_infinitely_far() -> None:
    assert compute_robust_z([5.0, 5.0, 5.0, 5.1, 4.0]) == (0, 0, 0, math.inf, -math.inf)


def run(node: str, ms: float, model: str = "lenet", **columns: object) -> Measurement:
    """Make one repeat of torch on a node, with its gradient time."""
    own = {"node_id": node, "hostname": f"host-{node}", "repeat": int(node.removeprefix("n"))}
    defaults = {"batch_size": 8, "cpu_model": "Some CPU", **make_times(ms, ms)}
    return make_measurement(model=model, **(own | defaults | columns))


def runs(times_ms: Sequence[float], model: str = "lenet", **changes: object) -> list[Measurement]:
    return [run(f"n{i}", ms, model, **changes) for i, ms in enumerate(times_ms)]


def found_in(store: Store, measurements: Sequence[Measurement]) -> tuple[Outlier, ...]:
    with store.hold_sweep(SWEEP):
        for one in measurements:
            store.put(SWEEP, one)
    return find_outliers(collect_task_times(task_rows(store.read("tasks", SWEEP))))


def test_a_slow_node_is_named_with_its_evidence(store: Store) -> None:
    (outlier,) = found_in(store, runs(BY_HAND_MS))
    assert (outlier.machine.hostname, outlier.verdict, outlier.tasks) == ("host-n5", "slow", 1)
    assert outlier.worst.z == pytest.approx(BY_HAND_Z[-1], abs=1e-5)
    assert outlier.ratio == pytest.approx(130 / 102.5)


def test_a_fast_node_is_an_outlier_too(store: Store) -> None:
    (outlier,) = found_in(store, runs([100, 101, 100, 99, 70]))
    assert (outlier.machine.node_id, outlier.verdict) == ("n4", "fast")


def test_a_time_with_a_failed_check_makes_no_node_an_outlier(store: Store) -> None:
    disproved = run("n5", 1, "lenet", status=Status.DISAGREED, reason="drained failed")
    assert found_in(store, [*runs([100, 101, 100, 99, 100]), disproved]) == ()


def test_an_outlier_in_several_tasks_is_named_once(store: Store) -> None:
    models = ("lenet", "lstm", "alexnet")
    fleet = [one for model in models[:2] for one in runs(BY_HAND_MS, model)]
    fleet += runs([100, 101, 102, 103, 104, 160], models[2])
    (outlier,) = found_in(store, fleet)
    assert (len(outlier.deviations), outlier.tasks) == (3, 3)
    assert outlier.worst.task.workload.model == "alexnet"
    assert outlier.ratio == pytest.approx(130 / 102.5)  # the median of three


def test_a_large_deviation_with_a_small_difference_in_time_is_no_outlier() -> None:
    times = {0: 100.0, 1: 100.1, 2: 100.2, 3: 99.9}
    assert find_outliers([heat(0, times | {4: 104.9})]) == ()
    assert len(find_outliers([heat(0, times | {4: 105.2})])) == 1


def test_nodes_that_all_differ_have_no_outlier(store: Store) -> None:
    assert found_in(store, runs([100, 120, 140, 160, 180, 200])) == ()


def test_fewer_than_four_nodes_are_not_compared(store: Store) -> None:
    assert found_in(store, runs([100, 100, 300])) == ()
    ran = collect_task_times(task_rows(store.read("tasks", SWEEP)))
    assert summarize_comparison(ran, ()) == (
        "no comparison: no task ran on 4 or more machines of one type"
    )


def test_nodes_are_compared_only_with_those_of_their_own_type(store: Store) -> None:
    other = [
        run(f"n{i}", 200, node_type="t2", hostname=f"other-{i}", node_id=f"o{i}")
        for i in range(10, 14)
    ]
    assert found_in(store, runs([100, 101, 99, 100]) + other) == ()


def test_frameworks_of_another_version_are_not_compared(store: Store) -> None:
    fleet = runs([100, 101, 99, 100])
    fleet.append(run("n4", 200, framework_version="2.0"))
    assert found_in(store, fleet) == ()


def test_the_median_of_repeats_counts_so_that_one_bad_run_names_no_node(store: Store) -> None:
    fleet = [
        run("n4", 300 if (i, r) == (2, 0) else 100 + i, repeat=10 * r + i, node_id=f"n{i}")
        for r in range(3)
        for i in range(5)
    ]
    assert found_in(store, fleet) == ()


def test_a_model_without_gradients_is_compared_by_its_forward_time(store: Store) -> None:
    fleet = [run(f"n{i}", ms, "copy", gradient=None) for i, ms in enumerate(BY_HAND_MS)]
    (outlier,) = found_in(store, fleet)
    assert outlier.machine.node_id == "n5"


def test_rows_without_a_possible_time_are_left_out() -> None:
    row = CELL | {"gradient_median_ns": None}
    assert (
        collect_task_times(
            typed([row | {"forward_median_ns": None}, row | {"forward_median_ns": -1.0}])
        )
        == ()
    )
    assert collect_task_times(typed([row | {"forward_median_ns": math.nan}])) == ()


def test_a_slow_gpu_among_equal_gpus_of_one_node_is_named_by_its_uuid(store: Store) -> None:
    fleet = [
        make_measurement(
            device="gpu",
            gpu_count=1,
            repeat=gpu,
            gpu_name="NVIDIA H100",
            gpu_uuids=(f"GPU-{gpu}",),
            forward=make_times(ms, ms)["forward"],
        )
        for gpu, ms in enumerate([10, 10.1, 10.2, 12, 9.9, 10, 10.1, 10])
    ]
    (outlier,) = found_in(store, fleet)
    assert outlier.machine.gpu_uuids == ("GPU-3",)
    assert summarize_outliers([outlier]).startswith(
        "outlier: GPU-3 on host1 is slow, 1.19x the median"
    )
    assert table_rows([outlier])[0]["GPU"] == "GPU-3"


def test_a_deviation_that_may_be_chance_among_many_tasks_names_no_node() -> None:
    alike = [heat(number, {node: 100.0 + node for node in range(6)}) for number in range(21)]
    slow, slower, fast = (
        heat(number, {node: ms if node == 2 else 100.0 + node for node in range(6)})
        for number, ms in ((30, 150.0), (31, 160.0), (32, 50.0))
    )
    assert len(find_outliers([slow])) == 1
    assert find_outliers([slow, alike[0]]) == ()  # one of two
    assert find_outliers([slow, fast]) == ()  # to different sides
    assert len(find_outliers([slow, slower, *alike[:18]])) == 1  # a tenth
    assert find_outliers([slow, slower, *alike]) == ()
    (outlier,) = find_outliers([slow, slower, fast])
    assert (outlier.verdict, len(outlier.deviations), outlier.tasks) == ("slow", 2, 3)


def heat(number: int, times_ms: Mapping[int, float]) -> TaskTimes:
    """A task on nodes that are called by numbers."""
    times = {ComparedMachine(f"host{node}", f"n{node}"): ms * 1e6 for node, ms in times_ms.items()}
    platform = Platform("t1", "Some CPU", "cpu", 1, "float32")
    return TaskTimes(
        platform, Workload(f"model{number}", 8), Implementation("torch", "eager"), times
    )


class TestByChance:
    """Twenty alike nodes, ten tasks, times with 1 % of noise; the seed is fixed."""

    SWEEPS = 400

    def fleets(self, factors: Mapping[int, float]) -> list[tuple[Outlier, ...]]:
        """The outliers of each sweep; the nodes named are slower by their factor."""
        chance = random.Random(20261124)

        def task(number: int) -> TaskTimes:
            times = {node: 100 * chance.gauss(1, 0.01) for node in range(20)}
            return heat(number, {node: ms * factors.get(node, 1) for node, ms in times.items()})

        return [find_outliers([task(number) for number in range(10)]) for _ in range(self.SWEEPS)]

    def test_equal_nodes_give_a_false_alarm_in_under_one_percent_of_sweeps(self) -> None:
        assert sum(map(bool, self.fleets({}))) < 0.01 * self.SWEEPS

    def test_a_node_that_is_8_percent_slow_is_named_in_over_95_percent(self) -> None:
        found = self.fleets({7: 1.08})
        named = [[outlier.machine.hostname for outlier in odds] for odds in found]
        assert sum(names == ["host7"] for names in named) > 0.95 * self.SWEEPS


class TestForms:
    @pytest.fixture
    def results(self, store: Store, root: Path) -> Path:
        found_in(store, runs(BY_HAND_MS))
        return root

    def shown(
        self,
        results: Path,
        form: Form,
        capsys: pytest.CaptureFixture[str],
        kind: ReportKind = ReportKind.OUTLIERS,
    ) -> str:
        rows = report(results, "", kind, form, None).rows
        assert outlier_status(rows) == 1
        return capsys.readouterr().out

    def test_json_and_csv_have_a_row_per_outlier(
        self, results: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (row,) = json.loads(self.shown(results, Form.JSON, capsys))
        assert tuple(row) == COLUMNS
        assert (row["hostname"], row["verdict"], row["outlier_tasks"]) == ("host-n5", "slow", 1)
        assert row["worst_z"] == pytest.approx(BY_HAND_Z[-1], abs=1e-5)
        (line,) = csv.DictReader(io.StringIO(self.shown(results, Form.CSV, capsys)))
        assert (line["hostname"], line["worst_machines"]) == ("host-n5", "6")

    @pytest.mark.parametrize("form", [Form.TERMINAL, Form.MARKDOWN])
    def test_tables_name_an_outlier_with_its_worst_task_and_the_rule(
        self, results: Path, form: Form, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = self.shown(results, form, capsys)
        for word in ("host-n5", "slow", "1 of 1", "1.268x", "torch eager, lenet b8, cpu 1t"):
            assert word in text
        assert "+12.4" in text
        assert "6 machines compared in 1 task: 1 outlier" in text
        assert "1.4826 MAD" in text

    @pytest.mark.parametrize("form", [Form.TERMINAL, Form.MARKDOWN])
    def test_the_default_report_ends_with_the_outliers(
        self, results: Path, form: Form, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = self.shown(results, form, capsys, ReportKind.TIMES)
        assert "outlier: host-n5 is slow, 1.27x the median of its type in 1 of 1 task" in text

    def test_without_an_outlier_nothing_is_named_and_the_status_is_0(
        self, store: Store, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found_in(store, runs([100, 101, 99, 100]))
        assert outlier_status(report(root, "", ReportKind.TIMES, Form.TERMINAL, None).rows) == 0
        assert "outlier:" not in capsys.readouterr().out
        report(root, "", ReportKind.OUTLIERS, Form.TERMINAL, None)
        assert "4 machines compared in 1 task: no outlier" in capsys.readouterr().out
        report(root, "", ReportKind.OUTLIERS, Form.CSV, None)
        assert capsys.readouterr().out == ",".join(COLUMNS) + "\n"

    def test_one_line_names_three_of_many_outliers(self) -> None:
        times = {node: 100.0 if node < 20 else 200.0 + node for node in range(25)}
        found = find_outliers([heat(0, times)])
        assert len(found) == 5
        assert "and 2 more" in summarize_outliers(found)
        assert [row["z"] for row in table_rows(found)] == ["+inf"] * 5
        assert {row["worst_z"] for row in build_flat_rows(found)} == {math.inf}
