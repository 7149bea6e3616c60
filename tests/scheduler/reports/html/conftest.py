"""The page of one sweep with times, failures and a GPU."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from html_pages import SWEEP, Element, change_task, make_cell, make_failed_cell, parse_html

from velodrome.agents.measurement import Measurement, PhaseEnergy, Status
from velodrome.agents.node import Core, Node
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.plans.expected_outcomes import ExpectedOutcome
from velodrome.scheduler.results.store import Store


def measurements() -> Iterator[tuple[Measurement, ExpectedOutcome | None]]:
    lacks = ExpectedOutcome(("unsupported",), "neon has no LSTM")
    for framework, variant in (("torch", "eager"), ("torch", "compile"), ("theano", "corrmm")):
        for size in (16, 64):
            yield change_task(make_cell(framework, variant, "lenet"), batch_size=size), None
        yield change_task(make_cell(framework, variant, "lenet"), threads=2), None
        for stage in ("ae1", "ae2", "ae3", "finetune"):
            yield make_cell(framework, variant, f"autoencoder-400-200-100/{stage}"), None
    yield make_failed_cell("neon", "lstm", Status.UNSUPPORTED, "no lengths of its own"), lacks
    yield (
        make_failed_cell("neon", "lenet", Status.CRASHED, "killed by SIGSEGV", "first\nlast line"),
        None,
    )
    on_gpu = replace(
        make_cell("theano", "corrmm", "lenet", gpu_name="Some GPU"),
        energies=(PhaseEnergy("gradient", 2.5), PhaseEnergy("forward", 1.5)),
        energy_source="measured",
        peak_gpu_memory_bytes=2**30,
    )
    yield change_task(on_gpu, device="gpu"), None
    nowhere = make_failed_cell(
        "torch", "lenet", Status.UNPLACEABLE, "needs 2 GPUs, no node has them"
    )
    nowhere = replace(nowhere, node_id="", hostname="", node_type="", cpu_model="")
    yield change_task(nowhere, device="gpu", gpu_count=2, threads=4), None


def store_measurements(store: Store) -> None:
    with store.hold_sweep(SWEEP):
        store.put_nodes(SWEEP, [Node("n1", "bay-01", "Some CPU", (Core(0, (0,)),), 2**34)])
        for one, expected in measurements():
            store.put(SWEEP, one, *([expected] if expected else []))
        store.compact(SWEEP)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "results"
    store_measurements(Store(folder))
    return folder


@pytest.fixture(scope="session")
def text(results: Path) -> str:
    file = results.parent / "report.html"
    write_page(results, "", file)
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def tree(text: str) -> Element:
    return parse_html(text)
