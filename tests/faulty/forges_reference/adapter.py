"""The NumPy adapter with half of every gradient, and forged references that agree.

`kept` rewrites the node's stored reference, `handed` its own copy.
"""

import json
import os
import sys
from pathlib import Path

import numpy

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound


def forge(path):
    with numpy.load(str(path)) as file:
        arrays = {name: file[name] for name in file.files}
    for name in arrays:
        if name.startswith(("norm:", "sketch:")):
            arrays[name] = arrays[name] / 2
    path.chmod(0o600)
    with path.open("wb") as file:
        numpy.savez(file, **arrays)


class Adapter(Sound):
    def __init__(self, model, variant, device, threads, dtype):
        super().__init__(model, "float64", device, threads, dtype)
        handed = json.loads(Path(sys.argv[1]).read_text())["reference"]
        kept = (Path(os.environ["HOME"]).parents[1] / "references").glob("*.npz")
        for path in kept if variant == "kept" else [Path(handed)]:
            forge(path)

    def gradients(self, handle):
        for name, gradient in super().gradients(handle):
            yield name, gradient / 2
