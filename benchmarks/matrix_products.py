"""The speed of one matrix product by core type of each OpenBLAS here, on one thread.

Every OpenBLAS of the named environments runs sgemm of 1000 x 1000 x 1000 in fresh children, under
each core type and as it chooses by itself, round by round. The figure is the shortest CPU time of
all calls: the speed of the kernels, independent of other load on the machine.

    python benchmarks/matrix_products.py [--frameworks caffe numpy] [--rounds 4] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from kernels import format_document

from velodrome.agents.environments.launch import launch_command
from velodrome.agents.environments.openblas_selection import find_openblas_files
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.inventory import take_inventory

SETTINGS = ("", "Prescott", "Nehalem", "Sandybridge", "Haswell", "SkylakeX")
BY_ITSELF = "by itself"
CHILD = Path(__file__).parent / "bare" / "sgemm.py"
DEADLINE_S = 60
Row = dict[str, object]
Key = tuple[str, str, str]  # framework, name of the file, setting


def main() -> None:
    options = arguments()
    results: dict[Key, list[tuple[str, float]]] = {}
    for _ in range(options.rounds):
        for framework, file, command in commands(options.frameworks):
            for setting in SETTINGS:
                if result := run_child(command, setting):
                    results.setdefault((framework, file, setting), []).append(result)
    rows = [make_row(key, results) for key in results]
    for row in rows:
        print(json.dumps(row))
    if options.json:
        Path(options.json).write_text(format_document(make_heading(options), rows))


def commands(frameworks: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield for each library its framework, its file's name, and the command of the child."""
    for environment in EnvironmentStore().list():
        if environment.framework not in frameworks:
            continue
        for path in find_openblas_files(environment):
            tree = environment.tree
            inside = f"/{path.relative_to(tree)}" if tree else str(path)
            words = ["-B", str(CHILD), inside]
            yield environment.framework, path.name, launch_command(environment, "", words)


def run_child(command: list[str], setting: str) -> tuple[str, float] | None:
    """Return the library's description of itself, and ms. None if the child crashed."""
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **({"OPENBLAS_CORETYPE": setting} if setting else {}),
    }
    done = subprocess.run(
        command,
        env=variables,
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if done.returncode:
        return None
    result = json.loads(done.stdout)
    return result["library"], result["ms"]


def make_row(key: Key, results: dict[Key, list[tuple[str, float]]]) -> Row:
    """Make a row. over_best: the ratio to the fastest setting of the same file."""
    framework, file, setting = key
    shortest = {other: min(ms for _, ms in own) for other, own in results.items()}
    best = min(ms for other, ms in shortest.items() if other[:2] == key[:2])
    *library, core = results[key][0][0].split()
    return {
        "framework": framework,
        "library": " ".join(library),
        "file": file,
        "setting": setting or BY_ITSELF,
        "core": core,
        "ms": round(shortest[key], 2),
        "over_best": round(shortest[key] / best, 2),
    }


def make_heading(options: argparse.Namespace) -> Row:
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu_model": take_inventory().cpu_model,
        "rounds": options.rounds,
        "load_at_end": round(os.getloadavg()[0], 1),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frameworks", nargs="+", default=["caffe", "theano", "mxnet", "numpy"])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
