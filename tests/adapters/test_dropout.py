"""Dropout in every framework and variant: drawn anew in every call, and only when it is on."""

import pytest

from velodrome.adapters.registry import FRAMEWORKS

pytestmark = [pytest.mark.framework, pytest.mark.slow]

VARIANTS = [
    (framework.name, variant)
    for framework in FRAMEWORKS.values()
    for variant in framework.variants
    if framework.name in ("torch", "tensorflow", "caffe", "mxnet", "chainer")
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
    adapter = import_module(sys.argv[1]).Adapter(model, sys.argv[2], "cpu", 1, "float32")
    adapter.build({
        entry.name: draw.standard_normal(entry.shape).astype("float32") / 20
        for entry in shapes.parameters(model)
    })
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


@pytest.mark.parametrize(("framework", "variant"), VARIANTS)
def test_dropout_is_drawn_anew_in_every_call_and_only_when_it_is_on(workers_of, framework, variant):
    bench = workers_of(framework)
    off, share, after, on = bench.say(DROPPING, bench.framework.adapter, variant)
    assert after == off  # looking at the kept share has not left it on
    assert off[0] == pytest.approx([off[0][0]] * 4)
    assert off[1], "a second gradient is not what the first was"
    assert len(set(on[0])) == 4
    assert not on[1]
    assert share == pytest.approx(0.7, abs=0.02)  # 19,200 draws: 6 standard deviations
