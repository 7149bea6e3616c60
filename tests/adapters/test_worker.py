"""Real child processes. VELODROME_TEST_WORKER names another interpreter, e.g. Python 3.6."""

import json
import os
import re
import signal
import subprocess
from itertools import groupby
from pathlib import Path

import pytest
from worker_bench import PYTHON, Bench

from velodrome.adapters import protocol, wire_format
from velodrome.adapters.protocol import (
    Finished,
    FirstCall,
    Hello,
    Imported,
    Phase,
    Timed,
    Verified,
)

SESSION = Path(__file__).with_name("session.jsonl")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """An undisturbed measurement of the NumPy adapter."""
    bench = Bench(tmp_path_factory.mktemp("measured"))
    bench.refer()
    return bench.run()


@pytest.fixture(scope="module")
def measured_in_all_phases(tmp_path_factory):
    """The same in every timed phase."""
    bench = Bench(tmp_path_factory.mktemp("phases"))
    changes = {"phases": protocol.COMPUTED_PHASES, "optimizer": "adamw"}
    bench.refer(**changes)
    return bench.run(**changes)


def list_events(lines):
    """The kinds of events in order, phases by name, chunks of samples taken together."""
    events = [wire_format.decode(line) for line in lines]
    names = [
        event.name if isinstance(event, Phase) else type(event).__name__.lower() for event in events
    ]
    return [name for name, _ in groupby(names)]


def follows_the_page(action, lines):
    """Return True if the events follow the order that the protocol's page gives for an action."""
    (order,) = re.findall(rf"^ +{action}: +(.*)$", protocol.__doc__, re.MULTILINE)
    pattern = re.sub(r"\w+", r"(?:\g<0> )", order).replace(", ", "")
    kinds = [json.loads(line)["event"] for line in lines]
    text = "".join(kind + " " for kind in kinds if kind != "phase")
    return re.fullmatch(pattern, text) is not None


def test_the_saved_session_follows_the_order_of_the_page():
    lines = SESSION.read_text().splitlines()
    assert follows_the_page("measure", lines)
    assert not follows_the_page("measure", lines[:-1])
    assert not follows_the_page("measure", [lines[0], *lines])


def test_a_measurement_sends_the_events_of_the_saved_session(measured, measured_in_all_phases):
    assert measured.status == measured_in_all_phases.status == 0
    assert follows_the_page("measure", measured.lines)
    assert list_events(measured_in_all_phases.lines) == list_events(
        SESSION.read_text().splitlines()
    )


def test_forward_and_gradient_each_have_their_own_warm_up(measured):
    phases = [event.name for event in measured.events if isinstance(event, Phase)]
    assert phases == [
        *("import", "build", "verify"),
        *("warmup", "forward", "prove"),
        *("warmup", "gradient", "prove"),
        "prove",
    ]
    timed = [event for event in measured.events if isinstance(event, Timed)]
    assert [event.phase for event in timed] == ["forward", "gradient"]
    assert all(0 < event.low_ns <= event.median_ns <= event.high_ns for event in timed)
    assert all(event.warmup_samples >= 1 and event.samples >= 3 for event in timed)


def test_every_timed_model_was_verified_first(measured):
    verified = measured.only(Verified)
    assert verified.loss_error < 1e-12 and verified.gradient_error < 1e-12
    assert len(verified.parameters) == 8
    first = [event.phase for event in measured.events if isinstance(event, FirstCall)]
    assert first == ["gradient", "forward"]


def test_a_worker_names_its_interpreter_and_numpy(bench):
    outcome = bench.run(action="check")
    assert outcome.status == 0
    assert list_events(outcome.lines) == ["hello", "import", "imported", "finished"]
    assert follows_the_page("check", outcome.lines)
    hello, imported = outcome.only(Hello), outcome.only(Imported)
    command = [
        PYTHON,
        "-c",
        "import numpy, platform as p; print(p.python_version(), numpy.__version__)",
    ]
    versions = subprocess.check_output(command, text=True).split()
    assert [hello.python, imported.numpy_version] == versions
    assert imported.framework_version == imported.numpy_version
    assert hello.protocol == protocol.VERSION


def test_a_worker_names_its_kernels_after_the_import_and_at_its_end(measured):
    imported, finished = measured.only(Imported), measured.only(Finished)
    assert any(line.startswith("openblas 0.3.") for line in imported.kernels)
    assert set(imported.kernels) <= set(finished.kernels)


def test_a_reference_is_written_and_read_by_the_measurement(bench):
    outcome = bench.refer()
    assert list_events(outcome.lines) == ["hello", "verify", "finished"]
    assert follows_the_page("reference", outcome.lines)
    assert Path(bench.request.reference).stat().st_size > 0


def test_a_fit_runs_every_call_twice_and_needs_no_reference(bench):
    outcome = bench.run(action="fit", reference="")
    assert outcome.status == 0, outcome.noise.read_text()
    assert follows_the_page("fit", outcome.lines)
    calls = [event.phase for event in outcome.events if isinstance(event, FirstCall)]
    assert calls == ["gradient", "gradient", "forward", "forward"]
    assert all(event.elapsed_ns > 0 for event in outcome.events if isinstance(event, FirstCall))


@pytest.mark.parametrize("model", ["resnet50-tiny", "probe-dropout", "bert-base-tiny", "copy"])
def test_a_fit_runs_all_phases_of_models_with_statistics_dropout_and_padding(bench, model):
    phases = ("forward", "gradient", "inference", "update", "step")
    size = 1 if model == "copy" else 2
    outcome = bench.run(action="fit", model=model, batch_size=size, phases=phases)
    assert outcome.status == 0, outcome.noise.read_text()
    calls = {event.phase for event in outcome.events if isinstance(event, FirstCall)}
    assert calls == ({"forward"} if model == "copy" else set(phases))


@pytest.mark.full
@pytest.mark.slow
def test_a_model_without_a_loss_is_timed_forward_only(bench):
    bench.refer(model="copy", batch_size=1)
    outcome = bench.run(model="copy", batch_size=1)
    assert outcome.status == 0, outcome.noise.read_text()
    assert [event.phase for event in outcome.events if isinstance(event, Timed)] == ["forward"]
    assert [event.phase for event in outcome.events if isinstance(event, FirstCall)] == ["forward"]


@pytest.mark.full
@pytest.mark.slow
def test_dropout_is_on_while_timed_and_noted(bench):
    bench.write_adapter(
        """
        def set_dropout(self, active):
            super().set_dropout(active)
            print("dropout", active)
        """
    )
    bench.refer(model="alexnet", batch_size=1)
    outcome = bench.run(adapter="trial", model="alexnet", batch_size=1)
    assert outcome.status == 0, outcome.noise.read_text()
    assert re.findall("dropout (.*)", outcome.noise.read_text()) == ["False", "True", "False"]
    assert sum("dropout" in note for note in outcome.only(Verified).notes) == 2


def test_a_flood_on_stdout_reaches_no_event(bench):
    bench.write_adapter(
        """
        def gradient(self, index):
            print("noise " * 20000)
            os.write(1, b'{"event": "finished"}' * 1000)
            return super().gradient(index)
        """,
        top="import os",
    )
    bench.refer()
    outcome = bench.run(adapter="trial")
    assert outcome.status == 0
    assert follows_the_page("measure", outcome.lines)
    assert outcome.noise.stat().st_size > 1_000_000


def test_a_spawned_orphan_does_not_keep_the_events_open(bench):
    check_orphan(bench, "subprocess.Popen(['sleep', '60'], close_fds=False).pid")


def test_a_forked_orphan_does_not_keep_the_events_open(bench):
    if subprocess.run([PYTHON, "-c", "import os; os.register_at_fork"]).returncode:
        pytest.skip("Python 3.6 cannot close a descriptor in a forked child")
    check_orphan(bench, "os.fork() or (signal.pause(), os._exit(0))")


def check_orphan(bench, start):
    """Read the events to their end while a process that was started so is still there."""
    bench.write_adapter(f"print('left', {start}, flush=True)", "import os, signal, subprocess")
    outcome = bench.run(action="check", adapter="trial")
    child = int(re.findall(r"left (\d+)", outcome.noise.read_text())[0])
    os.kill(child, signal.SIGKILL)  # ProcessLookupError if it had ended before the events did
    assert list_events(outcome.lines) == ["hello", "import", "imported", "finished"]


def test_a_thread_that_never_ends_does_not_keep_the_worker_alive(bench):
    top = "import threading\nthreading.Thread(target=threading.Event().wait).start()"
    bench.write_adapter("", top)
    assert bench.run(action="check", adapter="trial").status == 0


@pytest.mark.parametrize(
    ("body", "top", "status", "reason"),
    [
        ("", "import no_such_framework", "environment_failed", "no_such_framework"),
        ("", "numpy.no_such_name", "environment_failed", "trial fails on import: AttributeError"),
        ("", "raise SystemExit('no licence')", "crashed", "SystemExit: no licence"),
        (
            "def build(self, weights): raise contract.Unsupported('no grouped convolution')",
            "from velodrome.adapters import contract",
            "unsupported",
            "no grouped convolution",
        ),
        ("def build(self, weights): numpy.zeros(2**46)", "", "out_of_memory", "Memory"),
        (
            "def gradient(self, index): raise RuntimeError('[enforce fail] std::bad_alloc')",
            "",
            "out_of_memory",
            "std::bad_alloc",
        ),
        (
            "def forward(self, index): raise ValueError('shapes do not fit')",
            "",
            "crashed",
            "ValueError: shapes do not fit",
        ),
    ],
)
def test_a_failure_is_sent_with_its_type_its_reason_and_a_traceback(
    bench, body, top, status, reason
):
    bench.refer()
    bench.write_adapter(body, top)
    failure = bench.run(adapter="trial").failure()
    assert failure.status == status
    assert reason in failure.reason
    assert failure.detail.startswith("Traceback") or "direct cause" in failure.detail


def test_a_broken_numpy_is_reported_after_hello(bench):
    (bench.folder / "numpy.py").write_text("raise ImportError('libopenblas.so: not found')")
    outcome = bench.run(action="check")
    assert list_events(outcome.lines) == ["hello", "failed"]
    assert outcome.failure().status == "environment_failed"
    assert "libopenblas" in outcome.failure().reason


def test_a_segmentation_fault_ends_the_events_and_prints_its_place(bench):
    bench.refer()
    bench.write_adapter(
        "def forward(self, index): os.kill(os.getpid(), signal.SIGSEGV)", "import os, signal"
    )
    outcome = bench.run(adapter="trial")
    assert outcome.status == -signal.SIGSEGV
    assert list_events(outcome.lines)[-1] == "firstcall"
    assert "trial.py" in outcome.noise.read_text()


def test_a_wrong_gradient_is_never_timed(bench):
    bench.refer()
    bench.write_adapter(
        """
        def gradients(self, handle):
            for name, values in super().gradients(handle):
                yield name, values * (1.01 if name == "classifier.bias" else 1.0)
        """
    )
    outcome = bench.run(adapter="trial")
    failure = outcome.failure()
    assert failure.status == "disagreed"
    errors = {entry.name: entry.error for entry in failure.parameters}
    assert errors.pop("classifier.bias") == pytest.approx(0.01, rel=0.01)
    assert max(errors.values()) < 1e-12
    assert "classifier.bias" in failure.reason and "classifier.bias" in failure.detail
    assert not [event for event in outcome.events if isinstance(event, Timed)]


def test_the_traceback_is_also_printed_to_the_log(bench):
    bench.write_adapter("def forward(self, index): raise ValueError('here')")
    bench.refer()
    assert "ValueError: here" in bench.run(adapter="trial").noise.read_text()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "lenat"}, "no model 'lenat'. Known: "),
        ({"action": "dance"}, "no action 'dance'. Known: check, fit, follow, measure, reference"),
        ({"batch_size": 3}, "is the reference of another model, batch size, seed or dtype"),
        ({"reference": "nowhere.npz"}, "nowhere.npz"),
    ],
)
def test_a_request_that_cannot_be_answered_is_reported(bench, changes, reason):
    bench.refer()
    failure = bench.run(**changes).failure()
    assert failure.status == "crashed"
    assert reason in failure.reason


def test_an_invalid_request_file_is_reported_after_hello(bench):
    path = bench.folder / "request.json"
    path.write_text('{"version": 7}')
    outcome = bench.run_file(path)
    assert list_events(outcome.lines) == ["hello", "failed"]
    assert "version 3, not 7" in outcome.failure().reason


@pytest.mark.parametrize("arguments", [[], ["request.json"], ["request.json", "1"]])
def test_a_worker_with_wrong_arguments_prints_its_usage(bench, arguments):
    command = [PYTHON, "-m", "velodrome.adapters.worker", *arguments]
    child = subprocess.run(command, env=bench.environment(), capture_output=True, text=True)
    assert child.returncode == 2
    assert child.stderr.startswith("usage: ")


def test_the_worker_ends_when_its_reader_is_gone(bench):
    path = bench.folder / "request.json"
    path.write_text(wire_format.encode_request(bench.request._replace(action="check")))
    reader, writer = os.pipe()
    os.close(reader)
    command = [PYTHON, "-m", "velodrome.adapters.worker", str(path), str(writer)]
    child = subprocess.run(
        command, pass_fds=[writer], env=bench.environment(), capture_output=True, timeout=60
    )
    os.close(writer)
    assert child.returncode == 1
    assert b"BrokenPipeError" in child.stderr
