"""Limits of sweep and fleet size: planning, a simulated fleet, a small real one, stored rows.

Every part runs in its own process, so that its peak memory is its own.

    python benchmarks/scale.py [plan sweep cluster store] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from velodrome.scheduler.sweeps.sweep import PlacementRule


def _plan(case: str) -> dict[str, object]:
    import planning_cost

    return planning_cost.figures(PlacementRule(case))


def _sweep(case: str) -> dict[str, object]:
    import simulated_sweep

    where, frameworks, deaths = case.split(" ")
    share = simulated_sweep.DYING_SHARE if deaths == "deaths" else 0.0
    return simulated_sweep.figures(PlacementRule(where), int(frameworks), share)


def _cluster(case: str) -> dict[str, object]:
    import small_cluster

    return small_cluster.figures()


def _store(case: str) -> dict[str, object]:
    import storage_cost

    return storage_cost.figures()


PARTS: dict[str, tuple[Callable[[str], dict[str, object]], tuple[str, ...]]] = {
    "plan": (_plan, tuple(where.value for where in PlacementRule)),
    "sweep": (_sweep, ("any 5 calm", "any 5 deaths", "any 10 calm", "each-node 10 calm")),
    "cluster": (_cluster, ("",)),
    "store": (_store, ("",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=list(PARTS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", help="this one only, in this process, its figures as JSON")
    arguments = parser.parse_args()
    if arguments.case is not None:
        (part,) = arguments.parts
        print(json.dumps(PARTS[part][0](arguments.case)))
        return
    found = [_in_a_process(part, case) for part in arguments.parts for case in PARTS[part][1]]
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def _in_a_process(part: str, case: str) -> dict[str, object]:
    command = [sys.executable, __file__, part, "--case", case]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures = {"part": part, **json.loads(ran.stdout.splitlines()[-1])}
    print("  ".join(f"{name}={value}" for name, value in figures.items()), flush=True)
    return figures


if __name__ == "__main__":
    main()
