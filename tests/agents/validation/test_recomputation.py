"""The agent recomputes with its NumPy what a worker computed with another, years older."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import velodrome

JUDGE = """
import json, sys
from velodrome.adapters.protocol import Timing
from velodrome.adapters.timing.stopping import judge, find_stop_reason
found = []
for values in json.load(sys.stdin):
    judged = judge(values, 0.02)
    reason = find_stop_reason(values, Timing(0.02, 3, 0.0, sum(values) / 2e9))
    found.append([list(judged.interval), judged.drift, judged.instability, reason])
print(json.dumps(found))
"""


def draw_samples(draw: random.Random) -> list[int]:
    """Few or many, dependent or not, by a coarse clock or a fine one."""
    count = draw.choice([3, 5, 6, 9, 16, 25, 25, 25, 36, 49, 49, 100, 400])
    grain_ns, kept, at = draw.choice([1, 1000, 10000]), draw.choice([0.0, 0.2, 0.7]), 0.0
    values = []
    for _ in range(count):
        at = kept * at + draw.gauss(0, 1)
        values.append(int(1e6 * (1 + 0.03 * at)) // grain_ns * grain_ns or 1)
    return values


def judge_with(python: str, source: str, samples: list[list[int]]) -> object:
    environ = {**os.environ, "PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"}
    words = [python, "-c", JUDGE]
    text = json.dumps(samples)
    ran = subprocess.run(words, input=text, env=environ, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.slow
@pytest.mark.framework
@pytest.mark.parametrize("framework", ["cntk", "chainer"])
def test_an_old_numpy_computes_the_same_statistics_as_the_agents(
    framework: str, framework_environment, tmp_path: Path
) -> None:
    (tmp_path / "velodrome").symlink_to(Path(velodrome.__file__).parent)
    draw = random.Random(3)
    samples = [draw_samples(draw) for _ in range(3000)]
    old = judge_with(str(framework_environment(framework).python), str(tmp_path), samples)
    new = judge_with(sys.executable, str(tmp_path), samples)
    for one, other in zip(old, new, strict=True):
        assert one[2:] == other[2:]
        assert [*one[0], one[1]] == pytest.approx([*other[0], other[1]], rel=1e-9)
