"""The share of comparisons of a task with itself that find a difference.

    velodrome run benchmarks/false_differences.yaml --results DIR
    python benchmarks/false_differences.py --results DIR --json docs/results/false-differences.json
    python benchmarks/false_differences.py --kept docs/results/false-differences.json

Each task ran in twenty processes. A hundred times, five are drawn for each side, with replacement,
and compared as `velodrome compare` does. At the level of the test 5 % of these differ; of 100, that
is 1 to 10 in 95 of 100 cases (binomial). A verdict also needs a ratio beyond the practical minimum,
so there are no more verdicts than that.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from scipy.stats import binom

from velodrome.scheduler.statistics.ratio_tests import ALPHA, LEAST, Verdict, compare
from velodrome.scheduler.statistics.replication import Repeat

PHASES = ("forward", "gradient")
SIDE = 5  # repeats
TRIALS = 100

Times = dict[str, list[list[float]]]  # by task and phase: median, low, high in ns per process


def read_times(results: Path) -> Times:
    """List every task of a results folder, in running order."""
    import pyarrow.dataset as ds

    table = ds.dataset(results / "tasks", format="parquet", partitioning="hive").to_table()
    found: Times = {}
    for row in sorted(table.to_pylist(), key=lambda row: row["started_at"]):
        for phase in PHASES:
            times = [row[f"{phase}_{name}_ns"] for name in ("median", "low", "high")]
            if None not in times:
                name = f"{row['framework']} {row['model']} b{row['batch_size']} {phase}"
                found.setdefault(name, []).append([round(time, 1) for time in times])
    return found


def draw_pairs(
    repeats: Sequence[Repeat], draw: random.Random
) -> Iterator[tuple[list[Repeat], ...]]:
    for _ in range(TRIALS):
        yield draw.choices(repeats, k=SIDE), draw.choices(repeats, k=SIDE)


def try_task(name: str, processes: Sequence[Sequence[float]], seed: int) -> dict[str, object]:
    draw = random.Random(seed)
    repeats = [Repeat(*process) for process in processes]
    found = [compare(*pair) for pair in draw_pairs(repeats, draw)]
    medians = sorted(repeat.median_ns for repeat in repeats)
    return {
        "task": name,
        "processes": len(repeats),
        "spread_percent": round(100 * (medians[-1] / medians[0] - 1), 1),
        "different": sum(one.p <= ALPHA for one in found),
        "verdicts": sum(one.verdict is not Verdict.UNDECIDED for one in found),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--results", type=Path)
    source.add_argument("--kept", type=Path, help="a file that --json wrote")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    times = (
        read_times(options.results)
        if options.results
        else json.loads(options.kept.read_text())["kept"]
    )
    most = int(binom.ppf(0.975, TRIALS, ALPHA))
    rows = [try_task(name, processes, options.seed) for name, processes in sorted(times.items())]
    for row in rows:
        print(*row.values(), sep="\t")
    print(f"of {TRIALS}: different at {ALPHA:g}, and by {100 * LEAST:g} % at least; at most {most}")
    if options.json:
        lines = [f'"{name}": {json.dumps(processes)}' for name, processes in sorted(times.items())]
        found = ",\n".join(json.dumps(row) for row in rows)
        text = '{"found": [\n' + found + '\n],\n"kept": {\n' + ",\n".join(lines) + "\n}}\n"
        options.json.write_text(text)
    return int(any(int(str(row["different"])) > most for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
