"""Data parallelism in PyTorch on two processes over gloo: DistributedDataParallel and FSDP2."""

import pytest

from velodrome.adapters.protocol import Verified

pytestmark = [pytest.mark.framework, pytest.mark.slow]

GROUP = {"devices": 2, "batch_size": 8}
SHARDED = {"variant": "fsdp", **GROUP}


each_fault = pytest.mark.parametrize(
    "fault",
    [
        "bfloat16",
        pytest.param("left out", marks=pytest.mark.full),
        pytest.param("not divided", marks=pytest.mark.full),
    ],
)


@pytest.fixture(scope="module")
def bench(workers_of, request):
    return workers_of("torch", TORCHINDUCTOR_CACHE_DIR=str(request.config.cache.mkdir("inductor")))


@pytest.mark.parametrize("model", ["lenet", "resnet50-tiny"])
def test_a_group_agrees_with_the_reference_of_the_whole_batch(bench, model):
    verified = bench.agrees(model, **GROUP)
    assert "DistributedDataParallel over gloo on 2 processes" in verified.notes


def test_every_phase_of_a_transformer_agrees_in_a_group(bench):
    bench.times_every_phase("gpt2-tiny", optimizer="adamw", **GROUP)


@pytest.mark.full
@pytest.mark.parametrize("changes", [{"variant": "compile"}, {"dtype": "bfloat16"}])
def test_compiled_code_and_bfloat16_agree_in_a_group(bench, changes):
    bench.agrees("lenet", **changes, **GROUP)


@each_fault
def test_a_faulty_reduction_disagrees(workers_of, fault):
    failed = workers_of("torch", GROUP_FAULT=fault).disagrees(
        "lenet", adapter="torch_group_faults", **GROUP
    )
    assert "gradients are off" in failed.reason


def test_every_phase_agrees_if_each_block_is_sharded(bench):
    events = bench.times_every_phase("gpt2-tiny", optimizer="adamw", **SHARDED)
    (verified,) = (event for event in events if isinstance(event, Verified))
    assert any("FSDP2 over gloo on 2 processes" in note for note in verified.notes)


@pytest.mark.full
@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        ("resnet50-tiny", "float32"),
        ("lenet", "float16"),
        ("probe-lstm", "float32"),
        ("probe-dropout", "float32"),
    ],
)
def test_blocks_and_layers_that_are_sharded_agree(bench, model, dtype):
    bench.agrees(model, dtype=dtype, phases=("gradient", "step"), optimizer="sgd", **SHARDED)


def test_one_device_has_nothing_to_shard(bench):
    failed = bench.measure("lenet", variant="fsdp", batch_size=8)[-1]
    assert failed.status == "unsupported"
    assert "among several devices" in failed.reason


@each_fault
def test_a_faulty_reduction_of_shards_disagrees(workers_of, fault):
    failed = workers_of("torch", GROUP_FAULT=fault).disagrees(
        "lenet", adapter="torch_shard_faults", **SHARDED
    )
    assert "gradients are off" in failed.reason


def test_shards_that_are_gathered_only_once_are_caught_by_a_changed_parameter(workers_of):
    stale = workers_of("torch", GROUP_FAULT="stale")
    stale.cheats("lenet", "follows_parameters", adapter="torch_shard_faults", **SHARDED)
