"""Workers in MXNet: its variants and its engines."""

from pathlib import Path

import pytest

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
