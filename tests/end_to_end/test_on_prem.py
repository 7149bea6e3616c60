"""deploy/on-prem: a script and a systemd unit turn an existing machine into a head or a node."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from ray._private.label_utils import parse_node_labels_from_yaml_file

FOLDER = Path(__file__).parents[2] / "deploy" / "on-prem"
UNITS = sorted(FOLDER.glob("*.service"))
RAY = "/var/lib/velodrome/venv/bin/ray"


def join(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The files of a machine, written below a folder."""
    return subprocess.run(
        ["bash", FOLDER / "join.sh", *words],
        env=os.environ | {"DESTDIR": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_every_unit(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    assert RAY in text
    (tmp_path / unit.name).write_text(text.replace(RAY, shutil.which("true") or "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / unit.name], capture_output=True, text=True
    )
    complaints = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert (checked.returncode, complaints) == (0, [])


def test_a_head_creates_the_token_once_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    token = tmp_path / "etc/velodrome/auth_token"
    assert join(tmp_path, "head").returncode == 0
    made = token.read_text()
    assert len(made) == 64 and int(made, 16)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert join(tmp_path, "head", "7000").returncode == 0
    assert token.read_text() == made
    assert "VELODROME_PORT=7000" in (tmp_path / "etc/velodrome/fleet.env").read_text()


def test_a_node_starts_with_its_labels_and_its_heads_address(tmp_path: Path) -> None:
    settings = tmp_path / "etc/velodrome"
    assert "auth_token is missing" in join(tmp_path, "node", "head.example.org").stderr
    join(tmp_path, "head")
    ran = join(tmp_path, "node", "head.example.org:7000", "pool=lab", "rack=3")
    assert ran.returncode == 0, ran.stderr
    labels = parse_node_labels_from_yaml_file(str(settings / "labels.yaml"))
    assert labels == {"pool": "lab", "rack": "3", "velodrome": os.uname().nodename.split(".")[0]}
    fleet = (settings / "fleet.env").read_text().splitlines()
    assert fleet == ["VELODROME_HEAD=head.example.org", "VELODROME_PORT=7000"]
    assert (tmp_path / "etc/systemd/system/velodrome-node.service").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ("nod", "head"),
        ("node", "head;reboot"),
        ("node", "head:port"),
        ("node", "head", "pool"),
        ("node", "head", "pool=$(id)"),
        ("node", "head", 'pool=a"\nx: b'),
        ("head", "6379 --block"),
    ],
)
def test_refused_arguments_write_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "etc/velodrome").mkdir(parents=True)
    (tmp_path / "etc/velodrome/auth_token").write_text("a" * 64)
    ran = join(tmp_path, *words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("join.sh: ")
    written = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert written == ["auth_token"]
