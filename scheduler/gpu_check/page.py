"""The page of figures of a GPU check, as Markdown and JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from velodrome.agents.node import Gpu, Node
from velodrome.scheduler.commands.output import to_jsonable
from velodrome.scheduler.gpu_check.steps import StepOutcome, StepVerdict
from velodrome.scheduler.reports.csv_markdown import escape_markdown

NAME = "gpu-check"


def write_page(
    folder: Path,
    node: Node,
    gpu: Gpu,
    outcomes: Sequence[StepOutcome],
    begun: str,
    budget_s: float,
) -> None:
    """Write gpu-check.md and gpu-check.json. begun: the time of day, UTC."""
    facts: dict[str, object] = {
        "begun": begun,
        "gpu": vars(gpu),
        "cuda_major": node.cuda_major,
        "cpu_model": node.cpu_model,
        "cores": node.physical,
        "kernel": node.kernel,
        "virtualization": node.virtualization,
        "velodrome_version": node.velodrome_version,
        "budget_s": budget_s,
        "seconds": sum(outcome.seconds for outcome in outcomes),
    }
    steps = [asdict(outcome) for outcome in outcomes]
    text = json.dumps(to_jsonable({**facts, "steps": steps}), indent=1, default=str) + "\n"
    (folder / f"{NAME}.json").write_text(text)
    (folder / f"{NAME}.md").write_text("\n".join(_list_lines(facts, gpu, outcomes)) + "\n")


def count_verdicts(outcomes: Sequence[StepOutcome]) -> str:
    """Count the steps by verdict: `12 passed, 1 failed`."""
    counts = {verdict: 0 for verdict in StepVerdict}
    for outcome in outcomes:
        counts[outcome.verdict] += 1
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def _list_lines(
    facts: Mapping[str, object], gpu: Gpu, outcomes: Sequence[StepOutcome]
) -> Iterator[str]:
    yield f"# GPU check: {escape_markdown(gpu.name)}"
    yield ""
    yield f"{count_verdicts(outcomes)}. Begun {facts['begun']}, {facts['seconds']:.0f} s of "
    yield f"{facts['budget_s']:g} s; driver {escape_markdown(gpu.driver)}, CUDA "
    yield f"{facts['cuda_major']}, {escape_markdown(str(facts['cpu_model']))}. The rows are in "
    yield f"`results/`, all figures in `{NAME}.json`."
    yield ""
    yield "| step | verdict | s | seen |"
    yield "|---|---|---:|---|"
    for outcome in outcomes:
        cells = (outcome.name, outcome.verdict, f"{outcome.seconds:.1f}", outcome.text)
        yield f"| {' | '.join(escape_markdown(' '.join(cell.split())) for cell in cells)} |"
    left_out = [one.name for one in outcomes if one.verdict is StepVerdict.LEFT_OUT]
    if left_out:
        yield ""
        yield f"Left out for want of time: {escape_markdown(', '.join(left_out))}."
