"""The cost of the checks of timed phases per task, and their effect on its times.

Each round runs a worker with its checks and one without them, in an order that changes from round
to round; cells are those of sweeps/quick.yaml, one thread. The figures are medians over rounds with
the 95 % interval by the sign test (null with too few rounds for an interval): the median time with
over without, by phase, and the share of a worker's wall time that its checks take. `over_cells` is
the median of the cells' ratios: a single cell shows no shift below 3 %, since processes differ
more.

    python benchmarks/proof_cost.py [--frameworks torch] [--models lenet] [--rounds 9]
        [--budget-s 900] [--json FILE]
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

from cell_runs import Bench, Cell, RunFailed, run_script
from paired_times import compute_median_ratio

from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import reference, reference_file
from velodrome.adapters.timing.intervals import compute_median_interval
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.inventory import take_inventory

HERE = Path(__file__).parent
FRAMEWORKS = ("torch", "tensorflow")
CELLS = ("lenet", "lstm", *(f"autoencoder-400-200-100/{part}" for part in ("ae1", "finetune")))


def main() -> None:
    options = arguments()
    store = EnvironmentStore()
    bench = Bench(
        take_inventory(), store, {name: store.build(name) for name in options.frameworks}, 1.0
    )
    deadline = time.monotonic() + options.budget_s
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        references = {model: save_reference(model, Path(folder)) for model in options.models}
        for name in options.frameworks:
            for model in options.models:
                cell = Cell(name, model, 1)
                pairs = run_rounds(cell, references[model], bench, options, deadline)
                rows.append(make_row(cell, pairs))
                print(json.dumps(rows[-1]), flush=True)
    if options.json:
        about = {
            "benchmark": "proof_cost",
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "cpu_model": bench.node.cpu_model,
            "kernel": platform.release(),
            "timing": "that of sweeps/quick.yaml",
            "over_cells": summarize(rows),
        }
        Path(options.json).write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frameworks", nargs="+", default=FRAMEWORKS)
    parser.add_argument("--models", nargs="+", default=CELLS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--budget-s", type=float, default=900.0)
    parser.add_argument("--json")
    return parser.parse_args()


def save_reference(model: str, folder: Path) -> Path:
    path = folder / f"{model.replace('/', '-')}.npz"
    reference_file.save_reference(
        str(path), reference.compute_reference(MODELS[model], MODELS[model].batch_size, 0)
    )
    return path


def run_rounds(
    cell: Cell, reference_path: Path, bench: Bench, options: argparse.Namespace, deadline: float
) -> list[tuple[dict, dict]]:
    """Return the results with and without checks of each round."""
    script, variant = str(HERE / "worker_costs.py"), cell.registered.default_variant
    words = [script, cell.registered.adapter, variant, cell.model, str(reference_path)]
    pairs = []
    for number in range(options.rounds):
        results = {}
        try:
            for option in ([], ["--without"]) if number % 2 else (["--without"], []):
                (results[bool(option)],) = run_script([*words, *option], cell, bench, deadline)
        except RunFailed as error:
            print(f"{cell.label}: {error}")
            break
        pairs.append((results[False], results[True]))
    return pairs


def make_row(cell: Cell, pairs: list[tuple[dict, dict]]) -> dict:
    row = {"framework": cell.framework, "model": cell.model, "rounds": len(pairs)}
    for phase in ("forward", "gradient") if pairs else ():
        sides = [[side["median_ns"][phase] for side in pair] for pair in pairs]
        row.update(describe(f"{phase}_ratio", compute_median_ratio(*zip(*sides, strict=True))))
    if pairs:
        shares = [checked["prove_s"] / checked["wall_s"] for checked, _ in pairs]
        row.update(describe("share_of_wall", compute_median_interval(shares)))
        row["wall_s"] = round(statistics.median(checked["wall_s"] for checked, _ in pairs), 2)
    return row


def summarize(rows: list[dict]) -> dict:
    names = ("forward_ratio", "gradient_ratio", "share_of_wall")
    measured = [row for row in rows if row["rounds"]]
    summary = {}
    for name in names if measured else ():
        summary |= describe(name, compute_median_interval([row[name] for row in measured]))
    return summary


def describe(name: str, interval: object) -> dict:
    bounds = (interval.low, interval.high) if interval.covered else (None, None)
    low, high = (None if bound is None else round(bound, 4) for bound in bounds)
    return {name: round(interval.median, 4), f"{name}_low": low, f"{name}_high": high}


if __name__ == "__main__":
    main()
