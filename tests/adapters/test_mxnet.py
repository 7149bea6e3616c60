"""Workers in MXNet: its variants and its engines."""

from pathlib import Path

import pytest

from velodrome.adapters.protocol import COMPUTED_PHASES

pytestmark = [pytest.mark.framework, pytest.mark.full]

needs_bfloat16 = pytest.mark.skipif(
    "avx512bw" not in Path("/proc/cpuinfo").read_text(),
    reason="a CPU that oneDNN has no bfloat16 for",
)

# One thread is one thread, whichever of MXNet's own runs what it queued.
CORES = """
    import json
    import sys
    import time
    from velodrome.adapters.proof import seeding
    from velodrome.adapters.models import MODELS
    from velodrome.adapters.frameworks.mxnet.adapter import Adapter

    model = MODELS["lenet"]
    adapter = Adapter(model, sys.argv[1], "cpu", 1, "float32")
    adapter.build(seeding.draw_weights(model, 0))
    adapter.load(seeding.draw_batches(model, 64, 0))
    adapter.set_dropout(False)
    adapter.gradient(0)
    adapter.synchronize()
    wall, used = time.perf_counter(), time.process_time()
    for _ in range(20):
        adapter.gradient(0)
    adapter.synchronize()
    print(json.dumps((time.process_time() - used) / (time.perf_counter() - wall)))
"""


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("mxnet")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["imperative", "threaded"])
def test_another_way_to_run_a_model_agrees_too(bench, variant):
    bench.agrees("lenet", variant=variant, batch_size=4)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["hybrid", "threaded"])
def test_one_thread_uses_one_core(bench, variant):
    assert 0 < bench.run_script(CORES, variant) <= 1.05


def test_a_missing_device_is_unsupported_by_name(bench):
    failed = bench.measure("lenet", device="gpu", batch_size=2)[-1]
    assert failed.status == "unsupported"
    assert "'gpu'" in failed.reason


@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("lenet", batch_size=4)


@pytest.mark.slow
def test_the_gradient_of_lrn_accepts_onednns_layout(bench):
    script = """
        import json
        import numpy
        from mxnet import autograd, nd
        from velodrome.adapters.models.layers import Lrn
        from velodrome.adapters.frameworks.mxnet.blocks import BLOCKS

        lrn = BLOCKS[Lrn](Lrn("lrn", size=5, alpha=1e-4, beta=0.75, k=1.0), (32, 13, 13))
        draw = numpy.random.RandomState(0)
        x, head = (nd.array(draw.randn(2, 32, 13, 13)) for _ in range(2))
        itself = nd.array(numpy.eye(32).reshape(32, 32, 1, 1))
        found = []
        for convolved in (False, True):
            x.attach_grad()
            with autograd.record():
                y = lrn(x)
                if convolved:
                    y = nd.Convolution(y, itself, kernel=(1, 1), num_filter=32, no_bias=True)
            y.backward(head)
            found.append(x.grad.asnumpy())
        plain, behind = found
        print(json.dumps(float(numpy.linalg.norm(plain - behind) / numpy.linalg.norm(plain))))
    """
    assert bench.run_script(script) < 1e-6


@pytest.mark.slow
def test_every_small_twin_agrees(bench):
    bench.verifies_twins("hybrid,imperative,threaded", "float32")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["hybrid", "threaded"])
def test_a_timed_small_twin_passes_every_check(bench, variant):
    bench.agrees("gpt2-tiny", variant=variant)


@needs_bfloat16
@pytest.mark.slow
@pytest.mark.parametrize(("model", "variant"), [("gpt2-tiny", "imperative"), ("lenet", "hybrid")])
def test_mixed_precision_of_bfloat16_agrees(bench, model, variant):
    bench.agrees(model, variant=variant, dtype="bfloat16", batch_size=4)


@needs_bfloat16
def test_a_layer_that_mixed_precision_leaves_in_float32_is_unsupported_by_name(bench):
    failed = bench.measure("probe-lstm", dtype="bfloat16")[-1]
    assert failed.status == "unsupported"
    assert "leaves Lstm in float32" in failed.reason


def test_another_precision_is_unsupported_by_name(bench):
    failed = bench.measure("gpt2-tiny", dtype="float16")[-1]
    assert failed.status == "unsupported"
    assert "'float16'" in failed.reason


@pytest.mark.slow
def test_inference_updates_and_steps_agree_in_every_variant(bench):
    models = "lenet,resnet50-tiny,gpt2-tiny,probe-lstm,probe-pretraining,probe-depthwise-conv"
    found = bench.verifies_phases(models, variants="hybrid,imperative,threaded")
    (note,) = [own for own in found["hybrid"]["float32"]["adamw"]["lenet"][2] if "AdamW" in own]
    assert "multi_adamw_update" in note


@needs_bfloat16
@pytest.mark.slow
def test_updates_of_float32_parameters_by_gradients_of_mixed_precision_agree(bench):
    bench.verifies_phases("gpt2-tiny", dtypes="bfloat16")


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "optimizer"), [("hybrid", "adamw"), ("threaded", "sgd")])
def test_all_phases_of_a_model_that_drops_pass_every_check(bench, variant, optimizer):
    changes = {"variant": variant, "phases": COMPUTED_PHASES, "optimizer": optimizer}
    bench.agrees("probe-dropout", **changes)


@pytest.mark.slow
def test_a_second_start_of_inference_or_training_makes_no_graph_anew(bench):
    script = """
        import json
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.frameworks.mxnet.adapter import Adapter

        model = MODELS["probe-lstm"]
        weights = seeding.draw_weights(model, 0)
        adapter = Adapter(model, "hybrid", "cpu", 1, "float32")
        adapter.build(weights)
        adapter.load(seeding.draw_batches(model, 4, 0))
        adapter.set_dropout(False)
        graphs = []
        for _ in range(2):
            adapter.start_inference({})
            adapter.inference(0)
            adapter.end_inference()
            adapter.start_training("adamw", weights)
            adapter.step(0)
            graphs.append([id(own._cached_op) for own in (adapter._network, adapter._inference)])
        print(json.dumps(graphs))
    """
    first, second = bench.run_script(script)
    assert first == second
