"""Workers in Caffe, inside its Debian tree: threads, nets of several shapes, what adds up."""

import shutil
from pathlib import Path

import pytest

from velodrome.adapters.composed_ops import list_composed_kinds
from velodrome.adapters.models.probes import PROBED

pytestmark = [
    pytest.mark.framework,
    pytest.mark.full,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed"),
]
PROBING = str(Path(__file__).with_name("probe_run.py"))

MADE = """
    import json, sys, time
    import numpy
    from velodrome.adapters.proof import seeding
    from velodrome.adapters.frameworks.caffe.adapter import Adapter
    from velodrome.adapters.models import MODELS

    def made(name, batches):
        adapter = Adapter(MODELS[name], "openblas", "cpu", 1, "float32")
        adapter.build(seeding.draw_weights(MODELS[name], 0))
        adapter.load(batches)
        adapter.set_dropout(False)
        return adapter

    def gradients(adapter, index):
        return dict(adapter.gradients(adapter.gradient(index)))
"""


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("caffe")


def test_matrix_products_run_in_openblas_on_the_requested_thread(bench):
    script = (
        MADE
        + """
    adapter = made("gemm-1024", seeding.draw_batches(MODELS["gemm-1024"], 256, 0))
    adapter.gradient(0)
    busy, began = time.process_time(), time.perf_counter()
    for _ in range(5):
        adapter.gradient(0)
    cores = (time.process_time() - busy) / (time.perf_counter() - began)
    with open("/proc/self/maps") as maps:
        print(json.dumps([cores, "openblas-pthread/libblas" in maps.read()]))
    """
    )
    cores, openblas = bench.run_script(script)
    assert cores <= 1.05
    assert openblas


def test_batches_of_other_lengths_use_the_same_weights(bench):
    """Each runs in a net of its own; a net's unrolled steps once kept what they were made with."""
    script = (
        MADE
        + """
    batches = seeding.draw_batches(MODELS["lstm"], 16, 0)[:2]
    assert batches[0].inputs.shape != batches[1].inputs.shape
    together, alone = made("lstm", batches), made("lstm", batches[1:])
    pairs = zip(gradients(together, 1).items(), gradients(alone, 0).items())
    print(json.dumps([one[0] for one, other in pairs if not (one[1] == other[1]).all()]))
    """
    )
    assert bench.run_script(script) == []


def test_a_second_gradient_is_not_added_to_the_first(bench):
    script = (
        MADE
        + """
    adapter = made("probe-residual", seeding.draw_batches(MODELS["probe-residual"], 8, 0))
    first, second = gradients(adapter, 0), gradients(adapter, 0)
    print(json.dumps([bool((first[name] == second[name]).all()) for name in first]))
    """
    )
    assert all(bench.run_script(script))


def test_every_probe_agrees_with_built_in_or_composed_layers(bench):
    found = bench.run_script(PROBING, bench.framework.adapter, "openblas")["openblas"]
    assert {status for status, _, _ in found.values()} == {"agreed"}, found
    composed = {
        name.replace("probe-", "")
        for name, (_, _, notes) in found.items()
        if PROBED[name] in list_composed_kinds(notes)
    }
    assert composed == {
        "loop",
        "gru",
        "attention",
        "causal-attention",
        "rotary-attention",
        "gelu",
        "layer-norm",
        "rms-norm",
    }


@pytest.mark.parametrize(
    "model",
    ["resnet50-tiny", "vit-b16-tiny", "bert-base-tiny", "gpt2-tiny", "llama-block-tiny"],
)
def test_a_small_model_of_today_agrees(bench, model):
    bench.agrees(model)


def test_a_lower_precision_is_unsupported_by_name(bench):
    failed = bench.measure("gpt2-tiny", dtype="bfloat16")[-1]
    assert failed.status == "unsupported"
    assert "bfloat16" in failed.reason


def test_attention_to_thousands_of_steps_is_unsupported_before_anything_is_made(bench):
    script = """
    import json
    from velodrome.adapters.contract import Unsupported
    from velodrome.adapters.frameworks.caffe.adapter import Adapter
    from velodrome.adapters.models import MODELS

    try:
        Adapter(MODELS["llama-block-4096"], "openblas", "cpu", 1, "float32").build({})
    except Unsupported as error:
        print(json.dumps(str(error)))
    """
    assert "attention to 4096 steps" in bench.run_script(script)


def test_a_missing_variant_is_unsupported_by_name(bench):
    failed = bench.measure("probe-lrn", variant="reference-blas")[-1]
    assert failed.status == "unsupported"
    assert "reference-blas" in failed.reason


def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("lenet", batch_size=4)


def test_inference_update_and_step_agree_but_for_adamw(bench):
    models = "lenet,resnet50-tiny,probe-lstm,probe-gru,gpt2-tiny,probe-dropout,probe-pretraining"
    found = bench.verifies_phases(models, unsupported=("adamw",))["openblas"]["float32"]
    _, reason, _ = found["adamw"]["lenet"]
    assert reason == "Caffe's AdamSolver has no decoupled weight decay, which adamw has"


@pytest.mark.parametrize("model", ["lenet", "probe-lstm"])
def test_every_check_of_a_timed_inference_update_and_step_passes(bench, model):
    bench.agrees(model, batch_size=8, phases=("inference", "update", "step"))


def test_a_solver_that_has_taken_a_step_is_followed_by_one_without_momentum(bench):
    script = (
        MADE
        + """
    batches = seeding.draw_batches(MODELS["lstm"], 4, 0)[:2]
    adapter, weights = made("lstm", batches), seeding.draw_weights(MODELS["lstm"], 0)

    def stepped(count):
        adapter.start_training("sgd", weights)
        for _ in range(count):
            adapter.step(0)
        return dict(adapter.parameters())

    once, twice, again = stepped(1), stepped(2), stepped(1)
    print(json.dumps([[bool((once[name] == other[name]).all()) for name in once]
                      for other in (twice, again)]))
    """
    )
    twice, again = bench.run_script(script)
    assert not any(twice)
    assert all(again)
