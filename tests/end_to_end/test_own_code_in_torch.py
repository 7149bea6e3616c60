"""A user's workload in code, in PyTorch: the examples of docs/own-code.md, and faults in them."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.framework]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
QUICK = ("--threads", "1", "--shared", "--min-samples", "3", "--max-seconds", "0.5", "--json")


@pytest.fixture(scope="module")
def in_torch(command, framework_environment):
    """Run `velodrome measure torch FILE` with the tests' own environment of torch."""
    python = framework_environment("torch").python
    command = type(command)(
        command.folder, {**command.variables, "VELODROME_PYTHON_TORCH": str(python)}
    )

    def measure(path: Path, *words: str) -> dict[str, object]:
        done = command.run("measure", "torch", str(path), *words, *QUICK)
        assert "Traceback" not in done.stderr, done.stderr
        return json.loads(done.stdout)

    return measure


def change(folder: Path, before: str, after: str) -> Path:
    """Return the path of the small decoder with one text replaced."""
    text = (EXAMPLES / "tiny_decoder.py").read_text()
    assert before in text
    path = folder / "changed.py"
    path.write_text(text.replace(before, after))
    return path


def test_a_module_with_a_loss_is_verified_against_itself_and_timed(in_torch) -> None:
    row = in_torch(EXAMPLES / "tiny_decoder.py")
    assert row["status"] in ("ok", "unstable"), row["reason"]
    assert (row["model"], row["verified_against"]) == ("tiny-decoder", "itself")
    assert 0 < row["gradient_error"] < 5e-5
    assert row["tokens"] == 4 * 16
    proved = {"drained", "timed_is_checked", "not_seen_before", "follows_parameters"}
    assert proved <= set(row["proved"]), row["unproved"]


@pytest.mark.parametrize(
    "words",
    [
        ("--dtype", "bfloat16"),
        pytest.param(("--dtype", "float16"), marks=pytest.mark.full),
        pytest.param(("--variant", "compile"), marks=pytest.mark.full),
    ],
)
def test_precisions_and_compiled_code_are_proven_too(in_torch, words) -> None:
    row = in_torch(EXAMPLES / "tiny_decoder.py", *words)
    assert row["status"] in ("ok", "unstable"), row["reason"]
    assert row["verified_against"] == "itself"
    if "bfloat16" in words:
        assert 1e-4 < row["gradient_error"] < 0.2


def test_lower_precision_than_the_task_asks_for_disagrees(in_torch, tmp_path: Path) -> None:
    cast = "    if x.dtype == torch.float32:\n            x = x.bfloat16().float()\n        "
    row = in_torch(
        change(tmp_path, "    for block in self.blocks", cast + "for block in self.blocks")
    )
    assert row["status"] == "disagreed", row["reason"]


def test_inference_and_whole_training_steps_are_timed_too(in_torch) -> None:
    words = ("--phases", "gradient,inference,step", "--optimizer", "adamw")
    row = in_torch(EXAMPLES / "tiny_decoder.py", *words)
    assert row["status"] in ("ok", "unstable"), row["reason"]
    assert row["verified_against"] == "itself"
    assert row["step_median_ns"] > row["inference_median_ns"] > 0
    assert row["step_flops"] == row["gradient_flops"] > 0
    assert row["update_median_ns"] is None


def test_dropout_is_unsupported_with_its_mend(in_torch, tmp_path: Path) -> None:
    dropped = "functional.dropout(mixed.transpose(1, 2).flatten(2), 0.1, self.training)"
    row = in_torch(change(tmp_path, "mixed.transpose(1, 2).flatten(2)", dropped))
    assert row["status"] == "unsupported", row["reason"]
    assert "changed.py:" in row["reason"]
    assert "Turn dropout and other random operations off in make()" in row["reason"]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("return Output(loss, logits)", "return logits.nowhere", "changed.py:{}: "),
        pytest.param(
            "return Output(loss, logits)",
            "return Output(logits, loss)",
            "the loss has the shape",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "    return Decoder()",
            "    return Decoder().half()",
            "Leave it in float32 on the CPU",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "    return Decoder()",
            "    return None",
            "Return a torch.nn.Module",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "        self.norm = nn.",
            "        self.spare = nn.Linear(2, 2)\n        self.norm = nn.",
            "Call requires_grad_(False)",
            marks=pytest.mark.full,
        ),
    ],
)
def test_a_fault_of_the_file_names_its_line_and_mend(
    in_torch, tmp_path: Path, before: str, after: str, reason: str
) -> None:
    path = change(tmp_path, before, after)
    line = path.read_text().partition(after)[0].count("\n") + 1
    row = in_torch(path)
    assert row["status"] == "crashed", row["reason"]
    assert reason.format(line) in row["reason"]
    assert "changed.py:" in row["reason"]


def test_the_page_shows_the_example_itself() -> None:
    page = (ROOT / "docs" / "own-code.md").read_text()
    shown = re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1)
    assert shown == (EXAMPLES / "my_gpt2.py").read_text()


@pytest.mark.full
def test_gpt2_of_hugging_face_is_verified_against_itself_and_timed(
    in_torch, command, framework_environment, tmp_path: Path
) -> None:
    """Its interpreter has torch from Velodrome's environment, and transformers beside it."""
    torch = framework_environment("torch").python
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([torch, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    install = ["uv", "pip", "install", "--quiet", "--python", python, "transformers>=4.40"]
    subprocess.run(install, check=True, env={**os.environ, "PATH": _path_of_uv()})
    ask = [torch, "-c", "import torch, pathlib; print(pathlib.Path(torch.__file__).parents[1])"]
    packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "torch.pth").write_text(packages)
    own = type(command)(
        command.folder, {**command.variables, "VELODROME_PYTHON_TORCH": str(python)}
    )
    path = str(EXAMPLES / "my_gpt2.py")
    done = own.run("measure", "torch", path, *QUICK, "--max-seconds", "4", timeout_s=800)
    row = json.loads(done.stdout)
    assert row["status"] in ("ok", "unstable"), row["reason"]
    assert (row["verified_against"], row["tokens"]) == ("itself", 128)
    assert row["parameters"] == 124_439_808
    # Velodrome's own environment has no transformers.
    lacking = in_torch(EXAMPLES / "my_gpt2.py")
    assert lacking["status"] == "environment_failed"
    assert "it needs transformers>=4.40" in lacking["reason"]


def _path_of_uv() -> str:
    import uv

    return os.pathsep.join([str(Path(uv.find_uv_bin()).parent), os.environ["PATH"]])
