"""Hostile output of adapters: it does no harm."""

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hostile_words import SWEEP, UNSEEN

from velodrome.adapters.protocol import ProtocolError, Timing
from velodrome.adapters.wire_format import decode
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.isolation.pipe_lines import MOST_BYTES, EndlessLine, PipeLines
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Limits, Task
from velodrome.scheduler.results.store import Store

FAULTY = Path(__file__).parents[2] / "faulty"


SAMPLED = '{"event": "sampled", "phase": "forward", "first_index": 0, "calls": 1, '
TIMED = (
    '{"event": "timed", "phase": "forward", "median_ns": 2, "low_ns": 1, "high_ns": 3, '
    '"samples": 9, "calls": 1, "warmup_samples": 1, "stop_reason": "target", "stable": true}'
)
EVENTS = {
    "text for a number": '{"event": "finished", "peak_gpu_memory_bytes": "x", "at_ns": 1}',
    "a number for a text": '{"event": "phase", "name": 3, "at_ns": 1}',
    "a truth value for a number": '{"event": "phase", "name": "build", "at_ns": true}',
    "a list for a text": '{"event": "phase", "name": ["build"], "at_ns": 1}',
    "a text for a list": SAMPLED + '"started_ns": "12", "elapsed_ns": [1]}',
    "a negative time": '{"event": "built", "build_ns": -1, "transfer_ns": 0, "at_ns": 1}',
    "a time beyond 64 bits": '{"event": "phase", "name": "build", "at_ns": 9223372036854775808}',
    "an endless time": '{"event": "phase", "name": "build", "at_ns": 1e999}',
    "a phase that is none": '{"event": "phase", "name": "\\u001b[2J", "at_ns": 1}',
    "an uneven chunk": SAMPLED + '"started_ns": [1, 2], "elapsed_ns": [1]}',
    "a chunk of no calls": SAMPLED.replace('"calls": 1', '"calls": 0')
    + '"started_ns": [1], "elapsed_ns": [1]}',
    "an index beyond 32 bits": SAMPLED.replace('"first_index": 0', '"first_index": 2147483648')
    + '"started_ns": [1], "elapsed_ns": [1]}',
    "a median that is NaN": TIMED.replace('"median_ns": 2', '"median_ns": NaN'),
    "a median of nothing": TIMED.replace('"low_ns": 1', '"low_ns": 0'),
    "a median outside its interval": TIMED.replace('"median_ns": 2', '"median_ns": 9'),
    "an endless interval": TIMED.replace('"high_ns": 3', '"high_ns": Infinity'),
    "an integer of 5000 digits": TIMED.replace('"median_ns": 2', '"median_ns": ' + "9" * 5000),
    "a nesting without end": "[" * 100_000,
    "no UTF-8": b"\xff\xfe".decode(errors="replace"),
}


@pytest.mark.parametrize("kind", EVENTS)
def test_an_impossible_event_is_refused_on_arrival(kind: str) -> None:
    assert decode(TIMED)
    with pytest.raises(ProtocolError) as refusal:
        decode(EVENTS[kind])
    assert len(str(refusal.value)) < 1000


def test_a_lone_surrogate_is_replaced_by_writable_text() -> None:
    line = '{"event": "failed", "status": "crashed", "reason": "\\ud800", "detail": "", "at_ns": 1}'
    assert decode(line).reason.encode()


def test_endless_events_are_not_kept() -> None:
    reading, writing = os.pipe()
    lines = PipeLines(reading)
    line = b"x" * 2**16 + b"\n"

    def flood() -> None:
        with suppress(BrokenPipeError):
            for _ in range(2 * MOST_BYTES // len(line)):
                os.write(writing, line)
        os.close(writing)

    flooding = threading.Thread(target=flood)
    flooding.start()
    taken = 0
    with pytest.raises(EndlessLine, match="more than"):
        while not lines.at_end:
            taken += sum(map(len, lines.take()))
    lines.close()
    flooding.join()
    assert taken <= MOST_BYTES


ENDS = {
    "words": {Status.OK, Status.UNSTABLE},
    "raises": {Status.CRASHED},
    "types": {Status.CRASHED},
    "flood": {Status.CRASHED},
    "claims": {Status.CRASHED},
    "unproven": {Status.CRASHED},
}


@pytest.fixture(scope="module")
def measurements(shared_home: Path) -> dict[str, Measurement]:
    """Run each variant of the hostile adapter as any other, and return the rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VELODROME_ADAPTERS", str(FAULTY))
        patch.setenv("VELODROME_LOCKS", str(shared_home / "locks-of-cores"))  # no time counts here
        for name in ("numpy", *(folder.name for folder in FAULTY.iterdir())):
            patch.setenv(f"VELODROME_PYTHON_{name.upper()}", sys.executable)
        return {variant: run_hostile(variant, shared_home) for variant in ENDS}


def run_hostile(variant: str, home: Path) -> Measurement:
    timing = Timing(target=0.5, min_samples=3, min_seconds=0.0, max_seconds=1.0)
    model = "autoencoder-400-200-100/ae1"
    task = Task("hostile", variant, model, 4, timing=timing, limits=Limits(deadline_s=60))
    store = EnvironmentStore(home / "envs")
    return execute(
        task,
        node=take_inventory("this"),
        repeat=0,
        attempt=1,
        environments=store,
        on_event=lambda event: None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("variant", ENDS)
def test_a_hostile_adapter_ends_as_a_row_that_is_plain_text(
    measurements: dict[str, Measurement], variant: str, store: Store
) -> None:
    ended = measurements[variant]
    assert ended.status in ENDS[variant], ended.reason
    assert store.put(SWEEP, ended)
    (row,) = store.read("tasks", SWEEP).to_pylist()
    text_columns = json.dumps(
        {name: row[name] for name in ("reason", "notes", "framework_version")}
    )
    assert len(text_columns) < 20_000
    assert len(json.dumps(row["kernels"])) < 20_000
    for text in (row["reason"], *row["notes"], *row["kernels"], row["framework_version"] or ""):
        assert not UNSEEN.search(text)
        assert "\n" not in text
    assert not UNSEEN.search(row["log_tail"].replace("\t", ""))
    assert (row["forward_median_ns"] is None) == (not ended.status.has_number)


@pytest.mark.slow
def test_a_protocol_error_names_the_field(measurements: dict[str, Measurement]) -> None:
    for variant, word in (
        ("types", "Built"),
        ("flood", "line"),
        ("unproven", "`timed of forward` came instead of `built`"),
    ):
        assert "the worker broke the protocol" in measurements[variant].reason
        assert word in measurements[variant].reason
