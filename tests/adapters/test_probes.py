"""The probes in the frameworks' own interpreters: what each can do, and what it composes."""

from pathlib import Path

import pytest

from velodrome.adapters.composed_ops import list_composed_kinds
from velodrome.adapters.models.probes import PROBED

pytestmark = [pytest.mark.framework, pytest.mark.slow]

PROBING = Path(__file__).with_name("probe_run.py")

ATTENTION = ("attention", "causal-attention", "rotary-attention")
# Per framework and variant the probes that it has no own operation for. Variants that are left out
# compile for long; sweeps/probes.yaml has them.
COMPOSED = {
    "torch": {"eager": (), "channels_last": ()},
    "tensorflow": {
        "graph": (
            "grouped-conv",
            "lstm",
            "gru",
            "attention",
            "causal-attention",
            "rotary-attention",
            "layer-norm",
            "rms-norm",
        ),
        "eager": (
            "grouped-conv",
            "gru",
            "attention",
            "causal-attention",
            "rotary-attention",
            "layer-norm",
            "rms-norm",
        ),
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
            "layer-norm",
            "rms-norm",
            "rotary-attention",
        ),
    },
    "mxnet": {"hybrid": (*ATTENTION, "gelu", "rms-norm")},
    "chainer": {
        "ideep": (*ATTENTION, "gelu", "rms-norm", "silu"),
        "numpy": (*ATTENTION, "gelu", "rms-norm", "silu"),
    },
    "cntk": {
        "default": (
            *ATTENTION,
            "gelu",
            "gru",
            "layer-norm",
            "loop",
            "lstm",
            "rms-norm",
            "silu",
        )
    },
    "theano": {"corrmm": ()},
    "pytensor": {"c": ()},
    "pytensor3": {"numba": ()},
}
# As adapters/frameworks/*/expected.toml has it, with the reason.
LACKING = {("cntk", "default"): {"probe-dilated-conv"}, ("chainer", "ideep"): {"probe-lrn"}}
# Of what compiles for long from nothing: a gradient of the user's own, and what reads words.
ONLY = dict.fromkeys(("theano", "pytensor", "pytensor3"), "custom,embedding")


@pytest.mark.parametrize("framework", COMPOSED)
def test_every_probe_agrees_and_notes_composed_operations(workers_of, framework):
    bench = workers_of(framework)
    some = [f"--only={ONLY[framework]}"] if framework in ONLY else []
    found = bench.run_script(str(PROBING), bench.framework.adapter, *some, *COMPOSED[framework])
    assert set(found) == set(COMPOSED[framework])
    for variant, outcomes in found.items():
        failed = {name: text for name, (status, text, _) in outcomes.items() if status != "agreed"}
        assert set(failed) == LACKING.get((framework, variant), set()), failed
        assert len(outcomes) == (2 if some else len(PROBED))
        composed = [
            name.replace("probe-", "")
            for name, (_, _, notes) in outcomes.items()
            if PROBED[name] in list_composed_kinds(notes)
        ]
        assert sorted(composed) == sorted(COMPOSED[framework][variant]), variant
