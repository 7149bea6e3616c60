"""Workers in PyTorch's own interpreter, for there is no torch in this one."""

import json
import os
import subprocess
import textwrap
from pathlib import Path

import pytest

import velodrome
from velodrome.adapters import protocol, reference
from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Failed, Finished, Request, Timing, Verified
from velodrome.adapters.registry import FRAMEWORKS

pytestmark = pytest.mark.framework

TORCH = FRAMEWORKS["torch"]
PLANTED = Path(__file__).with_name("planted")
BARE = Path(__file__).parents[2] / "benchmarks" / "bare" / "torch_loop.py"
SMALL = [name for name in MODELS if name.startswith(("lenet", "auto", "lstm", "copy"))]
LARGE = ["alexnet", "alexnet-plain"]
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3


class Bench:
    """Runs workers and scripts inside PyTorch's interpreter, references computed once for all."""

    def __init__(self, python, folder, compiled):
        self.python, self.folder, self.compiled = python, folder, compiled

    def measure(self, model, variant="eager", adapter=TORCH.adapter, device="cpu", batch_size=None):
        """The events of one worker, from `hello` to `finished` or `failed`."""
        request = Request(
            action="measure",
            framework="torch",
            adapter=adapter,
            variant=variant,
            model=model,
            batch_size=batch_size or MODELS[model].batch_size,
            device=device,
            threads=1,
            dtype="float32",
            seed=0,
            reference="",
            timing=Timing(target=0.5, min_samples=3, min_seconds=0.0, max_seconds=0.1),
        )
        path = self.folder / "request.json"
        path.write_text(protocol.encode_request(request._replace(reference=self.refer(request))))
        reader, writer = os.pipe()
        command = [str(self.python), "-m", "velodrome.adapters.worker", str(path), str(writer)]
        child = subprocess.Popen(command, pass_fds=[writer], env=self.environment())
        os.close(writer)
        try:
            with os.fdopen(reader) as stream:
                return [protocol.decode(line) for line in stream]
        finally:
            child.kill()  # it is done, or this test is out of time
            child.wait()

    def refer(self, request):
        path = self.folder / f"{request.model.replace('/', '-')}-{request.batch_size}.npz"
        if not path.exists():
            found = reference.compute(MODELS[request.model], request.batch_size, request.seed)
            reference.save(str(path), found)
        return str(path)

    def say(self, script):
        """What a script prints as JSON."""
        command = [str(self.python), "-c", textwrap.dedent(script)]
        done = subprocess.run(
            command, env=self.environment(), stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout)

    def environment(self):
        source = Path(velodrome.__path__[0]).parent
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(source), str(PLANTED)]),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(self.compiled),
        }


@pytest.fixture(scope="module")
def bench(framework_python, tmp_path_factory, request):
    """What was compiled is kept beside pytest's own cache: from then on a run takes a fifth."""
    compiled = request.config.cache.mkdir("inductor")
    return Bench(framework_python("torch"), tmp_path_factory.mktemp("torch"), compiled)


def only(kind, events):
    (event,) = (event for event in events if isinstance(event, kind))
    return event


def assert_agrees(events):
    assert isinstance(events[-1], Finished), events[-1]
    verified = only(Verified, events)
    assert verified.loss_error <= LOSS_TOLERANCE
    assert verified.gradient_error <= GRADIENT_TOLERANCE


def assert_disagrees(events):
    assert isinstance(events[-1], Failed)
    assert events[-1].status == "disagreed", events[-1]
    assert not any(isinstance(event, Verified) for event in events)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["eager", "channels_last"])
@pytest.mark.parametrize("model", [*SMALL, "gemm-1024"])
def test_a_model_agrees_with_the_reference_as_it_is_timed(bench, model, variant):
    assert_agrees(bench.measure(model, variant))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", [*SMALL, "gemm-1024"])
def test_a_compiled_model_agrees_with_the_reference_as_it_is_timed(bench, model):
    assert_agrees(bench.measure(model, "compile"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("variant", TORCH.variants)
@pytest.mark.parametrize("model", LARGE)
def test_alexnet_agrees_with_the_reference_and_drops_half_while_timed(bench, model, variant):
    events = bench.measure(model, variant)
    assert_agrees(events)
    notes = " ".join(only(Verified, events).notes)
    assert "dropout drop6 kept 0.5" in notes or "dropout drop6 kept 0.4" in notes


@pytest.mark.slow
def test_a_transposed_weight_is_caught(bench):
    events = bench.measure("gemm-1024", adapter="torch_transposed")
    assert_disagrees(events)
    assert "product.weight" in events[-1].reason


@pytest.mark.slow
def test_a_pooling_that_averages_is_caught(bench):
    events = bench.measure("lenet", adapter="torch_average_pooling")
    assert_disagrees(events)
    assert events[-1].loss_error > LOSS_TOLERANCE


@pytest.mark.slow
def test_a_loss_that_is_not_divided_by_the_batch_is_caught(bench):
    events = bench.measure("lenet", adapter="torch_summed")
    assert_disagrees(events)
    assert events[-1].loss_error == pytest.approx(63, rel=1e-3)
    assert events[-1].parameters[-1].error == pytest.approx(63, rel=0.1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_model_fails_rather_than_go_on_uncompiled(bench):
    events = bench.measure("lstm", "compile", adapter="torch_recompiling")
    assert isinstance(events[-1], Failed)
    assert "recompile" in events[-1].detail


def test_a_gpu_that_is_not_there_is_unsupported(bench):
    events = bench.measure("lenet", device="gpu", batch_size=2)
    assert events[-1].status == "unsupported"
    assert "CUDA" in events[-1].reason


DROPPING = """
    import json
    import numpy
    from velodrome.adapters.contract import Batch
    from velodrome.adapters.models import layers as kinds
    from velodrome.adapters.models import shapes
    from velodrome.adapters.torch.adapter import Adapter

    model = kinds.Model(
        "dropping", "", kinds.Vectors(400, "normal"),
        (kinds.Linear("first", 300), kinds.Dropout("drop", 0.3), kinds.Linear("second", 5)),
        kinds.SoftmaxCrossEntropy(), 5, 64, 64,
    )
    draw = numpy.random.RandomState(1)
    adapter = Adapter(model, {variant!r}, "cpu", 1, "float32")
    adapter.build({{
        entry.name: draw.standard_normal(entry.shape).astype("float32") / 20
        for entry in shapes.parameters(model)
    }})
    inputs = draw.standard_normal((64, 400)).astype("float32")
    adapter.load((Batch(inputs, draw.randint(5, size=64).astype("int32")),))

    def calls():
        losses = [adapter.loss(call(0)) for call in 2 * [adapter.forward, adapter.gradient]]
        twice = [dict(adapter.gradients(adapter.gradient(0))) for _ in range(2)]
        same = all((twice[0][name] == twice[1][name]).all() for name in twice[0])
        return losses, bool(same)

    adapter.set_dropout(False)
    off = calls()
    share = adapter.kept_shares()["drop"]
    after = calls()
    adapter.set_dropout(True)
    print(json.dumps([off, share, after, calls()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("variant", TORCH.variants)
def test_dropout_is_drawn_anew_in_every_call_and_only_when_it_is_on(bench, variant):
    off, share, after, on = bench.say(DROPPING.format(variant=variant))
    assert after == off  # looking at the kept share has not left it on
    assert off[0] == pytest.approx([off[0][0]] * 4)
    assert off[1], "a second gradient is not what the first was"
    assert len(set(on[0])) == 4
    assert not on[1]
    assert share == pytest.approx(0.7, abs=0.02)  # 19,200 draws: 6 standard deviations


def test_a_kind_of_layer_that_the_adapter_lacks_is_unsupported_by_name(bench):
    said = bench.say(
        """
        import json
        from typing import NamedTuple
        from velodrome.adapters.contract import Unsupported
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.torch.adapter import Adapter

        class Attention(NamedTuple):
            name: str
            inputs: tuple = ()

        model = MODELS["copy"]._replace(layers=(Attention("attention"),))
        try:
            Adapter(model, "eager", "cpu", 1, "float32").build({})
        except Unsupported as error:
            print(json.dumps(str(error)))
        """
    )
    assert said == "the torch adapter has no Attention"


@pytest.mark.slow
@pytest.mark.parametrize(("model", "batch_size"), [("lenet", 64), ("lstm", 16)])
def test_the_bare_loop_tells_its_medians(bench, model, batch_size):
    command = [
        str(bench.python),
        str(BARE),
        model,
        f"--batch-size={batch_size}",
        "--threads=1",
        "--samples=1",
        "--seconds=0",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout)
    assert 0 < said["forward_ns"] < said["gradient_ns"]
