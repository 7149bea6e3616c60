"""Workers in a framework's own interpreter, for there is no framework in this one."""

import json
import os
import secrets
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import velodrome
from velodrome.adapters import wire_format
from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import reference, reference_file
from velodrome.adapters.protocol import (
    COMPUTED_PHASES,
    FAILED,
    Checked,
    Failed,
    Finished,
    Listening,
    Request,
    Timed,
    Timing,
    Verified,
)
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.adapters.tolerances import GRADIENT_TOLERANCE, LOSS_TOLERANCE
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.launch import launch_command

sys.path.append(str(Path(__file__).parent))  # there is no package of tests

FOLLOWING = Path(__file__).with_name("reload_run.py")
TWINS = Path(__file__).with_name("twin_run.py")
PHASES = Path(__file__).with_name("phase_run.py")
GROUPS = Path(__file__).with_name("group_run.py")
PLANTED = Path(__file__).with_name("planted")  # adapters with one fault each
BRIEF = Timing(target=0.5, min_samples=3, min_seconds=0.0, max_seconds=0.1)


LOOPBACK = "127.0.0.{}"
Child = subprocess.Popen[bytes]


def _failed(event: Any) -> bool:
    return isinstance(event, Checked) and event.outcome == FAILED


class Member(NamedTuple):
    """A worker that stands for another node, and the events that it is still to send."""

    child: Child
    events: Iterator[Any]

    def wait_for_addresses(self) -> tuple[str, ...]:
        """Return where its processes listen."""
        listening = next(event for event in self.events if isinstance(event, Listening))
        return tuple(listening.addresses)


class Bench:
    """Runs workers and scripts inside one framework's interpreter."""

    def __init__(
        self, name: str, environment: Environment, folder: Path, variables: Mapping[str, str]
    ) -> None:
        """folder keeps the references, each computed once."""
        self.framework = FRAMEWORKS[name]
        self.python, self.folder = environment.python, folder
        self._environment, self._variables = environment, variables

    def measure(self, model: str, **changes: Any) -> list[Any]:
        """The events of one worker, from `hello` to `finished` or `failed`."""
        request = self._request(model, changes)
        if request.nodes > 1:
            with self.members(request) as (leading, _):
                return self._run(leading)
        return self._run(request)

    def _request(self, model: str, changes: Mapping[str, Any]) -> Request:
        request = Request(
            action="measure",
            framework=self.framework.name,
            adapter=self.framework.adapter,
            variant=self.framework.default_variant,
            model=model,
            batch_size=MODELS[model].batch_size,
            device="cpu",
            threads=1,
            dtype="float32",
            seed=0,
            reference="",
            timing=BRIEF,
        )._replace(**changes)
        return request._replace(reference=self._refer(request))

    def measure_and_follow(self, model: str, **changes: Any) -> tuple[list[Any], list[Any]]:
        """The events of a group's leading worker, and those of its first other node."""
        request = self._request(model, changes)
        with self.members(request) as (leading, members):
            return self._run(leading), list(members[0].events)

    def measure_with_peers(self, model: str, peers: tuple[str, ...], **changes: Any) -> list[Any]:
        """The events of a group's leading worker that looks for the others at these addresses."""
        return self._run(self._request(model, {**changes, "peers": peers, "address": "127.0.0.1"}))

    @contextmanager
    def members(self, request: Request) -> Iterator[tuple[Request, list[Member]]]:
        """Run workers that stand for the other nodes; yield the leader's request, and them.

        A node is an address of the loopback interface.
        """
        request = request._replace(token=secrets.token_hex(16), address=LOOPBACK.format(1))
        found: list[Member] = []
        with ExitStack() as stack:
            for number in range(2, request.nodes + 1):
                own = request._replace(action="follow", address=LOOPBACK.format(number))
                child, events = self._start(own, stack)
                found.append(Member(child, events))
            peers = [address for member in found for address in member.wait_for_addresses()]
            yield request._replace(peers=tuple(peers)), found

    def _run(self, request: Request) -> list[Any]:
        with ExitStack() as stack:
            return list(self._start(request, stack)[1])

    def _start(self, request: Request, stack: ExitStack) -> tuple[Child, Iterator[Any]]:
        """Start a worker; return it and its events. At the end of the stack it is gone."""
        path = self.folder / f"{self.framework.name}-{request.action}{request.address}.json"
        path.write_text(wire_format.encode_request(request))
        reader, writer = os.pipe()
        command = self._build_command("-m", "velodrome.adapters.worker", str(path), str(writer))
        child = subprocess.Popen(command, pass_fds=[writer], env=self.variables())
        os.close(writer)
        stack.callback(child.wait)
        stack.callback(child.kill)  # it is done, or this test is out of time
        stream = stack.enter_context(os.fdopen(reader))
        return child, (wire_format.decode(line) for line in stream)

    def run_script(self, script: str, *arguments: str) -> Any:
        """Return a script's JSON output. script: a file's path, or its text."""
        what = [script] if Path(script[:200]).is_file() else ["-c", textwrap.dedent(script)]
        done = subprocess.run(
            self._build_command(*what, *arguments),
            env=self.variables(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    def agrees(self, model: str, **changes: Any) -> Verified:
        """Assert that it is verified and timed to its end."""
        events = self.measure(model, **changes)
        assert isinstance(events[-1], Finished), events[-1]
        (verified,) = (event for event in events if isinstance(event, Verified))
        assert all(entry.error <= entry.allowed for entry in verified.parameters)
        if changes.get("dtype", "float32") == "float32" and not model.startswith("resnet"):
            assert verified.loss_error <= LOSS_TOLERANCE
            assert verified.gradient_error <= GRADIENT_TOLERANCE
        return verified

    def disagrees(self, model: str, **changes: Any) -> Failed:
        """Assert that it is caught, and never called verified."""
        events = self.measure(model, **changes)
        failed = events[-1]
        assert isinstance(failed, Failed), failed
        assert failed.status == "disagreed", failed
        assert not any(isinstance(event, Verified) for event in events)
        return failed

    def cheats(self, model: str, check: str, **changes: Any) -> Checked:
        """Assert that the adapter is verified and then caught by the check of this name.

        On a busy machine a check of time may be inconclusive: it is tried again.
        """
        for _ in range(5):
            events = self.measure(model, **changes)
            if any(_failed(event) and event.name == check for event in events):
                break
        failed = events[-1]
        assert isinstance(failed, Failed), failed
        assert failed.status == "disagreed", failed
        assert any(isinstance(event, Verified) for event in events)
        found = {event.name: event for event in events if _failed(event)}
        assert check in found, found
        return found[check]

    def verifies_twins(
        self, variants: str, dtypes: str, unsupported: str = "", **names: str
    ) -> Any:
        """Assert that all twins agree but for `dtype model` words; return the outcomes."""
        words = [f"--variants={variants}", f"--dtypes={dtypes}"]
        words += [f"--{name}={value}" for name, value in names.items()]
        outcomes = self.run_script(str(TWINS), self.framework.adapter, *words)
        lacking = unsupported.split(",") if unsupported else []
        for variant in variants.split(","):
            for dtype in dtypes.split(","):
                for model, (status, text, _) in outcomes[variant][dtype].items():
                    expected = "unsupported" if f"{dtype} {model}" in lacking else "agreed"
                    assert status == expected, (variant, dtype, model, text)
        return outcomes

    def verifies_phases(
        self, models: str, unsupported: tuple[str, ...] = (), **options: str
    ) -> dict[str, Any]:
        """Assert that inference, update and step of small models agree; return the outcomes.

        options: as the script describes. unsupported: words `optimizer model` or `optimizer`.
        """
        words = [f"--variants={self.framework.default_variant}", f"--models={models}"]
        words += [f"--{name}={value}" for name, value in options.items()]
        outcomes = self.run_script(str(PHASES), self.framework.adapter, *words)
        for variant, by_dtype in outcomes.items():
            for dtype, by_optimizer in by_dtype.items():
                for optimizer, found in by_optimizer.items():
                    for model, (status, text, _) in found.items():
                        lacks = {optimizer, f"{optimizer} {model}"}.intersection(unsupported)
                        expected = "unsupported" if lacks else "agreed"
                        assert status == expected, (variant, dtype, optimizer, model, text)
        return outcomes

    def finds_faulty_reductions(self, module: str, variant: str, faults: dict[str, str]) -> None:
        """Assert that each class of a planted module, on two devices, disagrees by its reason."""
        names = [f"{module}:{fault}" for fault in faults]
        words = ("--models=lenet", f"--variants={variant}", "--phases=forward,gradient")
        found = self.run_script(str(GROUPS), ",".join(names), *words)
        for name, expected in zip(names, faults.values(), strict=True):
            status, text, _ = found[name][variant]["float32"]["lenet"]
            assert status == "disagreed", (name, text)
            assert expected in text

    def times_every_phase(self, model: str, **changes: Any) -> list[Any]:
        """Assert that every phase is timed and passes all checks; return the events."""
        events = self.measure(model, phases=COMPUTED_PHASES, **changes)
        assert isinstance(events[-1], Finished), events[-1]
        timed = {event.phase for event in events if isinstance(event, Timed)}
        assert timed == set(COMPUTED_PHASES)
        return events

    def follows(self, model: str, batch_size: int, variant: str = "") -> None:
        """Assert that batches loaded again and a changed parameter count, and nothing is compiled
        for them.
        """
        ran = variant or self.framework.default_variant
        output = self.run_script(
            str(FOLLOWING), self.framework.adapter, ran, model, str(batch_size)
        )
        for errors in (output["fresh"], output["changed"]):
            assert set(errors) == {"forward", "gradient"}
            for found in errors.values():
                assert found
                assert max(found) <= LOSS_TOLERANCE
        before, after = output["counted"]
        assert before == after

    def variables(self) -> dict[str, str]:
        source = Path(velodrome.__path__[0]).parent
        return {
            **os.environ,
            "PLANTED_IN": self.framework.adapter,
            "PYTHONPATH": os.pathsep.join([str(source), str(PLANTED)]),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            **dict(self._environment.variables),
            **self._variables,
        }

    def _build_command(self, *words: str) -> list[str]:
        return launch_command(
            self._environment, os.pathsep.join([self.framework.path, str(PLANTED)]), words
        )

    def _refer(self, request: Request) -> str:
        devices = request.all_devices
        own = (request.model, request.batch_size, request.dtype, devices, *request.phases)
        name = "-".join(map(str, (*own, request.optimizer))).replace("/", "-")
        path = self.folder / f"{name}.npz"
        if not path.exists():
            found = reference.compute_reference(
                MODELS[request.model],
                request.batch_size,
                request.seed,
                request.dtype,
                request.phases,
                request.optimizer,
                devices,
            )
            reference_file.save_reference(str(path), found)
        return str(path)


@pytest.fixture(scope="session")
def workers_of(
    framework_environment: Callable[[str], Environment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Bench]:
    """workers_of("torch"): a Bench. Further words are variables of its workers."""
    folder = tmp_path_factory.mktemp("workers")

    def workers(name: str, **variables: str) -> Bench:
        return Bench(name, framework_environment(name), folder, variables)

    return workers


@pytest.fixture(scope="session")
def tricks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Workers that cheat the clock, for all files: the reference of a model is computed once."""
    from tricks import Tricks

    return Tricks(tmp_path_factory.mktemp("tricks"))
