"""Workers in JAX: its variants, its threads, and what it does once and never while timed."""

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.full]


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("jax", NPROC="1")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lenet", "autoencoder-400-200-100/ae2"])
def test_without_jit_a_model_agrees_too(bench, model):
    bench.agrees(model, variant="eager", batch_size=4)


@pytest.mark.slow
def test_the_first_call_compiles_everything_that_later_calls_need(bench):
    script = """
        import json
        import jax
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.frameworks.jax.adapter import Adapter
        from velodrome.adapters.models import MODELS

        model = MODELS["lstm"]
        adapter = Adapter(model, "jit", "cpu", 1, "float32")
        adapter.build(seeding.draw_weights(model, 0))
        batches = seeding.draw_batches(model, 16, 0)
        adapter.load((batches[0], batches[40], batches[-1]))
        adapter.set_dropout(False)
        adapter.gradient(0)
        adapter.set_dropout(True)
        with jax.no_tracing(True):
            losses = [adapter.loss(adapter.gradient(index)) for index in range(3)]
        print(json.dumps(losses))
    """
    assert len(set(bench.run_script(script))) == 3


@pytest.mark.slow
def test_a_cpu_call_finishes_before_it_returns_in_its_own_thread(bench):
    script = """
        import json, time
        import jax
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.frameworks.jax.adapter import Adapter
        from velodrome.adapters.models import MODELS

        model = MODELS["gemm-1024"]
        adapter = Adapter(model, "jit", "cpu", 1, "float32")
        adapter.build(seeding.draw_weights(model, 0))
        adapter.load(seeding.draw_batches(model, 1024, 0))
        adapter.gradient(0)
        moments, busy = [time.perf_counter()], [time.process_time()]
        for _ in range(3):
            handle = adapter.gradient(0)
        moments.append(time.perf_counter())
        busy.append(time.process_time())
        jax.block_until_ready(handle)
        moments.append(time.perf_counter())
        print(json.dumps([moments, busy]))
    """
    (started, returned, ready), busy = bench.run_script(script)
    assert ready - returned < (returned - started) / 5
    assert busy[1] - busy[0] <= 1.05 * (returned - started)


@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("lenet", batch_size=4)
