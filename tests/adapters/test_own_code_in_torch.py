"""A user's code in PyTorch: its optimizer's phases, by workers in PyTorch's own interpreter."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from velodrome.adapters import protocol, wire_format
from velodrome.adapters.models import user_models
from velodrome.adapters.protocol import Checked, Failed, Finished, Request, Timed, Timing, Verified

pytestmark = [pytest.mark.framework, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "tiny_decoder.py"
OWN_GRADIENT = """

def gradient(module, batch):
    loss = module(**batch).loss
    names, values = zip(*module.named_parameters())
    return loss, dict(zip(names, torch.autograd.grad(loss, values)))
"""


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("torch")


def time_phases(bench: Any, file: Path, optimizer: str, folder: Path) -> list[Any]:
    """Return the events of a worker that times all phases of a file, after one for its reference.

    Both run in the framework's own interpreter.
    """
    request = Request(
        action="reference",
        framework="torch",
        adapter="velodrome.adapters.frameworks.torch.own_code",
        variant="eager",
        model="tiny-decoder",
        batch_size=2,
        device="cpu",
        threads=1,
        dtype="float32",
        seed=0,
        reference=str(folder / "reference.npz"),
        timing=Timing(target=0.5, min_samples=3, min_seconds=0.0, max_seconds=0.1),
        phases=protocol.COMPUTED_PHASES,
        optimizer=optimizer,
    )
    made = run_worker(bench, request, file, folder)
    assert isinstance(made[-1], Finished), made[-1]
    return run_worker(bench, request._replace(action="measure"), file, folder)


def run_worker(bench: Any, request: Request, file: Path, folder: Path) -> list[Any]:
    path = folder / "request.json"
    path.write_text(wire_format.encode_request(request))
    reader, writer = os.pipe()
    variables = {**bench.variables(), user_models.VARIABLE: str(file)}
    words = [str(bench.python), "-m", "velodrome.adapters.worker", str(path), str(writer)]
    with subprocess.Popen(words, pass_fds=[writer], env=variables) as child:
        os.close(writer)
        with os.fdopen(reader) as stream:
            events = [wire_format.decode(line) for line in stream]
        child.wait()
    return events


@pytest.mark.parametrize(
    ("optimizer", "added"),
    [("adamw", ""), pytest.param("sgd", OWN_GRADIENT, marks=pytest.mark.full)],
)
def test_updates_and_steps_of_code_are_proven(
    bench, tmp_path: Path, optimizer: str, added: str
) -> None:
    file = tmp_path / "decoder.py"
    file.write_text(EXAMPLE.read_text() + added)
    events = time_phases(bench, file, optimizer, tmp_path)
    assert isinstance(events[-1], Finished), events[-1]
    assert [event.phase for event in events if isinstance(event, Timed)] == [
        "forward",
        "gradient",
        "inference",
        "update",
        "step",
    ]
    (verified,) = (event for event in events if isinstance(event, Verified))
    assert any(optimizer in note.lower() for note in verified.notes)
    assert "torch's fused optimizer" in verified.notes
    checks = [event for event in events if isinstance(event, Checked)]
    for check in checks:  # noise leaves checks by time undecided
        if check.name in ("timed_is_checked", "follows_parameters"):
            assert check.outcome == "passed", check
    assert {check.phase for check in checks} >= {"inference", "update", "step"}


SCALED_LOSS = OWN_GRADIENT.replace(
    "    return loss,",
    "    if loss.dtype == torch.float32:\n        loss = loss * 1.001\n    return loss,",
)
SCALED_OUTPUT = """

def inference(module, batch):
    found = module.predict(batch["input_ids"])
    return found * 1.001 if found.dtype == torch.float32 else found
"""


@pytest.mark.full
@pytest.mark.parametrize("added", [SCALED_LOSS, SCALED_OUTPUT], ids=["loss", "output"])
def test_a_scaled_result_in_float32_alone_is_caught(bench, tmp_path: Path, added: str) -> None:
    file = tmp_path / "decoder.py"
    file.write_text(EXAMPLE.read_text() + added)
    failed = time_phases(bench, file, "sgd", tmp_path)[-1]
    assert isinstance(failed, Failed), failed
    assert failed.status == "disagreed", failed
