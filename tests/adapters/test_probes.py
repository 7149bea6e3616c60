"""The probes in the frameworks' own interpreters: what each can do, and what it writes by hand."""

from pathlib import Path

import pytest

from velodrome.adapters.by_hand import kinds_by_hand
from velodrome.adapters.models.probes import PROBED

pytestmark = [pytest.mark.framework, pytest.mark.slow]

PROBING = Path(__file__).with_name("probing.py")

# Per framework and variant the probes that it has no own operation for. Variants that are left out
# compile for long; a sweep has them.
BY_HAND = {
    "torch": {"eager": (), "channels_last": ()},
    "tensorflow": {
        "graph": ("grouped-conv", "lstm", "gru", "attention"),
        "eager": ("grouped-conv", "gru", "attention"),
    },
    "jax": {
        "jit": (
            "grouped-conv",
            "lrn",
            "average-pool",
            "batch-norm",
            "dropout",
            "lstm",
            "gru",
        ),
    },
    "mxnet": {"hybrid": ("attention",)},
    "chainer": {"numpy": ("attention",)},
    "cntk": {"default": ("attention", "gru", "loop", "lstm")},
}
LACKING = {"cntk": {"probe-dilated-conv"}}


@pytest.mark.parametrize("framework", BY_HAND)
def test_every_probe_agrees_and_tells_what_is_by_hand(workers_of, framework):
    bench = workers_of(framework)
    found = bench.say(str(PROBING), bench.framework.adapter, *BY_HAND[framework])
    for variant, outcomes in found.items():
        failed = {name: text for name, (status, text, _) in outcomes.items() if status != "agreed"}
        assert set(failed) == LACKING.get(framework, set()), failed
        told = [
            name.replace("probe-", "")
            for name, (_, _, notes) in outcomes.items()
            if PROBED[name] in kinds_by_hand(notes)
        ]
        assert sorted(told) == sorted(BY_HAND[framework][variant]), variant
