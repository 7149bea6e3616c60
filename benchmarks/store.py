"""The cost of a store of 10^7 samples: writing, size, and aggregation by group.

    python benchmarks/store.py [--samples 10000000] [--json FILE]

Tasks of 5,000 samples each, stored in groups of 50, have 20 frameworks and 5 models; their samples
differ by a percent, as real ones do. The query runs like `velodrome query` on the compacted sweep:
a median for each framework, model and phase, with the samples joined with their tasks.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

from velodrome.agents.measurement import Measurement, Sample, Status
from velodrome.agents.task import Task
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store

SWEEP_ID = "20261124-000000-00000000"
A_TASK, A_GROUP = 5000, 50
FRAMEWORKS, MODELS = 20, ("lenet", "alexnet", "lstm", "autoencoder", "transformer")
WANTED_S, WANTED_BYTES = 2.0, 8.0
QUERY_RUNS = 5
QUERY = """
select framework, model, phase, count(*) as samples, median(elapsed_ns) as median_ns
from samples join tasks using (sweep_id, task_id, repeat)
group by all order by all
"""
ALONE = "select task_id, median(elapsed_ns) from samples group by 1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10**7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="velodrome-store-") as folder:
        found = figures(Path(folder) / "results", arguments.samples)
    print("  ".join(f"{name}={value}" for name, value in found.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def figures(root: Path, samples: int) -> dict[str, object]:
    store = Store(root)
    with store.hold_sweep(SWEEP_ID):
        written = _timed(lambda: _write(store, samples))
        compacted = _timed(lambda: store.compact(SWEEP_ID))
    size = sum(path.stat().st_size for path in root.glob("samples/*/*.parquet"))
    queries = [_timed(lambda: run_query(store, QUERY)) for _ in range(QUERY_RUNS)]
    query_s = [wall_s for wall_s, _ in queries]
    alone_s = [_timed(lambda: run_query(store, ALONE))[0] for _ in range(QUERY_RUNS)]
    rows = run_query(store, QUERY)
    assert sum(rows["samples"].to_pylist()) == samples
    return {
        "samples": samples,
        "write_s": round(written[0], 2),
        "write_cpu_us_per_sample": round(1e6 * written[1] / samples, 2),
        "compact_s": round(compacted[0], 2),
        "bytes_per_sample": round(size / samples, 2),
        "groups": rows.num_rows,
        "query_s_median": round(statistics.median(query_s), 2),
        "query_s_first": round(query_s[0], 2),
        "query_cpu_s_median": round(statistics.median(cpu_s for _, cpu_s in queries), 2),
        "without_join_s_median": round(statistics.median(alone_s), 2),
        "keeps_promise": statistics.median(query_s) <= WANTED_S and size / samples <= WANTED_BYTES,
    }


def _timed(work) -> tuple[float, float]:
    started_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started_s, time.process_time() - cpu_s


def _write(store: Store, samples: int) -> None:
    tasks = iter(range(-(-samples // A_TASK)))
    while group := list(islice(tasks, A_GROUP)):
        ended = [_measurement(number, min(A_TASK, samples - number * A_TASK)) for number in group]
        store.put_all(SWEEP_ID, [(one, TO_AGREE) for one in ended])


def _measurement(number: int, count: int) -> Measurement:
    drawn = random.Random(number)
    at_ns, samples, usual_ns = 10**15 + number * 10**11, [], drawn.randrange(10**6, 10**8)
    for index in range(count):
        elapsed_ns = int(usual_ns * drawn.lognormvariate(0, 0.01))
        phase = "forward" if index < count // 2 else "gradient"
        samples.append(Sample(phase, index, 1, at_ns, elapsed_ns))
        at_ns += elapsed_ns + drawn.randrange(1000, 3000)
    task = Task(
        f"framework{number % FRAMEWORKS}", "eager", MODELS[number % len(MODELS)], number + 1
    )
    return Measurement(
        task, 0, 1, Status.OK, "", "n1", "h", "t", 1.7e9, 1.7e9 + 10, samples=tuple(samples)
    )


if __name__ == "__main__":
    main()
