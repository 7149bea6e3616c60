import json
import math
from pathlib import Path

import pytest

from velodrome.adapters import protocol, wire_format
from velodrome.adapters.protocol import ParameterError, ProtocolError, Request, Timing

NAMES = ("session-v1.jsonl", "session-v2.jsonl", "session.jsonl")
SESSIONS = tuple(Path(__file__).with_name(name) for name in NAMES)
PARAMETERS = (ParameterError("fc1.weight", (500, 800), 1.5, 2e-7),)
EVENTS = (
    protocol.Hello("3.6.15", 4711, protocol.VERSION, 1),
    protocol.Phase("import", 2),
    protocol.Imported("2.0", "1.19.5", 1000, "a GPU", 3),
    protocol.Listening(("10.0.0.2:4711", "10.0.0.2:4712"), 4),
    protocol.Built(10, 5, 4),
    protocol.FirstCall("gradient", 99, 5),
    protocol.Verified(2.3, 1e-8, 2e-7, PARAMETERS, ("composed: LRN",), 6),
    protocol.Sampled("forward", 3, 2, (7, 9), (2, 2)),
    protocol.Timed("forward", 1.0, 0.9, 1.1, 30, 2, 10, "target", stable=True),
    protocol.Checked("drained", "forward", "passed", (protocol.Figure("excess_ns", -3.5),), "", 7),
    protocol.Finished(0, 8),
    protocol.Failed("disagreed", "two lines\nof ü", "the table", 9, PARAMETERS, 0.5),
)
REQUEST = Request(
    "measure", "torch", "a.module", "eager", "lenet", 64, "cpu", 2, "float32", 0, "r.npz"
)


def test_the_examples_cover_every_event():
    assert {type(event) for event in EVENTS} == set(protocol.EVENTS.values())


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_its_line(event):
    line = wire_format.encode(event)
    assert "\n" not in line and line.isascii()
    assert wire_format.decode(line) == event
    assert type(wire_format.decode(line)) is type(event)


def test_a_request_survives_its_file():
    request = REQUEST._replace(timing=Timing(0.02, 5, 0.5, 9.0))
    assert wire_format.decode_request(wire_format.encode_request(request)) == request


def test_a_failure_without_a_loss_holds_nan():
    line = wire_format.encode(protocol.Failed("crashed", "reason", "", 1))
    assert math.isnan(wire_format.decode(line).loss_error)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "not an event"),
        ("Segmentation fault", "not an event"),
        ("[1, 2]", "not an event"),
        ('{"event": "farewell"}', "not an event"),
        ('{"event": "finished", "at_ns": 1}', "peak_gpu_memory_bytes"),
        ('{"event": "phase", "name": "build", "at_ns": 1, "colour": "red"}', "colour"),
        ('{"event": "failed", "parameters": [3]}', "ParameterError"),
        ('{"event": "checked", "figures": [3]}', "Figure"),
        (
            '{"event": "checked", "name": "lucky", "phase": "forward", "outcome": "passed",'
            ' "figures": [], "reason": "", "at_ns": 1}',
            "Checked is out of range",
        ),
    ],
)
def test_an_invalid_event_line_is_refused_by_name(line, complaint):
    with pytest.raises(ProtocolError, match=complaint):
        wire_format.decode(line)


def test_a_request_of_another_version_is_refused():
    fields = json.loads(wire_format.encode_request(REQUEST))
    fields["version"] = 99
    with pytest.raises(ProtocolError, match="version 3, not 99"):
        wire_format.decode_request(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[]", "3", '{"version": 1, "timing": 4}', '{"version": 1}'])
def test_an_invalid_request_file_is_refused(text):
    with pytest.raises(ProtocolError):
        wire_format.decode_request(text)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda path: path.stem)
def test_a_saved_session_of_each_version_is_read_correctly(session):
    events = [wire_format.decode(line) for line in session.read_text().splitlines()]
    phases = {e.phase for e in events if isinstance(e, protocol.Timed)}
    is_new = session.stem == "session"
    assert phases == set(protocol.COMPUTED_PHASES if is_new else protocol.USUAL_PHASES)
    for phase in phases:
        (timed,) = (e for e in events if isinstance(e, protocol.Timed) and e.phase == phase)
        chunks = [e for e in events if isinstance(e, protocol.Sampled) and e.phase == phase]
        assert sum(len(chunk.elapsed_ns) for chunk in chunks) == timed.samples
        assert timed.low_ns <= timed.median_ns <= timed.high_ns
    moments = [event.at_ns for event in events if hasattr(event, "at_ns")]
    assert moments == sorted(moments)


def test_workers_and_samplers_use_the_same_clock():
    import time

    before, now, after = time.monotonic_ns(), protocol.monotonic_ns(), time.monotonic_ns()
    assert before <= now <= after
    assert abs(protocol._monotonic_ns() - now) < 1_000_000_000
