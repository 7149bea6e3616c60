"""Copies of one framework on the CPU: `copy_run.py MODULE VARIANT DEVICES MODEL...`.

A worker refuses them there, for a CPU has one memory; the adapter's calls are the same. Prints
JSON: per model `[faults, places, notes]`, or why it is unsupported. faults: of results of two
batches, and of fresh ones that are loaded later. places: the kind of memory that is copied from,
and to, and if these are two addresses.
"""

import json
import sys
from importlib import import_module

from velodrome.adapters.contract import Group, Unsupported
from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import seeding
from velodrome.adapters.proof.agreement import require_values
from velodrome.adapters.proof.collective_results import compute_expected_output
from velodrome.adapters.proof.disagreement import Disagreed


def list_faults(adapter, model, batches):
    for index in range(len(batches)):
        found = adapter.output(adapter.forward(index))
        expected = compute_expected_output(model, batches[index].inputs)
        try:
            require_values(found, expected, "the input's")
        except Disagreed as error:
            yield error.reason


def describe(adapter, handle):
    """Return a memory kind, or a type, of what is copied and of the copy."""
    source, copy = (_take_first(value) for value in (adapter._batches[0], handle))
    return [_name(source), _name(copy), _find_address(source) != _find_address(copy)]


def _take_first(value):
    while isinstance(value, (list, tuple)):
        value = value[0]
    return value


def _name(value):
    sharding = getattr(value, "sharding", None)
    if sharding is not None:
        return "{} of {}".format(sharding.memory_kind, sorted(own.id for own in value.devices()))
    return type(value).__name__


def _find_address(value):
    if hasattr(value, "addressable_shards"):
        return value.addressable_shards[0].data.unsafe_buffer_pointer()
    return value.data_ptr() if hasattr(value, "data_ptr") else value.ctypes.data


def run(adapter_of, variant, devices, model):
    adapter = adapter_of(model, variant, "cpu", 1, "float32")
    if devices > 1:
        adapter.join(Group(devices=devices))
    adapter.build({})
    first = seeding.draw_batches(model, devices, 0)
    fresh = seeding.draw_fresh_batches(model, devices, 0)
    adapter.load(first)
    adapter.set_dropout(False)
    faults = list(list_faults(adapter, model, first))
    places = describe(adapter, adapter.forward(0))
    adapter.load(fresh)
    faults += list_faults(adapter, model, fresh)
    return faults, places, adapter.notes()


def main(module, variant, devices, *names):
    adapter_of, found = import_module(module).Adapter, {}
    for name in names:
        try:
            found[name] = run(adapter_of, variant, int(devices), MODELS[name])
        except Unsupported as error:
            found[name] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
