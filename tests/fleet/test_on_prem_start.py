"""The units of deploy/on-prem, started as systemd would, make a fleet that Velodrome finds."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_hardware import Host
from namespace_fleet import HEAD, NamespaceFleet

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.serial]

ON_PREM = Path(__file__).parents[2] / "deploy" / "on-prem"
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


class Units(NamespaceFleet):
    """Hosts whose Ray is started by the units' commands, with the settings of join.sh."""

    def join(self) -> None:
        """Run `join.sh` for a head and for a node, below the fleet's folder."""
        for words in (["head"], ["node", self.address, "pool=lab"]):
            place = self.folder / words[0]
            place.mkdir()
            if words[0] == "node":  # as its user would
                there = place / "etc" / "velodrome"
                there.mkdir(parents=True)
                token = self.settings("head") / "auth_token"
                (there / "auth_token").write_text(token.read_text())
            environ = {**os.environ, "DESTDIR": str(place)}
            subprocess.run([str(ON_PREM / "join.sh"), *words], env=environ, check=True)
        variables = self.assignments("head", "ray.env")
        variables["RAY_AUTH_TOKEN_PATH"] = str(self.settings("head") / "auth_token")
        self.variables |= variables

    def settings(self, role: str) -> Path:
        return self.folder / role / "etc" / "velodrome"

    def assignments(self, role: str, name: str) -> dict[str, str]:
        lines = (self.settings(role) / name).read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")

    def _ray(self, name: str, *words: str) -> list[str]:
        role = "head" if name == HEAD else "node"
        unit = self.folder / role / "etc" / "systemd" / "system" / f"velodrome-{role}.service"
        (line,) = (text for text in unit.read_text().splitlines() if text.startswith("ExecStart="))
        for variable, value in self.assignments(role, "fleet.env").items():
            line = line.replace(f"${{{variable}}}", value)
        line = line.replace("/etc/velodrome", str(self.settings(role)))
        _, *given = shlex.split(line.removeprefix("ExecStart="))
        # Hosts share the machine's /tmp and memory, and have no address beside that of the bridge.
        return [
            *RAY,
            *given,
            f"--node-ip-address={self.ip(name)}",
            f"--temp-dir={self.folder / str(self._numbers[name])}",
            f"--object-store-memory={80_000_000}",
        ]


def test_a_head_and_a_node_join_with_their_labels(
    new_fleet: Callable[..., NamespaceFleet],
) -> None:
    fleet = new_fleet(kind=Units)
    assert isinstance(fleet, Units)
    fleet.join()
    fleet.start_head()
    fleet.add_nodes([Host("n1")])
    listing = fleet.velodrome("nodes", "--address", fleet.address, "--json")
    out, err = listing.communicate(timeout=120)
    assert listing.returncode == 0, err
    (node,) = json.loads(out)  # the head measures nothing
    assert node["hostname"] == "n1"
    assert ["pool", "lab"] in node["labels"]
