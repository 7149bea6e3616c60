"""Workers in PyTorch: its variants, and faults planted in its adapter."""

import json
import subprocess
from pathlib import Path

import pytest

from velodrome.adapters.protocol import Failed

pytestmark = pytest.mark.framework

SOURCE = Path(__file__).parents[2] / "src"
NOTES_ON_A_GPU = """
import json, torch
from velodrome.adapters.frameworks.torch.precision import describe
gpu = torch.device("cuda")  # only named: none is used
torch.backends.cudnn.benchmark = True
notes = {dtype: list(describe(gpu, dtype)) for dtype in ("float32", "bfloat16")}
torch.backends.cudnn.benchmark = False
print(json.dumps({**notes, "untimed": list(describe(gpu, "float32"))}))
"""


@pytest.fixture(scope="module")
def bench(workers_of, request):
    """Keep compiled code beside pytest's own cache: later runs take a fifth of the time."""
    return workers_of("torch", TORCHINDUCTOR_CACHE_DIR=str(request.config.cache.mkdir("inductor")))


@pytest.mark.slow
def test_notes_of_a_gpu_tell_of_rounded_sums_and_of_the_choice_of_algorithms(framework_environment):
    python = framework_environment("torch").python
    done = subprocess.run(
        [python, "-c", NOTES_ON_A_GPU],
        env={"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        check=True,
    )
    notes = {dtype: " ".join(found) for dtype, found in json.loads(done.stdout).items()}
    assert "round parts of a sum to bfloat16" in notes["bfloat16"]
    assert "round" not in notes["float32"]
    assert "cuDNN times its algorithms" in notes["float32"]
    assert "without timing them" in notes["untimed"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "batch_size"),
    [
        pytest.param("lenet", 4, marks=pytest.mark.full),
        ("autoencoder-400-200-100/ae2", 64),
        pytest.param("probe-lstm", 8, marks=pytest.mark.full),
    ],
)
def test_a_compiled_model_agrees_too(bench, model, batch_size):
    bench.agrees(model, variant="compile", batch_size=batch_size)


@pytest.mark.slow
def test_a_model_in_channels_last_layout_agrees_too(bench):
    bench.agrees("lenet", variant="channels_last")


@pytest.mark.slow
def test_a_model_without_images_is_eager_whatever_the_layout(bench):
    verified = bench.agrees("autoencoder-400-200-100/ae2", variant="channels_last")
    assert any("without images channels_last is eager" in note for note in verified.notes)


@pytest.mark.slow
def test_a_transposed_weight_is_caught(bench):
    failed = bench.disagrees("gemm-1024", adapter="torch_transposed")
    assert "product.weight" in failed.reason


@pytest.mark.slow
def test_a_pooling_that_averages_is_caught(bench):
    assert bench.disagrees("lenet", adapter="torch_average_pooling").loss_error > 1e-4


@pytest.mark.slow
def test_a_loss_not_divided_by_the_batch_is_caught(bench):
    failed = bench.disagrees("lenet", adapter="torch_summed")
    assert failed.loss_error == pytest.approx(63, rel=1e-3)
    assert failed.parameters[-1].error == pytest.approx(63, rel=0.1)


@pytest.mark.full
@pytest.mark.slow
def test_a_compiled_model_fails_rather_than_continue_uncompiled(bench):
    failed = bench.measure("lstm", variant="compile", adapter="torch_recompiling")[-1]
    assert isinstance(failed, Failed)
    assert "recompile" in failed.detail


@pytest.mark.full
@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("autoencoder-400-200-100/ae3", batch_size=4, variant="compile")


@pytest.mark.parametrize("variant", ["cudnn_heuristics", "cudnn_deterministic"])
def test_a_choice_of_cudnn_is_refused_on_a_cpu(bench, variant):
    failed = bench.measure("lenet", variant=variant, batch_size=1)[-1]
    assert isinstance(failed, Failed)
    assert failed.status == "unsupported"
    assert "cuDNN computes on GPUs alone" in failed.reason


def test_each_variant_sets_how_cudnn_chooses(bench):
    """The flags are set without a GPU, too."""
    script = """
    import json
    import torch
    from velodrome.adapters.frameworks.torch import device, variants

    found = {}
    for variant in variants.VARIANTS:
        choice = variants.CUDNN_CHOICES.get(variant, variants.BY_TRIAL)
        device.settle(torch.device("cuda"), 1, "float32", choice)
        flags = torch.backends.cudnn
        found[variant] = [flags.benchmark, flags.deterministic]
    print(json.dumps(found))
    """
    found = bench.run_script(script)
    assert found.pop("cudnn_heuristics") == [False, False]
    assert found.pop("cudnn_deterministic") == [False, True]
    assert set(map(tuple, found.values())) == {(True, False)}
