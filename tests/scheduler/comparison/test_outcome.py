"""Verdicts, means, changes of status and causes of two sides made up of rows."""

import math
from collections.abc import Sequence

import pytest
from made_rows import changed, changed_row

from velodrome.scheduler.comparison.causes import index_nodes, select_likely
from velodrome.scheduler.comparison.cell_names import name_cells
from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.comparison.outcome import ComparisonOutcome, compare_sides, summarize_side
from velodrome.scheduler.comparison.replication_units import group_past_rows
from velodrome.scheduler.comparison.verdicts import OutcomeTurn, compare_times
from velodrome.scheduler.comparison.wording import build_heading
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.results.detail_rows import NodeRow, node_rows
from velodrome.scheduler.results.rows import to_table
from velodrome.scheduler.statistics.canary_attribution import ChangeSource
from velodrome.scheduler.statistics.ratio_tests import Verdict

A, B = "20261123-010203-00000001", "20261124-010203-00000002"
OTHER_LUCK = (1.001, 0.997, 1.003, 0.999, 1.002)
NEWER = {"framework_version": "2.13.0", "environment_hash": "e2"}
NO_NUMBER = {
    "verified": False,
    **{
        f"{phase}_{name}_ns": None
        for phase in ("forward", "gradient")
        for name in ("low", "median", "high")
    },
}
CRASHED = {"status": "crashed", "reason": "killed by SIGSEGV", **NO_NUMBER}


@pytest.fixture
def outcome_of(earlier):
    """Compare two sweeps; the candidate's cells have a history."""

    def found(base, candidate, nodes: Sequence = (), subjects=frozenset()) -> ComparisonOutcome:
        sides = [
            (summarize_side("", (A,), base), base),
            (summarize_side("", (B,), candidate), candidate),
        ]
        return compare_sides(
            *sides,
            index_nodes(nodes),
            subjects=frozenset(subjects),
            least=0.02,
            past=group_past_rows(earlier(candidate)),
        )

    return found


@pytest.fixture
def both(cell):
    """Make a cell on both sides; the candidate has another time and other columns."""

    def made(ms: float = 10, factor: float = 1.0, change=None, **columns):
        candidate = cell(B, ms * factor, jitter=OTHER_LUCK, **(columns | (change or {})))
        return cell(A, ms, **columns), candidate

    return made


def together(*pairs):
    return [row for base, _ in pairs for row in base], [row for _, found in pairs for row in found]


def test_each_time_has_a_verdict_and_the_largest_change_comes_first(outcome_of, both) -> None:
    models = {"lenet": 1.0, "lstm": 1.06, "alexnet": 0.8, "alexnet-plain": 1.015}
    found = outcome_of(
        *together(*(both(10, factor, model=name) for name, factor in models.items()))
    )
    verdicts = [(time.pair.base[0].model, time.phase, time.verdict.value) for time in found.times]
    assert {(model, verdict) for model, _, verdict in verdicts[:2]} == {("alexnet", "faster")}
    assert {(model, verdict) for model, _, verdict in verdicts[2:4]} == {("lstm", "slower")}
    assert [verdict for *_, verdict in verdicts[4:]] == ["undecided"] * 4
    sizes = [abs(math.log(time.comparison.ratio)) for time in found.times]
    assert sizes[:4] == sorted(sizes[:4], reverse=True)


def test_a_certain_change_below_the_practical_minimum_is_undecided(both, earlier) -> None:
    pair = CellPair(*map(tuple, both(10, 1.012)))
    past = group_past_rows(earlier(pair.base))
    assert {time.verdict for time in compare_times([pair], 0.02, past=past)} == {Verdict.UNDECIDED}
    assert {time.verdict for time in compare_times([pair], 0.005, past=past)} == {Verdict.SLOWER}


def test_one_of_many_cells_needs_stronger_evidence_than_one_alone(cell) -> None:
    wide = (0.96, 1.0, 1.04, 0.98, 1.02)
    pair = CellPair(tuple(cell(A, jitter=wide)), tuple(cell(A, 10.6, jitter=wide[::-1])))
    others = [CellPair(pair.base, tuple(cell(A, jitter=wide[::-1]))) for _ in range(200)]
    alone = compare_times([pair], 0.02, alpha=0.2)
    among = compare_times([pair, *others], 0.02, alpha=0.2)
    assert {time.verdict for time in alone} == {Verdict.SLOWER}
    assert {time.verdict for time in among if time.pair is pair} == {Verdict.UNDECIDED}


def test_one_run_against_one_of_the_same_sweep_decides_nothing(cell) -> None:
    found = compare_times(
        [CellPair(tuple(cell(A, repeats=1)), tuple(cell(A, 20, repeats=1)))], 0.02
    )
    assert [time.verdict for time in found] == [Verdict.UNDECIDED] * 2
    assert {time.comparison.reason for time in found} == {
        "one process against one has no spread to compare with: give `repeats: 5`"
    }


def test_the_geometric_mean_counts_its_cells_and_excludes_failures(outcome_of, both) -> None:
    pairs = [both(10, 2.0), both(10, 0.5, model="lstm"), both(change=CRASHED, model="alexnet")]
    found = outcome_of(*together(*pairs))
    assert found.means["gradient"].count == 2
    assert found.means["gradient"].ratio == pytest.approx(1, abs=0.01)
    assert [change.turn for change in found.changes] == [OutcomeTurn.BROKE]


@pytest.mark.parametrize(
    ("before", "after", "turn", "statuses"),
    [
        ({}, CRASHED, OutcomeTurn.BROKE, ("ok", "crashed")),
        (CRASHED, {}, OutcomeTurn.MENDED, ("crashed", "ok")),
        (CRASHED, CRASHED | {"status": "timed_out"}, OutcomeTurn.CHANGED, ("crashed", "timed_out")),
    ],
)
def test_a_changed_status_is_reported_in_both_directions(
    outcome_of, cell, before, after, turn, statuses
) -> None:
    sides = [cell(A) + cell(A, model="lstm", **before), cell(B) + cell(B, model="lstm", **after)]
    (change,) = outcome_of(*sides).changes
    assert (change.turn, (change.base, change.candidate)) == (turn, statuses)


def test_a_partly_failing_cell_is_compared_and_reported(outcome_of, cell) -> None:
    candidate = cell(B)
    candidate[2] = changed_row(candidate[2], **CRASHED)
    found = outcome_of(cell(A), candidate)
    assert [(change.turn, change.candidate) for change in found.changes] == [
        (OutcomeTurn.BROKE, "1 of 5 crashed")
    ]
    assert found.times[0].candidate.repeats == 4


def test_the_same_failure_on_both_sides_is_no_change(outcome_of, cell) -> None:
    found = outcome_of(
        cell(A) + cell(A, model="lstm", **CRASHED), cell(B) + cell(B, model="lstm", **CRASHED)
    )
    assert (found.changes, found.silent) == ((), 1)


@pytest.mark.parametrize(
    "bounds", [(math.inf, math.inf, math.inf), (-1, 2, 3), (3, 2, 1), (0, 0, 0)]
)
def test_an_impossible_time_is_no_number(outcome_of, cell, bounds) -> None:
    forged = dict(zip(("low", "median", "high"), bounds, strict=True))
    candidate = cell(B, **{f"gradient_{name}_ns": value for name, value in forged.items()})
    assert [time.phase for time in outcome_of(cell(A), candidate).times] == ["forward"]


def node(sweep_id: str, **columns: object) -> NodeRow:
    plain = {"sweep_id": sweep_id, "node_id": "n1", "kernel": "6.1", "governor": "performance"}
    return node_rows(to_table("nodes", [plain | columns]))[0]


def test_the_likeliest_cause_changed_only_in_the_cells_that_changed(outcome_of, both) -> None:
    moved = both(10, 1.2, NEWER)
    still = both(10, 1.0, framework="jax", variant="jit")
    found = outcome_of(*together(moved, still), nodes=[node(A), node(B, kernel="6.8")])
    assert [(cause.name, cause.base, cause.candidate) for cause in found.causes] == [
        ("torch version", "2.12.1", "2.13.0"),
        ("torch environment", "e1", "e2"),
        ("kernel", "6.1", "6.8"),
    ]
    assert [cause.score for cause in found.causes] == [1, 1, 0]


def test_other_blas_kernels_are_a_cause_and_unknown_kernels_are_none(outcome_of, both) -> None:
    base, candidate = both(10, 2.5)
    lesser, better = ({"kernels": [f"openblas 0.3.13 {core}"]} for core in ("PRESCOTT", "SKYLAKEX"))
    found = outcome_of(changed(base, **better), changed(candidate, **lesser))
    likely = [(cause.name, cause.base, cause.candidate) for cause in select_likely(found.causes)]
    assert likely == [
        ("torch BLAS kernels", "openblas 0.3.13 SKYLAKEX", "openblas 0.3.13 PRESCOTT")
    ]
    earlier = changed(base, kernels=None)
    assert outcome_of(earlier, changed(candidate, **lesser)).causes == ()


def test_a_setting_that_changed_only_in_unchanged_cells_is_no_likely_cause(
    outcome_of, both
) -> None:
    moved = both(10, 1.2)
    still = both(10, 1.0, NEWER, framework="jax", variant="jit")
    found = outcome_of(*together(moved, still))
    assert [cause.name for cause in found.causes] == ["jax version", "jax environment"]
    assert select_likely(found.causes) == ()


def canaries(rows, ns: float):
    noise = (1, 1.002, 0.999, 1.001, 0.998)
    return [
        changed_row(
            row,
            canary_model="numpy 2.4 canary",
            canary_before_ns=ns * noise[row.repeat],
            canary_after_ns=ns * noise[-1 - row.repeat],
        )
        for row in rows
    ]


@pytest.mark.parametrize(
    ("canary", "sources", "first"),
    [(1.1, ChangeSource.MACHINE, "kernel"), (1.0, ChangeSource.FRAMEWORK, "torch version")],
)
def test_canaries_attribute_a_change_to_machine_or_framework_and_rank_its_causes(
    outcome_of, both, canary, sources, first
) -> None:
    base, candidate = both(10, 1.1, NEWER)
    nodes = [node(A), node(B, kernel="6.8")]
    found = outcome_of(canaries(base, 1e6), canaries(candidate, canary * 1e6), nodes)
    assert {time.attribution.cause for time in found.times if time.attribution} == {sources}
    assert found.causes[0].name == first


def test_the_driver_is_that_of_the_used_gpus(outcome_of, both) -> None:
    def gpus(driver: str):
        return [{"uuid": "G1", "driver": driver}, {"uuid": "G2", "driver": "999"}]

    pair = both(10, 1.1, device="gpu", gpu_count=1, gpu_uuids=["G1"], gpu_name="H100")
    found = outcome_of(*pair, nodes=[node(A, gpus=gpus("550")), node(B, gpus=gpus("560"))])
    assert [(cause.name, cause.base, cause.candidate) for cause in found.causes] == [
        ("GPU driver", "550", "560")
    ]


def test_another_node_of_the_type_is_a_cause_unless_the_sides_share_a_node(
    outcome_of, cell
) -> None:
    def on(sweep_id: str, hosts: str):
        return [
            changed_row(row, hostname=host, node_id=host)
            for row, host in zip(cell(sweep_id), hosts, strict=True)
        ]

    assert [cause.name for cause in outcome_of(on(A, "aabbb"), on(B, "ccddd")).causes] == ["node"]
    assert outcome_of(on(A, "aabbb"), on(B, "bbbcc")).causes == ()


def test_sides_without_a_recorded_difference_are_an_a_a_comparison(outcome_of, both) -> None:
    assert outcome_of(*both()).is_same
    assert outcome_of(
        *both(change={"interference_free": False})
    ).is_same  # interference is no setting
    assert not outcome_of(*both(change=NEWER)).is_same


def test_a_comparison_of_frameworks_reports_what_else_differs(outcome_of, cell) -> None:
    other = cell(B, framework="numpy", variant="float64", notes=["float64"])
    found = outcome_of(cell(A), other, subjects={"framework"})
    assert [(difference.what, count) for difference, count in found.unfair] == [
        ("precision", 1),
        ("variant", 1),
        ("notes", 1),
    ]
    assert found.causes == ()


def test_nothing_comparable_is_an_error_with_the_field_and_the_remedy(outcome_of, cell) -> None:
    with pytest.raises(ConfigError) as caught:
        outcome_of(cell(A), cell(B, node_type="t2", cpu_model="Another CPU"))
    assert str(caught.value) == (
        "command line: these are not comparable: node_type is t1 in the base, t2 in the candidate; "
        "cpu_model is Some CPU in the base, Another CPU in the candidate. "
        "If that is what you compare, add node_type=t1 to BASE and node_type=t2 to CANDIDATE."
    )
    with pytest.raises(ConfigError, match=r"model_hash is .* Measure one of them again"):
        outcome_of(cell(A), cell(B, model_hash="other"))


def test_nothing_in_common_is_an_error_that_names_the_field(outcome_of, cell) -> None:
    with pytest.raises(ConfigError) as caught:
        outcome_of(cell(A), cell(B, framework="jax", variant="jit"))
    assert str(caught.value) == (
        "command line: BASE and CANDIDATE have no cell in common: framework is torch in the base, "
        "jax in the candidate. If that is what you compare, add framework=torch to BASE and "
        "framework=jax to CANDIDATE."
    )


def test_a_comparison_of_precisions_says_so_and_finds_no_other_difference(outcome_of, both) -> None:
    found = outcome_of(*both(10, 0.6, {"dtype": "bfloat16"}), subjects={"dtype"})
    assert [time.verdict.value for time in found.times] == ["faster", "faster"]
    assert found.unfair == ()
    assert build_heading(found)[-1] == (
        "precision: float32 in the base, bfloat16 in the candidate; each is verified within the "
        "tolerance of its own precision"
    )


def test_cells_of_several_precisions_are_named_by_them(outcome_of, both) -> None:
    found = outcome_of(*together(both(10), both(6, dtype="bfloat16")))
    names = {name_cells(found).format_short(time.pair.candidate[0]) for time in found.times}
    assert names == {"torch eager lenet b64 cpu 1t", "torch eager lenet b64 cpu 1t bfloat16"}


def test_a_sweep_in_another_precision_is_refused_with_the_way_to_compare_it(
    outcome_of, both
) -> None:
    with pytest.raises(ConfigError) as caught:
        outcome_of(*both(10, 0.6, {"dtype": "bfloat16"}))
    assert str(caught.value).endswith(
        "dtype is float32 in the base, bfloat16 in the candidate. If that is what you compare, "
        "add dtype=float32 to BASE and dtype=bfloat16 to CANDIDATE."
    )
