"""The cost of a large sweep's HTML report: time, memory and size by number of tasks.

The bounds for 100,000 tasks are 30 s, 1 GiB, and a page of less than 10 MiB. The same code as for a
measurement makes the rows, in a compacted sweep; each task has eight readings of its utilization. A
browser must open the page within 2 s, which is checked by hand
(tests/scheduler/reports/test_html_browser.py checks a small page).

    python benchmarks/report.py [--tasks 100000] [--keep FOLDER]
"""

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice, product
from pathlib import Path

import pyarrow as pa

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import (
    CANNOT_TELL,
    CHECKS,
    PASSED,
    Checked,
    Figure,
    Timed,
    Verified,
)
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.measurement import Measurement, Reading, Status
from velodrome.agents.task import Task
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.results.parquet_files import writer
from velodrome.scheduler.results.rows import to_table, utilization_rows
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.task_row import task_row

PROMISED_S, PROMISED_MIB, PROMISED_PAGE_MIB = 30.0, 1024, 10
SWEEP = "20261124-063012-a1b2"
NODE_TYPES = ("epyc-8c", "epyc-64c", "xeon-16c", "graviton-32c", "ryzen-16c")
THREADS = (1, 2, 4, 8)
REPEATS = 2
CHUNK = 5000
MIB = 2**20
NOISE = "twice as many calls took 1.72 times as long (1.63 by the quickest)"


FIGURES = tuple(Figure(f"figure_{number}_ns", 1e6 / 7 * number) for number in range(4))
CHECKED = tuple(
    Checked(
        name, phase, *((CANNOT_TELL, FIGURES, NOISE) if is_unclear else (PASSED, FIGURES, "")), 7
    )
    for phase in ("forward", "gradient")
    for name in CHECKS
    for is_unclear in (name == "twice_the_work" and phase == "gradient",)
)


def measurements(count: int) -> Iterator[Measurement]:
    """One in fifty fails, and says why in a log of some lines."""
    draw = random.Random(7)
    contestants = [(name, variant) for name, one in FRAMEWORKS.items() for variant in one.variants]
    courses = [(name, size) for name in MODELS for size in (8, 16, 64, 256)]
    cells = product(range(REPEATS), NODE_TYPES, THREADS, courses, contestants)
    for number, (repeat, where, threads, (model, size), (framework, variant)) in enumerate(
        islice(cells, count)
    ):
        task = Task(framework, variant, model, size, threads=threads)
        fails = number % 50 == 49
        ns = 1e6 * draw.uniform(0.5, 9) * size / threads
        yield _measurement(task, repeat, where, Status.CRASHED if fails else Status.OK, ns)


def _measurement(task: Task, repeat: int, where: str, status: Status, ns: float) -> Measurement:
    timed = Timed("gradient", ns, 0.99 * ns, 1.01 * ns, 30, 2, 5, "target", stable=True)
    fails = not status.has_number
    node = f"{where}-1"
    return Measurement(
        *(task, repeat, 1, status, "killed by SIGSEGV in phase build" if fails else ""),
        *(node, f"{node}.lab", where, 1.79e9 + repeat, 1.79e9 + repeat + 12),
        log_tail="\n".join(f"frame {line} of {task.model}" for line in range(40)) if fails else "",
        rerun=f"velodrome measure {task.framework} {task.model} --threads {task.threads}",
        framework_version="1.2.3",
        cpu_model=where.replace("-", " "),
        forward=None if fails else timed._replace(phase="forward", median_ns=ns / 3),
        gradient=None if fails else timed,
        verified=None if fails else Verified(2.3, 1e-6, 1e-5, (), (), 7),
        gradient_error=None if fails else 1e-6,
        checks=() if fails else CHECKED,
        readings=tuple(
            Reading(at * 10**8, "gradient", 97.0 * task.threads, 3 * 10**8, 9) for at in range(8)
        ),
        peak_rss_bytes=3 * 10**8,
        interference_free=True,
        notes=("composed: Lrn of shifted sums",) if task.framework == "tensorflow" else (),
    )


def fill(results: Path, count: int) -> None:
    """A sweep that has ended, as it lies on disk."""
    made = measurements(count)
    folders = {name: results / name / f"sweep={SWEEP}" for name in ("tasks", "utilization")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    with (
        (folders["tasks"] / "sweep.parquet").open("wb") as tasks,
        (folders["utilization"] / "sweep.parquet").open("wb") as readings,
        writer(tasks, TABLES["tasks"]) as task_file,
        writer(readings, TABLES["utilization"]) as reading_file,
    ):
        while chunk := list(islice(made, CHUNK)):
            task_file.write_table(to_table("tasks", [task_row(SWEEP, each) for each in chunk]))
            rows = [row for each in chunk for row in utilization_rows(SWEEP, each)]
            reading_file.write_table(to_table("utilization", rows))


def figures(results: Path, page: Path) -> dict[str, object]:
    """Write the page and return the figures, with the peak memory before it."""
    pa.default_memory_pool().release_unused()
    before_mib = peak_mib()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    rows = write_page(results, SWEEP, page).rows
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    page_mib = page.stat().st_size / MIB
    return {
        "tasks": len(rows),
        "cpu_s": round(cpu_s, 1),
        "wall_s": round(wall_s, 1),
        "peak_mib": round(peak_mib()),
        "peak_before_mib": round(before_mib),
        "page_mib": round(page_mib, 2),
        "keeps_promise": wall_s <= PROMISED_S
        and peak_mib() <= PROMISED_MIB
        and page_mib < PROMISED_PAGE_MIB,
    }


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="leave results and page in this folder")
    options = parser.parse_args()
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        if not results.exists():
            fill(results, options.tasks)
        print(json.dumps(figures(results, Path(folder) / "report.html"), indent=2))


if __name__ == "__main__":
    main()
