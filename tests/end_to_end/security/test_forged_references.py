"""Adapters that rewrite references: the forgery is found by this process and by the next."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.agents import references
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Limits, Task

FAULTY = Path(__file__).parents[2] / "faulty"
TIMING = Timing(target=0.9, min_samples=3, min_seconds=0.0, max_seconds=1.0)
SOUND = Task("numpy", "float64", "canary", 4, timing=TIMING, limits=Limits(deadline_s=60))
FORGING = replace(SOUND, framework="forges_reference")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELODROME_ADAPTERS", str(FAULTY))
    for name in ("numpy", "forges_reference"):
        monkeypatch.setenv(f"VELODROME_PYTHON_{name.upper()}", sys.executable)


def run(task: Task, home: Path) -> Measurement:
    return execute(
        task,
        node=take_inventory("this"),
        repeat=0,
        attempt=1,
        environments=EnvironmentStore(home / "envs"),
        on_event=lambda event: None,
    )


def test_a_worker_gets_a_private_copy_of_the_reference(tmp_path: Path) -> None:
    run(SOUND, tmp_path)
    (kept,) = (tmp_path / "references").glob("*.npz")
    before = kept.read_bytes()
    run(replace(FORGING, variant="handed"), tmp_path)
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    "memory", ["of this process", pytest.param("of another", marks=pytest.mark.full)]
)
def test_a_rewritten_reference_is_named_and_computed_again(tmp_path: Path, memory: str) -> None:
    run(SOUND, tmp_path)
    (kept,) = (tmp_path / "references").glob("*.npz")
    true = kept.read_bytes()
    assert run(replace(FORGING, variant="kept"), tmp_path).status is Status.DISAGREED
    assert kept.read_bytes() != true
    if memory == "of another":
        references._used_digests.clear()
    again = run(replace(FORGING, variant="kept"), tmp_path)
    assert again.status is Status.DISAGREED
    assert f"{kept} was changed since it was computed, and is computed again" in again.notes
    sound = run(SOUND, tmp_path)
    assert sound.status.has_number, sound.reason
    assert kept.read_bytes() == true


@pytest.mark.full
def test_a_rewritten_reference_with_a_matching_digest_is_detected(tmp_path: Path) -> None:
    run(SOUND, tmp_path)
    (kept,) = (tmp_path / "references").glob("*.npz")
    content = kept.read_bytes() + b"more"
    kept.write_bytes(content)
    kept.with_suffix(".sha256").write_text(references.hashlib.sha256(content).hexdigest())
    assert run(SOUND, tmp_path).notes[-1].startswith(f"{kept} was changed")
