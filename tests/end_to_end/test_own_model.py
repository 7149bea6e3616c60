"""The example of docs/adding-a-model.md, followed in a copy of the tree."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_user_model_needs_one_file_and_one_line(tmp_path: Path) -> None:
    for name in ("adapters", "agents", "scheduler"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / "src" / "velodrome" / name, ignore=ignored)
    shutil.copy(ROOT / "src" / "velodrome" / "__init__.py", tmp_path / "src" / "velodrome")
    page = (ROOT / "docs" / "adding-a-model.md").read_text()
    file, code = re.search(r"Write `(\S+)`:\n\n```python\n(.*?)```", page, re.DOTALL).groups()
    package = tmp_path / "src" / "velodrome"
    (package / file).write_text(code)
    zoo = package / "adapters" / "models" / "__init__.py"
    named = zoo.read_text().replace("        LENET,\n", "        LENET,\n        MLP,\n")
    zoo.write_text(
        named.replace("\nMODELS:", "from velodrome.adapters.models.mlp import MLP\n\nMODELS:")
    )
    words = ["measure", "numpy", "mlp", "--threads", "1", "--max-seconds", "0.5", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", *words],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path / "src"),
            "VELODROME_HOME": str(tmp_path / "home"),
            "VELODROME_PYTHON_NUMPY": sys.executable,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads(done.stdout)
    assert (row["model"], row["parameters"]) == ("mlp", 784 * 256 + 256 + 256 * 10 + 10)
    assert row["verified"]
