"""Copies between memories are models: refused on a CPU, whose one memory they would copy within.

The calls of the adapters run on a CPU here, where its own memory stands for that of a device. None
of them has run on a GPU.
"""

from typing import Any

import pytest

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.collectives import count_written_bytes, find_exchange
from velodrome.adapters.models.copies import COPIES, KINDS, find_copy_fault
from velodrome.adapters.protocol import Failed

FULL = pytest.mark.full
RUN = "copy_run.py"
MIB = 2**20


def test_there_is_a_model_of_every_kind_and_size_from_1_kib_to_1_gib() -> None:
    units = ("1kib", "16kib", "256kib", "4mib", "64mib", "1gib")
    assert {f"{kind}-{unit}" for kind in KINDS for unit in units} <= {*MODELS}
    assert len({model.about for model in COPIES}) == len(COPIES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("devices", [1, 8])
def test_both_bandwidths_of_a_copy_are_the_size_of_one_device_over_the_time(
    kind: str, devices: int
) -> None:
    model = MODELS[f"{kind}-1mib"]
    assert find_exchange(model, devices) == (kind, MIB, MIB)
    assert model.default_batch_size("gpu", devices) == devices


def test_a_device_reads_and_writes_its_memory_in_a_copy_to_another_device() -> None:
    assert count_written_bytes(MODELS["h2d-pinned-1mib"], 2) == 2 * MIB
    assert count_written_bytes(MODELS["d2h-pageable-1mib"], 1) == MIB
    assert count_written_bytes(MODELS["d2d-256mib"], 2) == 4 * 256 * MIB


def test_what_a_cache_may_hold_is_not_compared_with_the_bandwidth_of_a_memory() -> None:
    assert count_written_bytes(MODELS["d2d-64mib"], 1) == 0


def test_a_copy_needs_a_gpu_and_a_row_for_each() -> None:
    copy = MODELS["h2d-pinned-1mib"]
    refused = find_copy_fault(copy, "cpu", 1, 1)
    assert refused.startswith("h2d-pinned-1mib copies between memories of a host and of devices")
    assert not find_copy_fault(copy, "gpu", 1, 1)
    assert not find_copy_fault(copy, "gpu", 4, 4)
    assert "a batch of 4 on 4 devices, not of 2" in find_copy_fault(copy, "gpu", 2, 4)
    assert not find_copy_fault(MODELS["copy"], "cpu", 1, 1)


@pytest.fixture(scope="module")
def run_copies(workers_of, request: pytest.FixtureRequest):
    """run_copies("jax", "jit", devices, models): what copy_run.py prints."""
    script = str(request.path.with_name(RUN))

    def run(framework: str, variant: str, devices: int, *models: str) -> Any:
        bench = workers_of(framework)
        words = (bench.framework.adapter, variant, str(devices), *models)
        return bench.run_script(script, *words)

    return run


@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", pytest.param("jax", marks=FULL)])
def test_a_worker_on_a_cpu_refuses_a_copy(workers_of, framework: str) -> None:
    failed = workers_of(framework).measure("d2h-pageable-4kib")[-1]
    assert isinstance(failed, Failed)
    assert failed.status == "unsupported"
    assert "a CPU has the host's alone" in failed.reason


@pytest.mark.framework
@pytest.mark.slow
def test_torch_copies_every_value_each_time(run_copies) -> None:
    models = ("h2d-pageable-4kib", "d2h-pageable-1mib", "d2d-1mib")
    for name, (faults, places, notes) in run_copies("torch", "eager", 1, *models).items():
        assert not faults, name
        assert places == ["Tensor", "Tensor", True]
        assert any(note.startswith(name.rsplit("-", 1)[0]) for note in notes)


@FULL
@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_jax_copies_every_value_each_time_to_the_memory_of_its_name(
    run_copies, devices: int
) -> None:
    """JAX gives a CPU the memory kinds of a GPU, and one more."""
    found = run_copies("jax", "jit", devices, *(f"{kind}-4kib" for kind in KINDS))
    assert not [name for name, (faults, _, _) in found.items() if faults]
    own = [*range(devices)]
    places = {name: tuple(places[:2]) for name, (_, places, _) in found.items()}
    assert not [notes for _, _, notes in found.values() if "gradients" in " ".join(notes)]
    in_place = {name for name, (_, places, _) in found.items() if not places[2]}
    assert in_place <= {"h2d-pageable-4kib"}  # a CPU may read NumPy's array where it is
    there = f"device of {own}"
    pinned, pageable = f"pinned_host of {own}", f"unpinned_host of {own}"
    assert places["h2d-pinned-4kib"] == (pinned, there)
    assert places["h2d-pageable-4kib"] == ("ndarray", there)
    assert places["d2h-pinned-4kib"] == (there, pinned)
    assert places["d2h-pageable-4kib"] == (there, pageable)
    last = "device of [0]", f"device of [{devices - 1}]"  # of the first row: to the next device
    assert places["d2d-4kib"] == last


@FULL
@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize(("framework", "variant"), [("torch", "compile"), ("jax", "eager")])
def test_a_copy_has_one_variant(run_copies, framework: str, variant: str) -> None:
    assert (
        "is the same call in every variant"
        in run_copies(framework, variant, 1, "d2d-1kib")["d2d-1kib"]
    )


@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    ["stale"] + [pytest.param(each, marks=FULL) for each in ("part", "other batch", "bfloat16")],
)
def test_a_faulty_copy_has_other_values(workers_of, request, fault: str) -> None:
    script, name = str(request.path.with_name(RUN)), "h2d-pageable-4kib"
    bench = workers_of("torch", COPY_FAULT=fault)
    faults, _, _ = bench.run_script(script, "torch_copy_faults", "eager", "1", name)[name]
    assert all("values are not the input's" in reason for reason in faults)
    assert len(faults) >= 3  # of four batches; a stale one may be the first of all
