"""Hostile sweep files, command lines, locks and names: they do no harm."""

import os
import re
from pathlib import Path

import pytest
from hostile_words import SWEEP, UNSEEN, measured

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.versions import VersionLocks
from velodrome.agents.node import Core, Node
from velodrome.agents.task import Task
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.selection import parse_selection as selection
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

PLAIN = "frameworks: [numpy]\nmodels: [lenet]\n"


SWEEPS = {
    "an escape sequence": (PLAIN + 'name: "\\e[2J"\n', "U+001B"),
    "a NUL": (PLAIN + 'labels: {"a\\0": b}\n', "U+0000"),
    "a line end in a label": (PLAIN + 'labels: {a: "b\\nnode: evil"}\n', "U+000A"),
    "half a surrogate pair": (PLAIN + 'labels: {a: "\\ud800"}\n', "U+D800"),
    "a turned direction": (PLAIN + 'name: "\\u202eexe"\n', "U+202E"),
    "a path for a version": ("frameworks: ['torch==../../x']\nmodels: [lenet]\n", "no such"),
    "a folder for a version": ("frameworks: ['torch==1/x']\nmodels: [lenet]\n", "no such"),
    "a path for a framework": ("frameworks: [../../etc]\nmodels: [lenet]\n", "no such"),
    "an option for a framework": ("frameworks: [--help]\nmodels: [lenet]\n", "no such"),
    "an object to construct": ("frameworks: !!python/object/apply:os.system [id]\n", "tag"),
    "a billion laughs": ("a: &a [x, x]\nb: &b [*a, *a]\n" + PLAIN, "alias"),
    "a name of 200 KB": ("frameworks: ['" + "x" * 200_000 + "']\nmodels: [lenet]\n", "no such"),
    "a pattern of 100 KB": ("frameworks: ['" + "*x" * 50_000 + "']\nmodels: [lenet]\n", "no "),
    "a number of 100 KB": (PLAIN + "seed: " + "9" * 100_000 + "\n", "seed holds"),
    "more runs than fit": (
        PLAIN + f"threads: [{', '.join(map(str, range(1, 20001)))}]\nrepeats: 1000\n",
        "20,000,000 runs",
    ),
    "more exclusions than are tried": (
        PLAIN
        + f"threads: [{', '.join(map(str, range(1, 10001)))}]\n"
        + f"exclude: [{', '.join(['{model: x}'] * 2000)}]\n",
        "too many",
    ),
}


@pytest.mark.parametrize("kind", SWEEPS)
def test_a_hostile_sweep_file_is_refused_in_one_short_line(kind: str) -> None:
    text, problem = SWEEPS[kind]
    with pytest.raises(ConfigError, match=re.escape(problem)) as refusal:
        parse_sweep(text, "s.yaml")
    message = str(refusal.value)
    assert message.startswith("s.yaml:")
    assert len(message) < 1500
    assert not UNSEEN.search(message)


@pytest.mark.parametrize(
    "text",
    [
        "framework=" + "*a" * 20_000,
        "framework=" + "a|" * 20_000 + "!",
        "../../x",
        "framework=\x1b[2J\nall is well",
        "=" * 100_000,
    ],
)
def test_a_hostile_selection_is_refused_or_matches_nothing(text: str) -> None:
    task = Task("torch", "eager", "lenet", 8)
    try:
        assert not selection(text).matches(task)
    except ConfigError as refusal:
        assert len(str(refusal)) < 1500
        assert "\n" not in str(refusal)


@pytest.mark.parametrize("name", ["../../x", "/etc", "..", "", "last/../..", "*", "\x1b[2J"])
def test_only_an_existing_sweep_can_be_resumed_or_reported(
    store: Store, root: Path, name: str
) -> None:
    store.put(SWEEP, measured())
    with pytest.raises(ConfigError, match="there is no sweep"):
        store.resolve(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("measure", "torch==../../x", "lenet"),
        ("envs", "build", "torch==../../x"),
        ("envs", "lock", "../torch"),
    ],
)
def test_no_command_accepts_a_path_as_a_framework(command, words: tuple[str, ...]) -> None:
    done = command.run(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_error_with_a_path_that_is_not_text_is_printed(command) -> None:
    odd = os.fsdecode(b"nowhere-\xff\x1b[2J")
    done = command.run("report", "--results", odd)
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_nodes_name_never_becomes_a_path(store: Store, root: Path) -> None:
    evil = "../../../evil"
    store.put_nodes(
        SWEEP, [Node(evil, evil, evil, (Core(0, (0,)),), 2**30, labels=((evil, evil),))]
    )
    store.put(SWEEP, measured(node_id=evil, hostname=evil, node_type=evil))
    assert not list(root.parent.rglob("*evil*"))
    assert store.read("nodes", SWEEP)["hostname"].to_pylist() == [evil]


PIN = f"torch==2.12.1 ; python_version >= '3.9' \\\n    --hash=sha256:{'0' * 64}\n"
LOCKS = {
    "another index": ("a.txt", PIN + "--index-url https://example.org\n"),
    "a file from somewhere": ("a.txt", "torch @ https://example.org/torch.whl\n"),
    "a folder": ("a.txt", "-e ..\n"),
    "an option behind a marker": ("a.txt", "torch==1 ; a == '1' --config-settings=x\n"),
    "a path for a name": ("../../a.txt", PIN),
    "no lock's name": ("sitecustomize.py", PIN),
}


@pytest.mark.parametrize("kind", LOCKS)
def test_a_foreign_lock_may_contain_only_pinned_packages(kind: str, tmp_path: Path) -> None:
    locks = VersionLocks(tmp_path / "locks")
    with pytest.raises(EnvironmentFailed):
        locks.keep("torch==2.12.1", "0123", (LOCKS[kind],))
    assert not list(tmp_path.rglob("*.*"))
    for framework, lock_hash in (("../torch==1", "0123"), ("torch==../x", "0"), ("torch==1", "..")):
        with pytest.raises(EnvironmentFailed):
            locks.keep(framework, lock_hash, (("a.txt", PIN),))
    locks.keep("torch==2.12.1", "0123", (("a.txt", PIN),))
    assert locks.texts("torch==2.12.1", "0123") == (("a.txt", PIN),)
