"""Unusual machines: a host name that is not UTF-8, a read-only home."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SWEEP = "name: odd\nframeworks: [numpy]\nmodels: [canary]\n"
QUICK = [
    "--batch-size",
    "2",
    "--max-seconds",
    "0.5",
    "--min-seconds",
    "0.1",
    "--target",
    "90%",
    "--threads",
    "1",
]
NAMED = (
    "import os, socket, sys; socket.sethostname(b'caf\\xe9'); os.execv(sys.argv[1], sys.argv[1:])"
)
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def run(command, *words: str, within: list[str], **variables: str) -> subprocess.CompletedProcess:
    """Run the command in namespaces of its own, which only root may make."""
    typed = [*within, sys.executable, "-m", "velodrome.scheduler.cli", *words]
    done = subprocess.run(
        ["unshare", *typed],
        cwd=command.folder,
        env={**command.variables, **variables},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    if "Operation not permitted" in done.stderr or "permission denied" in done.stderr:
        pytest.skip("no namespaces here")
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(autouse=True)
def unshare() -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root, and unshare")


@pytest.mark.full
def test_a_machine_with_a_name_that_is_not_utf8_measures_and_says_why_ray_cannot_start(
    command,
) -> None:
    command.sweep(SWEEP)
    within = ["-u", sys.executable, "-c", NAMED]
    (node,) = json.loads(run(command, "nodes", "--json", within=within).stdout)
    assert node["hostname"] == r"caf\xe9"
    words = ["measure", "numpy", "canary", *QUICK, "--results", "named"]
    assert run(command, *words, within=within).returncode == 0
    query = run(
        command,
        "query",
        "SELECT hostname FROM tasks",
        "--results",
        "named",
        "--json",
        within=["-u"],
    )
    assert json.loads(query.stdout) == [{"hostname": r"caf\xe9"}]
    done = run(command, "run", "sweep.yaml", "--results", "swept", within=within)
    assert done.returncode == 3
    assert "needs a machine whose name is UTF-8" in done.stderr + done.stdout
    assert "hostnamectl set-hostname" in done.stderr + done.stdout


@pytest.mark.full
def test_a_read_only_home_serves_its_environments_and_refuses_builds_in_a_line(
    command, tmp_path: Path
) -> None:
    home = tmp_path / "image"
    (home / "envs").mkdir(parents=True)
    before = sorted(home.rglob("*"))
    within = ["-m", "sh", "-c", READ_ONLY, str(home)]
    own = {"VELODROME_HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = ["measure", "numpy", "canary", *QUICK]
    for _ in range(2):  # with what the first one made
        assert run(command, *words, within=within, **own).returncode == 0
    assert [entry.name for entry in (tmp_path / "cache" / "velodrome").iterdir()] == ["beside"]
    for listing in ("envs list", "frameworks"):
        assert run(command, *listing.split(), within=within, **own).returncode == 0
    refused = run(command, "envs", "build", "torch", within=within, **own)
    assert refused.returncode == 4
    assert f"{home}/envs/.locks cannot be written (Read-only file system)" in refused.stdout
    assert "Set VELODROME_HOME to a folder" in refused.stdout
    assert sorted(home.rglob("*")) == before


@pytest.mark.full
@pytest.mark.framework
def test_a_built_environment_runs_from_a_read_only_home(
    command, tmp_path: Path, framework_environment
) -> None:
    home = framework_environment("numpy").folder.parents[1]
    within = ["-m", "sh", "-c", READ_ONLY, str(home)]
    own = {
        "VELODROME_HOME": str(home),
        "XDG_CACHE_HOME": str(tmp_path),
        "VELODROME_PYTHON_NUMPY": "",
    }
    done = run(command, "measure", "numpy", "canary", *QUICK, "--json", within=within, **own)
    assert json.loads(done.stdout)["environment_hash"] == framework_environment("numpy").hash
    assert done.returncode == 0
    assert list(tmp_path.glob("velodrome/beside/*/caches/numpy-*"))


def test_a_home_whose_path_is_not_utf8_is_refused_with_the_remedy(command, tmp_path: Path) -> None:
    home = os.fsencode(tmp_path) + b"/h\xff"
    done = run(command, "frameworks", within=["-u"], VELODROME_HOME=os.fsdecode(home))
    assert done.returncode == 2
    assert r"h\xff contains bytes that are not UTF-8. Set VELODROME_HOME to another" in done.stderr
