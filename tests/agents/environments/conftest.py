"""Tiny wheels and frameworks, and a node whose pip knows only these."""

import base64
import hashlib
import os
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from velodrome.agents.environments.store import EnvironmentStore

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> str:
    """Put a pure wheel into the folder; its sha256."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={_encoded(content)},{len(content)}\n" for path, content in contents.items()
    )
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in contents.items():
            archive.writestr(path, content)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


RECIPE = f"""
kind = "uv"
about = "a test"
module = "tiny"
python = ["{MINOR}"]
locks = [{{file = "one.txt", devices = ["cpu"]}}]
variables = {{TINY_CACHE = "{{cache}}/kernels"}}
"""


@dataclass
class Node:
    """A node: a home, a folder of wheels as pip's only source, and user frameworks."""

    home: Path
    wheels: Path
    adapters: Path
    variables: dict[str, str] = field(default_factory=dict)
    recipe: str = RECIPE

    @property
    def environ(self) -> dict[str, str]:
        told_uv = ("UV_", "PIP_", "VELODROME_")
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(told_uv)}
        return {
            **inherited,
            "VELODROME_HOME": str(self.home),
            "VELODROME_ADAPTERS": str(self.adapters),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_CACHE_DIR": str(self.home / "uv"),
            **self.variables,
        }

    @property
    def store(self) -> EnvironmentStore:
        return EnvironmentStore(environ=self.environ)

    def add_framework(self, name: str, recipe: str, locks: Mapping[str, str]) -> Path:
        folder = self.adapters / name
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        adapter = "import tiny\nclass Adapter:\n    version = staticmethod(lambda: tiny.VERSION)\n"
        (folder / "adapter.py").write_text(adapter)
        (folder / "environment.toml").write_text(recipe)
        for file, text in locks.items():
            (folder / "locks" / file).write_text(text)
        return folder

    def add_tiny(self, version: str = "1.0", **more: bytes) -> str:
        """A wheel `tiny`, each of more a further module in it; the line of a lock for it."""
        files = {"tiny/__init__.py": f"VERSION = {version!r}\n".encode()}
        files.update({f"tiny/{module}.py": content for module, content in more.items()})
        sha256 = make_wheel(self.wheels, "tiny", version, files)
        return f"tiny=={version} \\\n    --hash=sha256:{sha256}\n"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path / "home", tmp_path / "wheels", tmp_path / "adapters")
    node.wheels.mkdir()
    return node


@pytest.fixture
def tiny_node(node: Node) -> Node:
    """A node with one framework, `little`, that needs one wheel."""
    node.add_framework("little", RECIPE, {"one.txt": node.add_tiny()})
    return node


@pytest.fixture(scope="session")
def numpy_store(tmp_path_factory: pytest.TempPathFactory) -> EnvironmentStore:
    """A store in which the small real environment of numpy is built, once."""
    store = EnvironmentStore(tmp_path_factory.mktemp("numpy") / "envs")
    store.build("numpy")
    return store
