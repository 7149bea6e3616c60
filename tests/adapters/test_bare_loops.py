"""The bare loops that Velodrome's own figures are held against (benchmarks/fidelity.py)."""

from pathlib import Path

import pytest

from velodrome.adapters.registry import FRAMEWORKS

pytestmark = [pytest.mark.framework, pytest.mark.slow]

BARE = Path(__file__).parents[2] / "benchmarks" / "bare"
LOOPS = [path.name[: -len("_loop.py")] for path in sorted(BARE.glob("*_loop.py"))]


@pytest.mark.parametrize("framework", [name for name in LOOPS if name in FRAMEWORKS])
def test_the_bare_loop_tells_its_medians(workers_of, framework):
    bench = workers_of(framework)
    options = ["--batch-size=4", "--threads=1", "--samples=1", "--seconds=0"]
    said = bench.say(str(BARE / f"{framework}_loop.py"), "lenet", *options)
    assert 0 < said["forward_ns"] < said["gradient_ns"]
