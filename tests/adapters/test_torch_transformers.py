"""Workers in PyTorch on small twins of today's models, in each variant and precision."""

import pytest

from velodrome.adapters.protocol import Failed

pytestmark = [pytest.mark.framework, pytest.mark.slow]

EVERY = "float32,bfloat16,float16"


@pytest.fixture(scope="module")
def bench(workers_of, request):
    """Keep compiled code beside pytest's own cache: later runs take a fifth of the time."""
    return workers_of("torch", TORCHINDUCTOR_CACHE_DIR=str(request.config.cache.mkdir("inductor")))


def test_every_small_twin_agrees_in_every_precision(bench):
    outcomes = bench.verifies_twins("eager,channels_last", EVERY)
    for dtype, found in outcomes["eager"].items():
        for _, _, notes in found.values():
            text = " ".join(notes)
            assert ("autocast to " + dtype in text) == (dtype != "float32")
            assert ("multiplied by 1024" in text) == (dtype == "float16")
            assert "composed" not in text


@pytest.mark.full
@pytest.mark.parametrize(
    ("dtype", "models"),
    [("float32", "resnet50-tiny"), ("bfloat16", "llama-block-tiny")],
)
def test_a_compiled_small_twin_agrees(bench, dtype, models):
    # Each takes half a minute to compile, so not every precision of every twin.
    bench.verifies_twins("compile", dtype, models=models)


@pytest.mark.parametrize(
    ("model", "variant", "dtype"),
    [
        ("gpt2-tiny", "eager", "float32"),
        ("resnet50-tiny", "channels_last", "bfloat16"),
        ("llama-block-tiny", "eager", "float16"),
    ],
)
def test_a_timed_small_twin_passes_every_check(bench, model, variant, dtype):
    bench.agrees(model, variant=variant, dtype=dtype)


@pytest.mark.full
def test_padded_sequences_of_every_length_run_through_one_compilation(bench):
    bench.follows("bert-base-tiny", batch_size=4, variant="compile")


@pytest.mark.parametrize("model", ["probe-lstm", "probe-gru"])
def test_a_recurrent_layer_agrees_in_bfloat16(bench, model):
    bench.agrees(model, dtype="bfloat16")


def test_an_lstm_agrees_in_float16_or_is_unsupported_by_name(bench):
    last = bench.measure("probe-lstm", dtype="float16")[-1]
    if isinstance(last, Failed):  # as oneDNN has it, or not, for this CPU
        assert last.status == "unsupported"
        assert "no LSTM in float16" in last.reason


def test_tf32_is_unsupported_on_a_cpu(bench):
    failed = bench.measure("gpt2-tiny", dtype="tf32")[-1]
    assert isinstance(failed, Failed)
    assert failed.status == "unsupported"
    assert "TF32 is a precision of GPUs" in failed.reason


def test_a_parameter_changed_between_two_calls_counts_in_autocast(bench):
    script = """
        import json
        import numpy
        from velodrome.adapters.frameworks.torch.adapter import Adapter
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.proof import seeding

        model = MODELS["gpt2-tiny"]
        adapter = Adapter(model, "eager", "cpu", 1, "bfloat16")
        weights = seeding.draw_weights(model, 0)
        adapter.build(weights)
        adapter.load(seeding.draw_batches(model, 2, 0))

        def losses():
            return [adapter.loss(call(0)) for call in (adapter.forward, adapter.gradient)]

        before = losses()
        adapter.set_parameter("block1_linear1.weight", 2 * weights["block1_linear1.weight"])
        changed = losses()
        adapter.set_parameter("block1_linear1.weight", weights["block1_linear1.weight"])
        print(json.dumps([before, changed, losses()]))
    """
    before, changed, restored = bench.run_script(script)
    assert before[0] == before[1]
    assert changed[0] == changed[1]
    assert changed[0] != before[0]
    assert restored == before


def test_rms_normalization_composed_for_older_torch_equals_the_own_one(bench):
    script = """
        import json
        import torch
        from velodrome.adapters.frameworks.torch.steps import ComposedRmsNorm, make_rms_norm
        from velodrome.adapters.models.layers import RmsNorm

        layer = RmsNorm("norm", 0.01)
        scale = torch.nn.Parameter(torch.randn(16))
        own, composed = make_rms_norm(layer, (3, 16)), ComposedRmsNorm(layer.epsilon)
        own.weight = composed.scale = scale
        x = torch.randn(2, 3, 16)
        print(json.dumps([type(own).__name__, float((own(x) - composed(x)).abs().max())]))
    """
    name, difference = bench.run_script(script)
    assert name == "RmsNormModule"
    assert difference < 1e-6
