"""The share of unchanged tasks that are called different from themselves.

    velodrome run benchmarks/false_differences.yaml --results DIR
    python benchmarks/false_differences.py --results DIR --json docs/results/false-differences.json
    python benchmarks/false_differences.py --kept docs/results/false-differences.json

Of the twenty processes that each task ran in, five are drawn for one side and five for the other,
with replacement, a hundred times, and compared as `velodrome compare` does. By the level of the
test, 5 % of these are called different; of 100, that is 1 to 10 in 95 of 100 cases (binomial). A
verdict also needs a ratio that is off by the practical minimum, so there are no more of those.
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

Kept = dict[str, list[list[float]]]  # by task and phase: median, low and high in ns of each process


def measured(results: Path) -> Kept:
    """List every task of a results folder, in running order."""
    import pyarrow.dataset as ds

    table = ds.dataset(results / "tasks", format="parquet", partitioning="hive").to_table()
    found: Kept = {}
    for row in sorted(table.to_pylist(), key=lambda row: row["started_at"]):
        for phase in PHASES:
            times = [row[f"{phase}_{name}_ns"] for name in ("median", "low", "high")]
            if None not in times:
                name = f"{row['framework']} {row['model']} b{row['batch_size']} {phase}"
                found.setdefault(name, []).append([round(time, 1) for time in times])
    return found


def pairs(repeats: Sequence[Repeat], draw: random.Random) -> Iterator[tuple[list[Repeat], ...]]:
    for _ in range(TRIALS):
        yield draw.choices(repeats, k=SIDE), draw.choices(repeats, k=SIDE)


def tried(name: str, processes: Sequence[Sequence[float]], seed: int) -> dict[str, object]:
    draw = random.Random(seed)
    repeats = [Repeat(*process) for process in processes]
    found = [compare(*pair) for pair in pairs(repeats, draw)]
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
    source.add_argument("--kept", type=Path, help="what --json wrote")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    kept = measured(asked.results) if asked.results else json.loads(asked.kept.read_text())["kept"]
    most = int(binom.ppf(0.975, TRIALS, ALPHA))
    rows = [tried(name, processes, asked.seed) for name, processes in sorted(kept.items())]
    for row in rows:
        print(*row.values(), sep="\t")
    print(f"of {TRIALS}: different at {ALPHA:g}, and by {100 * LEAST:g} % at least; at most {most}")
    if asked.json:
        lines = [f'"{name}": {json.dumps(processes)}' for name, processes in sorted(kept.items())]
        told = ",\n".join(json.dumps(row) for row in rows)
        text = '{"found": [\n' + told + '\n],\n"kept": {\n' + ",\n".join(lines) + "\n}}\n"
        asked.json.write_text(text)
    return int(any(int(str(row["different"])) > most for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
