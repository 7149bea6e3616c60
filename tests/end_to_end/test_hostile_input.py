"""What somebody else wrote - a sweep file, an adapter's words, a results folder - does no harm."""

import ast
import csv
import io
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from velodrome.adapters.protocol import ProtocolError, Timed, Timing, Verified, decode
from velodrome.agents.cores.lock_files import holders
from velodrome.agents.environments import entering
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.environments.versions import VersionLocks
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take
from velodrome.agents.isolation.log_tail import one_line, without_controls
from velodrome.agents.isolation.pipe_lines import MOST_BYTES, EndlessLine, PipeLines
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Core, Node
from velodrome.agents.task import Limits, Task
from velodrome.scheduler.commands.report import Form, Kind, report
from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.fleet.embedded_ray import embedded_ray
from velodrome.scheduler.plans.selection import parse as selection
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.sweep_file import parse

CODE = Path(__file__).parents[2]
FAULTY = Path(__file__).parents[1] / "faulty"
SWEEP = "20261124-063012-a1b2"
EVIL = (
    "\x1b]0;owned\x07[bold]loud[/bold]\x1b[2J<script>alert(1)</script>[x](javascript:alert(1))"
    "\r\nall is well\u202e|`"
)
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
PLAIN = "frameworks: [numpy]\nmodels: [lenet]\n"


# --- a sweep file, and the command line ----------------------------------------------------------

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
    text, said = SWEEPS[kind]
    with pytest.raises(ConfigError, match=re.escape(said)) as refusal:
        parse(text, "s.yaml")
    told = str(refusal.value)
    assert told.startswith("s.yaml:")
    assert len(told) < 1500
    assert not UNSEEN.search(told)


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
def test_a_hostile_selection_is_refused_or_selects_by_name(text: str) -> None:
    task = Task("torch", "eager", "lenet", 8)
    try:
        assert not selection(text).matches(task)
    except ConfigError as refusal:
        assert len(str(refusal)) < 1500
        assert "\n" not in str(refusal)


@pytest.mark.parametrize("name", ["../../x", "/etc", "..", "", "last/../..", "*", "\x1b[2J"])
def test_a_sweep_to_resume_or_report_is_one_that_is_there(
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
def test_no_command_takes_a_path_for_a_framework(command, words: tuple[str, ...]) -> None:
    done = command.run(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_error_that_holds_a_path_which_is_no_text_is_told(command) -> None:
    odd = os.fsdecode(b"nowhere-\xff\x1b[2J")
    done = command.run("report", "--results", odd)
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr
    assert "\x1b" not in done.stderr


# --- names that become paths ---------------------------------------------------------------------


def test_what_a_node_calls_itself_becomes_no_path(store: Store, root: Path) -> None:
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
def test_a_lock_from_elsewhere_holds_pinned_packages_and_nothing_else(
    kind: str, tmp_path: Path
) -> None:
    locks = VersionLocks(tmp_path / "locks")
    with pytest.raises(EnvironmentFailed):
        locks.keep("torch==2.12.1", "0123", (LOCKS[kind],))
    assert not list(tmp_path.rglob("*.*"))
    for framework, lock_hash in (("../torch==1", "0123"), ("torch==../x", "0"), ("torch==1", "..")):
        with pytest.raises(EnvironmentFailed):
            locks.keep(framework, lock_hash, (("a.txt", PIN),))
    locks.keep("torch==2.12.1", "0123", (("a.txt", PIN),))
    assert locks.texts("torch==2.12.1", "0123") == (("a.txt", PIN),)


# --- what an adapter says ------------------------------------------------------------------------

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
def test_an_event_that_cannot_be_is_refused_where_it_arrives(kind: str) -> None:
    assert decode(TIMED)
    with pytest.raises(ProtocolError) as refusal:
        decode(EVENTS[kind])
    assert len(str(refusal.value)) < 1000


def test_half_a_surrogate_pair_is_taken_for_what_can_be_written_down() -> None:
    line = '{"event": "failed", "status": "crashed", "reason": "\\ud800", "detail": "", "at_ns": 1}'
    assert decode(line).reason.encode()


def test_events_without_end_are_not_kept() -> None:
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
        while not lines.ended:
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
def said(shared_home: Path) -> dict[str, Measurement]:
    """What became of each variant of the hostile adapter, run as any other is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VELODROME_ADAPTERS", str(FAULTY))
        patch.setenv("VELODROME_LOCKS", str(shared_home / "locks-of-cores"))  # no time counts here
        for name in ("numpy", *(folder.name for folder in FAULTY.iterdir())):
            patch.setenv(f"VELODROME_PYTHON_{name.upper()}", sys.executable)
        return {variant: hostile(variant, shared_home) for variant in ENDS}


def hostile(variant: str, home: Path) -> Measurement:
    timing = Timing(target=0.5, min_samples=3, min_seconds=0.0, max_seconds=1.0)
    model = "autoencoder-400-200-100/ae1"
    task = Task("hostile", variant, model, 4, timing=timing, limits=Limits(deadline_s=60))
    store = EnvironmentStore(home / "envs")
    return execute(
        task,
        node=take("this"),
        repeat=0,
        attempt=1,
        environments=store,
        on_event=lambda event: None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("variant", ENDS)
def test_a_hostile_adapter_ends_as_a_row_that_is_plain_text(
    said: dict[str, Measurement], variant: str, store: Store
) -> None:
    ended = said[variant]
    assert ended.status in ENDS[variant], ended.reason
    assert store.put(SWEEP, ended)
    (row,) = store.read("tasks", SWEEP).to_pylist()
    told = json.dumps({name: row[name] for name in ("reason", "notes", "framework_version")})
    assert len(told) < 20_000
    for text in (row["reason"], *row["notes"], row["framework_version"] or ""):
        assert not UNSEEN.search(text)
        assert "\n" not in text
    assert not UNSEEN.search(row["log_tail"].replace("\t", ""))
    assert (row["forward_median_ns"] is None) == (not ended.status.has_number)


@pytest.mark.slow
def test_what_breaks_the_protocol_is_told_with_the_field(said: dict[str, Measurement]) -> None:
    for variant, word in (("types", "Built"), ("flood", "line"), ("unproven", "proof")):
        assert "the worker broke the protocol" in said[variant].reason
        assert word in said[variant].reason


# --- what a results folder says ------------------------------------------------------------------


def measured(**changes: object) -> Measurement:
    timed = Timed("forward", 1e6, 0.99e6, 1.01e6, 30, 2, 5, "target", stable=True)
    ended = Measurement(
        Task("torch", "eager", "probe-lrn", 8),
        *(0, 1, Status.OK, "", "n1", "host1", "t1", 1.0, 2.0),
        rerun="velodrome measure torch probe-lrn",
        forward=timed,
        gradient=timed._replace(phase="gradient"),
        verified=Verified(2.3, 1e-6, 1e-5, (), (), 7),
        notes=(f"by hand: Lrn {EVIL}",),
    )
    return replace(ended, **changes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)


@pytest.fixture
def evil_results(store: Store, root: Path) -> Path:
    """Every text of a row is hostile, and one of five nodes is slow, so that it is named."""
    slow = Timed("gradient", 9e6, 8e6, 10e6, 30, 2, 5, "target", stable=True)
    task = replace(measured().task, variant=EVIL, device=f"gpu{EVIL}", dtype=EVIL)
    where = {"hostname": EVIL, "node_type": EVIL, "cpu_model": EVIL, "gpu_name": EVIL}
    with store.working_on(SWEEP):
        for number in range(5):
            times = {"gradient": slow} if number == 3 else {}
            store.put(
                SWEEP,
                measured(task=task, repeat=number, node_id=f"{EVIL}{number}", **where, **times),
            )
        store.put(
            SWEEP,
            measured(
                task=replace(task, framework="=HYPERLINK(1)", variant="x"),
                status=Status.CRASHED,
                reason=f"=1+1 {EVIL}",
                rerun=f"velodrome measure x; rm -rf ~ {EVIL}",
                log_tail=EVIL,
            ),
        )
    return root


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.UTILIZATION])
def test_a_hostile_results_folder_is_shown_as_plain_text(
    evil_results: Path, capsys: pytest.CaptureFixture[str], kind: Kind, form: Form
) -> None:
    report(evil_results, "", kind, form, None)
    text = capsys.readouterr().out
    assert not UNSEEN.search(text)
    assert "rm -rf" not in text or form is Form.JSON  # which keeps rows as they are
    if form is Form.MARKDOWN:
        assert "<script" not in text
        assert "](" not in text
    if form is Form.CSV:
        cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    if form is Form.TERMINAL:
        assert "[bold]loud[/bold]" in re.sub(r"[│┃\s]", "", text)
        assert "all is well" not in [line.strip(" │") for line in text.splitlines()]


def test_a_picture_of_a_hostile_results_folder_holds_no_element_of_its_making(
    evil_results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "picture.svg"
    report(evil_results, "", Kind.TIMES, Form.TERMINAL, picture)
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(picture).iter()}
    assert tags <= {"svg", "style", "defs", "clipPath", "rect", "text", "g", "circle", "line"}
    with pytest.raises(ConfigError, match="cannot be written"):
        report(evil_results, "", Kind.TIMES, Form.TERMINAL, tmp_path / "none" / "picture.svg")


def rewritten(root: Path, column: str, values: pa.Array) -> None:
    """The one file of tasks with another column in it."""
    (path,) = (root / "tasks").rglob("*.parquet")
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, values), path)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("status", pa.array(["\x1b[2Jfine"]), "has the status 'fine'"),
        ("threads", pa.array([None], pa.int32()), "has no threads"),
        ("framework", pa.array([None], pa.string()), "has no framework"),
        ("reason", pa.array([b"\xff"]).view(pa.string()), "cannot be read"),
    ],
)
def test_rows_that_no_velodrome_wrote_are_told_and_not_tripped_over(
    store: Store, root: Path, column: str, values: pa.Array, said: str
) -> None:
    store.put(SWEEP, measured())
    rewritten(root, column, values)
    with pytest.raises((ConfigError, StoreError), match=said):
        report(root, "", Kind.TIMES, Form.TERMINAL, None)


@pytest.mark.parametrize("median_ns", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_costs_no_report(
    store: Store, root: Path, capsys: pytest.CaptureFixture[str], median_ns: float
) -> None:
    store.put(SWEEP, measured())
    rewritten(root, "gradient_median_ns", pa.array([median_ns]))
    for form in Form:
        report(root, "", Kind.TIMES, form, None)
    assert "probe-lrn" in capsys.readouterr().out


# --- whose files they are ------------------------------------------------------------------------


@contextmanager
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def writable_by_others(folder: Path) -> list[Path]:
    """What anybody but its owner may change, and can get at."""
    found = []
    for place, folders, files in os.walk(folder):
        here = [Path(place) / name for name in (*folders, *files)]
        found += [one for one in here if not one.is_symlink() and one.stat().st_mode & 0o022]
        folders[:] = [name for name in folders if (Path(place) / name).stat().st_mode & 0o077]
    return found


def test_results_are_their_owners_alone_to_change_whatever_the_umask(tmp_path: Path) -> None:
    there = tmp_path / "shared"
    there.mkdir(mode=0o755)
    with open_umask():
        for results in (there / "new" / "results", there):
            store = Store(results)
            with store.working_on(SWEEP):
                store.put(SWEEP, measured())
                store.put_nodes(SWEEP, [Node("n1", "host1", "CPU", (Core(0, (0,)),), 2**30)])
                store.compact(SWEEP)
    assert writable_by_others(tmp_path) == []
    assert (there / "new" / "results").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_all_that_a_measurement_leaves_is_its_owners_alone_to_change(
    command, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    words = ["measure", "numpy", "autoencoder-400-200-100/ae1", "--batch-size", "4"]
    words += ["--max-seconds", "1", "--results", str(tmp_path / "kept" / "results")]
    with open_umask():  # which a child inherits
        done = subprocess.run(
            [sys.executable, "-m", "velodrome.scheduler.cli", *words],
            env={
                **command.variables,
                "VELODROME_HOME": str(home),
                "VELODROME_LOCKS": str(command.folder / "locks-of-cores"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert sorted(entry.name for entry in home.iterdir()) >= ["caches", "import", "references"]
    assert writable_by_others(tmp_path) == []


@pytest.mark.slow
def test_the_embedded_ray_has_a_token_of_its_own_and_reports_to_nobody() -> None:
    with open_umask(), embedded_ray(1, 0) as started:
        token = Path(started.variables["RAY_AUTH_TOKEN_PATH"])
        assert token.stat().st_mode & 0o777 == 0o600
        assert token.parent.stat().st_mode & 0o077 == 0  # where Ray's own folder lies, too
        assert len(token.read_text()) == 64
        assert started.variables["RAY_AUTH_MODE"] == "token"
        assert started.variables["RAY_USAGE_STATS_ENABLED"] == "0"
        assert "nauthenticated" in stranger(started.address, secrets.token_hex(32))


def stranger(address: str, token: str) -> str:
    """What Ray says to somebody who asks for its nodes with this token."""
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    words = ["-m", "ray.scripts.scripts", "health-check", "--address", address]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


# --- the machine's other users, and the shell ----------------------------------------------------


def test_what_another_user_left_in_a_lock_file_is_cut_short_and_never_waited_for(
    tmp_path: Path,
) -> None:
    pipe, large, link = (tmp_path / name for name in ("pipe", "large", "link"))
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.write(b"pid 1 (\x1b[2Jevil)\nall is well")
        file.truncate(2**40)
    link.symlink_to("/etc/passwd")
    told = holders([pipe, large, link])
    assert told.startswith("pid 1 (evil) all is well")
    assert len(told) <= 200
    assert "root" not in told


def test_no_process_is_started_through_a_shell() -> None:
    """But one, which quotes: a tree that is entered without bubblewrap."""
    shells = {
        f"{path.relative_to(CODE)}:{word}"
        for folder in ("agents", "scheduler")
        for path in (CODE / folder).rglob("*.py")
        for word in shell_words(ast.parse(path.read_text()))
    }
    assert shells == {"agents/environments/entering.py:sh"}


def shell_words(tree: ast.AST) -> Iterator[str]:
    """Ways to a shell: shell=True, os.system and the like, and a shell's name as a word."""
    ways = ("os.system", "os.popen", "subprocess.getoutput", "asyncio.create_subprocess_shell")
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "shell":
            yield "shell="
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ways:
            yield node.attr
        elif isinstance(node, ast.Constant) and node.value in ("sh", "bash", "/bin/sh"):
            yield str(node.value)


def test_a_path_is_a_word_to_the_one_shell_that_there_is(tmp_path: Path) -> None:
    tree = tmp_path / "a $(touch owned) `touch owned` 'q\" ; touch owned; *"
    (tree / "usr").mkdir(parents=True)
    (tree / "mnt").mkdir()
    log, tools = tmp_path / "log", tmp_path / "tools"
    tools.mkdir()
    for name in ("mount", "chroot"):  # neither is done; what was asked for is written down
        tool = tools / name
        tool.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{log}'\n")
        tool.chmod(0o755)
    script = entering._by_chroot(tree, {"A": "$(touch owned)"}, ["$(touch owned)"])[-1]
    path = f"{tools}:{os.environ['PATH']}"
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, env={"PATH": path}, check=True)
    words = log.read_text().splitlines()
    assert f"{tree}/mnt" in words
    assert f"{tree}/usr" in words
    assert words[-2:] == ["A=$(touch owned)", "$(touch owned)"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([tree.name, "log", "tools"])


def test_the_security_page_names_tests_that_there_are() -> None:
    page = (CODE / "docs" / "security.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    there = "\n".join(path.read_text() for path in (CODE / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in there} == set()
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", page))
    assert {file for file in files if not (CODE / file).is_file()} == set()


@pytest.mark.parametrize("unit", ["x", "\r", "\x1b", "\x1b[1", "\x1b]", "\x1b[ ", " \n", "\x9b"])
def test_megabytes_of_anything_are_made_harmless_in_no_time(unit: str) -> None:
    text = unit * (2**22 // len(unit))
    before_s = time.process_time()
    assert not UNSEEN.search(one_line(text, 100))
    assert time.process_time() - before_s < 5  # hours, where the square of it is done


def test_what_cannot_be_printed_is_left_out_of_what_is_printed() -> None:
    text = os.fsdecode(b"a\xff\x1b[31mb") + "\u202e\ud800c"
    assert without_controls(text) == "abc"
    assert without_controls(text).encode()
