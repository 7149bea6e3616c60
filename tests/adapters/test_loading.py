"""Loaders of torch, TensorFlow, MXNet and Chainer: each batch is the data set's, in any layout."""

import pytest

from velodrome.adapters.protocol import (
    FAILED,
    LOADING_PHASES,
    PASSED,
    Checked,
    Finished,
    Timed,
    Verified,
)

pytestmark = [pytest.mark.framework, pytest.mark.slow]

PHASES = ("gradient", *LOADING_PHASES)
LOADED = """
    import json
    import sys
    from importlib import import_module

    from velodrome.adapters.datasets import files, records
    from velodrome.adapters.models import MODELS
    from velodrome.adapters.proof import seeding

    def equal(left, right):
        if left is None or right is None:
            return left is right
        same = left.dtype == right.dtype and left.shape == right.shape
        return same and bool((left == right).all())

    module, folder, variant, *names = sys.argv[1:]
    found = {}
    for name in names:
        model = MODELS[name]
        adapter = import_module(module).Adapter(model, variant, "cpu", 2, "float32")
        adapter.build(seeding.draw_weights(model, 0))
        adapter.load(seeding.draw_batches(model, 4, 0))
        held = files.hold_dataset(model, 4, 0, folder, "timed", 4)
        for workers in (0, 2):
            adapter.start_loading(held.file, workers)
            taken = [adapter.loaded(adapter.next_batch()) for _ in range(6)]
            loss = adapter.loss(adapter.fed_gradient())
            adapter.end_loading()
            wanted = [records.draw_batch(model, 4, 0, "timed", at % 4) for at in range(6)]
            pairs = [pair for own, right in zip(taken, wanted) for pair in zip(own, right)]
            unlike = [str(left)[:200] for left, right in pairs if not equal(left, right)]
            found["%s %d" % (name, workers)] = unlike
    print(json.dumps(found))
"""
VARIANTS = {
    "torch": ("eager", "channels_last"),
    "tensorflow": ("graph",),
    "mxnet": ("hybrid", "threaded"),
    "chainer": ("ideep",),
}
MODELS_OF_KINDS = ("lenet", "resnet50-tiny", "gpt2-tiny", "autoencoder-400-200-100/ae1")


OTHERS = [pytest.param(name, marks=pytest.mark.full) for name in ("mxnet", "chainer")]


@pytest.mark.parametrize("framework", ["torch", "tensorflow", *OTHERS])
def test_every_batch_is_the_data_sets_with_and_without_workers(workers_of, framework, tmp_path):
    bench = workers_of(framework)
    for variant in VARIANTS[framework]:
        found = bench.run_script(
            LOADED, bench.framework.adapter, str(tmp_path), variant, *MODELS_OF_KINDS
        )
        assert len(found) == 2 * len(MODELS_OF_KINDS)
        assert not any(found.values()), found


@pytest.mark.parametrize(
    ("framework", "threads"),
    [
        ("torch", 1),
        ("torch", 2),
        ("tensorflow", 1),
        ("tensorflow", 2),
        pytest.param("mxnet", 2, marks=pytest.mark.full),
        pytest.param("chainer", 2, marks=pytest.mark.full),
    ],
)
def test_loading_is_timed_and_proven(workers_of, framework, tmp_path, threads):
    events = workers_of(framework).measure(
        "lenet", batch_size=16, phases=PHASES, threads=threads, datasets=str(tmp_path)
    )
    assert isinstance(events[-1], Finished), events[-1]
    assert tuple(event.phase for event in events if isinstance(event, Timed)) == PHASES
    checked = [one for one in events if isinstance(one, Checked) and one.phase in LOADING_PHASES]
    assert not [one for one in checked if one.outcome == FAILED]
    proven = {(one.name, one.phase) for one in checked if one.outcome == PASSED}
    for phase in LOADING_PHASES:
        assert {("timed_is_checked", phase), ("different_values", phase)} <= proven
    (verified,) = (event for event in events if isinstance(event, Verified))
    assert any("a data set of" in note for note in verified.notes)
