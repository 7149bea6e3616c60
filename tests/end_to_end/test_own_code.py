"""A user's workload in code, in NumPy: measured, swept, reported and mended as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CODE = '''
"""A linear layer with a squared error."""
import numpy

FRAMEWORK = "numpy"
NAME = "linear-code"
BATCH_SIZE = 8
UNIT = "row"
FORWARD_FLOPS = 2 * 300 * 200
GRADIENT_FLOPS = 3 * FORWARD_FLOPS


def make():
    return {"weight": numpy.random.standard_normal((200, 300)) / 17, "bias": numpy.zeros(200)}


def batch(size, draw):
    return {"x": draw.standard_normal((size, 300)), "y": draw.randint(0, 2, (size, 200))}


def forward(parameters, batch):
    off = batch["x"] @ parameters["weight"].T + parameters["bias"] - batch["y"]
    return (off * off).sum() / len(off)


def gradient(parameters, batch):
    off = batch["x"] @ parameters["weight"].T + parameters["bias"] - batch["y"]
    back = 2 * off / len(off)
    return (off * off).sum() / len(off), {"weight": back.T @ batch["x"], "bias": back.sum(axis=0)}
'''
INFERENCE = """

def inference(parameters, batch):
    return batch["x"] @ parameters["weight"].T + parameters["bias"]
"""
SWEEP = """
frameworks: [numpy, torch]
models: [./mine.py, probe-gelu]
exclude: [{framework: torch, model: probe-gelu}]
batch_sizes: {linear-code: [8]}
threads: [1]
canary: false
repeats: 1
exclusive: false
timing: {target: 50%, min_samples: 3, min_seconds: 0.1, max_seconds: 0.3}
"""
QUICK = ("--threads", "1", "--min-samples", "3", "--max-seconds", "0.5", "--json")


@pytest.fixture
def folder(tmp_path: Path, shared_home: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "mine.yaml").write_text(SWEEP)
    (tmp_path / "home").symlink_to(shared_home)
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    home = {"VELODROME_HOME": str(folder / "home"), "VELODROME_PYTHON_NUMPY": sys.executable}
    return subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", *words],
        cwd=folder,
        env={**os.environ, **home, "COLUMNS": "160"},
        capture_output=True,
        text=True,
    )


def measure_changed(folder: Path, before: str, after: str) -> dict[str, object]:
    """Return the row of the code with one text replaced."""
    assert before in CODE
    (folder / "mine.py").write_text(CODE.replace(before, after))
    done = run(folder, "measure", "numpy", "./mine.py", *QUICK)
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def test_code_is_verified_against_itself_and_timed(folder: Path) -> None:
    done = run(folder, "measure", "numpy", "mine.py", *QUICK)
    row = json.loads(done.stdout)
    assert done.returncode == 0, row
    assert (row["model"], row["verified_against"]) == ("linear-code", "itself")
    assert row["parameters"] == 200 * 300 + 200
    assert row["forward_flops"] == 8 * 2 * 300 * 200
    assert row["gradient_median_ns"] > 0
    proved = {"not_seen_before", "follows_parameters", "timed_is_checked", "different_values"}
    assert proved <= set(row["proved"]), row["unproved"]
    assert "mine.py" in row["rerun"]


def test_a_sweep_runs_code_in_its_own_framework_alone_and_marks_it(folder: Path) -> None:
    results = str(folder / "results")
    done = run(folder.parent, "run", str(folder / "mine.yaml"), "--results", results)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "≡" in done.stdout
    assert "against itself (≡): linear-code" in done.stdout
    query = "select framework, model, verified, verified_against from tasks order by model"
    rows = json.loads(run(folder, "query", query, "--results", results, "--json").stdout)
    assert [tuple(row.values()) for row in rows] == [
        ("numpy", "linear-code", True, "itself"),
        ("numpy", "probe-gelu", True, "reference"),
    ]
    page = folder / "page.html"
    assert run(folder, "report", "--results", results, "--html", str(page)).returncode == 0
    assert "against itself: the user's code" in page.read_text()


def test_a_changed_file_is_another_task(folder: Path) -> None:
    keys = []
    for text in (CODE, CODE + "\n# another text\n"):
        (folder / "mine.py").write_text(text)
        plan = json.loads(run(folder, "plan", "mine.yaml", "--json").stdout)
        keys.append({task["task"].split()[1]: task["task_id"] for task in plan})
    assert keys[0]["linear-code"] != keys[1]["linear-code"]
    assert keys[0]["probe-gelu"] == keys[1]["probe-gelu"]


def test_an_exception_in_the_file_ends_its_task_alone_with_line_and_mend(folder: Path) -> None:
    (folder / "mine.py").write_text(
        CODE.replace('draw.standard_normal((size, 300)), "y"', 'draw.x, "y"')
    )
    results = str(folder / "results")
    assert run(folder, "run", "mine.yaml", "--results", results).returncode == 1
    query = "select model, status, reason from tasks order by model"
    rows = json.loads(run(folder, "query", query, "--results", results, "--json").stdout)
    assert rows[0]["status"] == "crashed"
    assert rows[1]["status"] in ("ok", "unstable"), rows[1]["reason"]
    assert rows[0]["reason"].startswith("mine.py:18: batch raised AttributeError: ")
    assert rows[0]["reason"].endswith("Correct it")


def test_a_gradient_that_remembers_its_batches_is_caught(folder: Path) -> None:
    row = measure_changed(
        folder,
        "def gradient(parameters, batch):\n",
        "KEPT = {}\n\n\ndef gradient(parameters, batch):\n"
        "    key = id(batch)\n"
        "    if key not in KEPT:\n"
        "        KEPT[key] = compute(parameters, batch)\n"
        "    return KEPT[key]\n\n\n"
        "def compute(parameters, batch):\n",
    )
    assert row["status"] == "disagreed", row["reason"]
    assert row["gradient_median_ns"] is None
    assert row["verified_against"] is None


def test_inference_of_code_is_compared_with_its_own_output_in_float64(folder: Path) -> None:
    (folder / "mine.py").write_text(CODE + INFERENCE)
    done = run(folder, "measure", "numpy", "mine.py", "--phases", "inference", *QUICK)
    row = json.loads(done.stdout)
    assert done.returncode == 0, row
    assert row["inference_median_ns"] > 0
    assert row["forward_median_ns"] is None
    proved = {"not_seen_before", "follows_parameters", "timed_is_checked", "different_values"}
    assert proved <= set(row["proved"]), row["unproved"]


def test_inference_that_remembers_its_outputs_is_caught(folder: Path) -> None:
    kept = INFERENCE.replace("return", "KEPT.setdefault(id(batch),", 1).rstrip()
    (folder / "mine.py").write_text(f"{CODE}\nKEPT = {{}}\n{kept})\n    return KEPT[id(batch)]\n")
    done = run(folder, "measure", "numpy", "mine.py", "--phases", "inference", *QUICK)
    row = json.loads(done.stdout)
    assert row["status"] == "disagreed", row["reason"]
    assert row["inference_median_ns"] is None


@pytest.mark.parametrize(
    ("text", "words", "reason"),
    [
        ("def make", ("plan", "mine.yaml"), "mine.yaml:3:10: "),
        ("def make", ("plan", "mine.yaml"), "mine.py:1: there is no function `make`. Add def make"),
        (
            "",
            ("measure", "torch", "./mine.py"),
            "linear-code is code for numpy, which is not among",
        ),
        ("", ("measure", "numpy", "./absent.py"), "there is no file"),
    ],
)
def test_what_shows_without_running_the_file_ends_the_command_with_status_2(
    folder: Path, text: str, words: tuple[str, ...], reason: str
) -> None:
    (folder / "mine.py").write_text(CODE.replace(text, "def other") if text else CODE)
    done = run(folder, *words)
    assert done.returncode == 2, done.stdout
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
