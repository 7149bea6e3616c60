"""Users' mistakes: each ends with status 2, its place and its remedy, before anything starts."""

import subprocess
import sys

import pytest

GOOD = "name: good\nframeworks: [numpy]\nmodels: [lenet]\n"

WRONG_SWEEPS = {
    "an unknown framework": ("name: a\nframeworks: [nunpy]\nmodels: [lenet]\n", ":2:14:", "numpy"),
    "an unknown key": (GOOD + "thread: [1]\n", ":4:1:", "threads"),
    "negative threads": (GOOD + "threads: [-1]\n", ":4:11:", "1 to 65536"),
    "a batch of zero": (GOOD + "batch_sizes: {lenet: [0]}\n", ":4:23:", "above 0"),
    "no mapping": ("- lenet\n- lstm\n", ":1:1:", "mapping"),
    "no YAML": ("name: [\n", ":2:1:", ""),
    "an unknown model": ("name: a\nframeworks: [numpy]\nmodels: [lennet]\n", ":3:10:", "lenet"),
}


@pytest.mark.parametrize("wrong", WRONG_SWEEPS)
def test_an_invalid_sweep_file_is_refused_with_the_place_and_the_remedy(
    command, wrong: str
) -> None:
    text, place, mend = WRONG_SWEEPS[wrong]
    command.sweep(text, "wrong.yaml")
    done = command.run("run", "wrong.yaml", "--results", "none")
    assert done.returncode == 2
    assert f"wrong.yaml{place}" in done.stderr
    assert mend in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((command.folder / "none").rglob("*.parquet"))


WRONG_WORDS = {
    "a sweep that is not there": ("run", "missing.yaml"),
    "no sweep at all": ("run",),
    "a results folder that is a file": ("run", "good.yaml", "--results", "good.yaml"),
    "a results folder without rights": ("run", "good.yaml", "--results", "/proc/results"),
    "a store of a kind that is none": ("run", "good.yaml", "--results", "hdfs://b/results"),
    "a selection of nothing": ("plan", "good.yaml", "--only", "framework=torch"),
    "a selection that cannot be read": ("plan", "good.yaml", "--only", "framework:torch"),
    "a sweep to resume that is not there": ("run", "--resume", "2016", "--results", "none"),
    "an unknown framework": ("measure", "nunpy", "lenet"),
    "an unknown model": ("measure", "numpy", "lennet"),
    "an unknown variant": ("measure", "numpy", "lenet", "--variant", "fast"),
    "a device the framework lacks": ("measure", "numpy", "lenet", "--device", "gpu"),
    "no thread": ("measure", "numpy", "lenet", "--threads", "0"),
    "more threads than there are": ("measure", "numpy", "lenet", "--threads", "100000"),
    "a negative batch": ("measure", "numpy", "lenet", "--batch-size", "-1"),
    "a deadline without a unit": ("measure", "numpy", "lenet", "--deadline", "15"),
    "an unknown option": ("measure", "numpy", "lenet", "--speed", "high"),
    "two forms at once": ("report", "--csv", "--json"),
    "two reports at once": ("report", "--extensibility", "--utilization"),
    "a report of nothing": ("report", "--results", "nowhere"),
    "an environment that is none": ("envs", "build", "nunpy"),
    "an environment for no device": ("envs", "build", "numpy", "--device", "tpu"),
}


@pytest.mark.parametrize("wrong", WRONG_WORDS)
def test_wrong_command_line_arguments_end_with_status_2(command, wrong: str) -> None:
    command.sweep(GOOD, "good.yaml")
    done = command.run(*WRONG_WORDS[wrong])
    assert done.returncode == 2, done.stderr + done.stdout
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_help_imports_neither_ray_nor_pyarrow(command) -> None:
    code = (
        "import sys; sys.argv = ['velodrome', '--help']\n"
        "from velodrome.scheduler import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'ray', 'pyarrow', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
