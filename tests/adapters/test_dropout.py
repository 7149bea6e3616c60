"""Dropout in every framework and variant: redrawn in every call, and only while it is on.

neon is tested where a checkout of it is given.
"""

import pytest

from velodrome.adapters.registry import FRAMEWORKS

pytestmark = [pytest.mark.framework, pytest.mark.slow]

# Variants beside each other run in one process; MXNet's engine is chosen once in each.
VARIANTS = [
    ("torch", ("eager", "channels_last", "compile")),
    ("tensorflow", ("graph", "eager", "xla")),
    ("jax", ("jit", "eager")),
    ("theano", ("corrmm", "direct")),
    ("pytensor", ("c",)),
    ("pytensor3", ("numba", "c")),
    ("caffe", ("openblas",)),
    ("mxnet", ("hybrid", "imperative")),
    ("mxnet", ("threaded",)),
    ("chainer", ("ideep", "numpy")),
    ("cntk", ("default",)),
]

DROPPING = """
    import json
    import sys
    import numpy
    from importlib import import_module
    from velodrome.adapters.contract import Batch
    from velodrome.adapters.models import layers as kinds
    from velodrome.adapters.models import shapes

    model = kinds.Model(
        "dropping", "", kinds.Vectors(400, "normal"),
        (kinds.Linear("first", 300), kinds.Dropout("drop", 0.3), kinds.Linear("second", 5)),
        kinds.SoftmaxCrossEntropy(), 5, 64, 64,
    )
    draw = numpy.random.RandomState(1)
    weights = {
        entry.name: draw.standard_normal(entry.shape).astype("float32") / 20
        for entry in shapes.list_parameters(model)
    }
    inputs = draw.standard_normal((64, 400)).astype("float32")
    batch = Batch(inputs, draw.randint(5, size=64).astype("int32"))

    def calls(adapter):
        losses = [adapter.loss(call(0)) for call in 2 * [adapter.forward, adapter.gradient]]
        # Copies: what Theano hands over is written again by the next call.
        twice = [
            {name: numpy.array(found) for name, found in adapter.gradients(adapter.gradient(0))}
            for _ in range(2)
        ]
        same = all((twice[0][name] == twice[1][name]).all() for name in twice[0])
        return losses, bool(same)

    def behaviour(variant):
        adapter = import_module(sys.argv[1]).Adapter(model, variant, "cpu", 1, "float32")
        adapter.build(weights)
        adapter.load((batch,))
        adapter.set_dropout(False)
        off = calls(adapter)
        adapter.kept_shares()
        after = calls(adapter)
        adapter.set_dropout(True)
        share = adapter.kept_shares()["drop"]
        return off, share, after, calls(adapter)

    print(json.dumps({variant: behaviour(variant) for variant in sys.argv[2:]}))
"""


@pytest.mark.parametrize(("framework", "variants"), VARIANTS)
def test_dropout_is_redrawn_in_every_call_only_while_it_is_on(workers_of, framework, variants):
    bench = workers_of(framework)
    found = bench.run_script(DROPPING, bench.framework.adapter, *variants)
    assert set(found) == set(variants)
    for variant, (off, share, after, on) in found.items():
        assert after == off, variant  # looking at the kept share has not left it on
        assert off[0] == pytest.approx([off[0][0]] * 4), variant
        assert off[1], f"{variant}: a second gradient is not what the first was"
        assert len(set(on[0])) == 4, variant
        assert not on[1], variant
        assert share == pytest.approx(0.7, abs=0.02)  # 19,200 draws: 6 standard deviations


def test_the_dropout_test_covers_every_variant_of_every_framework():
    covered = {(name, variant) for name, variants in VARIANTS for variant in variants}
    known = {
        (one.name, variant)
        for one in FRAMEWORKS.values()
        if one.name not in ("numpy", "neon")
        for variant in one.variants
        if variant != "fsdp"  # runs on several devices alone, see test_torch_groups.py
        and not variant.startswith("cudnn_")  # on GPUs alone
    }
    assert covered == known
