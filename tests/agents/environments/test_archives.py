"""Source archives are built with the packages of the lock even if newer ones exist."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from velodrome.agents.environments.locking import renew

PROJECT = '[build-system]\nrequires = ["tiny"]\nbuild-backend = "tiny.backend"\n'
BACKEND = b"""
import tiny, zipfile
METADATA = "Metadata-Version: 2.1\\nName: built\\nVersion: 1.0+local\\n"
INFO = "built-1.0+local.dist-info"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(folder + "/built-1.0+local-py3-none-any.whl", "w") as wheel:
        wheel.writestr("built.py", "BY = %r" % tiny.VERSION)
        wheel.writestr(INFO + "/METADATA", METADATA)
        wheel.writestr(INFO + "/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(INFO + "/RECORD", "")
    return "built-1.0+local-py3-none-any.whl"
"""


def add_archive(folder: Path) -> None:
    files = {"pyproject.toml": PROJECT, "PKG-INFO": "Name: built\nVersion: 1.0+local\n"}
    with tarfile.open(folder / "built-1.0+local.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"built-1.0+local/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.mark.slow
def test_an_archive_is_built_with_the_pinned_packages(node) -> None:
    for version in ("1.0+local", "2.0+local"):
        node.add_tiny(version, backend=BACKEND)
    add_archive(node.wheels)
    wanted = '["tiny==1.0+local", "built==1.0+local"]'
    recipe = node.recipe.replace('"one.txt"', f'"one.txt", requirements = {wanted}')
    node.add_framework("little", recipe, {"one.txt": ""})
    renew("little", node.environ)
    environment = node.store.build("little")
    run = [environment.python, "-c", "import built; print(built.BY)"]
    assert subprocess.run(run, capture_output=True, text=True).stdout.strip() == "1.0+local"
