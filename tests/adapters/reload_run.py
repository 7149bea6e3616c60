"""Loads batches again and changes a parameter: `reload_run.py MODULE VARIANT MODEL BATCH_SIZE`.

Prints JSON: by phase how far the losses of the second batches are off, and the loss of the first of
them once the parameter is changed, and COUNTED's counters before and after. Runs on Python
3.6, in the framework's own interpreter.
"""

import json
import sys
from importlib import import_module

from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import reference, seeding
from velodrome.adapters.proof.relative_errors import compute_relative_error


def of_torch(adapter):
    from torch._dynamo.utils import counters

    return [counters["stats"]["unique_graphs"], counters["inductor"]["fxgraph_cache_miss"]]


def of_tensorflow(adapter):
    functions = [getattr(own, "_function", own) for own in (adapter._forward, adapter._gradient)]
    traced = [own for own in functions if hasattr(own, "experimental_get_tracing_count")]
    return [(id(own), own.experimental_get_tracing_count()) for own in traced]


def of_jax(adapter):
    return COMPILED_BY_JAX[:]


def of_caffe(adapter):
    return sorted(id(net) for net in adapter._training.nets.values())


def of_mxnet(adapter):
    return [id(adapter._network._cached_op)]


def of_family(adapter):
    return [id(adapter._forward), id(adapter._gradient)]


def of_neon(adapter):
    return sorted(id(network) for network in adapter._networks.values())


def of_cntk(adapter):
    return [id(adapter._loss)]


def of_chainer(adapter):
    return []  # it defines by running


# Counters that change if something is built, traced or compiled again.
COUNTED = {
    "torch": of_torch,
    "tensorflow": of_tensorflow,
    "jax": of_jax,
    "caffe": of_caffe,
    "mxnet": of_mxnet,
    "theano": of_family,
    "pytensor": of_family,
    "pytensor3": of_family,
    "neon": of_neon,
    "cntk": of_cntk,
    "chainer": of_chainer,
}
COMPILED_BY_JAX = []


def note_what_jax_compiles():
    import jax

    def note(event, duration_s, **more):
        if event.endswith("backend_compile_duration"):
            COMPILED_BY_JAX.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)


def losses_of(adapter, numbers):
    return {
        phase: [adapter.loss(call(number)) for number in numbers]
        for phase, call in (("forward", adapter.forward), ("gradient", adapter.gradient))
    }


def errors(losses, expected):
    return {
        phase: [compute_relative_error(loss, expected[place]) for place, loss in enumerate(found)]
        for phase, found in losses.items()
    }


def main(module, variant, name, batch_size):
    model, size = MODELS[name], int(batch_size)
    framework = module.split(".")[-2]
    if framework == "jax":
        note_what_jax_compiles()
    known = reference.compute_reference(model, size, 0)
    adapter = import_module(module).Adapter(model, variant, "cpu", 1, "float32")
    adapter.build(seeding.draw_weights(model, 0))
    batches = seeding.draw_batches(model, size, 0, known.draws)
    adapter.load(batches)
    adapter.set_dropout(False)
    losses_of(adapter, range(len(batches)))
    before = COUNTED[framework](adapter)
    adapter.load(seeding.draw_fresh_batches(model, size, 0, known.draws))
    fresh = errors(losses_of(adapter, known.checked), known.fresh.losses)
    adapter.set_parameter(*reference.choose_changed_parameter(model, 0))
    changed = errors(losses_of(adapter, known.checked[:1]), [known.changed.loss])
    after = COUNTED[framework](adapter)
    print(json.dumps({"fresh": fresh, "changed": changed, "counted": [before, after]}))


main(*sys.argv[1:])
