"""Workers in neon 2.6.0 if a checkout of it is given; the error message if not."""

import os
from pathlib import Path

import pytest

from velodrome.adapters.models.probes import PROBED
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.store import EnvironmentFailed, EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Status
from velodrome.agents.task import Task
from velodrome.scheduler.plans.expected_outcomes import load_expectations

pytestmark = pytest.mark.framework

PROBING = str(Path(__file__).with_name("probe_run.py"))
NAMED = any(os.environ.get(f"VELODROME_{what}_NEON") for what in ("SOURCE", "PYTHON"))
with_neon = pytest.mark.skipif(not NAMED, reason="VELODROME_SOURCE_NEON names no checkout of neon")


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("neon", MKL_NUM_THREADS="1")


def test_without_a_checkout_a_task_is_environment_failed_and_says_how_to_give_one(
    tmp_path, monkeypatch
):
    for what in ("SOURCE", "PYTHON"):
        monkeypatch.delenv(f"VELODROME_{what}_NEON", raising=False)
    task = Task(framework="neon", variant="cpu", model="lenet", batch_size=4)
    store = EnvironmentStore(tmp_path / "envs")
    ended = execute(
        task,
        node=take_inventory(),
        repeat=0,
        attempt=1,
        environments=store,
        on_event=lambda event: None,
    )
    assert ended.status is Status.ENVIRONMENT_FAILED
    assert "export VELODROME_SOURCE_NEON=/path/to/neon" in ended.reason
    assert "v2.6.0" in ended.reason
    with pytest.raises(EnvironmentFailed, match="VELODROME_SOURCE_NEON"):
        store.build("neon")


@with_neon
@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("variant", ["cpu", "mkl"])
@pytest.mark.parametrize(
    ("model", "batch_size"),
    [("lenet", 4), ("autoencoder-400-200-100/ae2", 4), ("lstm", 64)],
)
def test_a_model_agrees_on_both_backends(bench, variant, model, batch_size):
    bench.agrees(model, variant=variant, batch_size=batch_size)


@with_neon
@pytest.mark.full
@pytest.mark.slow
def test_dropout_keeps_half_and_scales_by_two(bench):
    notes = " ".join(bench.agrees("alexnet-plain", variant="mkl", batch_size=2).notes)
    assert "dropout drop6 kept 0.5" in notes or "dropout drop6 kept 0.4" in notes


@with_neon
@pytest.mark.full
@pytest.mark.slow
def test_grouped_convolution_is_unsupported_by_name(bench):
    failed = bench.measure("alexnet", batch_size=2)[-1]
    assert failed.status == "unsupported"
    assert failed.reason == "neon has no grouped convolution"


@with_neon
@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("variant", ["cpu", "mkl"])
def test_a_residual_network_with_projected_branches_agrees(bench, variant):
    bench.agrees("resnet50-tiny", variant=variant)


@with_neon
@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("variant", ["cpu", "mkl"])
def test_every_probe_ends_as_the_list_of_expectations_has_it(bench, variant):
    found = bench.run_script(PROBING, bench.framework.adapter, variant)[variant]
    expected = load_expectations({"neon": FRAMEWORKS["neon"]}, {"VELODROME_SOURCE_NEON": "here"})
    assert len(found) == len(PROBED)
    others = {}
    for name, (status, text, _) in found.items():
        task = Task(framework="neon", variant=variant, model=name, batch_size=8)
        if status not in expected.find(task).outcomes:
            others[name] = (status, text)
    assert others == {}


@with_neon
@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["vit-b16-tiny", "bert-base-tiny", "gpt2-tiny", "llama-block-tiny"]
)
def test_a_transformer_is_unsupported_by_what_neon_lacks(bench, model):
    failed = bench.measure(model)[-1]
    assert failed.status == "unsupported"
    assert failed.reason.startswith("neon has no ") or "the neon adapter has no" in failed.reason


@with_neon
@pytest.mark.full
def test_a_gpu_is_unsupported(bench):
    assert bench.measure("copy", device="gpu", batch_size=1)[-1].status == "unsupported"


@with_neon
@pytest.mark.full
@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_a_new_network(bench):
    bench.follows("lenet", batch_size=4)


@with_neon
@pytest.mark.full
@pytest.mark.slow
def test_inference_update_and_step_agree_on_both_backends(bench):
    models = "lenet,resnet50-tiny,probe-lstm,probe-step-linear,probe-dropout,probe-pretraining"
    found = bench.verifies_phases(models, variants="mkl,cpu")
    for by_dtype in found.values():
        for _, _, notes in by_dtype["float32"]["adamw"].values():
            assert "composed: AdamW of a decay of each parameter and neon's Adam" in notes


@with_neon
@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_check_of_a_timed_inference_update_and_step_passes(bench, optimizer):
    phases = ("inference", "update", "step")
    bench.agrees("lenet", batch_size=8, phases=phases, optimizer=optimizer)
