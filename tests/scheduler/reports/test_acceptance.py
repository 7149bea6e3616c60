"""Verdicts of acceptance: rows of fleets that were written and read as a sweep's are."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_fleets import MODELS, REPEATS, SWEEP, make_fleet, make_gpus, make_node, put

from velodrome.agents.measurement import Measurement, Status
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.acceptance.baseline import (
    format_baseline,
    read_baseline,
    select_accepted,
)
from velodrome.scheduler.reports.acceptance.evidence import (
    FleetEvidence,
    UnitKind,
    collect_evidence,
)
from velodrome.scheduler.reports.acceptance.text import describe_reasons, summarize
from velodrome.scheduler.reports.acceptance.verdicts import (
    Acceptance,
    Times,
    UnitVerdict,
    judge_fleet,
)
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import task_rows

PASS, FAIL, CANNOT_TELL = Acceptance.PASS, Acceptance.FAIL, Acceptance.CANNOT_TELL


def evidence_of(store: Store, fleet: list[Measurement]) -> FleetEvidence:
    put(store, fleet)
    return collect_evidence(task_rows(store.read("tasks", SWEEP)))


def judged(
    store: Store, fleet: list[Measurement], baseline: Times | None = None
) -> dict[str, UnitVerdict]:
    """Return the verdicts by the name of the machine."""
    return {one.unit.name: one for one in judge_fleet(evidence_of(store, fleet), baseline)}


def verdicts(found: dict[str, UnitVerdict]) -> dict[str, Acceptance]:
    return {name: one.verdict for name, one in found.items()}


def changed(fleet: list[Measurement], host: str, model: str, **columns: object) -> None:
    """Change the first repeat of a model on a host."""
    at = next(at for at, one in enumerate(fleet) if (one.hostname, one.task.model) == (host, model))
    fleet[at] = replace(fleet[at], **columns)


def test_alike_nodes_all_pass(store: Store) -> None:
    found = judged(store, make_fleet(8))
    assert set(verdicts(found).values()) == {PASS}
    assert {one.peers for one in found.values()} == {7}
    assert {one.cells for one in found.values()} == {len(MODELS)}
    assert all((one.detectable or 1) < 0.06 for one in found.values())


def test_a_slow_node_fails_with_its_slow_down(store: Store) -> None:
    found = judged(store, make_fleet(8, {3: 1.12}))
    assert [name for name, one in found.items() if one.verdict is FAIL] == ["host3"]
    assert found["host3"].ratio == pytest.approx(1.12, abs=0.02)
    assert "slower than its type in the median of its cells" in describe_reasons(found["host3"])[0]


def test_a_node_that_is_slow_in_copies_alone_fails_by_that_cell(store: Store) -> None:
    fleet = [one for one in make_fleet(8) if (one.hostname, one.task.model) != ("host3", "copy")]
    fleet += make_node(3, {"copy": 13.0})
    found = judged(store, fleet)
    assert [name for name, one in found.items() if one.verdict is FAIL] == ["host3"]
    (slow,) = found["host3"].slow
    assert slow.cell is not None and slow.cell.model == "copy"


def test_a_fast_node_is_not_rejected(store: Store) -> None:
    assert FAIL not in verdicts(judged(store, make_fleet(8, {3: 0.8}))).values()


def test_two_slow_nodes_of_eight_both_fail(store: Store) -> None:
    found = judged(store, make_fleet(8, {1: 1.15, 6: 1.2}))
    assert sorted(name for name, one in found.items() if one.verdict is FAIL) == ["host1", "host6"]


def test_three_nodes_without_a_baseline_cannot_be_judged(store: Store) -> None:
    found = judged(store, make_fleet(3, {0: 1.5}))
    assert set(verdicts(found).values()) == {CANNOT_TELL}
    assert "fewer than 4 machines of its type, and no baseline" in describe_reasons(found["host0"])


def test_nodes_that_all_differ_do_not_pass_because_a_slow_one_would_be_missed(
    store: Store,
) -> None:
    found = judged(store, make_fleet(6, {at: 1 + 0.15 * at for at in range(6)}))
    assert set(verdicts(found).values()) == {CANNOT_TELL}
    assert "might be missed" in describe_reasons(found["host0"])[0]


def test_nodes_of_another_type_are_judged_apart(store: Store) -> None:
    other = make_fleet(4, {at: 2.0 for at in range(20, 24)}, seed=3, first=20, node_type="t2")
    found = judged(store, make_fleet(6) + other)
    assert FAIL not in verdicts(found).values()
    assert found["host20"].peers == 3


def test_one_slow_gpu_of_a_node_fails_by_its_uuid(store: Store) -> None:
    found = judged(store, make_gpus(8, {5: 1.2}))
    assert [name for name, one in found.items() if one.verdict is FAIL] == ["GPU-5 on host1"]
    assert {one.unit.kind for one in found.values()} == {UnitKind.GPU}


@pytest.mark.parametrize("status", [Status.DISAGREED, Status.CRASHED, Status.TIMED_OUT])
def test_one_wrong_result_where_others_are_right_fails_a_node_however_fast(
    store: Store, status: Status
) -> None:
    fleet = make_fleet(3)
    changed(fleet, "host1", "lstm", status=status, reason="gradient of w: error 0.3", forward=None)
    found = judged(store, fleet)
    assert [name for name, one in found.items() if one.verdict is FAIL] == ["host1"]
    (reason, *_) = describe_reasons(found["host1"])
    assert (
        reason == f"{status} in torch eager, lstm, where 2 others did not: gradient of w: error 0.3"
    )


def test_a_task_that_crashes_everywhere_rejects_nobody(store: Store) -> None:
    fleet = make_fleet(6)
    for at in range(6):
        changed(fleet, f"host{at}", "lstm", status=Status.CRASHED, reason="signal 11", forward=None)
    assert set(verdicts(judged(store, fleet)).values()) == {PASS}


def test_of_two_nodes_that_disagree_nobody_can_tell_which_is_right(store: Store) -> None:
    fleet = make_fleet(2)
    changed(fleet, "host1", "lstm", status=Status.DISAGREED, reason="wrong", forward=None)
    found = judged(store, fleet)
    assert set(verdicts(found).values()) == {CANNOT_TELL}
    assert describe_reasons(found["host1"])[0] == (
        "disagreed in torch eager, lstm, as on 1 of 2 machines of its type"
    )


def test_a_node_that_was_lost_is_not_accepted(store: Store) -> None:
    fleet = make_fleet(6)
    changed(fleet, "host2", "lstm", status=Status.LOST, reason="the node left", forward=None)
    found = judged(store, fleet)
    assert found["host2"].verdict is CANNOT_TELL
    assert describe_reasons(found["host2"]) == ["lost: the node left"]


def test_a_process_with_interference_does_not_count_beside_others(store: Store) -> None:
    fleet = [one for one in make_fleet(8) if (one.hostname, one.task.model) != ("host3", "copy")]
    times = make_node(3, {"copy": 10.0})
    loud = [replace(one, interference_free=False) for one in make_node(3, {"copy": 20.0})]
    found = judged(store, [*fleet, *loud[:2], *times[2:]])
    assert found["host3"].verdict is PASS


def test_a_slow_node_with_interference_throughout_is_not_rejected_but_run_again(
    store: Store,
) -> None:
    fleet = make_fleet(8, {3: 1.3})
    loud = [
        replace(one, interference_free=one.hostname != "host3", interference="steal")
        for one in fleet
    ]
    found = judged(store, loud)
    assert found["host3"].verdict is CANNOT_TELL
    assert "every process had interference: run it again" in describe_reasons(found["host3"])[-1]


class TestBaselines:
    @pytest.fixture
    def baseline(self, tmp_path: Path) -> Times:
        """Eight nodes, one of them bad, written to a file and read again."""
        evidence = evidence_of(Store(tmp_path / "earlier"), make_fleet(8, {2: 1.4}, seed=9))
        kept = select_accepted(evidence, judge_fleet(evidence))
        file = tmp_path / "fleet.json"
        file.write_text(format_baseline(kept, SWEEP))
        read = read_baseline(file)
        assert read == kept
        return read

    def test_a_failed_machine_is_left_out(self, baseline: Times) -> None:
        assert {len(times) for times in baseline.values()} == {7}
        assert not any(unit.name == "host2" for times in baseline.values() for unit in times)

    def test_one_new_node_is_accepted_by_it(self, store: Store, baseline: Times) -> None:
        found = judged(store, make_fleet(1, seed=4), baseline)
        assert verdicts(found) == {"host0": PASS}
        assert found["host0"].peers == 7

    def test_one_new_node_is_rejected_by_it(self, store: Store, baseline: Times) -> None:
        found = judged(store, make_fleet(1, {0: 1.1}, seed=4), baseline)
        assert verdicts(found) == {"host0": FAIL}
        assert "slower than the baseline" in describe_reasons(found["host0"])[0]

    def test_a_fleet_that_became_slow_as_a_whole_is_rejected(
        self, store: Store, baseline: Times
    ) -> None:
        found = judged(store, make_fleet(6, {at: 1.15 for at in range(6)}, seed=4), baseline)
        assert set(verdicts(found).values()) == {FAIL}

    def test_a_cell_of_another_version_is_not_compared_with_it(
        self, store: Store, baseline: Times
    ) -> None:
        found = judged(store, make_fleet(1, seed=4, framework_version="9.0"), baseline)
        assert verdicts(found) == {"host0": CANNOT_TELL}

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "is not JSON"),
            ("[]", "is no baseline"),
            ('{"format": "velodrome baseline", "version": 7}', "has version 7"),
            ('{"format": "velodrome baseline", "version": 1}', "has a damaged cell"),
            ('{"format": "velodrome baseline", "version": 1, "cells": [{}]}', "has a damaged cell"),
        ],
    )
    def test_a_file_that_is_none_is_refused_with_its_name(
        self, tmp_path: Path, text: str, problem: str
    ) -> None:
        file = tmp_path / "fleet.json"
        file.write_text(text)
        with pytest.raises(ConfigError, match=problem) as caught:
            read_baseline(file)
        assert str(file) in str(caught.value)

    def test_a_missing_file_is_refused_with_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
            read_baseline(tmp_path / "none.json")

    @pytest.mark.parametrize("ns", ["-1", "NaN", "0"])
    def test_a_time_that_cannot_be_is_refused(self, tmp_path: Path, store: Store, ns: str) -> None:
        kept = evidence_of(store, make_fleet(1, models=("copy",))).times_ns
        text = format_baseline(kept, SWEEP)
        file = tmp_path / "fleet.json"
        (time_ns,) = (ns for times in kept.values() for ns in times.values())
        file.write_text(text.replace(f'"ns": {time_ns}', f'"ns": {ns}'))
        with pytest.raises(ConfigError, match="damaged cell"):
            read_baseline(file)


def test_the_summary_counts_verdicts(store: Store) -> None:
    found = [*judged(store, make_fleet(8, {3: 1.12})).values()]
    assert summarize(found) == "8 machines: 7 pass, 1 fail"
    assert summarize([]) == "no machine has a result"
    assert REPEATS * len(MODELS) * 8 == len(store.read("tasks", SWEEP))
