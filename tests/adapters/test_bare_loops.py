"""The bare loops that Velodrome's own figures are held against (benchmarks/fidelity.py)."""

import os
from pathlib import Path

import pytest

from velodrome.adapters.registry import FRAMEWORKS

pytestmark = [pytest.mark.framework, pytest.mark.slow]

BARE = Path(__file__).parents[2] / "benchmarks" / "bare"
LOOPS = [path.name[: -len("_loop.py")] for path in sorted(BARE.glob("*_loop.py"))]

# What these compile for a convolution takes longer than all other loops together.
WITHOUT_CONVOLUTION = ("theano", "pytensor")

# Where it is to be had at all: a user points at it.
NEON = any(os.environ.get(f"VELODROME_{what}_NEON") for what in ("SOURCE", "PYTHON"))


@pytest.mark.parametrize("framework", [name for name in LOOPS if name in FRAMEWORKS])
def test_the_bare_loop_tells_its_medians(workers_of, framework):
    if framework == "neon" and not NEON:
        pytest.skip("VELODROME_SOURCE_NEON names no checkout of neon")
    bench = workers_of(framework)
    model = "autoencoder-400-200-100/finetune" if framework in WITHOUT_CONVOLUTION else "lenet"
    options = ["--batch-size=4", "--threads=1", "--samples=1", "--seconds=0"]
    said = bench.say(str(BARE / f"{framework}_loop.py"), model, *options)
    assert 0 < said["forward_ns"] < said["gradient_ns"]
