"""Models of today in TensorFlow: a small twin of each, in every variant and precision."""

import pytest

from velodrome.adapters.protocol import Failed

pytestmark = [pytest.mark.framework, pytest.mark.slow]

TRANSFORMERS = ["vit-b16-tiny", "bert-base-tiny", "gpt2-tiny", "llama-block-tiny"]
TWINS = ["resnet50-tiny", *TRANSFORMERS]


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("tensorflow", TF_CPP_MIN_LOG_LEVEL="2")


@pytest.mark.parametrize("model", TWINS)
def test_a_small_twin_agrees(bench, model):
    bench.agrees(model)


@pytest.mark.parametrize("model", TWINS)
def test_a_small_twin_agrees_in_bfloat16(bench, model):
    assert "products in bfloat16" in " ".join(bench.agrees(model, dtype="bfloat16").notes)


@pytest.mark.full
@pytest.mark.parametrize("model", TRANSFORMERS)
def test_a_small_twin_agrees_in_float16_with_a_loss_scale(bench, model):
    bench.agrees(model, dtype="float16")


@pytest.mark.full
@pytest.mark.parametrize("variant", ["eager", "xla"])
@pytest.mark.parametrize("model", TWINS)
def test_a_small_twin_agrees_in_another_variant(bench, model, variant):
    bench.agrees(model, variant=variant)


@pytest.mark.full
@pytest.mark.parametrize("variant", ["eager", "xla"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("model", TRANSFORMERS)
def test_a_small_twin_agrees_in_another_variant_and_precision(bench, model, dtype, variant):
    bench.agrees(model, dtype=dtype, variant=variant)


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
