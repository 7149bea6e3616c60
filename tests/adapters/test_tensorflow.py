"""Workers in TensorFlow: its variants, and faults planted in its adapter."""

import statistics

import pytest

from velodrome.adapters.protocol import Finished, FirstCall, Sampled
from velodrome.adapters.tolerances import GRADIENT_TOLERANCE, LOSS_TOLERANCE

pytestmark = pytest.mark.framework

VARIED = ["lenet", "autoencoder-400-200-100/ae2"]
VARIANTS = ["graph", "eager", "xla"]


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("tensorflow", TF_CPP_MIN_LOG_LEVEL="2")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["eager", pytest.param("xla", marks=pytest.mark.full)])
@pytest.mark.parametrize("model", VARIED)
def test_another_way_to_run_a_model_agrees_too(bench, model, variant):
    bench.agrees(model, variant=variant)


@pytest.mark.slow
def test_a_transposed_weight_is_caught(bench):
    failed = bench.disagrees("gemm-1024", adapter="tensorflow_transposed")
    assert "product.weight" in failed.reason


@pytest.mark.slow
def test_a_pooling_that_averages_is_caught(bench):
    assert bench.disagrees("lenet", adapter="tensorflow_average_pooling").loss_error > 1e-4


@pytest.mark.slow
def test_a_loss_not_divided_by_the_batch_is_caught(bench):
    failed = bench.disagrees("lenet", adapter="tensorflow_summed")
    assert failed.loss_error == pytest.approx(63, rel=1e-3)
    assert failed.parameters[-1].error == pytest.approx(63, rel=0.1)


@pytest.mark.full
@pytest.mark.slow
def test_the_gradient_that_tensorflow_registers_for_its_lstm_kernel_is_caught(bench):
    failed = bench.disagrees("lstm", adapter="tensorflow_registered_gradient")
    assert failed.loss_error <= LOSS_TOLERANCE
    errors = {entry.name: entry.error for entry in failed.parameters}
    assert errors["lstm.weight_hidden"] > 1
    assert errors["classifier.weight"] <= GRADIENT_TOLERANCE


@pytest.mark.full
@pytest.mark.slow
def test_xla_agrees_and_compiles_for_every_length_in_the_first_call(bench):
    events = bench.measure("lstm", variant="xla")
    assert isinstance(events[-1], Finished), events[-1]
    for first in (event for event in events if isinstance(event, FirstCall)):
        passes_ns = [
            elapsed_ns
            for event in events
            if isinstance(event, Sampled) and event.phase == first.phase
            for elapsed_ns in event.elapsed_ns
        ]
        # A pass is 124 calls. To compile for one length takes half as long, and there are six.
        assert first.elapsed_ns > statistics.median(passes_ns)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_cpu_call_has_finished_when_it_returns(bench, variant):
    script = f"""
        import json, time
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.frameworks.tensorflow.adapter import Adapter

        model = MODELS["gemm-1024"]
        adapter = Adapter(model, {variant!r}, "cpu", 1, "float32")
        adapter.build(seeding.draw_weights(model, 0))
        adapter.load(seeding.draw_batches(model, 1024, 0))
        adapter.gradient(0)
        moments = [time.perf_counter()]
        handle = adapter.gradient(0)
        moments.append(time.perf_counter())
        read = [tensor.numpy().sum() for tensor in handle]
        moments.append(time.perf_counter())
        print(json.dumps(moments))
    """
    started, returned, read = bench.run_script(script)
    assert read - returned < (returned - started) / 5  # two products of 2 GFLOP, and 4 MiB


def test_a_convolution_of_a_single_channel_is_not_depthwise(bench):
    output = bench.run_script(
        """
        import json
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.frameworks.tensorflow.adapter import Adapter

        model = MODELS["lenet"]
        adapter = Adapter(model, "graph", "cpu", 1, "float32")
        adapter.build(seeding.draw_weights(model, 0))
        adapter.load(seeding.draw_batches(model, 2, 0))
        graph = adapter._forward.get_concrete_function().graph
        print(json.dumps([operation.type for operation in graph.get_operations()]))
        """
    )
    assert output.count("Conv2D") == 2
    assert not [kind for kind in output if "Depthwise" in kind]


@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("lenet", batch_size=4)
