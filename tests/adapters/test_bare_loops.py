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
def test_the_bare_loop_prints_its_medians(workers_of, framework):
    if framework == "neon" and not NEON:
        pytest.skip("VELODROME_SOURCE_NEON names no checkout of neon")
    bench = workers_of(framework)
    model = "autoencoder-400-200-100/finetune" if framework in WITHOUT_CONVOLUTION else "lenet"
    options = ["--batch-size=4", "--threads=1", "--samples=25", "--seconds=0"]
    output = bench.run_script(str(BARE / f"{framework}_loop.py"), model, *options)
    assert 0 < output["forward_ns"] < output["gradient_ns"]


def test_adapter_and_bare_loop_are_timed_alternately_in_one_process(workers_of):
    bench = workers_of("torch")
    words = ["torch", bench.framework.adapter, "eager", "autoencoder-400-200-100/finetune"]
    options = ["--batch-size=2", "--threads=1", "--seconds=0", "--first=bare"]
    script = """
        import contextlib, io, json, runpy, sys

        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(sys.argv.pop(1), run_name="__main__")
        print(json.dumps([json.loads(line) for line in printed.getvalue().split("\\n") if line]))
    """
    _, *lines = bench.run_script(script, str(BARE.parent / "alternation.py"), *words, *options)
    for phase in ("forward", "gradient"):
        for name in ("ours_ns", "bare_ns", "ours_cpu_ns", "bare_cpu_ns"):
            found = [ns for line in lines if line["phase"] == phase for ns in line[name]]
            assert len(found) >= 3
            assert min(found) > 0
