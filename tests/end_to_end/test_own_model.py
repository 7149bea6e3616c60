"""The example of docs/adding-a-model.md: a model outside of Velodrome, measured and swept."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SWEEP = """
frameworks: [numpy]
models: [./mlp.py, probe-gelu]
threads: [1]
canary: false
repeats: 1
exclusive: false
timing: {target: 50%, min_samples: 3, min_seconds: 0.1, max_seconds: 0.3}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's file and a sweep of it."""
    page = (ROOT / "docs" / "adding-a-model.md").read_text()
    name, code = re.search(r"Write `(\S+)`:\n\n```python\n(.*?)```", page, re.DOTALL).groups()
    (tmp_path / name).write_text(code)
    (tmp_path / "mine.yaml").write_text(SWEEP)
    return tmp_path


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", *words],
        cwd=folder,
        env={
            **os.environ,
            "VELODROME_HOME": str(folder / "home"),
            "VELODROME_PYTHON_NUMPY": sys.executable,
            **variables,
        },
        capture_output=True,
        text=True,
    )


def test_a_models_file_needs_one_variable(folder: Path) -> None:
    words = ["measure", "numpy", "mlp", "--threads", "1", "--max-seconds", "0.5", "--json"]
    done = run(folder, *words, VELODROME_MODELS="mlp.py")
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads(done.stdout)
    assert (row["model"], row["parameters"]) == ("mlp", 784 * 256 + 256 + 256 * 10 + 10)
    assert row["verified"]


def test_a_sweep_names_a_models_file_beside_it(folder: Path) -> None:
    done = run(
        folder.parent, "run", str(folder / "mine.yaml"), "--results", str(folder / "results")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    query = "select model, status, verified from tasks order by model"
    rows = json.loads(
        run(folder, "query", query, "--results", str(folder / "results"), "--json").stdout
    )
    assert [row["model"] for row in rows] == ["mlp", "probe-gelu"]
    assert all(row["verified"] for row in rows)


def test_a_wrong_file_ends_with_its_place_and_status_2(folder: Path) -> None:
    (folder / "mlp.py").write_text("import nowhere")
    done = run(folder, "plan", "mine.yaml")
    assert done.returncode == 2
    assert "mine.yaml:3:10: " in done.stderr
    assert "mlp.py: cannot be run: ModuleNotFoundError" in done.stderr
    done = run(folder, "measure", "numpy", "lenet", VELODROME_MODELS="mlp.py")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_changed_definition_is_another_task(folder: Path) -> None:
    command = ["plan", "mine.yaml", "--json"]
    before = run(folder, *command)
    assert before.returncode == 0, before.stderr
    text = (folder / "mlp.py").read_text()
    (folder / "mlp.py").write_text(text.replace('Linear("hidden", 256)', 'Linear("hidden", 128)'))
    after = run(folder, *command)
    keys = [
        {task["task"].split()[1]: task["task_id"] for task in json.loads(done.stdout)}
        for done in (before, after)
    ]
    assert keys[0]["mlp"] != keys[1]["mlp"]
    assert keys[0]["probe-gelu"] == keys[1]["probe-gelu"]
