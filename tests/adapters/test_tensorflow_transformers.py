"""Models of today in TensorFlow: a small twin of each, in every variant and precision."""

import pytest

from velodrome.adapters.protocol import Failed

pytestmark = [pytest.mark.framework, pytest.mark.slow]

EVERY = "float32,bfloat16,float16"


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("tensorflow", TF_CPP_MIN_LOG_LEVEL="2")


def test_every_small_twin_agrees_in_every_precision(bench):
    outcomes = bench.verifies_twins("graph,eager", EVERY)
    for _, _, notes in outcomes["graph"]["bfloat16"].values():
        assert "products in bfloat16" in " ".join(notes)


@pytest.mark.full
def test_every_small_twin_agrees_in_every_precision_by_xla(bench):
    bench.verifies_twins("xla", EVERY)


@pytest.mark.parametrize(
    ("model", "variant", "dtype"),
    [
        ("gpt2-tiny", "graph", "float32"),
        ("resnet50-tiny", "graph", "bfloat16"),
        ("llama-block-tiny", "eager", "float16"),
        pytest.param("gpt2-tiny", "xla", "bfloat16", marks=pytest.mark.full),
    ],
)
def test_a_timed_small_twin_passes_every_check(bench, model, variant, dtype):
    bench.agrees(model, variant=variant, dtype=dtype)


def test_a_processor_has_no_tf32(bench):
    failed = bench.measure("gpt2-tiny", dtype="tf32")[-1]
    assert isinstance(failed, Failed)
    assert failed.status == "unsupported"
    assert "TF32" in failed.reason


def test_the_gradient_of_a_shared_embedding_is_dense_within_the_call(bench):
    kinds = bench.run_script(
        """
        import json
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.frameworks.tensorflow.adapter import Adapter

        model = MODELS["gpt2-tiny"]
        adapter = Adapter(model, "graph", "cpu", 1, "float32")
        adapter.build(seeding.draw_weights(model, 0))
        adapter.load(seeding.draw_batches(model, 2, 0))
        handle = adapter.gradient(0)
        print(json.dumps([[type(own).__name__, own.shape.as_list()] for own in handle]))
        """
    )
    assert {kind for kind, _ in kinds} == {"EagerTensor"}
    assert kinds[1][1] == [60, 32]
