"""Runs probes in every given variant: `probe_run.py MODULE [--only=lrn,gru] VARIANT ...`.

Prints JSON: per variant and probe `[status, text, notes]`, status as in a worker's events. Runs on
Python 3.6, in the framework's own interpreter.
"""

import json
import sys
import traceback
from importlib import import_module

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.models.probes import PROBES
from velodrome.adapters.proof import agreement, dropout_shares, reference, seeding


def outcome(adapter_of, model, known, variant):
    try:
        adapter = adapter_of(model, variant, "cpu", 1, known.dtype)
        adapter.build(seeding.draw_weights(model, 0))
        adapter.load(seeding.draw_batches(model, model.batch_size, 0, known.draws))
        adapter.set_dropout(False)
        verified = agreement.verify(known, adapter)
        dropout_shares.check_dropout(model, adapter, model.batch_size)
    except Unsupported as error:
        return "unsupported", str(error), ()
    except agreement.Disagreed as error:
        return "disagreed", error.detail, ()
    except Exception:
        return "crashed", traceback.format_exc(), ()
    return "agreed", "{:.1e}".format(verified.gradient_error), verified.notes


def forget_compiled_code():
    """torch allows itself few compilations of one place, and here many models share it."""
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()


def main(module, words):
    only = [name for word in words if word.startswith("--only=") for name in word[7:].split(",")]
    variants = [word for word in words if not word.startswith("--")]
    adapter_of = import_module(module).Adapter
    found = {variant: {} for variant in variants}
    for probe in PROBES:
        model = probe.model
        if only and model.name.replace("probe-", "") not in only:
            continue
        known = reference.compute_reference(model, model.batch_size, 0)
        for variant in variants:
            forget_compiled_code()
            found[variant][model.name] = outcome(adapter_of, model, known, variant)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
