"""Workers in CNTK: its threads, its layouts, its dropout, and what it says."""

import pytest

from velodrome.adapters.registry import FRAMEWORKS

pytestmark = pytest.mark.framework


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("cntk")


@pytest.mark.slow
def test_frozen_encoders_get_no_gradient_and_the_target_none_either(bench):
    bench.agrees("autoencoder-400-200-100/ae2", batch_size=4)


@pytest.mark.slow
def test_one_thread_takes_one_core_waiting_included(bench):
    script = """
        import json, time
        from velodrome.adapters import seeding
        from velodrome.adapters.cntk.adapter import Adapter
        from velodrome.adapters.models import MODELS

        model = MODELS["lenet"]
        adapter = Adapter(model, "default", "cpu", 1, "float32")
        adapter.build(seeding.weights(model, 0))
        adapter.load(seeding.batches(model, 16, 0))
        adapter.gradient(0)
        started, busy = time.perf_counter(), time.process_time()
        for _ in range(10):
            adapter.gradient(0)
        busy = time.process_time() - busy
        print(json.dumps(busy / (time.perf_counter() - started)), flush=True)
    """
    assert bench.say(script) <= 1.05


@pytest.mark.slow
def test_dropout_drops_by_its_rate_once_it_is_set_and_not_before(bench):
    script = """
        import json
        from velodrome.adapters import seeding
        from velodrome.adapters.cntk.adapter import Adapter
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.models.layers import Dropout

        model = MODELS["autoencoder-400-200-100/finetune"]
        layers = model.layers[:2] + (Dropout("drop", 0.25),) + model.layers[2:]
        adapter = Adapter(model._replace(layers=layers), "default", "cpu", 1, "float32")
        adapter.build(seeding.weights(model, 0))
        adapter.load(seeding.batches(model, 64, 0))
        losses = []
        for active in (False, True):
            adapter.set_dropout(active)
            share = adapter.kept_shares()["drop"]
            losses.append([adapter.loss(adapter.forward(0)) for _ in range(2)])
            losses[-1].append(adapter.loss(adapter.gradient(0)))
        print(json.dumps([losses, share]), flush=True)
    """
    (off, on), share = bench.say(script)
    assert len(set(off)) == 1
    assert len(set(on)) == 3
    assert share == pytest.approx(0.75, abs=0.02)


def test_a_gpu_is_unsupported(bench):
    failed = bench.measure("lenet", device="gpu", batch_size=2)[-1]
    assert failed.status == "unsupported"


def test_its_variants_are_those_of_the_registry(bench):
    assert FRAMEWORKS["cntk"].variants == ("default",)
    failed = bench.measure("lenet", variant="graph", batch_size=2)[-1]
    assert failed.status == "unsupported"
    assert "no variant 'graph'" in failed.reason
