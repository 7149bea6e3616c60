"""Verifies inference, update and step: `phase_run.py MODULE --models=a,b`, with further options.

`--variants=`, `--dtypes=`, `--optimizers=sgd,adamw` and `--phases=` name others than the first ones
here. Prints JSON: per variant, dtype, optimizer and model `[status, text, figures]`. All run in one
process, in the framework's own interpreter; nothing is timed. Runs on Python 3.6.
"""

import json
import sys
import traceback
from importlib import import_module

import probe_run
import twin_run

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import phase_modes, reference, seeding
from velodrome.adapters.proof.disagreement import Disagreed
from velodrome.adapters.proof.timed_phase import ProofContext
from velodrome.adapters.protocol import Request
from velodrome.adapters.worker import request_actions


def make_proof(adapter, model, known, request):
    weights = seeding.draw_weights(model, 0)
    adapter.build(weights)
    batches = seeding.draw_batches(model, request.batch_size, 0, known.draws)
    adapter.load(batches)
    adapter.set_dropout(False)
    return ProofContext(adapter, model, known, request, batches, weights)


def require_phases(proof):
    for phase, call in phase_modes.list_calls(proof):
        request_actions.require_agreement(proof, phase, call)


def verify(adapter_of, model, known, request):
    adapter = adapter_of(model, request.variant, "cpu", 1, request.dtype)
    require_phases(make_proof(adapter, model, known, request))
    return adapter.notes()


def outcome(verifying, *arguments):
    """Call a function that verifies and returns notes; return `[status, text, notes]`."""
    try:
        notes = verifying(*arguments)
    except Unsupported as error:
        return "unsupported", str(error), ()
    except Disagreed as error:
        return "disagreed", error.reason, ()
    except Exception:
        return "crashed", traceback.format_exc(), ()
    return "agreed", "", notes


def main(module, words):
    adapter_of = import_module(module).Adapter
    phases = tuple(twin_run.read_option(words, "phases", "inference,update,step"))
    variants = twin_run.read_option(words, "variants", "")
    found = {variant: {} for variant in variants}
    for dtype in twin_run.read_option(words, "dtypes", "float32"):
        for optimizer in twin_run.read_option(words, "optimizers", "sgd,adamw"):
            for name in twin_run.read_option(words, "models", ""):
                model = MODELS[name]
                size = min(model.batch_size, 4)
                known = reference.compute_reference(model, size, 0, dtype, phases, optimizer)
                for variant in variants:
                    probe_run.forget_compiled_code()
                    request = Request(
                        "measure", "", "", variant, name, size, "cpu", 1, dtype, 0, "",
                        phases=phases, optimizer=optimizer,
                    )  # fmt: skip
                    own = found[variant].setdefault(dtype, {}).setdefault(optimizer, {})
                    own[name] = outcome(verify, adapter_of, model, known, request)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
