"""Trains twice from the same weights: `restart_run.py MODULE VARIANT MODEL OPTIMIZER`.

Prints JSON: `same`, if both trainings gave every parameter the same bits; `moved`, if each of them
changed; `kept`, if neither arrays read before a call nor kept gradients changed by it; `counted`,
what was traced or compiled before the second training, and after it. Runs in the framework's own
interpreter.
"""

import json
import sys
from importlib import import_module

import numpy

from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import seeding

COMPILED_BY_JAX = []


def count_traces(adapter):
    functions = [getattr(own, "_function", own) for own in (adapter._step, adapter._update)]
    traced = [own for own in functions if hasattr(own, "experimental_get_tracing_count")]
    return [own.experimental_get_tracing_count() for own in traced]


COUNTED = {"tensorflow": count_traces, "jax": lambda adapter: COMPILED_BY_JAX[:]}


def note_what_jax_compiles():
    import jax

    def note(event, duration_s, **more):
        if event.endswith("backend_compile_duration"):
            COMPILED_BY_JAX.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)


def read(pairs):
    """Return each array as it is, and a copy."""
    return {name: (array, numpy.array(array)) for name, array in pairs}


def is_unchanged(arrays):
    return all(bool((array == copy).all()) for array, copy in arrays.values())


def train(adapter, optimizer, weights):
    """Return the parameters after four steps, and whether what was read meanwhile is unchanged."""
    adapter.start_training(optimizer, weights)
    before = read(adapter.parameters())
    handle = adapter.keep_gradients(0)
    gradients = read(adapter.gradients(handle))
    for call in (adapter.update, adapter.update, lambda: adapter.step(0), lambda: adapter.step(1)):
        call()
    kept = is_unchanged(before) and is_unchanged(gradients)
    again = read(adapter.gradients(handle))
    kept = kept and all(bool((again[name][0] == gradients[name][0]).all()) for name in gradients)
    kept = kept and all(bool((before[name][0] == weights[name]).all()) for name in before)
    return {name: array for name, (_, array) in read(adapter.parameters()).items()}, kept


def main(module, variant, name, optimizer):
    model, framework = MODELS[name], module.split(".")[-2]
    if framework == "jax":
        note_what_jax_compiles()
    adapter = import_module(module).Adapter(model, variant, "cpu", 1, "float32")
    weights = seeding.draw_weights(model, 0)
    adapter.build(weights)
    batches = seeding.draw_batches(model, 4, 0)
    adapter.load((batches[0], batches[-1]))
    adapter.set_dropout(False)
    first, kept = train(adapter, optimizer, weights)
    before = COUNTED[framework](adapter)
    second, kept_again = train(adapter, optimizer, weights)
    after = COUNTED[framework](adapter)
    found = {
        "same": all((first[key] == second[key]).all() for key in first),
        "moved": all((first[key] != weights[key]).any() for key in first),
        "kept": kept and kept_again,
        "counted": [before, after],
    }
    print(json.dumps(found))


main(*sys.argv[1:])
