"""Workers in TensorFlow's own interpreter, for there is no TensorFlow in this one."""

import json
import os
import statistics
import subprocess
import textwrap
from pathlib import Path

import pytest

import velodrome
from velodrome.adapters import protocol, reference
from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import (
    Failed,
    Finished,
    FirstCall,
    Request,
    Sampled,
    Timing,
    Verified,
)
from velodrome.adapters.registry import FRAMEWORKS

pytestmark = pytest.mark.framework

TENSORFLOW = FRAMEWORKS["tensorflow"]
PLANTED = Path(__file__).with_name("planted")
BARE = Path(__file__).parents[2] / "benchmarks" / "bare" / "tensorflow_loop.py"
SMALL = [name for name in MODELS if name.startswith(("lenet", "auto", "lstm", "copy"))]
LARGE = ["alexnet", "alexnet-plain"]
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3
BRIEF = Timing(target=0.5, min_samples=3, min_seconds=0.0, max_seconds=0.1)


class Bench:
    """Runs workers and scripts inside TensorFlow's interpreter; a reference is computed once."""

    def __init__(self, python, folder):
        self.python, self.folder = python, folder

    def measure(self, model, **changes):
        """The events of one worker, from `hello` to `finished` or `failed`."""
        request = Request(
            action="measure",
            framework="tensorflow",
            adapter=TENSORFLOW.adapter,
            variant=TENSORFLOW.default_variant,
            model=model,
            batch_size=MODELS[model].batch_size,
            device="cpu",
            threads=2,
            dtype="float32",
            seed=0,
            reference="",
            timing=BRIEF,
        )._replace(**changes)
        path = self.folder / "request.json"
        path.write_text(protocol.encode_request(request._replace(reference=self.refer(request))))
        reader, writer = os.pipe()
        command = [str(self.python), "-m", "velodrome.adapters.worker", str(path), str(writer)]
        child = subprocess.Popen(command, pass_fds=[writer], env=self.environment())
        os.close(writer)
        with os.fdopen(reader) as stream:
            events = [protocol.decode(line) for line in stream]
        child.wait()
        return events

    def refer(self, request):
        path = self.folder / f"{request.model.replace('/', '-')}-{request.batch_size}.npz"
        if not path.exists():
            found = reference.compute(MODELS[request.model], request.batch_size, request.seed)
            reference.save(str(path), found)
        return str(path)

    def say(self, *arguments):
        """What the interpreter prints as JSON."""
        command = [str(self.python), *arguments]
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
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }


@pytest.fixture(scope="module")
def bench(framework_python, tmp_path_factory):
    return Bench(framework_python("tensorflow"), tmp_path_factory.mktemp("tensorflow"))


def only(kind, events):
    (event,) = (event for event in events if isinstance(event, kind))
    return event


def assert_agrees(events):
    assert isinstance(events[-1], Finished), events[-1]
    verified = only(Verified, events)
    assert verified.loss_error <= LOSS_TOLERANCE
    assert verified.gradient_error <= GRADIENT_TOLERANCE


def assert_disagrees(events):
    assert isinstance(events[-1], Failed), events[-1]
    assert events[-1].status == "disagreed", events[-1]
    assert not any(isinstance(event, Verified) for event in events)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", TENSORFLOW.variants)
@pytest.mark.parametrize("model", [*SMALL, "gemm-1024"])
def test_a_model_agrees_with_the_reference_as_it_is_timed(bench, model, variant):
    assert_agrees(bench.measure(model, variant=variant))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("variant", TENSORFLOW.variants)
@pytest.mark.parametrize("model", LARGE)
def test_alexnet_agrees_with_the_reference_and_drops_half_while_timed(bench, model, variant):
    events = bench.measure(model, variant=variant)
    assert_agrees(events)
    notes = " ".join(only(Verified, events).notes)
    for layer in ("drop6", "drop7"):
        assert f"dropout {layer} kept 0.5" in notes or f"dropout {layer} kept 0.4" in notes


@pytest.mark.slow
def test_a_transposed_weight_is_caught(bench):
    events = bench.measure("gemm-1024", adapter="tensorflow_transposed")
    assert_disagrees(events)
    assert "product.weight" in events[-1].reason


@pytest.mark.slow
def test_a_pooling_that_averages_is_caught(bench):
    events = bench.measure("lenet", adapter="tensorflow_average_pooling")
    assert_disagrees(events)
    assert events[-1].loss_error > LOSS_TOLERANCE


@pytest.mark.slow
def test_a_loss_that_is_not_divided_by_the_batch_is_caught(bench):
    events = bench.measure("lenet", adapter="tensorflow_summed")
    assert_disagrees(events)
    assert events[-1].loss_error == pytest.approx(63, rel=1e-3)
    assert events[-1].parameters[-1].error == pytest.approx(63, rel=0.1)


@pytest.mark.slow
def test_the_gradient_that_tensorflow_registers_for_its_lstm_kernel_is_caught(bench):
    events = bench.measure("lstm", adapter="tensorflow_registered_gradient")
    assert_disagrees(events)
    assert events[-1].loss_error <= LOSS_TOLERANCE
    errors = {entry.name: entry.error for entry in events[-1].parameters}
    assert errors["lstm.weight_hidden"] > 1
    assert errors["classifier.weight"] <= GRADIENT_TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_xla_compiles_for_every_length_in_the_first_call(bench):
    events = bench.measure("lstm", variant="xla")
    for first in (event for event in events if isinstance(event, FirstCall)):
        passes_ns = [
            elapsed_ns
            for event in events
            if isinstance(event, Sampled) and event.phase == first.phase
            for elapsed_ns in event.elapsed_ns
        ]
        # A pass is 124 calls. To compile for one length takes half as long, and there are six.
        assert first.elapsed_ns > statistics.median(passes_ns)


@pytest.mark.slow
@pytest.mark.parametrize("variant", TENSORFLOW.variants)
def test_nothing_is_left_to_wait_for_when_a_call_on_the_cpu_returns(bench, variant):
    script = f"""
        import json, time
        from velodrome.adapters import seeding
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.tensorflow.adapter import Adapter

        model = MODELS["gemm-1024"]
        adapter = Adapter(model, {variant!r}, "cpu", 1, "float32")
        adapter.build(seeding.weights(model, 0))
        adapter.load(seeding.batches(model, 1024, 0))
        adapter.gradient(0)
        moments = [time.perf_counter()]
        handle = adapter.gradient(0)
        moments.append(time.perf_counter())
        read = [tensor.numpy().sum() for tensor in handle]
        moments.append(time.perf_counter())
        print(json.dumps(moments))
    """
    started, returned, read = bench.say("-c", textwrap.dedent(script))
    assert read - returned < (returned - started) / 5  # two products of 2 GFLOP, and 4 MiB


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
    from velodrome.adapters.tensorflow.adapter import Adapter

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
@pytest.mark.parametrize("variant", TENSORFLOW.variants)
def test_dropout_is_drawn_anew_in_every_call_and_only_when_it_is_on(bench, variant):
    off, share, after, on = bench.say("-c", textwrap.dedent(DROPPING.format(variant=variant)))
    assert after == off  # looking at the kept share has not left it on
    assert off[0] == pytest.approx([off[0][0]] * 4)
    assert off[1], "a second gradient is not what the first was"
    assert len(set(on[0])) == 4
    assert not on[1]
    assert share == pytest.approx(0.7, abs=0.02)  # 19,200 draws: 6 standard deviations


def test_a_kind_of_layer_that_the_adapter_lacks_is_unsupported_by_name(bench):
    script = """
        import json
        from typing import NamedTuple
        from velodrome.adapters.contract import Unsupported
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.tensorflow.adapter import Adapter

        class Attention(NamedTuple):
            name: str
            inputs: tuple = ()

        model = MODELS["copy"]._replace(layers=(Attention("attention"),))
        try:
            Adapter(model, "eager", "cpu", 1, "float32").build({})
        except Unsupported as error:
            print(json.dumps(str(error)))
    """
    said = bench.say("-c", textwrap.dedent(script))
    assert said == "the tensorflow adapter has no Attention"


@pytest.mark.slow
@pytest.mark.parametrize(("model", "batch_size"), [("lenet", 64), ("lstm", 16)])
def test_the_bare_loop_tells_its_medians(bench, model, batch_size):
    options = [f"--batch-size={batch_size}", "--threads=1", "--samples=1", "--seconds=0"]
    said = bench.say(str(BARE), model, *options)
    assert 0 < said["forward_ns"] < said["gradient_ns"]
