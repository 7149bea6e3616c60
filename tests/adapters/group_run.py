"""Verifies adapters on several devices of one process: `group_run.py MODULE[:CLASS],... --models=`.

`--variants=`, `--dtypes=`, `--phases=` and `--devices=2` name others than the first ones here.
Prints JSON: per adapter, variant, dtype and model `[status, text, notes]`. All run in one process,
in the framework's own interpreter; nothing is timed.
"""

import json
import sys
from importlib import import_module

import phase_run
import twin_run

from velodrome.adapters.contract import Group
from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import agreement, dropout_shares, reference
from velodrome.adapters.protocol import COMPUTED_PHASES, Request

BATCH = 4


def verify(adapter_of, model, known, request):
    """Verify loss, gradients, and all other phases; then dropout, which stays on."""
    adapter = adapter_of(model, request.variant, "cpu", 1, request.dtype)
    adapter.join(Group(devices=request.devices))
    proof = phase_run.make_proof(adapter, model, known, request)
    agreement.verify(known, adapter)
    phase_run.require_phases(proof)
    dropout_shares.check_dropout(model, adapter, request.batch_size)
    return adapter.notes()


def find_adapter(name):
    module, _, kind = name.partition(":")
    return getattr(import_module(module), kind or "Adapter")


def main(names, words):
    (devices,) = map(int, twin_run.read_option(words, "devices", "2"))
    phases = tuple(twin_run.read_option(words, "phases", ",".join(COMPUTED_PHASES)))
    adapters = {name: find_adapter(name) for name in names.split(",")}
    found = {}
    for dtype in twin_run.read_option(words, "dtypes", "float32"):
        for name in twin_run.read_option(words, "models", ""):
            model, given = MODELS[name], (dtype, phases, "adamw", devices)
            known = reference.compute_reference(model, BATCH, 0, *given)
            for variant in twin_run.read_option(words, "variants", ""):
                request = Request(
                    "measure", "", "", variant, name, BATCH, "cpu", 1, dtype, 0, "",
                    phases=phases, optimizer="adamw", devices=devices,
                )  # fmt: skip
                for adapter, kind in adapters.items():
                    own = (
                        found.setdefault(adapter, {}).setdefault(variant, {}).setdefault(dtype, {})
                    )
                    own[name] = phase_run.outcome(verify, kind, model, known, request)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
