"""A worker with or without its checks, in a framework's interpreter; prints its times as JSON.

    python worker_costs.py ADAPTER VARIANT MODEL REFERENCE [--without] --batch-size N --threads N

Started by proof_cost.py. `--without` leaves out the checks of velodrome.adapters.proof; all else is
as in a worker for sweeps/quick.yaml.
"""

import argparse
import itertools
import json
import time

STARTED_NS = time.monotonic_ns()

from velodrome.adapters.proof import check_sequence  # noqa: E402
from velodrome.adapters.protocol import Finished, Phase, Request, Timed, Timing  # noqa: E402
from velodrome.adapters.worker import request_actions  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    for name in ("adapter", "variant", "model", "reference"):
        parser.add_argument(name)
    parser.add_argument("--without", action="store_true")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.without:
        check_sequence.check_phase = check_sequence.check_all = lambda proof, phase, send: None
    events = []
    request_actions.run_request(make_request(options), events.append)
    print(json.dumps(summarize(events)))


def make_request(options):
    return Request(
        action="measure",
        framework="",
        adapter=options.adapter,
        variant=options.variant,
        model=options.model,
        batch_size=options.batch_size,
        device="cpu",
        threads=options.threads,
        dtype="float32",
        seed=0,
        reference=options.reference,
        timing=Timing(target=0.1, min_samples=10, min_seconds=0.2, max_seconds=1.0),
    )


def summarize(events):
    """Sum up times. wall_s: since the start. prove_s: of the phases `prove`. Medians in ns."""
    marks = [event for event in events if isinstance(event, (Phase, Finished))]
    prove_ns = sum(
        after.at_ns - before.at_ns
        for before, after in itertools.pairwise(marks)
        if isinstance(before, Phase) and before.name == "prove"
    )
    medians = {event.phase: event.median_ns for event in events if isinstance(event, Timed)}
    wall_s = (time.monotonic_ns() - STARTED_NS) / 1e9
    return {"wall_s": wall_s, "prove_s": prove_ns / 1e9, "median_ns": medians}


if __name__ == "__main__":
    main()
