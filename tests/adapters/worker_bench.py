"""Starts workers as child processes, with adapters that a test writes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import velodrome
from velodrome.adapters import wire_format
from velodrome.adapters.protocol import Failed, Request, Timing

PYTHON = os.environ.get("VELODROME_TEST_WORKER", sys.executable)
NUMPY = "velodrome.adapters.frameworks.numpy.adapter"
QUICK = Timing(target=0.5, min_samples=3, min_seconds=0.0, max_seconds=0.1)
FINETUNE = "autoencoder-400-200-100/finetune"


class Outcome:
    """The result of a worker: its events, its exit status and the file with its output."""

    def __init__(self, lines, status, noise):
        self.lines = lines
        self.events = [wire_format.decode(line) for line in lines]
        self.status = status
        self.noise = noise

    def only(self, kind):
        (event,) = (event for event in self.events if isinstance(event, kind))
        return event

    def failure(self):
        """The `failed` at the end of a worker that did not go on."""
        assert self.status == 1
        assert isinstance(self.events[-1], Failed)
        return self.events[-1]


class Bench:
    """Starts workers whose import path holds adapters written by the test."""

    def __init__(self, folder):
        self.folder = folder
        self.request = Request(
            action="measure",
            framework="numpy",
            adapter=NUMPY,
            variant="float64",
            model=FINETUNE,
            batch_size=2,
            device="cpu",
            threads=1,
            dtype="float32",
            seed=0,
            reference=str(folder / "reference.npz"),
            timing=QUICK,
        )

    def write_adapter(self, body, top=""):
        """Write a module `trial` whose Adapter is NumPy's with `body`."""
        text = f"import numpy\nfrom {NUMPY} import Adapter as Base\n{top}\nclass Adapter(Base):\n"
        text += textwrap.indent(textwrap.dedent(body).strip() or "pass", "    ") + "\n"
        (self.folder / "trial.py").write_text(text)

    def refer(self, **changes):
        """Compute the reference that `measure` needs."""
        outcome = self.run(action="reference", adapter=NUMPY, **changes)
        assert outcome.status == 0, outcome.noise.read_text()
        return outcome

    def run(self, **changes):
        """Run one worker from start to end; its output goes to a file as under an agent."""
        path = self.folder / "request.json"
        path.write_text(wire_format.encode_request(self.request._replace(**changes)))
        return self.run_file(path)

    def run_file(self, path):
        noise = self.folder / "noise"
        reader, writer = os.pipe()
        with noise.open("wb") as file:
            command = [PYTHON, "-m", "velodrome.adapters.worker", str(path), str(writer)]
            child = subprocess.Popen(
                command, pass_fds=[writer], stdout=file, stderr=file, env=self.environment()
            )
        os.close(writer)
        with os.fdopen(reader) as stream:
            lines = stream.read().splitlines()
        return Outcome(lines, child.wait(timeout=60), noise)

    def environment(self):
        source = Path(velodrome.__path__[0]).parent
        path = os.pathsep.join([str(source), str(self.folder)])
        return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
