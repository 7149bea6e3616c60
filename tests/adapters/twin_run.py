"""Verifies the small twins of today's models: `twin_run.py MODULE --variants=a,b --dtypes=c,d`.

`--models=x,y` names others. Prints JSON: per variant, dtype and model `[status, text, notes]`. All
run in one process, in the framework's own interpreter, and their timed calls are not checked.
"""

import json
import sys
from importlib import import_module

import probe_run

from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import reference

TWINS = ",".join(name for name in MODELS if name.endswith("-tiny"))


def read_option(words, name, default):
    """Return the values of the last word `--NAME=a,b`, so that one may follow a default."""
    given = [word[len(name) + 3 :] for word in words if word.startswith("--{}=".format(name))]
    return (given or [default])[-1].split(",")


def main(module, words):
    adapter_of = import_module(module).Adapter
    variants = read_option(words, "variants", "")
    found = {variant: {} for variant in variants}
    for dtype in read_option(words, "dtypes", "float32"):
        for name in read_option(words, "models", TWINS):
            model = MODELS[name]
            known = reference.compute_reference(model, model.batch_size, 0, dtype)
            for variant in variants:
                probe_run.forget_compiled_code()
                outcome = probe_run.outcome(adapter_of, model, known, variant)
                found[variant].setdefault(dtype, {})[name] = outcome
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
