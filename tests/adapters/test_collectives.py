"""Collective operations are models: known values, sizes and bandwidths, in torch's groups."""

import numpy
import pytest

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.collectives import ABOUT, find_exchange
from velodrome.adapters.models.sizes import SIZES
from velodrome.adapters.proof import reference, seeding
from velodrome.adapters.proof.agreement import Disagreed, require_values
from velodrome.adapters.proof.collective_results import compute_expected_output, compute_results
from velodrome.adapters.protocol import PASSED, Checked, Failed, Timed

ROWS = numpy.arange(16, dtype=numpy.float32).reshape(2, 8)
LOW, HIGH = ROWS
FULL = pytest.mark.full


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("allreduce", [LOW + HIGH, LOW + HIGH]),
        ("broadcast", [LOW, LOW]),
        ("allgather", [[0, 1, 2, 3, 8, 9, 10, 11]] * 2),
        ("reducescatter", [[8, 10, 12, 14], [16, 18, 20, 22]]),
        ("alltoall", [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]]),
    ],
)
def test_each_operation_gives_each_device_what_its_definition_says(operation, expected) -> None:
    assert compute_results(operation, ROWS).tolist() == numpy.array(expected).tolist()


def test_shares_are_whole_16_bytes_and_a_rest_is_left_out() -> None:
    rows = numpy.arange(3 * 256, dtype=numpy.float32).reshape(3, 256)
    gathered = compute_results("allgather", rows)
    assert gathered.shape == (3, 252)
    assert gathered[2].tolist() == [*rows[0, :84], *rows[1, :84], *rows[2, :84]]
    exchange = find_exchange(MODELS["allgather-1kib"], 3)
    assert exchange is not None
    assert exchange.size_bytes == 4 * 252


@pytest.mark.parametrize(
    ("operation", "factor"),
    [
        ("allreduce", 1.5),
        ("allgather", 0.75),
        ("reducescatter", 0.75),
        ("alltoall", 0.75),
        ("broadcast", 1.0),
    ],
)
def test_bus_bandwidth_of_four_devices_is_that_of_nccl_tests(operation, factor) -> None:
    exchange = find_exchange(MODELS[f"{operation}-1mib"], 4)
    assert exchange == (operation, 2**20, factor * 2**20)


def test_there_is_a_model_of_every_operation_and_size_from_1_kib_to_1_gib() -> None:
    assert [min(SIZES), max(SIZES)] == [2**10, 2**30]
    units = ("1kib", "16kib", "256kib", "4mib", "64mib", "1gib")
    assert {f"{operation}-{unit}" for operation in ABOUT for unit in units} <= {*MODELS}


@pytest.mark.parametrize("operation", ABOUT)
def test_expected_values_differ_among_batches_and_a_sum_is_exact_in_any_order(operation) -> None:
    model = MODELS[f"{operation}-4kib"]
    drawn = seeding.draw_batches(model, 64, 0) + seeding.draw_fresh_batches(model, 64, 0)
    expected = [compute_expected_output(model, batch.inputs) for batch in drawn]
    assert len({values.tobytes() for values in expected}) == len(drawn) == 4
    rows = drawn[0].inputs
    forward = numpy.add.accumulate(rows)[-1]
    backward = numpy.add.accumulate(rows[::-1])[-1]
    assert forward.tolist() == backward.tolist()
    assert forward.tolist() == rows.astype(numpy.float64).sum(axis=0).tolist()


@pytest.mark.parametrize("operation", ABOUT)
def test_values_that_no_operation_exchanged_are_not_the_expected_ones(operation) -> None:
    model = MODELS[f"{operation}-4kib"]
    rows = seeding.draw_batches(model, 2, 0)[0].inputs
    expected = compute_expected_output(model, rows)
    with pytest.raises(Disagreed, match=r"values are not what|of shape"):
        require_values(rows, expected, f"what {operation} gives")


def test_a_reference_of_a_collective_holds_no_values_of_its_batches() -> None:
    found = reference.compute_reference(MODELS["allreduce-1gib"], 64, 0, devices=64)
    assert not found.losses
    assert len(found.checked) == 2


def passed(events) -> set[str]:
    return {each.name for each in events if isinstance(each, Checked) and each.outcome == PASSED}


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("torch")


@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize(
    "operation",
    ["allreduce", "alltoall"]
    + [pytest.param(each, marks=FULL) for each in ("allgather", "reducescatter", "broadcast")],
)
def test_torch_agrees_and_passes_every_check_on_two_processes(bench, operation) -> None:
    events = bench.measure(f"{operation}-64kib", devices=2, batch_size=2)
    (timed,) = [each for each in events if isinstance(each, Timed)]
    assert timed.phase == "forward"
    assert {"different_values", "timed_is_checked", "clocked_by_two"} <= passed(events)
    assert not isinstance(events[-1], Failed), events[-1]


@pytest.mark.full
@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize("operation", ABOUT)
def test_torch_agrees_on_three_processes_whose_shares_leave_a_rest(bench, operation) -> None:
    verified = bench.agrees(f"{operation}-1kib", devices=3, batch_size=3)
    assert f"{operation} of torch.distributed over gloo on 3 processes" in verified.notes


@FULL
@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "devices"),
    [("allreduce", 2), ("allgather", 3), ("reducescatter", 3), ("alltoall", 2)],
)
def test_jax_agrees_on_several_devices_of_one_process(workers_of, operation, devices) -> None:
    verified = workers_of("jax").agrees(f"{operation}-4kib", devices=devices, batch_size=devices)
    (note,) = [note for note in verified.notes if "jax.lax" in note]
    assert note.startswith(operation)
    assert note.endswith(f"on {devices} devices of each process")


@FULL
@pytest.mark.framework
@pytest.mark.slow
def test_a_sum_in_jax_without_the_second_device_disagrees(workers_of) -> None:
    failed = workers_of("jax").disagrees(
        "allreduce-4kib", adapter="jax_collective_faults", devices=2, batch_size=2
    )
    assert "values are not what allreduce gives" in failed.reason


@FULL
@pytest.mark.framework
@pytest.mark.slow
def test_jax_has_no_broadcast(workers_of) -> None:
    failed = workers_of("jax").measure("broadcast-4kib", devices=2, batch_size=2)[-1]
    assert isinstance(failed, Failed)
    assert (failed.status, "no broadcast" in failed.reason) == ("unsupported", True)


@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "operation"),
    [
        ("left out", "allreduce"),
        *(
            pytest.param(*case, marks=FULL)
            for case in (
                ("other order", "alltoall"),
                ("average", "allreduce"),
                ("bfloat16", "reducescatter"),
                ("stale", "allgather"),
                ("nothing sent", "broadcast"),
                ("last rank", "allreduce"),
            )
        ),
    ],
)
def test_a_faulty_collective_disagrees(workers_of, fault, operation) -> None:
    failed = workers_of("torch", COLLECTIVE_FAULT=fault).disagrees(
        f"{operation}-4kib", adapter="torch_collective_faults", devices=2, batch_size=2
    )
    assert f"values are not what {operation} gives" in failed.reason


@FULL
@pytest.mark.framework
@pytest.mark.slow
def test_a_result_that_is_kept_after_it_was_verified_is_caught(bench) -> None:
    found = bench.cheats(
        "allreduce-1mib", "timed_is_checked", adapter="keeps_results", devices=2, batch_size=2
    )
    assert "values are not what allreduce gives" in found.reason


@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"devices": 1, "batch_size": 1}, "allreduce-4kib is an operation of several devices"),
        ({"devices": 2, "batch_size": 4}, "a batch of 2 on 2 devices, not of 4"),
        *(
            pytest.param({"devices": 2, "batch_size": 2, **changes}, reason, marks=FULL)
            for changes, reason in (
                ({"variant": "compile"}, "has nothing to compile"),
                ({"dtype": "bfloat16"}, "are in float32, not in bfloat16"),
            )
        ),
    ],
)
def test_what_no_collective_does_is_unsupported(bench, changes, reason) -> None:
    failed = bench.measure("allreduce-4kib", **changes)[-1]
    assert isinstance(failed, Failed)
    assert failed.status == "unsupported"
    assert reason in failed.reason
