"""Workers in CNTK: threads, variants, unsupported devices."""

import pytest

from velodrome.adapters.protocol import COMPUTED_PHASES
from velodrome.adapters.registry import FRAMEWORKS

pytestmark = [pytest.mark.framework, pytest.mark.full]

TINY = ("resnet50-tiny", "vit-b16-tiny", "bert-base-tiny", "gpt2-tiny", "llama-block-tiny")


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("cntk")


@pytest.mark.slow
def test_one_thread_uses_one_core_even_while_waiting(bench):
    script = """
        import json, time
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.frameworks.cntk.adapter import Adapter
        from velodrome.adapters.models import MODELS

        model = MODELS["lenet"]
        adapter = Adapter(model, "default", "cpu", 1, "float32")
        adapter.build(seeding.draw_weights(model, 0))
        adapter.load(seeding.draw_batches(model, 16, 0))
        adapter.gradient(0)
        started, busy = time.perf_counter(), time.process_time()
        for _ in range(10):
            adapter.gradient(0)
        busy = time.process_time() - busy
        print(json.dumps(busy / (time.perf_counter() - started)), flush=True)
    """
    assert bench.run_script(script) <= 1.05


def test_a_gpu_is_unsupported(bench):
    failed = bench.measure("lenet", device="gpu", batch_size=2)[-1]
    assert failed.status == "unsupported"


def test_cntk_has_the_variants_of_the_registry(bench):
    assert FRAMEWORKS["cntk"].variants == ("default",)
    failed = bench.measure("lenet", variant="graph", batch_size=2)[-1]
    assert failed.status == "unsupported"
    assert "has no 'graph', only default" in failed.reason


@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("lenet", batch_size=4)


@pytest.mark.slow
@pytest.mark.parametrize("model", TINY)
def test_a_small_model_of_today_agrees(bench, model):
    bench.agrees(model)


def test_a_lower_precision_is_unsupported_by_name(bench):
    failed = bench.measure("gpt2-tiny", dtype="bfloat16")[-1]
    assert failed.status == "unsupported"
    assert "'bfloat16'" in failed.reason


@pytest.mark.slow
def test_inference_updates_and_steps_agree(bench):
    models = "lenet,resnet50-tiny,gpt2-tiny,probe-lstm,probe-pretraining,probe-residual"
    found = bench.verifies_phases(models)
    (note,) = [own for own in found["default"]["float32"]["adamw"]["lenet"][2] if "AdamW" in own]
    assert "universal learner" in note


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_all_phases_of_a_model_that_drops_pass_every_check(bench, optimizer):
    bench.agrees("probe-dropout", phases=COMPUTED_PHASES, optimizer=optimizer)


@pytest.mark.slow
def test_a_step_drops_when_dropout_is_on_and_not_when_it_is_off(bench):
    script = """
        import json
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.frameworks.cntk.adapter import Adapter
        from velodrome.adapters.models import MODELS

        model = MODELS["probe-dropout"]
        weights = seeding.draw_weights(model, 0)
        adapter = Adapter(model, "default", "cpu", 1, "float32")
        adapter.build(weights)
        adapter.load(seeding.draw_batches(model, 8, 0))
        found = []
        for active in (False, True, False):
            adapter.set_dropout(active)
            adapter.inference(0)
            calls = (adapter.forward, adapter.gradient, adapter.step)
            losses = []
            for call in calls * 2:
                adapter.start_training("sgd", weights)
                losses.append(adapter.loss(call(0)))
            found.append(losses)
        print(json.dumps(found))
    """
    off, on, off_again = bench.run_script(script)
    for losses in (off, off_again):
        assert losses == pytest.approx([off[0]] * 6, rel=1e-6)
    assert off[0] not in on
    # Each of the three functions draws its own masks, by the same seed.
    assert all(first != second for first, second in zip(on[:3], on[3:], strict=True))
